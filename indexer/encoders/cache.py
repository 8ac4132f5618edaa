"""The user's cache of built encoders: one folder for each fingerprint.

A folder appears whole or not at all: it is filled under another name, synced and renamed.  Its
manifest holds the digest of every file, so a damaged one is noticed, removed and built again.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from indexer.durable import file_digest, sync_folder, sync_tree
from indexer.errors import NoSpace

__all__ = ["cache_folder", "cached_folder"]

_MANIFEST = "manifest.json"
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR)


def cache_folder() -> Path:
    """``$PARECIDO_CACHE`` or the user's cache folder for parecido."""
    chosen = os.environ.get("PARECIDO_CACHE")
    if chosen:
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_cache_dir("parecido"))


def cached_folder(key: str, fill: Callable[[Path], None]) -> Path:
    """The intact cache folder of that key, made with ``fill(empty folder)`` where there is none.

    Two processes that want the same one wait for each other.  Where the cache cannot be written,
    the folder is made in a temporary place that lasts as long as the process.
    """
    folder = cache_folder() / key
    if _intact(folder):
        return folder
    import filelock

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder.parent / f"{key}.lock")
        with lock:
            if not _intact(folder):
                _make(folder, fill)
        return folder
    except OSError as error:
        if error.errno in _NOT_WRITABLE:
            return _temporary(key, fill)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(
                f"There is no space left for the encoder in {folder.parent}.",
                "Free some, or point PARECIDO_CACHE elsewhere.",
            ) from error
        raise


def _intact(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text("utf-8"))
        return bool(manifest) and all(
            file_digest(folder / name) == digest for name, digest in manifest.items()
        )
    except (OSError, ValueError, AttributeError):
        return False


def _make(folder: Path, fill: Callable[[Path], None]) -> None:
    # the lock is held: whatever lies here under this key is damaged, or left by a killed process
    for left in (folder, *folder.parent.glob(f"{folder.name}.*")):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
    if os.path.lexists(folder):
        folder.unlink()
    work = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        fill(work)
        _seal(work)
        sync_tree(work)
        os.replace(work, folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _temporary(key: str, fill: Callable[[Path], None]) -> Path:
    if key not in _TEMPORARY:
        _TEMPORARY[key] = tempfile.TemporaryDirectory(prefix="parecido-encoder-")
    folder = Path(_TEMPORARY[key].name)
    if not _intact(folder):
        fill(folder)
        _seal(folder)
    return folder


_TEMPORARY: dict[str, tempfile.TemporaryDirectory[str]] = {}


def _seal(folder: Path) -> None:
    digests = {path.name: file_digest(path) for path in sorted(folder.iterdir())}
    (folder / _MANIFEST).write_text(json.dumps(digests), "utf-8")
