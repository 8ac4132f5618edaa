"""Paths as the catalogue keeps them, and which lie below which."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence

from parecido.indexer.errors import InvalidRequest

__all__ = [
    "SEPARATOR",
    "absolute",
    "below_any",
    "bounds_below",
    "lies_in",
    "list_above",
    "signed64",
    "within",
]

SEPARATOR = os.fsencode(os.sep)


def signed64(number: int) -> int:
    """The number folded into SQLite's range, -2^63 to 2^63 - 1.

    Inode numbers of some file systems and times after the year 2262 lie outside.
    """
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


def absolute(path: str | os.PathLike[str]) -> str:
    """The absolute path without ``.``, ``..`` and ``~``; symbolic links are kept.

    Raises ``InvalidRequest`` for an empty path, which would name the current folder.
    """
    given = os.fsencode(path)
    if not given or b"\0" in given:
        raise InvalidRequest("A path is empty or holds a NUL.", "Name a file or a folder.")
    return os.path.abspath(os.path.expanduser(os.fspath(path)))


def bounds_below(folder: bytes) -> tuple[bytes, bytes]:
    """Between which two paths everything below a folder lies, both exclusive."""
    folder = folder.rstrip(SEPARATOR)
    return folder + SEPARATOR, folder + bytes([SEPARATOR[0] + 1])


def within(path: bytes, folder: bytes) -> bool:
    """Whether a path is a folder's own or lies below it."""
    return path == folder or path.startswith(folder.rstrip(SEPARATOR) + SEPARATOR)


def below_any(path: bytes, folders: Sequence[bytes]) -> bool:
    """Whether a path is one of the folders or lies below one."""
    return any(within(path, folder) for folder in folders)


def list_above(path: bytes) -> Iterator[bytes]:
    """The folders that a path lies in, the innermost first.

    For questions to many folders, which would take too long to be asked one by one.
    """
    while (above := os.path.dirname(path)) != path:
        yield above
        path = above


def lies_in(path: bytes, folders: Collection[bytes]) -> bool:
    """Whether a path is one of many folders or lies below one; ``folders`` is a set, or a dict."""
    return path in folders or any(above in folders for above in list_above(path))
