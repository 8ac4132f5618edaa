"""Which pictures left, so that a vector index need not compare itself with every row.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "removals",
        sa.Column("picture_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_removals_generation", "removals", ["generation"])
