"""A digest for every row, pictures that are set aside, and a second copy of the facts.

The rows that are there are sealed as they are when all migrations are done: what had been damaged
before cannot be told any more.

Revision ID: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "seals",
        sa.Column("table_name", sa.Text, primary_key=True),
        sa.Column("bucket", sa.BigInteger, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("entries", sa.LargeBinary, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "spare_facts",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "aside",
        sa.Column("path", sa.LargeBinary, primary_key=True),
        sa.Column("picture_id", sa.Integer),
        sa.Column("added_at", sa.Float),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.add_column("skips", sa.Column("decoder", sa.Text, nullable=False, server_default=""))
