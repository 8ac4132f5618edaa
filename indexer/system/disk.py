"""What a disk refuses, in this project's words."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from parecido.indexer.errors import InvalidRequest, LibraryNotFound, LibraryReadOnly, NoSpace
from parecido.indexer.system.own_files import NotOurs

__all__ = ["writing_folder"]


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
        if error.errno == errno.EIO:
            raise NoSpace(
                f"The disk under {folder} refused a read or a write; everything committed is kept.",
                "Check the disk and its free space.",
            ) from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            raise LibraryNotFound(
                f"{folder} is not a folder.", "Choose a folder with --library."
            ) from error
        raise
