"""Files that are either wholly there or not at all, after a power cut too.

The order is always: write under a temporary name, sync the file, rename, sync the folder.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from indexer.ownfiles import is_foreign

__all__ = ["file_digest", "replacing", "sync_folder", "sync_tree"]


@contextmanager
def replacing(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well.

    Guarantee: whatever happens, ``path`` holds either what it held before or the whole new file.
    Without ``sync`` that does not hold for a power cut.  Raises ``OSError`` where anything but a
    regular file has its place.
    """
    if is_foreign(path):
        raise OSError(errno.EEXIST, "it is no regular file, and stays as it is", str(path))
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    # new and nobody else's: what is written through a link would be another file
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        yield temporary
        if sync:
            _sync(temporary)
        os.replace(temporary, path)
        if sync:
            sync_folder(path.parent)
    finally:
        with suppress(OSError):  # gone, or on a disk that refused the writing too
            temporary.unlink()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_tree(folder: Path) -> None:
    """Sync every file of a flat folder, then the folder itself."""
    for path in folder.iterdir():
        _sync(path)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Sync a folder's entries, where the system can (not on Windows)."""
    if os.name != "nt":
        _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
