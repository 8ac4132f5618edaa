"""All that is written to the catalogue.

Writing happens in batches of :mod:`parecido.indexer.catalogue.changes`, each in one transaction
with everything that belongs to it, so a batch is either wholly there or not at all.  SQLAlchemy is
imported with the first batch: a run that finds nothing new never needs it.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from parecido.indexer.catalogue.changes import Change, Own, Withdraw
from parecido.indexer.catalogue.known import Mount, Root
from parecido.indexer.catalogue.sqlite.connections import SCHEMA_VERSION, open_for_writing
from parecido.indexer.catalogue.sqlite.errors import translate_errors
from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.catalogue.sqlite.reading.uploads import LEAVING
from parecido.indexer.errors import LibraryDamaged
from parecido.indexer.learning.chance import Chance
from parecido.indexer.learning.space import Space
from parecido.indexer.learning.space_effect import Judgement
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.system.kinds import INDEXES
from parecido.indexer.system.own_files import remove_own

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

__all__ = ["CatalogueWriter"]


class CatalogueWriter(Catalogue):
    """The catalogue file of a library, open for reading and writing; made where it is missing.

    Used behind the library's writer lock.
    """

    def __init__(self, path: Path, check: Callable[[], None] | None = None) -> None:
        self._check = check
        """Asked before each commit; what it raises undoes the transaction."""
        super().__init__(path)

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
        from parecido.indexer.catalogue.sqlite.upgrade import engine

        return engine(self.path, self._check)

    def _check_version(self) -> None:
        self._check_kind()
        with translate_errors(self.path), closing(open_for_writing(self.path)) as connection:
            # told now rather than after the first minute's work, where it cannot be written
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        found = self.version()
        if found != SCHEMA_VERSION:
            from parecido.indexer.catalogue.sqlite.upgrade import migrate

            with translate_errors(self.path):
                migrate(self._engine, self.path)
            if found == "0001":  # which did not remember what left
                remove_own(self.path.parent / "vectors", INDEXES)

    def _check_kind(self) -> None:
        """Raise ``LibraryDamaged`` for another program's database, before anything is written."""
        if not self.path.exists() or not self.path.stat().st_size:
            return
        with translate_errors(self.path):
            names = {row[0] for row in self._rows("SELECT name FROM sqlite_master")}
        if names and "alembic_version" not in names:
            raise LibraryDamaged(
                f"{self.path} is a database of another program; nothing was changed.",
                "Move it out of the library's folder.",
            )

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        from parecido.indexer.catalogue.sqlite.sealing.seals import Seals

        with translate_errors(self.path), self._engine.connect() as connection:
            seals = connection.info.get("seals")
            if seals is None:
                raw = connection.connection.driver_connection
                assert isinstance(raw, sqlite3.Connection)
                # before a transaction begins, which would take its triggers back with it
                seals = connection.info["seals"] = Seals(raw)
            with connection.begin(), seals.transaction():
                yield connection

    def write(
        self,
        changes: Iterable[Change],
        *,
        encoder: EncoderSpec | None = None,
        seen_roots: Iterable[Root] = (),
        seen_mounts: Iterable[Mount] = (),
    ) -> None:
        """Apply a batch in one transaction, synced to disk when this returns."""
        from parecido.indexer.catalogue.sqlite.writing.statements import (
            put_mount,
            put_root,
            set_setting,
            write_changes,
        )

        with self._transaction() as connection:
            generation = self._next_generation(connection)
            if encoder is not None:
                _use_encoder(connection, encoder)
            for root in seen_roots:
                put_root(connection, root)
            for mount in seen_mounts:
                put_mount(connection, mount)
            if write_changes(connection, changes, generation):
                set_setting(connection, "generation", str(generation))

    def keep_exact_index(self, wanted: bool) -> None:
        """Ask for an exhaustive index at any size, or for the one that suits the size."""
        from parecido.indexer.catalogue.sqlite.writing.statements import set_setting

        with self._transaction() as connection:
            set_setting(connection, "index", "exact" if wanted else "auto")

    def ask_dimension(self, wanted: str) -> None:
        """Remember which dimension the library's space is to have; see ``Catalogue.dimension``."""
        from parecido.indexer.catalogue.sqlite.writing.statements import set_setting

        with self._transaction() as connection:
            set_setting(connection, "dimension", wanted)

    def rerank_by_default(self, wanted: bool) -> None:
        """Remember whether searches expand and re-rank unless told otherwise."""
        from parecido.indexer.catalogue.sqlite.writing.statements import set_setting

        with self._transaction() as connection:
            set_setting(connection, "think_twice", "on" if wanted else "off")

    def take_over_uploads(self, folder: Path) -> None:
        """Give rows to what servers of earlier versions put into that folder."""
        from parecido.indexer.catalogue.sqlite.writing.statements import set_setting
        from parecido.indexer.catalogue.sqlite.writing.takeover import find_earlier_uploads

        found = find_earlier_uploads(folder, self.hashes_between)
        found = [upload for upload in found if self.uploads.at(upload.path) is None]
        leaving = [Withdraw(upload.path) for upload in found if upload.state == LEAVING]
        self.write([*(Own(upload.path, upload.content_hash) for upload in found), *leaving])
        folders = {*(self.settings.uploads_taken_over() or ()), os.fspath(folder)}
        with self._transaction() as connection:
            set_setting(connection, "uploads", json.dumps(sorted(folders)))

    def use_space(self, space: Space | None, judgement: Judgement | None = None) -> None:
        """Let searches compare descriptors in another space, from one moment to the next."""
        from parecido.indexer.catalogue.sqlite.writing.statements import put_space, set_setting

        with self._transaction() as connection:
            put_space(connection, space)
            set_setting(connection, "space", space.fingerprint if space is not None else "")
            set_setting(
                connection, "judgement", judgement.to_json() if judgement is not None else ""
            )

    def keep_regions(self, wanted: bool) -> None:
        """Keep regional descriptors from now on, or let them go.

        Pictures that are there already wait for theirs; see
        :mod:`parecido.indexer.catalogue.sqlite.reading.regional`.
        """
        from parecido.indexer.catalogue.sqlite.writing.statements import keep_regions

        with self._transaction() as connection:
            keep_regions(connection, wanted)

    def await_regions(self, ids: Sequence[int]) -> None:
        """Let these pictures wait for their regional descriptors, and all that have no row."""
        from parecido.indexer.catalogue.sqlite.writing.statements import await_regions

        with self._transaction() as connection:
            await_regions(connection, ids)

    def use_regional_space(self, space: Space | None) -> None:
        """Let searches compare regions in another space, from one moment to the next."""
        from parecido.indexer.catalogue.sqlite.writing.statements import put_space

        with self._transaction() as connection:
            put_space(connection, space, "regional_space")

    def learn_chance(self, chance: Chance) -> None:
        """Keep what was learned of chance."""
        from parecido.indexer.catalogue.sqlite.writing.statements import set_setting

        with self._transaction() as connection:
            set_setting(connection, "chance", chance.to_json())

    def drop_roots(self, paths: Iterable[bytes]) -> None:
        """Forget that these were given to be indexed."""
        paths = list(paths)
        if not paths:
            return
        from parecido.indexer.catalogue.sqlite.writing.statements import drop_root

        with self._transaction() as connection:
            for path in paths:
                drop_root(connection, path)

    def drop_mounts(self, paths: Iterable[bytes]) -> None:
        """Forget that other file systems were mounted there."""
        paths = list(paths)
        if not paths:
            return
        from parecido.indexer.catalogue.sqlite.writing.statements import drop_mount

        with self._transaction() as connection:
            for path in paths:
                drop_mount(connection, path)

    def drop_orphans(self) -> int:
        """Remove descriptors and whatever else is of no picture; how many rows."""
        from parecido.indexer.catalogue.sqlite.writing.statements import drop_orphans, set_setting

        with self._transaction() as connection:
            generation = self._next_generation(connection)
            gone = drop_orphans(connection)
            if gone:
                set_setting(connection, "generation", str(generation))
            return gone

    def _next_generation(self, connection: Connection) -> int:
        from parecido.indexer.catalogue.sqlite.writing.statements import setting

        return int(setting(connection, "generation") or 0) + 1


def _use_encoder(connection: Connection, encoder: EncoderSpec) -> None:
    from parecido.indexer.catalogue.sqlite.writing.statements import put_space, set_setting, setting

    before = setting(connection, "encoder")
    if before and EncoderSpec.from_json(before).fingerprint != encoder.fingerprint:
        for key in ("space", "regional_space"):  # learned from the other one's descriptors
            put_space(connection, None, key)
    set_setting(connection, "encoder", encoder.to_json())
