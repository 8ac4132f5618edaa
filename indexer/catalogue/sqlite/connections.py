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
from typing import Any, TypeVar
from urllib.parse import quote

from parecido.indexer.errors import (
    LibraryBusy,
    LibraryDamaged,
    LibraryNotFound,
    LibraryReadOnly,
    LibraryTooNew,
    NoSpace,
    ParecidoError,
)

__all__ = [
    "BUSY_SECONDS",
    "SCHEMA_VERSION",
    "Connections",
    "check_version",
    "chunks",
    "explained",
    "marks",
    "open_for_writing",
]

BUSY_SECONDS = 30

SCHEMA_VERSION = "0005"
"""Revision of the newest migration in ``migrations/versions``."""

_CHUNK = 500  # values in one IN (…), below every SQLite's limit
_T = TypeVar("_T")
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
        with explained(self.path), self.take() as connection:
            return connection.execute(query, values).fetchall()

    @contextmanager
    def take(self) -> Iterator[sqlite3.Connection]:
        """A connection for this thread; given back at the end of the block unless it failed."""
        self._forget_replaced()
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
        self._forget_replaced()  # it may have been during the question
        if keep and file == self._file and len(self._idle) < _IDLE:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close what is idle; a later question opens a new connection."""
        while self._idle:
            self._idle.pop().close()

    def _forget_replaced(self) -> None:
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


def chunks(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Pieces short enough for one ``IN (…)``."""
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]


def marks(values: Sequence[Any]) -> str:
    """A question mark for each value, for what stands between the brackets."""
    return ", ".join("?" * len(values))


def check_version(found: str | None, path: Path) -> None:
    """Raise :class:`LibraryTooNew` for a revision after this program's own.

    And ``LibraryDamaged`` for what is no revision.
    """
    if found is not None and not re.fullmatch(r"\d{4}", found):
        raise LibraryDamaged(
            f"The catalogue {path} is damaged (it does not tell its version).",
            "Save what can be read: parecido verify --repair.",
        )
    if found is not None and found > SCHEMA_VERSION:
        raise LibraryTooNew(
            f"The library {path.parent} has schema {found}, written by a newer parecido; this one "
            f"reads up to {SCHEMA_VERSION}.",
            "Upgrade: pip install --upgrade parecido.",
        )


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Map SQLite's errors to the project's, at this one seam."""
    try:
        yield
    except sqlite3.Error as error:
        raise _explain(path, error) from error
    except Exception as error:
        # SQLAlchemy wraps the driver's error and keeps it as this attribute
        if isinstance(getattr(error, "orig", None), sqlite3.Error):
            raise _explain(path, error.orig) from error  # type: ignore[attr-defined]
        raise


def _explain(path: Path, error: Any) -> ParecidoError:
    said = str(error)
    folder = path.parent
    if "full" in said:
        return NoSpace(
            f"The disk that holds the library {folder} is full; everything committed is kept.",
            "Free some space and run the command again.",
        )
    if "readonly" in said or "read-only" in said:
        return LibraryReadOnly(
            f"The library {folder} cannot be written; nothing was changed.",
            "Check its permissions, or choose another with --library.",
        )
    if "locked" in said:
        return LibraryBusy(
            f"The catalogue {path} stayed locked for {BUSY_SECONDS} seconds.",
            "Another program holds it: wait for it, or end it.",
        )
    if "unable to open" in said:
        if not path.exists():
            return LibraryNotFound(
                f"There is no library at {folder}.", "Make one: parecido index FOLDER."
            )
        return LibraryReadOnly(
            f"The catalogue {path} cannot be opened.",
            "Check the permissions of the file and its folder.",
        )
    if "disk I/O error" in said:
        return NoSpace(
            f"The disk under {folder} refused a read or a write; everything committed is kept.",
            "Check the disk and its free space.",
        )
    return LibraryDamaged(
        f"The catalogue {path} is damaged ({said}).",
        "Save what can be read: parecido verify --repair.",
    )
