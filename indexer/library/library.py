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
from typing import TYPE_CHECKING, BinaryIO, Self

from parecido.indexer.catalogue.sqlite.errors import BUSY_SECONDS
from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.errors import (
    InvalidRequest,
    LibraryBusy,
    LibraryNotFound,
    LibraryReadOnly,
    NoSpace,
)
from parecido.indexer.records.encoder import QUANTISED_FOLDER, EncoderSpec
from parecido.indexer.system import kinds
from parecido.indexer.system.kinds import INDEXES, JOURNALS, LOCK, WORK_MARK, WRITER, Kind, is_lock
from parecido.indexer.system.own_files import (
    NotOurs,
    is_file,
    is_folder,
    is_foreign,
    is_own,
    own_files,
    remove_own,
    replacing,
)
from parecido.indexer.vectors.gallery import Gallery, generation_of

if TYPE_CHECKING:
    from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter
    from parecido.indexer.vectors.local.index import VectorIndex

__all__ = ["Library", "default_library", "hold_lock", "library_path", "writing_folder"]

CATALOGUE = "catalogue.sqlite"
VECTORS = "vectors"
NEIGHBOURS = "neighbours"
REGIONS = "regions"
THUMBNAILS = "thumbnails"
UPLOADS = "uploads"
_FOLDERS = {VECTORS: INDEXES, NEIGHBOURS: kinds.NEIGHBOURS, REGIONS: INDEXES}
_SIGNATURE = "writer.json"
_WRITERS = WRITER.unfinished()
# what these files hold, and what is wrong with one that holds something else
_CONTENTS = {
    LOCK: (is_lock, "holds something, and the library's own lock is empty"),
    _SIGNATURE: (WRITER.is_made, "does not tell who writes the library"),
    **{
        f"{name}-{end}": (is_made, "is no journal of SQLite's")
        for name in (CATALOGUE, f"{CATALOGUE}.new")
        for end, is_made in JOURNALS.items()
    },
}
_log = logging.getLogger("parecido")
_LOOKS, _LOOK_SECONDS = 5, 0.02
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

        One of an earlier version is brought up to date first, behind its lock.  Raises
        :class:`~parecido.LibraryNotFound`, ``LibraryDamaged`` or ``LibraryTooNew``; for an older
        one that must be brought up to date ``LibraryReadOnly`` or ``LibraryBusy``.
        """
        path = library_path(folder)
        _check_own(path)
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
        _check_own(path)
        if not (path / CATALOGUE).is_file():
            with writing_folder(path):
                path.mkdir(parents=True, exist_ok=True)
                _refuse_foreign(path)
            with hold_lock(path, wait=True), writing_folder(path):
                if not (path / CATALOGUE).is_file():
                    # under another name first: killed half-way, it would be no catalogue for ever
                    from parecido.indexer.catalogue.sqlite.upgrade import install
                    from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter

                    fresh = path / f"{CATALOGUE}.new"
                    CatalogueWriter(fresh).close()
                    install(fresh, path / CATALOGUE)
        return cls.open(path)

    @contextmanager
    def writer(
        self, *, wait: bool = False, stop: Callable[[], bool] = lambda: False
    ) -> Iterator[CatalogueWriter]:
        """The catalogue for writing, behind the lock that only one process can hold.

        The lock dies with its holder.  Raises :class:`~parecido.LibraryBusy`, naming the
        holder, unless told to ``wait``.
        """
        from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter

        with (
            hold_lock(self.folder, wait, stop),
            CatalogueWriter(self.folder / CATALOGUE) as writer,
        ):
            # of a catalogue that was removed or put back to an older state: before this one's
            # generation reaches theirs and they are taken for its own
            newest = writer.generation()
            derived = ((VECTORS, INDEXES), (REGIONS, INDEXES), (NEIGHBOURS, kinds.NEIGHBOURS))
            for name, names in derived:
                files = own_files(self.folder / name, names)
                kept = {path.name for path in files if generation_of(path) <= newest}
                remove_own(self.folder / name, names, kept, unfinished=False)
            try:
                yield writer
            finally:
                # SQLite folds the journal into the file when the last connection closes, if that
                # may write: so readers go first
                self.catalogue.close()

    @property
    def encoder(self) -> EncoderSpec | None:
        """The encoder of its descriptors; None before the first picture."""
        return self.catalogue.settings.encoder()

    def vectors(self, catalogue: Catalogue | None = None) -> VectorIndex:
        """The vector index, up to date with the catalogue.  The library must have an encoder."""
        from parecido.indexer.vectors.local.index import VectorIndex

        spec = self.encoder
        if spec is None:
            raise LibraryNotFound(
                f"The library {self.folder} holds no pictures yet.",
                "Add some: parecido index FOLDER.",
            )
        gallery = self.gallery(catalogue)
        dimension = gallery.space.dimension if gallery.space else spec.dimension
        exact = (catalogue or self.catalogue).settings.keeps_exact_index
        return VectorIndex(self.folder / VECTORS, gallery, dimension, exact)

    def gallery(self, catalogue: Catalogue | None = None) -> Gallery:
        """The descriptors as searches compare them now."""
        catalogue = catalogue or self.catalogue
        return Gallery(catalogue.descriptors, catalogue.settings.space())

    @property
    def has_vectors(self) -> bool:
        """Whether there is a file with the vector index, of whatever state."""
        return bool(own_files(self.folder / VECTORS, INDEXES))

    def remove_vectors(self) -> None:
        """Delete the vector index and the neighbours; they are made again from the catalogue."""
        remove_own(self.folder / VECTORS, INDEXES)
        remove_own(self.folder / NEIGHBOURS, kinds.NEIGHBOURS)

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


def _upgrade(folder: Path) -> None:
    """Bring a library of an earlier version up to date, behind its lock.

    Raises :class:`~parecido.LibraryBusy` where another writer does not come to its end.
    """
    from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter

    enough = time.monotonic() + BUSY_SECONDS
    with hold_lock(folder, wait=True, stop=lambda: time.monotonic() > enough):
        CatalogueWriter(folder / CATALOGUE).close()


def _refuse_foreign(folder: Path) -> None:
    """A new library goes into a folder of its own, never among somebody's pictures."""
    foreign = sorted(name for name in os.listdir(folder) if not _is_left_over(folder / name))
    if foreign:
        raise InvalidRequest(
            f"{folder} is no library, and other things lie in it ({foreign[0]}).",
            "Choose a new or an empty folder with --library.",
        )


