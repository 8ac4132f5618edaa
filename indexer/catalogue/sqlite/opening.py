"""How a connection to the catalogue's SQLite file is opened, whatever the file holds."""

from __future__ import annotations

import math
import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from parecido.indexer.catalogue.sqlite.errors import BUSY_SECONDS, QUESTION_SECONDS
from parecido.indexer.errors import LibraryBusy, LibraryReadOnly
from parecido.indexer.system.filesystems import filesystem_of
from parecido.indexer.system.own_files import copy_aside

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

__all__ = [
    "ReadableCopy",
    "Reading",
    "be_careful",
    "has_journal",
    "is_denied",
    "open_for_writing",
    "open_to_read",
]

_STEPS = 1_000_000  # of SQLite's machine between two looks at the clock: some 20 ms
# the largest value that is ever written, a space of 2048 numbers in 256 directions, has 2 MB
_LARGEST_VALUE = 256 << 20
_COPY_BYTES = 4 << 30
_TRIES = 5


class Reading(sqlite3.Connection):
    """A connection whose questions end: one that runs for ten minutes is interrupted."""

    def __init__(self, *given: object, **named: object) -> None:
        super().__init__(*given, **named)  # type: ignore[arg-type]
        ends = self._ends = [math.inf]
        # the handler knows the time alone: with the connection it would keep itself alive
        self.set_progress_handler(lambda: time.monotonic() > ends[0], _STEPS)
        be_careful(self)

    def ask(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows that a query gives; SQLite's own checks take what they take."""
        if not query.startswith("PRAGMA "):
            self._ends[0] = time.monotonic() + QUESTION_SECONDS
        try:
            return self.execute(query, values).fetchall()
        finally:
            self._ends[0] = math.inf


def be_careful(connection: sqlite3.Connection) -> None:
    """Trust nothing that lies in the file: neither what it defines nor how it is built."""
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGEST_VALUE)


def open_to_read(path: Path, *, complete: bool = False) -> Reading:
    """A connection that only reads; ``complete`` where nobody can change the file any more."""
    uri = f"file:{quote(os.fsencode(path))}?mode=ro{'&immutable=1' if complete else ''}"
    connection = sqlite3.connect(
        uri,
        uri=True,
        timeout=BUSY_SECONDS,
        check_same_thread=False,
        isolation_level=None,
        factory=Reading,
    )
    try:
        connection.execute("PRAGMA schema_version").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def is_denied(error: sqlite3.Error) -> bool:
    """Whether the system refused a file; the last of these is said of a full disk, too."""
    return any(w in str(error) for w in ("unable to open", "readonly", "disk I/O"))


def has_journal(path: Path) -> bool:
    """Whether something that was written lies beside the file, in a journal."""
    return any(
        journal.exists() and journal.stat().st_size
        for journal in (path.with_name(f"{path.name}-{end}") for end in ("wal", "journal"))
    )


def open_for_writing(path: Path) -> sqlite3.Connection:
    """A connection for writing, synced at every commit.

    With a WAL journal, which readers read beside the writer.  They do so by memory that they share,
    and machines share none: SQLite forbids it on a network's file system.  There it is a rollback
    journal, with which readers and the writer wait for each other, a commit's few milliseconds.
    """
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None
    )
    be_careful(connection)
    # For a new file only.  A descriptor of 1280 numbers takes 2.6 kB, of which a page of SQLite's
    # usual 4 kB holds one: with 16 kB the file is a third smaller and read twice as fast.
    connection.execute("PRAGMA page_size = 16384")
    # an indexer commits once a second, so that a sync each time costs nothing
    if filesystem_of(path.parent).is_shared:
        _leave_wal(connection)
        connection.execute("PRAGMA synchronous = EXTRA")
    else:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _leave_wal(connection: sqlite3.Connection) -> None:
    """Give a file another journal; one that somebody reads keeps its own until the next time."""
    connection.execute("PRAGMA busy_timeout = 0")
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")


class ReadableCopy:
    """What is committed in a file and its journal, where SQLite cannot read the two as they are.

    A journal is read with the help of a third file, which a disk that cannot be written does not
    let SQLite make.  So both are copied among the system's temporary files, and one is made of
    them; again when either has changed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._made_of: list[tuple[int, ...]] = []
        self._folder: TemporaryDirectory[str] | None = None

    def path(self) -> Path:
        """The file, up to date.

        Raises :class:`~parecido.LibraryReadOnly` where it would be too large, ``LibraryBusy`` where
        somebody does not stop writing.
        """
        if self._folder is None or self._made_of != self._states():
            self._copy()
        assert self._folder is not None
        return Path(self._folder.name) / self._path.name

    def close(self) -> None:
        """Remove it."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _files(self) -> list[Path]:
        names = [self._path.name, f"{self._path.name}-wal", f"{self._path.name}-journal"]
        return [path for name in names if (path := self._path.with_name(name)).exists()]

    def _states(self) -> list[tuple[int, ...]]:
        states = [os.stat(path) for path in self._files()]
        return [(state.st_ino, state.st_size, state.st_mtime_ns) for state in states]

    def _copy(self) -> None:
        self.close()
        for _ in range(_TRIES):
            before = self._states()
            if sum(size for _, size, _ in before) > _COPY_BYTES:
                break
            folder = copy_aside(self._files(), "parecido-catalogue-")
            if folder is None:
                break
            if before == self._states():
                with closing(sqlite3.connect(Path(folder.name) / self._path.name)) as connection:
                    be_careful(connection)
                    connection.execute("PRAGMA journal_mode = DELETE")  # folds the journal into it
                self._folder, self._made_of = folder, before
                return
            folder.cleanup()
        else:
            raise LibraryBusy(
                f"The catalogue {self._path} is being written from elsewhere.", "Try again."
            )
        raise LibraryReadOnly(
            f"The library {self._path.parent} cannot be written, its last changes lie in a journal "
            "that cannot be read so, and for a copy of both it is too large or the folder for "
            "temporary files has too little space.",
            "Open it once where it can be written, or give TMPDIR more space.",
        )
