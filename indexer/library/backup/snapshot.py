"""A catalogue copied as of one commit, while a writer goes on.

SQLite's backup starts again whenever somebody commits between two of its steps, unless its source
reads in a transaction already: then it copies what that transaction sees.  In WAL mode neither
waits for the other.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from parecido.indexer.catalogue.sqlite.connections import Connections
from parecido.indexer.catalogue.sqlite.errors import translate_errors
from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.errors import LibraryDamaged
from parecido.indexer.library.backup.container import Advance

__all__ = ["copy_catalogue"]

_PAGES = 256  # in a step: 4 MB


def copy_catalogue(path: Path, target: Path, advance: Advance) -> None:
    """Copy the catalogue of ``path`` as it is now, all in one file, and check the copy.

    Raises :class:`~parecido.LibraryDamaged` for one that SQLite finds damaged.
    """
    connections = Connections(path)
    with translate_errors(path), connections.take() as source:
        source.execute("BEGIN")
        source.execute("SELECT value FROM facts LIMIT 1").fetchone()
        size = int(source.execute("PRAGMA page_size").fetchone()[0])
        copied = 0

        def step(status: int, remaining: int, total: int) -> None:
            nonlocal copied
            advance((total - remaining - copied) * size)
            copied = total - remaining

        with closing(sqlite3.connect(target)) as copy:
            copy.execute("PRAGMA synchronous = OFF")  # it is read once, and goes
            source.backup(copy, pages=_PAGES, progress=step)
            copy.execute("PRAGMA journal_mode = DELETE")
        source.execute("ROLLBACK")
    connections.close()
    with Catalogue(target) as catalogue:
        problems = catalogue.integrity()
    if problems:
        raise LibraryDamaged(
            f"The catalogue {os.fspath(path)} is damaged ({problems[0]}); no backup was made.",
            "Mend: parecido verify --repair.",
        )
