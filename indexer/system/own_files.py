"""The program's own files: the one place where any is made, replaced or removed.

A library's folder may hold what somebody else put there, by mistake or on purpose, and its folders
may be replaced by links to others.  So a file is replaced or removed only where it has a name that
this program gives and holds what this program writes (:mod:`parecido.indexer.system.kinds`), is a
regular file, and lies in a folder that is one itself: links inside a library are never followed.
The library's own folder, and what lies above, may be links.

What appears, appears whole or not at all, after a power cut too.  The order is always: write under
a temporary name, sync the file, rename, sync the folder.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from parecido.indexer.system.files import sync_folder, sync_tree
from parecido.indexer.system.kinds import BySize, Kind

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

__all__ = [
    "NotOurs",
    "copy_aside",
    "create_file",
    "free_bytes",
    "is_file",
    "is_folder",
    "is_foreign",
    "is_own",
    "make_folder",
    "move_new",
    "move_over",
    "own_files",
    "place_folder",
    "private_folder",
    "read_file",
    "remove_folder",
    "remove_own",
    "replacing",
    "scratch_folder",
    "set_aside",
    "work_folder",
]

# a file or folder that is not there, that is another thing, or that may not be read
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM)
# of a file system that has no hard links, or no more of them for this file
_NO_HARD_LINKS = (
    *(errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOTSUP),
    *(errno.ENOSYS, errno.EMLINK, errno.EINVAL),
)
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
# a pipe would let its reader wait for a writer
_READ = os.O_RDONLY | _NO_LINKS | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_LINKS | getattr(os, "O_BINARY", 0)


def is_file(path: Path) -> bool:
    """Whether a regular file lies there itself, and no link."""
    return stat.S_ISREG(_mode(path))


def is_folder(path: Path) -> bool:
    """Whether a folder lies there itself, and no link."""
    return stat.S_ISDIR(_mode(path))


def is_foreign(path: Path) -> bool:
    """Whether anything but a regular file lies there, a link for example."""
    mode = _mode(path)
    return mode != 0 and not stat.S_ISREG(mode)


def _mode(path: Path) -> int:
    try:
        return os.lstat(path).st_mode
    except OSError:
        return 0


def is_own(path: Path, is_made: Callable[[BinaryIO], bool]) -> bool:
    """Whether a regular file lies there that this program made."""
    with _open_if_there(path.parent) as folder:
        return folder is not None and folder.is_own(path.name, is_made)


def own_files(folder: Path, kind: Kind) -> list[Path]:
    """The files of one kind in a folder, ascending; none where it is a link."""
    with _open_if_there(folder) as opened:
        names = [] if opened is None else opened.own(kind)
    return [folder / name for name in sorted(names)]


def read_file(path: Path) -> bytes | None:
    """The bytes of a regular file; None where there is none, or a link on the way to it."""
    with _open_if_there(path.parent) as folder:
        if folder is None or not stat.S_ISREG(folder.mode(path.name)):
            return None
        try:
            with open(folder.open(path.name, _READ), "rb") as file:
                return file.read()
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise


def free_bytes(folder: Path) -> int:
    """What can still be written to the disk that holds a folder."""
    import shutil

    return shutil.disk_usage(folder).free


# -- making ----------------------------------------------------------------------------------------


class NotOurs(FileExistsError):
    """Something has a file's place that this program did not make, and keeps it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        what = "this program did not make it, and it stays"
        super().__init__(errno.EEXIST, what, os.fspath(path))


def make_folder(path: Path) -> None:
    """Make a folder where nothing is.  Raises ``OSError`` where a link or a file has its place."""
    with suppress(FileExistsError):
        path.mkdir()
        sync_folder(path.parent)
    if not is_folder(path):
        raise NotOurs(path)


@contextmanager
def replacing(
    path: Path, is_made: Callable[[BinaryIO], bool], *, sync: bool = True
) -> Iterator[BinaryIO]:
    """A file to write and read, that takes a path's place when the block ends well.

    Guarantee: whatever happens, ``path`` holds either what it held before or the whole new file;
    without ``sync`` that does not hold for a power cut.  Raises ``OSError`` where something has its
    place that this program did not make, and where its folder is a link.
    """
    with _write_new(path, sync) as (folder, file, temporary):
        folder.check_own(path.name, is_made)
        yield file
        _finish(file, sync)
        folder.check_own(path.name, is_made)  # it may have come meanwhile
        folder.replace(temporary, path.name)
        if sync:
            folder.sync()


