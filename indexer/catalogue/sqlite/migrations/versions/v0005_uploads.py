"""Files that were uploaded to a server, each known by a row.

Until now they were known by their names.  What lies under such a name below the library's own
folder of uploads is taken over; a server takes over what lies in a folder that it was told of.

Revision ID: 0005
"""

import json
import os

import sqlalchemy as sa
from alembic import context, op

from parecido.indexer.catalogue.sqlite.writing.takeover import find_earlier_uploads

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    uploads = op.create_table(
        "uploads",
        sa.Column("path", sa.LargeBinary, primary_key=True),
        sa.Column("content_hash", sa.LargeBinary, nullable=False),
        sa.Column("before", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("stamp", sa.BigInteger, nullable=False),
    )
    connection = op.get_bind()
    query = sa.text("SELECT path, content_hash FROM pictures WHERE path > :low AND path < :high")
    folder = context.config.attributes["folder"] / "uploads"

    def between(low: bytes, high: bytes) -> list[tuple[bytes, bytes]]:
        found = connection.execute(query, {"low": low, "high": high})
        return [(path, content_hash) for path, content_hash in found]

    rows = find_earlier_uploads(folder, between)
    if rows:
        op.bulk_insert(uploads, [row._asdict() for row in rows])
    if connection.scalar(sa.text("SELECT 1 FROM pictures LIMIT 1")):
        put = sa.text("INSERT OR REPLACE INTO facts (key, value) VALUES ('uploads', :folders)")
        connection.execute(put, {"folders": json.dumps([os.fspath(folder)])})
