"""A library on disk: opened, made, and written behind its lock."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from parecido.indexer.catalogue.sqlite.errors import BUSY_SECONDS
from parecido.indexer.catalogue.sqlite.opening import open_for_writing
from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.errors import LibraryNotFound
from parecido.indexer.library.contents import check_own, refuse_foreign
from parecido.indexer.library.indexes import open_gallery, open_regions, open_vectors
from parecido.indexer.library.layout import CATALOGUE, library_path
from parecido.indexer.library.lock import hold_lock
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.system.disk import writing_folder
from parecido.indexer.system.filesystems import filesystem_of
from parecido.indexer.vectors.gallery import Gallery

if TYPE_CHECKING:
    from parecido.indexer.library.writing import Writing
    from parecido.indexer.vectors.local.index import VectorIndex

__all__ = ["Library"]

_log = logging.getLogger("parecido")


class Library:
    """One indexed collection: a folder with a catalogue, a vector index and a lock.

    Use :meth:`open` or :meth:`create`; close it, or use it in a ``with`` block.
    """

    def __init__(self, folder: Path, catalogue: Catalogue) -> None:
        self.folder = folder
        self.catalogue = catalogue

    def __repr__(self) -> str:
        return f"<Library {self.folder}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the catalogue."""
        self.catalogue.close()

    @classmethod
    def open(cls, folder: str | os.PathLike[str] | None = None) -> Library:
        """The library in that folder, for reading; by default the user's own.

        One of an earlier version is brought up to date first, behind its lock.  Raises
        :class:`~parecido.LibraryNotFound`, ``LibraryDamaged`` or ``LibraryTooNew``; for an older
        one that must be brought up to date ``LibraryReadOnly`` or ``LibraryBusy``.
        """
        path = library_path(folder)
        check_own(path)
        if not (path / CATALOGUE).is_file():
            raise LibraryNotFound(
                f"There is no library at {path}.", "Make one: parecido index FOLDER."
            )
        catalogue = Catalogue(path / CATALOGUE)
        if catalogue.is_outdated:
            catalogue.close()
            _upgrade(path)
            catalogue = Catalogue(path / CATALOGUE)
        return cls(path, catalogue)

    @classmethod
    def create(cls, folder: str | os.PathLike[str] | None = None) -> Library:
        """The library in that folder, made where there is none.

        Raises :class:`~parecido.InvalidRequest` where other things lie in the folder.
        """
        path = library_path(folder)
        check_own(path)
        if not (path / CATALOGUE).is_file():
            with writing_folder(path):
                path.mkdir(parents=True, exist_ok=True)
                refuse_foreign(path)
            with hold_lock(path, wait=True), writing_folder(path):
                if not (path / CATALOGUE).is_file():
                    # under another name first: killed half-way, it would be no catalogue for ever
                    from parecido.indexer.catalogue.sqlite.upgrade import install
                    from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter

                    fresh = path / f"{CATALOGUE}.new"
                    CatalogueWriter(fresh).close()
                    install(fresh, path / CATALOGUE)
                    if told := filesystem_of(path).told:
                        _log.warning("The new library %s lies %s.", path, told)
        return cls.open(path)

    @contextmanager
    def writer(
        self, *, wait: bool = False, stop: Callable[[], bool] = lambda: False
    ) -> Iterator[Writing]:
        """The library for writing, behind the lock that only one process can hold.

        The lock dies with its holder.  Raises :class:`~parecido.LibraryBusy`, naming the
        holder, unless told to ``wait``.
        """
        from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter
        from parecido.indexer.library.writing import Writing

        with (
            hold_lock(self.folder, wait, stop) as holding,
            self._without_wal(),
            CatalogueWriter(self.folder / CATALOGUE, holding.check) as catalogue,
        ):
            writing = Writing(self.folder, catalogue)
            writing.remove_newer()
            try:
                yield writing
            finally:
                # SQLite folds the journal into the file when the last connection closes, if that
                # may write: so readers go first
                self.catalogue.close()

    @contextmanager
    def _without_wal(self) -> Iterator[None]:
        """Let a catalogue that came onto a shared file system leave its WAL journal there.

        SQLite does that only where nobody reads; other processes' readers put it off.
        """
        if filesystem_of(self.folder).is_shared:
            self.catalogue.close()
            with suppress(sqlite3.Error):  # who writes tells it
                open_for_writing(self.folder / CATALOGUE).close()
        yield

    @property
    def encoder(self) -> EncoderSpec | None:
        """The encoder of its descriptors; None before the first picture."""
        return self.catalogue.settings.encoder()

    def vectors(self) -> VectorIndex:
        """The index of pictures, up to date with the catalogue.

        Raises :class:`~parecido.LibraryNotFound` where the library holds no pictures yet.
        """
        return open_vectors(self.folder, self.catalogue)

    def regions(self) -> VectorIndex:
        """The index of regions, up to date with the catalogue; as :meth:`vectors`."""
        return open_regions(self.folder, self.catalogue)

    def gallery(self) -> Gallery:
        """The descriptors as searches compare them now."""
        return open_gallery(self.catalogue)

    @property
    def disk_bytes(self) -> int:
        """Bytes of all the library's files."""
        total = 0
        for path in self.folder.rglob("*"):
            with suppress(FileNotFoundError):  # a writer's temporary files come and go
                status = path.stat()
                total += status.st_size if stat.S_ISREG(status.st_mode) else 0
        return total


def _upgrade(folder: Path) -> None:
    """Bring a library of an earlier version up to date, behind its lock.

    Raises :class:`~parecido.LibraryBusy` where another writer does not come to its end.
    """
    from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter

    enough = time.monotonic() + 2 * BUSY_SECONDS  # more than the silence that frees a library
    with hold_lock(folder, wait=True, stop=lambda: time.monotonic() > enough):
        CatalogueWriter(folder / CATALOGUE).close()