@contextmanager
def create_file(path: Path, *, sync: bool = True) -> Iterator[BinaryIO]:
    """As :func:`replacing`, where nothing is.  Raises ``FileExistsError`` where anything is."""
    with _write_new(path, sync) as (folder, file, temporary):
        folder.check_absent(path.name)
        yield file
        _finish(file, sync)
        folder.rename_new(temporary, path.name)
        if sync:
            folder.sync()


@contextmanager
def _write_new(path: Path, sync: bool) -> Iterator[tuple[_Folder, BinaryIO, str]]:
    """A folder, a new file in it, and the file's temporary name, which is gone at the end."""
    temporary = f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
    with _open(path.parent) as folder:
        # new and nobody else's: what is written through a link would be another file
        descriptor = folder.open(temporary, _CREATE)
        try:
            with open(descriptor, "w+b") as file:
                yield folder, file, temporary
        finally:
            with suppress(OSError):  # gone, or on a disk that refused the writing too
                folder.unlink(temporary)


def _finish(file: BinaryIO, sync: bool) -> None:
    """Close it, too: Windows renames no file that is open."""
    file.flush()
    if sync:
        os.fsync(file.fileno())
    file.close()


# -- moving ----------------------------------------------------------------------------------------


def move_new(path: Path, target: Path) -> None:
    """Rename a file within its folder.  Raises ``FileExistsError`` where anything is."""
    assert path.parent == target.parent
    with _open(target.parent) as folder:
        folder.rename_new(path.name, target.name)
        folder.sync()


def move_over(path: Path, target: Path, is_made: Callable[[BinaryIO], bool]) -> None:
    """Rename a file within its folder, over one that this program made, if there is any."""
    assert path.parent == target.parent
    with _open(target.parent) as folder:
        folder.check_own(target.name, is_made)
        folder.replace(path.name, target.name)
        folder.sync()


def set_aside(path: Path, name: str) -> None:
    """Let a file have another name too, in its folder, where nothing is."""
    aside = path.with_name(name)
    try:
        os.link(path, aside)  # so that it lies at its path at every moment
    except FileExistsError as error:
        raise NotOurs(aside) from error
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        import shutil  # like tempfile, not for every search

        with path.open("rb") as source, create_file(aside) as copy:
            shutil.copyfileobj(source, copy, 1 << 20)


def place_folder(work: Path, target: Path) -> None:
    """Sync a folder with all in it and give it its place, where nothing is or an empty folder."""
    sync_tree(work)
    os.replace(work, target)
    sync_folder(target.parent)


# -- removing --------------------------------------------------------------------------------------


def remove_own(
    folder: Path, kind: Kind, keep: Container[str] = (), *, unfinished: bool = True
) -> None:
    """Remove the files of one kind in a folder, but those to ``keep``.

    With what is being written, or was when a process was killed, unless told otherwise.  What
    cannot be removed stays.
    """
    with _open_if_there(folder) as opened:
        if opened is None:
            return
        for name in opened.own(kind.while_writing() if unfinished else kind):
            if name not in keep:
                with suppress(OSError):  # gone meanwhile; on Windows a reader may be in the way
                    opened.unlink(name)


def remove_folder(folder: Path, kind: Kind, folders: Mapping[str, Kind] = {}) -> None:
    """Remove a folder with the files of one kind, and folders in it alike.

    Where anything else lies in it, that stays, and the folder with it.
    """
    if not is_folder(folder):
        return
    for name, other in folders.items():
        remove_folder(folder / name, other)
    if any(is_folder(folder / name) for name in folders):
        return  # with what tells whose it is
    remove_own(folder, kind)
    with suppress(OSError):
        folder.rmdir()


@contextmanager
def work_folder(
    parent: Path, prefix: str, kind: Kind, folders: Mapping[str, Kind] = {}
) -> Iterator[Path]:
    """A new folder of this process's own; at the end it goes, as :func:`remove_folder` removes."""
    import tempfile

    work = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        yield work
    finally:
        remove_folder(work, kind, folders)


def scratch_folder(prefix: str, parent: Path | None = None) -> TemporaryDirectory[str]:
    """A folder among the system's temporary ones, gone when it is closed or the process ends.

    Or in ``parent``, where what is made in it is to stay.
    """
    import tempfile

    return tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True)


def copy_aside(paths: Sequence[Path], prefix: str) -> TemporaryDirectory[str] | None:
    """Copies of some files under their own names, as :func:`scratch_folder` keeps them.

    None where they would take more than half of the space that is left there.
    """
    import shutil
    import tempfile

    try:
        needed = sum(path.stat().st_size for path in paths)
        if needed > shutil.disk_usage(tempfile.gettempdir()).free // 2:
            return None
        folder = scratch_folder(prefix)
        for path in paths:
            shutil.copyfile(path, Path(folder.name) / path.name)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOSPC, errno.EDQUOT):
            return None
        raise
    return folder


