"""What a file was when it was read beyond size and time, the rules of a root, and what is known of
a picture beside its pixels.

Nothing is read anew for it: a change time that is not known is taken over as it is found.

Revision ID: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("pictures", sa.Column("ctime_ns", sa.BigInteger))
    decoding = sa.Column("decoding", sa.Integer, nullable=False, server_default="1")
    op.add_column("pictures", decoding)
    # what a camera writes for several views is told as what it is, with the same pixels
    op.execute("UPDATE pictures SET format = 'JPEG' WHERE format = 'MPO'")
    op.add_column("skips", sa.Column("ctime_ns", sa.BigInteger))
    op.add_column("roots", sa.Column("rules", sa.Text, nullable=False, server_default=""))
    op.create_table(
        "mounts",
        sa.Column("path", sa.LargeBinary, primary_key=True),
        sa.Column("device", sa.BigInteger, nullable=False),
        sa.Column("inode", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "details",
        _picture_id(),
        sa.Column("taken_from", sa.Text, nullable=False),
        sa.Column("is_utc", sa.Integer, nullable=False),
        sa.Column("rating", sa.Integer),
        sa.Column("latitude", sa.Float),
        sa.Column("longitude", sa.Float),
        sa.Column("keywords", sa.Text, nullable=False),
        sa.Column("sidecars", sa.Text, nullable=False),
    )
    op.create_table(
        "looks",
        _picture_id(),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("thumbnail", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_looks_version", "looks", ["version"])


def _picture_id() -> "sa.Column[int]":
    return sa.Column(
        "picture_id",
        sa.Integer,
        sa.ForeignKey("pictures.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    )
