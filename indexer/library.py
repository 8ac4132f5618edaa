"""A library on disk: its folder, its catalogue, its writer lock, its vector index."""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from indexer.catalogue import Catalogue
from indexer.errors import (
    InvalidRequest,
    LibraryBusy,
    LibraryNotFound,
    LibraryReadOnly,
    NoSpace,
)
from indexer.gallery import Gallery, generation_of
from indexer.spec import QUANTISED_FOLDER, EncoderSpec

if TYPE_CHECKING:
    from indexer.vectors import VectorIndex
    from indexer.writer import CatalogueWriter

__all__ = ["Library", "default_library", "library_path", "locked", "writing_folder"]

CATALOGUE = "catalogue.sqlite"
VECTORS = "vectors"
NEIGHBOURS = "neighbours"
REGIONS = "regions"
THUMBNAILS = "thumbnails"
UPLOADS = "uploads"
LOCK = "lock"
WRITER = "writer.json"
_log = logging.getLogger("parecido")
_WAIT_SECONDS = 0.2  # between two looks at whether to go on waiting


def default_library() -> Path:
    """``$PARECIDO_LIBRARY``, or ``library`` in the user's data folder for parecido."""
    chosen = os.environ.get("PARECIDO_LIBRARY")
    if chosen:
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_data_dir("parecido")) / "library"


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

        Raises :class:`~indexer.errors.LibraryNotFound`, ``LibraryDamaged`` or ``LibraryTooNew``.
        """
        path = library_path(folder)
        if not (path / CATALOGUE).is_file():
            raise LibraryNotFound(
                f"There is no library at {path}.", "Make one: parecido index FOLDER."
            )
        return cls(path, Catalogue(path / CATALOGUE))

    @classmethod
    def create(cls, folder: str | os.PathLike[str] | None = None) -> Library:
        """The library in that folder, made where there is none.

        Raises :class:`~indexer.errors.InvalidRequest` where other things lie in the folder.
        """
        path = library_path(folder)
        if not (path / CATALOGUE).is_file():
            with writing_folder(path):
                path.mkdir(parents=True, exist_ok=True)
                _refuse_foreign(path)
            with locked(path, wait=True), writing_folder(path):
                if not (path / CATALOGUE).is_file():
                    # under another name first: killed half-way, it would be no catalogue for ever
                    from indexer.database import install
                    from indexer.writer import CatalogueWriter

                    fresh = path / f"{CATALOGUE}.new"
                    CatalogueWriter(fresh).close()
                    install(fresh, path / CATALOGUE)
        return cls.open(path)

    @contextmanager
    def writer(
        self, *, wait: bool = False, stop: Callable[[], bool] = lambda: False
    ) -> Iterator[CatalogueWriter]:
        """The catalogue for writing, behind the lock that only one process can hold.

        The lock dies with its holder.  Raises :class:`~indexer.errors.LibraryBusy`, naming the
        holder, unless told to ``wait``.
        """
        from indexer.writer import CatalogueWriter

        with (
            locked(self.folder, wait, stop),
            CatalogueWriter(self.folder / CATALOGUE) as writer,
        ):
            # of a catalogue that was removed or put back to an older state: before this one's
            # generation reaches theirs and they are taken for its own
            newest = writer.generation()
            patterns = f"{VECTORS}/*.faiss", f"{REGIONS}/*.faiss", f"{NEIGHBOURS}/*.npy"
            for path in (path for pattern in patterns for path in self.folder.glob(pattern)):
                with suppress(ValueError):
                    if generation_of(path) > newest:
                        path.unlink(missing_ok=True)
            try:
                yield writer
            finally:
                # SQLite folds the journal into the file when the last connection closes, if that
                # may write: so readers go first
                self.catalogue.close()

    @property
    def encoder(self) -> EncoderSpec | None:
        """The encoder of its descriptors; None before the first picture."""
        return self.catalogue.encoder()

    def vectors(self, catalogue: Catalogue | None = None) -> VectorIndex:
        """The vector index, up to date with the catalogue.  The library must have an encoder."""
        from indexer.vectors import VectorIndex

        spec = self.encoder
        if spec is None:
            raise LibraryNotFound(
                f"The library {self.folder} holds no pictures yet.",
                "Add some: parecido index FOLDER.",
            )
        gallery = self.gallery(catalogue)
        dimension = gallery.space.dimension if gallery.space else spec.dimension
        return VectorIndex(self.folder / VECTORS, gallery, dimension)

    def gallery(self, catalogue: Catalogue | None = None) -> Gallery:
        """The descriptors as searches compare them now."""
        catalogue = catalogue or self.catalogue
        return Gallery(catalogue, catalogue.space())

    @property
    def has_vectors(self) -> bool:
        """Whether there is a file with the vector index, of whatever state."""
        return any((self.folder / VECTORS).glob("*.faiss"))

    def remove_vectors(self) -> None:
        """Delete the vector index and the neighbours; they are made again from the catalogue."""
        for folder in (VECTORS, NEIGHBOURS):
            for path in (self.folder / folder).glob("*"):
                path.unlink(missing_ok=True)

    @property
    def disk_bytes(self) -> int:
        """Bytes of all the library's files."""
        total = 0
        for path in self.folder.rglob("*"):
            with suppress(FileNotFoundError):  # a writer's temporary files come and go
                status = path.stat()
                total += status.st_size if stat.S_ISREG(status.st_mode) else 0
        return total


