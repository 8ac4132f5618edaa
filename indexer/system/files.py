"""What is on the disk for certain, after a power cut too, and whether it is still the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

__all__ = [
    "content_hash",
    "file_digest",
    "hash_pieces",
    "read_from_disk",
    "sync_folder",
    "sync_tree",
]

_PIECE = 1 << 20


def content_hash(data: bytes) -> bytes:
    """BLAKE2b of a file's bytes, 16 bytes long."""
    return hashlib.blake2b(data, digest_size=16).digest()


def hash_pieces(pieces: Iterable[bytes]) -> bytes:
    """:func:`content_hash` of a file that comes in pieces."""
    digest = hashlib.blake2b(digest_size=16)
    for piece in pieces:
        digest.update(piece)
    return digest.digest()


def read_from_disk(file: BinaryIO) -> Iterator[bytes]:
    """An open file's bytes in pieces, as the disk has them and not as the system remembers them.

    Neither do they crowd out what the system remembers of others.  Where it takes no such wishes
    (macOS, Windows), and of what another program has in memory, the bytes are as remembered.
    """
    _forget(file)
    try:
        while piece := file.read(_PIECE):
            yield piece
    finally:
        _forget(file)


def _forget(file: BinaryIO) -> None:
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):  # a file system that knows no such wish
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_tree(folder: Path) -> None:
    """Sync every file of a folder, and of those in it, then the folder itself."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            sync_tree(path)
        else:
            _sync(path)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Sync a folder's entries, where the system can (not on Windows)."""
    if os.name != "nt":
        _sync(folder)


def _sync(path: Path) -> None:
    # Windows syncs only what is open for writing
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
