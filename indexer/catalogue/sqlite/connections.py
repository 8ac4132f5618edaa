"""How the catalogue's SQLite file is opened for reading, and what its errors mean.

Without SQLAlchemy: its import takes as long as everything else that a search imports, and a search
only asks a handful of fixed questions.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from parecido.indexer.catalogue.sqlite.errors import BUSY_SECONDS, translate_errors
from parecido.indexer.errors import LibraryDamaged, LibraryTooNew

__all__ = ["SCHEMA_VERSION", "Connections", "check_version", "open_for_writing"]


SCHEMA_VERSION = "0005"
"""Revision of the newest migration in ``migrations/versions``."""


_IDLE = 8  # connections kept for the next question; each holds a few descriptors of the process


class Connections:
    """Reading connections to one SQLite file, each used by one thread at a time.

    They are kept between questions, since opening one takes longer than most questions; not so when
    another file has taken the place, nor on media that cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._idle: deque[sqlite3.Connection] = deque()
        self._file: tuple[int, int] | None = None

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows that a query gives, as tuples."""
        with translate_errors(self.path), self.take() as connection:
            return connection.execute(query, values).fetchall()

    @contextmanager
    def take(self) -> Iterator[sqlite3.Connection]:
        """A connection for this thread; given back at the end of the block unless it failed."""
        self._forget_replaced_files()
        file = self._file
        try:
            connection, keep = self._idle.pop(), True
        except IndexError:
            connection, keep = _open_for_reading(self.path)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._forget_replaced_files()  # it may have been during the question
        if keep and file == self._file and len(self._idle) < _IDLE:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close what is idle; a later question opens a new connection."""
        while self._idle:
            self._idle.pop().close()

    def _forget_replaced_files(self) -> None:
        """Let go of connections to a file that was removed, or replaced by a repaired one."""
        try:
            status = os.stat(self.path)
            now = (status.st_dev, status.st_ino)
        except OSError:
            now = None
        if now != self._file:
            self.close()
            self._file = now


def _open_for_reading(path: Path) -> tuple[sqlite3.Connection, bool]:
    """A connection, and whether it sees what writers commit later."""
    uri = f"file:{quote(os.fsencode(path))}?mode=ro"
    connection = sqlite3.connect(
        uri, uri=True, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None
    )
    try:
        connection.execute("PRAGMA schema_version").fetchone()
        return connection, True
    except sqlite3.OperationalError as error:
        connection.close()
        wal = path.with_name(path.name + "-wal")
        # the last where the disk is full
        is_denied = any(w in str(error) for w in ("unable to open", "readonly", "disk I/O"))
        if not is_denied or not path.exists() or (wal.exists() and wal.stat().st_size > 0):
            raise
        # On a disk that cannot be written SQLite cannot make the files that WAL readers share.
        # With no journal beside it the file is complete and nobody can change it.
        connection = sqlite3.connect(
            uri + "&immutable=1", uri=True, check_same_thread=False, isolation_level=None
        )
        return connection, False


def open_for_writing(path: Path) -> sqlite3.Connection:
    """A connection for writing: WAL journal, synced at every commit."""
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None
    )
    # For a new file only.  A descriptor of 1280 numbers takes 2.6 kB, of which a page of SQLite's
    # usual 4 kB holds one: with 16 kB the file is a third smaller and read twice as fast.
    connection.execute("PRAGMA page_size = 16384")
    connection.execute("PRAGMA journal_mode = WAL")
    # an indexer commits once a second, so that a sync each time costs nothing
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def check_version(found: str | None, path: Path) -> None:
    """Raise :class:`LibraryTooNew` for a revision after this program's own.

    And ``LibraryDamaged`` for what is no revision.
    """
    if found is not None and not re.fullmatch(r"\d{4}", found):
        raise LibraryDamaged(
            f"The catalogue {path} is damaged (it does not record its version).",
            "Save what can be read: parecido verify --repair.",
        )
    if found is not None and found > SCHEMA_VERSION:
        raise LibraryTooNew(
            f"The library {path.parent} has schema {found}, written by a newer parecido; this one "
            f"reads up to {SCHEMA_VERSION}.",
            "Upgrade: pip install --upgrade parecido.",
        )
