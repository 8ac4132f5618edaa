"""What is on the disk for certain, after a power cut too, and whether it is still the same."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

__all__ = ["content_hash", "file_digest", "sync_folder", "sync_tree"]


def content_hash(data: bytes) -> bytes:
    """BLAKE2b of a file's bytes, 16 bytes long."""
    return hashlib.blake2b(data, digest_size=16).digest()


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
