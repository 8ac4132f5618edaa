"""All that is written to the catalogue.

Writing happens in batches of :mod:`indexer.changes`, each in one transaction with everything that
belongs to it, so a batch is either wholly there or not at all.  SQLAlchemy is imported with the
first batch: a run that finds nothing new never needs it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING

from indexer.catalogue import Catalogue, Root
from indexer.changes import Change
from indexer.spec import EncoderSpec
from indexer.sqlite import SCHEMA_VERSION, explained, open_for_writing

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

__all__ = ["CatalogueWriter"]


class CatalogueWriter(Catalogue):
    """The catalogue file of a library, open for reading and writing; made where it is missing.

    Used behind the library's writer lock.
    """

    def close(self) -> None:
        """Close every connection, and fold the journal into the file.

        SQLite does that by itself only where the last connection that closes may write.
        """
        super().close()
        if "_engine" in self.__dict__:
            self._engine.dispose()
        journal = self.path.with_name(self.path.name + "-wal")
        # not on a full disk: the journal stays, and nothing is lost
        with suppress(OSError, sqlite3.Error):
            if journal.stat().st_size:
                with closing(open_for_writing(self.path)) as connection:
                    connection.execute("PRAGMA busy_timeout = 1000")  # a reader may be in the way
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @cached_property
    def _engine(self) -> Engine:
        from indexer.database import engine

        return engine(self.path)

    def _check_version(self) -> None:
        with explained(self.path), closing(open_for_writing(self.path)) as connection:
            # told now rather than after the first minute's work, where it cannot be written
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        found = self.version()
        if found != SCHEMA_VERSION:
            from indexer.database import migrate

            with explained(self.path):
                migrate(self._engine, self.path)
            if found == "0001":  # which did not remember what left
                for path in self.path.parent.glob("vectors/*.faiss"):
                    path.unlink(missing_ok=True)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with explained(self.path), self._engine.connect() as connection, connection.begin():
            yield connection

    def write(
        self,
        changes: Iterable[Change],
        *,
        encoder: EncoderSpec | None = None,
        seen_roots: Iterable[Root] = (),
    ) -> None:
        """Apply a batch in one transaction, synced to disk when this returns."""
        from indexer.apply import apply, put, put_root

        with self._transaction() as connection:
            generation = self._next_generation(connection)
            if encoder is not None:
                put(connection, "encoder", encoder.to_json())
            for root in seen_roots:
                put_root(connection, *root)
            if apply(connection, changes, generation):
                put(connection, "generation", str(generation))

    def keep_exact_index(self, wanted: bool) -> None:
        """Ask for an exhaustive index at any size, or for the one that suits the size."""
        from indexer.apply import put

        with self._transaction() as connection:
            put(connection, "index", "exact" if wanted else "auto")

    def drop_roots(self, paths: Iterable[bytes]) -> None:
        """Forget that these were given to be indexed."""
        from indexer.apply import drop_root

        paths = list(paths)
        if not paths:
            return
        with self._transaction() as connection:
            for path in paths:
                drop_root(connection, path)

    def drop_orphans(self) -> int:
        """Remove descriptors without a picture and pictures without a descriptor."""
        from indexer.apply import drop_orphans, put

        with self._transaction() as connection:
            generation = self._next_generation(connection)
            gone = drop_orphans(connection, generation)
            if gone:
                put(connection, "generation", str(generation))
            return gone

    def _next_generation(self, connection: Connection) -> int:
        from indexer.apply import fact

        return int(fact(connection, "generation") or 0) + 1
