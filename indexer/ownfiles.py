"""Which files are the program's own, and the only way in which they are removed.

A library's folder may hold what somebody else put there, by mistake or on purpose, and its folders
may be replaced by links to others.  So a file is removed only where it has one of the names that
this program gives, is a regular file, and lies in a folder that is one itself: links inside a
library are never followed.  The library's own folder, and what lies above, may be links.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = [
    "CACHED",
    "CATALOGUES",
    "INDEXES",
    "MODELS",
    "NEIGHBOURS",
    "PIXELS",
    "THUMBNAILS",
    "WORK",
    "WRITERS",
    "is_file",
    "is_folder",
    "is_foreign",
    "make_folder",
    "own_files",
    "remove_own",
    "remove_own_folder",
    "with_unfinished",
]

_TEMPORARY = r"(\.\d+(-[0-9a-f]{8})?\.tmp)"  # behind the name of what is being written

INDEXES = re.compile(r"\d{12}(-[0-9a-f]{16})?\.faiss")
"""A vector index, named after its generation and its space."""
NEIGHBOURS = re.compile(r"\d{12}(-[0-9a-f]{16})?\.npy")
THUMBNAILS = re.compile(r"[0-9a-f]{32}\.jpg")
"""Named after the content of the original."""
CATALOGUES = re.compile(
    r"catalogue\.sqlite((\.new)?(-wal|-shm|-journal)?|\.damaged-\d{8}-\d{6}-\d+)"
)
WRITERS = re.compile(r"lock|writer\.json(\.tmp)?")
MODELS = re.compile(r"model\.(xml|bin)")
"""A quantised model."""
PIXELS = re.compile(r"\d{4}\.npy")
"""Pictures that a model is calibrated on."""
WORK = re.compile(r"encoder\.new-[a-z0-9_]{8}")
"""A folder in which a quantised model is made."""
CACHED = re.compile(r"(manifest|facts)\.json|(model|raw)\.(xml|bin)")
"""What a folder of the encoder cache holds."""


def is_file(path: Path) -> bool:
    """Whether a regular file lies there itself, and no link."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def is_foreign(path: Path) -> bool:
    """Whether anything but a regular file lies there, a link for example."""
    try:
        return not stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether a folder lies there itself, and no link."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def make_folder(path: Path) -> None:
    """Make a folder where nothing is.  Raises ``OSError`` where a link or a file has its place."""
    with suppress(FileExistsError):
        path.mkdir()
    if not is_folder(path):
        raise NotADirectoryError(f"{path} is no folder of the library's own")


def own_files(folder: Path, names: re.Pattern[str]) -> list[Path]:
    """The files of a folder that have such names, ascending; none where it is a link."""
    with _opened(folder) as at:
        found = [] if at is None else [n for n in os.listdir(at) if _is_own(n, names, at)]
    return [folder / name for name in sorted(found)]


def with_unfinished(names: re.Pattern[str]) -> re.Pattern[str]:
    """Those names, and what a file of one of them is called while it is being written."""
    return re.compile(f"({names.pattern}){_TEMPORARY}?")


def remove_own(
    folder: Path,
    names: re.Pattern[str],
    keep: Container[str] = (),
    *,
    unfinished: bool = True,
) -> None:
    """Remove the files of a folder that have such names, but those to ``keep``.

    With what is being written, or was when a process was killed, unless told otherwise.  What
    cannot be removed stays.
    """
    if unfinished:
        names = with_unfinished(names)
    with _opened(folder) as at:
        for name in [] if at is None else os.listdir(at):
            if name not in keep and _is_own(name, names, at):
                with suppress(OSError):  # gone meanwhile; on Windows a reader may be in the way
                    _unlink(name, at)


def remove_own_folder(
    folder: Path, names: re.Pattern[str], folders: Mapping[str, re.Pattern[str]] = {}
) -> None:
    """Remove a folder with the files that have such names, and folders in it alike.

    Where anything else lies in it, that stays, and the folder with it.
    """
    if not is_folder(folder):
        return
    remove_own(folder, names)
    for name, others in folders.items():
        remove_own_folder(folder / name, others)
    with suppress(OSError):
        folder.rmdir()


@contextmanager
def _opened(folder: Path) -> Iterator[int | str | None]:
    """A folder to be addressed whatever takes its name meanwhile; None where there is none."""
    if not hasattr(os, "O_NOFOLLOW") or os.listdir not in os.supports_fd:  # Windows
        yield str(folder) if is_folder(folder) else None
        return
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        yield None
        return
    try:
        yield opened
    finally:
        os.close(opened)


def _is_own(name: str, names: re.Pattern[str], at: int | str | None) -> bool:
    if names.fullmatch(name) is None:
        return False
    try:
        if isinstance(at, int):
            status = os.stat(name, dir_fd=at, follow_symlinks=False)
        else:
            status = os.lstat(os.path.join(at or "", name))
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode)


def _unlink(name: str, at: int | str | None) -> None:
    if isinstance(at, int):
        os.unlink(name, dir_fd=at)
    else:
        os.unlink(os.path.join(at or "", name))