def library_path(folder: str | os.PathLike[str] | None) -> Path:
    """The absolute path of a library's folder; None is the user's own."""
    return Path(os.path.abspath(Path(folder or default_library()).expanduser()))


def _refuse_foreign(folder: Path) -> None:
    """A new library goes into a folder of its own, never among somebody's pictures."""
    own = {LOCK, WRITER, f"{WRITER}.tmp", VECTORS, NEIGHBOURS, REGIONS, THUMBNAILS, UPLOADS}
    foreign = sorted(
        name
        for name in os.listdir(folder)
        if name not in own and CATALOGUE not in name and not _is_model(folder / name)
    )
    if foreign:
        raise InvalidRequest(
            f"{folder} is no library, and other things lie in it ({foreign[0]}).",
            "Choose a new or an empty folder with --library.",
        )


def _is_model(path: Path) -> bool:
    """Whether a folder holds a quantised model, or one that was being made, and nothing else."""
    if path.name == QUANTISED_FOLDER:
        own = {"model.bin", "model.xml"}
    elif path.name.startswith(f"{QUANTISED_FOLDER}.new-"):
        own = {"model", "pictures"}
    else:
        return False
    return path.is_dir() and set(os.listdir(path)) <= own


@contextmanager
def locked(
    folder: Path, wait: bool = False, stop: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    """Hold a library's writer lock, which dies with the process.

    Raises :class:`~indexer.errors.LibraryBusy`, naming the holder, unless told to ``wait``; then
    only when ``stop`` returns true.
    """
    import filelock

    lock = filelock.FileLock(folder / LOCK)
    told = False
    with writing_folder(folder):
        while not lock.is_locked:
            try:
                lock.acquire(timeout=_WAIT_SECONDS if wait else 0)
            except filelock.Timeout:
                if not wait or stop():
                    raise LibraryBusy(
                        f"The library {folder} is being written by {_holder(folder)}.",
                        "Wait for it to end, or add --wait.",
                    ) from None
                if not told:
                    _log.info("Waiting for %s.", _holder(folder))
                    told = True
    try:
        with writing_folder(folder):
            _sign(folder)
        yield
    finally:
        with suppress(OSError):
            (folder / WRITER).unlink()
        lock.release()


def _sign(folder: Path) -> None:
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "command": " ".join(sys.argv)[:200],
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    temporary = folder / f"{WRITER}.tmp"
    temporary.write_text(json.dumps(holder), "utf-8", "replace")
    os.replace(temporary, folder / WRITER)


def _holder(folder: Path) -> str:
    try:
        who = json.loads((folder / WRITER).read_text("utf-8"))
        return f"process {who['pid']} on {who['host']} since {who['since']} ({who['command']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


@contextmanager
def writing_folder(folder: Path) -> Iterator[None]:
    """Map the system's refusals to write into a folder."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise LibraryReadOnly(
                f"The library {folder} cannot be written; nothing was changed.",
                "Check its permissions, or choose another with --library.",
            ) from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(
                f"The disk that holds the library {folder} is full.",
                "Free some space and run the command again.",
            ) from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            raise LibraryNotFound(
                f"{folder} is not a folder.", "Choose a folder with --library."
            ) from error
        raise
