"""What a disk refuses while a backup is written or restored, in this project's words."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from parecido.indexer.errors import InvalidRequest, NoSpace, PathNotFound
from parecido.indexer.system.own_files import free_bytes

__all__ = ["check_space", "writing_into"]


@contextmanager
def writing_into(path: Path, done: str) -> Iterator[None]:
    """Map the system's refusals to make ``path``; ``done`` is what came of it: nothing."""
    try:
        yield
    except NoSpace as error:
        if isinstance(error.__cause__, sqlite3.Error):  # its message is of a library
            raise _no_space(path, done) from error
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise _no_space(path, done) from error
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            raise InvalidRequest(
                f"Something lies at {path} already, and it stays; {done}.", "Choose another name."
            ) from error
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise PathNotFound(f"There is no folder {path.parent}; {done}.", "Make it.") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV):
            raise InvalidRequest(
                f"{path} cannot be written ({error.strerror}); {done}.", "Choose another place."
            ) from error
        raise


def _no_space(path: Path, done: str) -> NoSpace:
    return NoSpace(
        f"The disk that holds {path.parent} is full; {done}.", "Free some space, or choose another."
    )


def check_space(folder: Path, needed: int, done: str) -> None:
    """Raise :class:`~parecido.NoSpace` where a folder's disk has less room than is needed."""
    free = free_bytes(folder)
    if free < needed:
        raise NoSpace(
            f"{needed / 1e6:,.0f} MB are needed in {folder}, and {free / 1e6:,.0f} MB are free; "
            f"{done}.",
            "Free some space, or choose another place.",
        )
