"""Connections to the catalogue's SQLite file that are kept between questions.

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

from parecido.indexer.catalogue.sqlite.errors import translate_errors
from parecido.indexer.catalogue.sqlite.known_schemas import check_schema
from parecido.indexer.catalogue.sqlite.opening import (
    ReadableCopy,
    Reading,
    has_journal,
    is_denied,
    open_for_writing,
    open_to_read,
)
from parecido.indexer.errors import LibraryDamaged, LibraryTooNew

__all__ = ["SCHEMA_VERSION", "Connections", "check_version", "open_for_writing"]


SCHEMA_VERSION = "0007"
"""Revision of the newest migration in ``migrations/versions``."""


_TYPES = {bytes: "path", int: "number", str: "text"}
_IDLE = 8  # connections kept for the next question; each holds a few descriptors of the process


class Connections:
    """Reading connections to one SQLite file, each used by one thread at a time.

    They are kept between questions, since opening one takes longer than most questions; not so when
    another file has taken the place, nor on media that cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._idle: deque[Reading] = deque()
        self._file: tuple[int, int] | None = None
        self._is_known = False
        """Whether the file was looked into: its tables are those of a catalogue."""
        self._copy = ReadableCopy(path)

    def rows(self, query: str, values: Sequence[Any] = (), kinds: tuple[type, ...] = ()) -> Any:
        """All rows that a query gives, as tuples; their first columns are of these types.

        SQLite's own types are only what a column prefers.  Raises
        :class:`~parecido.LibraryDamaged` for a value of another one.
        """
        with translate_errors(self.path), self.take() as connection:
            rows = connection.ask(query, values)
        for place, kind in enumerate(kinds):
            if any(type(row[place]) is not kind for row in rows):
                raise LibraryDamaged(
                    f"The catalogue {self.path} is damaged: it holds a value that is no "
                    f"{_TYPES[kind]}.",
                    "Save what can be read: parecido verify --repair.",
                )
        return rows

    @contextmanager
    def take(self) -> Iterator[Reading]:
        """A connection for this thread; given back at the end of the block unless it failed."""
        self._forget_replaced_files()
        file = self._file
        try:
            connection, keep = self._idle.pop(), True
        except IndexError:
            connection, keep = self._open()
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
        self._copy.close()

    def _open(self) -> tuple[Reading, bool]:
        """A connection, and whether it sees what writers commit later."""
        connection, keep = self._connect()
        try:
            if not self._is_known:
                check_schema(connection, self.path)
                self._is_known = True
        except BaseException:
            connection.close()
            raise
        return connection, keep

    def _connect(self) -> tuple[Reading, bool]:
        try:
            return open_to_read(self.path), True
        except sqlite3.OperationalError as error:
            if not is_denied(error) or not self.path.exists():
                raise
        # On a disk that cannot be written SQLite cannot make the files that WAL readers share.
        # With no journal beside it the file is complete and nobody can change it.
        path = self._copy.path() if has_journal(self.path) else self.path
        return open_to_read(path, complete=True), False

    def _forget_replaced_files(self) -> None:
        """Let go of connections to a file that was removed, or replaced by a repaired one."""
        try:
            status = os.stat(self.path)
            now = (status.st_dev, status.st_ino)
        except OSError:
            now = None
        if now != self._file:
            self.close()
            self._is_known = False
            self._file = now


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
