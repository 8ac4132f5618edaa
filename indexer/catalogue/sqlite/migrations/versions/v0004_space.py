"""The library's own spaces, and regional descriptors.

A space is learned with the next run that changes something; regions are kept where that is asked
for.

Revision ID: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "spaces",
        sa.Column("fingerprint", sa.Text, primary_key=True),
        sa.Column("pictures", sa.Integer, nullable=False),
        sa.Column("mean", sa.LargeBinary, nullable=False),
        sa.Column("matrix", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "regions",
        sa.Column(
            "picture_id",
            sa.Integer,
            sa.ForeignKey("pictures.id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("map_rows", sa.Integer, nullable=False),
        sa.Column("map_columns", sa.Integer, nullable=False),
        sa.Column("vectors", sa.LargeBinary, nullable=False),
    )
    op.create_index(
        "ix_regions_waiting", "regions", ["picture_id"], sqlite_where=sa.text("map_rows = 0")
    )