def _is_left_over(path: Path) -> bool:
    """Whether this is what a killed creation or a lost catalogue leaves, and holds nothing else."""
    if is_file(path):
        return _is_known(path.name)
    if path.name == UPLOADS:
        return is_folder(path)  # nothing in it is ever taken for the library's own by its place
    if path.name == THUMBNAILS:
        sizes = [path / name for name in os.listdir(path)] if is_folder(path) else []
        return is_folder(path) and all(
            size.name.isdecimal() and _holds_only(size, kinds.THUMBNAILS) for size in sizes
        )
    if path.name == QUANTISED_FOLDER:
        from parecido.indexer.encoders.building.quantise import is_own_model

        return is_own_model(path)
    if kinds.WORK.fullmatch(path.name):
        return bool(own_files(path, WORK_MARK))
    return path.name in _FOLDERS and _holds_only(path, _FOLDERS[path.name])


def _holds_only(folder: Path, kind: Kind) -> bool:
    if not is_folder(folder):
        return False
    return len(own_files(folder, kind.unfinished())) == len(os.listdir(folder))


def _is_known(name: str) -> bool:
    return bool(
        name in _CONTENTS or kinds.CATALOGUES.fullmatch(name) or _WRITERS.names.fullmatch(name)
    )


def _holds(path: Path, is_made: Callable[[BinaryIO], bool]) -> bool:
    """Whether what lies there was made so, as far as it can be told; it may come and go."""
    for _ in range(_LOOKS):
        if is_own(path, is_made) or not os.access(path, os.R_OK):
            return True
        time.sleep(_LOOK_SECONDS)  # it went and came again between two questions
    return False


def _check_own(folder: Path) -> None:
    """Raise :class:`~parecido.InvalidRequest` for what has the place of a library's file.

    A link would be followed, and a lock that holds something emptied.
    """
    real = Path(os.path.realpath(folder))  # which may be reached by a link
    try:
        found = os.listdir(real)
    except OSError:  # there is none, or it says so itself when it is opened
        return
    for name in found:
        if not _is_known(name):
            continue
        is_made, what = _CONTENTS.get(name, (None, ""))
        if is_foreign(real / name):
            what = "is no regular file, and links inside a library are not followed"
        elif is_made is None or _holds(real / name, is_made):
            continue
        raise InvalidRequest(
            f"{folder / name} {what}; nothing was changed.", "Move it out of the library's folder."
        )


@contextmanager
def hold_lock(
    folder: Path, wait: bool = False, stop: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    """Hold a library's writer lock, which dies with the process.

    Raises :class:`~parecido.LibraryBusy`, naming the holder, unless told to ``wait``; then
    only when ``stop`` returns true.
    """
    import filelock

    lock = filelock.FileLock(folder / LOCK)
    told = False
    _check_own(folder)
    real = Path(os.path.realpath(folder))  # which may be reached by a link
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
            _sign(real)
        yield
    finally:
        with suppress(OSError):
            remove_own(real, WRITER)
        lock.release()


def _sign(folder: Path) -> None:
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "command": " ".join(sys.argv)[:200],
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    with (
        suppress(NotOurs),  # one that cannot be read: it only tells who, and the lock holds
        replacing(folder / _SIGNATURE, WRITER.is_made, sync=False) as file,
    ):
        file.write(json.dumps(holder).encode("utf-8", "replace"))


def _holder(folder: Path) -> str:
    try:
        who = json.loads((folder / _SIGNATURE).read_text("utf-8"))
        return f"process {who['pid']} on {who['host']} since {who['since']} ({who['command']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


@contextmanager
def writing_folder(folder: Path) -> Iterator[None]:
    """Map the system's refusals to write into a folder."""
    try:
        yield
    except NotOurs as error:
        raise InvalidRequest(
            f"{error.filename} is not the library's; nothing was changed.",
            "Move it out of the library's folder.",
        ) from error
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
