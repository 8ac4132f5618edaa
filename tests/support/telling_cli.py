"""The command line with the fake encoder that commits often, and tells of each commit.

After each commit comes a line into the file that ``FAKE_TOLD`` names: a JSON object with the file
that was committed to, a digest of all its rows, and content and id of each picture by path.
"""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy.engine.default import DefaultDialect

import parecido.indexer.indexing.run
import parecido.indexer.indexing.workers
import parecido.indexer.vectors.local.index
import parecido.search.cli
from tests.support.fake_cli import use_fakes
from tests.support.records import digest_rows


def tell(connection: sqlite3.Connection) -> None:
    """Write a line of what a catalogue holds, with one call."""
    (_, _, path), *_ = connection.execute("PRAGMA database_list")
    pictures = connection.execute("SELECT path, id, content_hash FROM pictures")
    line = {
        "path": path,
        "digest": digest_rows(connection),
        "pictures": {os.fsdecode(path): [own, content.hex()] for path, own, content in pictures},
    }
    with Path(os.environ["FAKE_TOLD"]).open("ab", buffering=0) as file:
        file.write(json.dumps(line).encode() + b"\n")


def commit_often_and_tell() -> None:
    """A commit for each batch, the vector index after each, and a line when a commit returned."""
    parecido.indexer.indexing.run.COMMIT_SECONDS = 0.0
    parecido.indexer.indexing.workers.AHEAD = 1
    parecido.indexer.vectors.local.index._SAVE_ROWS = 0
    parecido.indexer.vectors.local.index._SAVE_SHARE = 0
    commit = DefaultDialect.do_commit

    def committed(dialect: Any, connection: Any) -> None:
        is_one = connection.dbapi_connection.in_transaction
        commit(dialect, connection)
        if is_one:
            tell(connection.dbapi_connection)

    DefaultDialect.do_commit = committed  # type: ignore[method-assign]


if __name__ == "__main__":
    use_fakes()
    commit_often_and_tell()
    parecido.search.cli.main()