def private_folder(prefix: str) -> Path | None:
    """The user's own folder among the system's temporary ones, the same for every process.

    None where somebody else has its place or could take it: a link, a folder of another user or
    one that others may enter, in a folder whose files anybody may rename.
    """
    import tempfile

    user = os.geteuid() if hasattr(os, "geteuid") else ""
    try:
        path = Path(tempfile.gettempdir()) / f"{prefix}-{user}".rstrip("-")
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
        mine, above = os.lstat(path), os.stat(path.parent)
    except OSError:
        return None
    if user == "":  # Windows gives each user temporary folders of their own
        return path if stat.S_ISDIR(mine.st_mode) else None
    is_mine = stat.S_ISDIR(mine.st_mode) and mine.st_uid == user and not mine.st_mode & 0o077
    is_kept = above.st_mode & stat.S_ISVTX or not above.st_mode & 0o022
    return path if is_mine and is_kept and above.st_uid in (0, user) else None


# -- a folder's entries ----------------------------------------------------------------------------


class _Folder:
    """A folder that is addressed as the one it was, whatever takes its name meanwhile.

    By paths where a system has nothing better (Windows).
    """

    def __init__(self, path: Path, descriptor: int | None) -> None:
        self._path = path
        self._at = descriptor

    def _resolve(self, name: str) -> str:
        return name if self._at is not None else os.path.join(self._path, name)

    def names(self) -> list[str]:
        return os.listdir(self._path if self._at is None else self._at)

    def open(self, name: str, flags: int) -> int:
        return os.open(self._resolve(name), flags, 0o666, dir_fd=self._at)

    def mode(self, name: str) -> int:
        try:
            return os.stat(self._resolve(name), dir_fd=self._at, follow_symlinks=False).st_mode
        except OSError:
            return 0

    def own(self, kind: Kind) -> list[str]:
        return [
            name
            for name in self.names()
            if kind.names.fullmatch(name) and self.is_own(name, kind.is_made)
        ]

    def is_own(self, name: str, is_made: Callable[[BinaryIO], bool]) -> bool:
        if not stat.S_ISREG(self.mode(name)):
            return False
        try:
            if isinstance(is_made, BySize):
                return is_made.fits(os.stat(self._resolve(name), dir_fd=self._at).st_size)
            with open(self.open(name, _READ), "rb") as file:
                return stat.S_ISREG(os.fstat(file.fileno()).st_mode) and is_made(file)
        except OSError as error:
            if error.errno in _ABSENT:
                return False
            raise

    def check_own(self, name: str, is_made: Callable[[BinaryIO], bool]) -> None:
        if self.mode(name) and not self.is_own(name, is_made):
            self._refuse(name)

    def check_absent(self, name: str) -> None:
        if self.mode(name):
            self._refuse(name)

    def _refuse(self, name: str) -> NoReturn:
        raise NotOurs(self._path / name)

    def replace(self, name: str, other: str) -> None:
        os.replace(
            self._resolve(name), self._resolve(other), src_dir_fd=self._at, dst_dir_fd=self._at
        )

    def rename_new(self, name: str, other: str) -> None:
        """Rename to where nothing is; without hard links, after a look."""
        try:
            os.link(
                self._resolve(name),
                self._resolve(other),
                src_dir_fd=self._at,
                dst_dir_fd=self._at,
                follow_symlinks=False,
            )
        except FileExistsError:
            self._refuse(other)
        except (OSError, NotImplementedError) as error:
            if isinstance(error, OSError) and error.errno not in _NO_HARD_LINKS:
                raise
            self.check_absent(other)
            self.replace(name, other)
        else:
            self.unlink(name)

    def unlink(self, name: str) -> None:
        os.unlink(self._resolve(name), dir_fd=self._at)

    def sync(self) -> None:
        if self._at is not None:
            os.fsync(self._at)
        else:
            sync_folder(self._path)


@contextmanager
def _open(path: Path) -> Iterator[_Folder]:
    """A folder.  Raises ``OSError`` where there is none, or a link has its place."""
    if not _NO_LINKS or os.open not in os.supports_dir_fd or os.listdir not in os.supports_fd:
        if stat.S_ISLNK(os.lstat(path).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
        yield _Folder(path, None)
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _NO_LINKS)
    try:
        yield _Folder(path, descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _open_if_there(path: Path) -> Iterator[_Folder | None]:
    """As :func:`_open`; None where there is none, or a link has its place."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(_open(path))
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            folder = None
        yield folder
