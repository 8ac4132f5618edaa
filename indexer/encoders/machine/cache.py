"""The user's cache of built encoders: one folder for each fingerprint.

A folder appears whole or not at all: it is filled under another name, synced and renamed.  Its
manifest holds the digest of every file, so a damaged one is noticed, removed and built again.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from parecido.indexer.errors import NoSpace
from parecido.indexer.system.files import file_digest
from parecido.indexer.system.kinds import CACHED, is_lock
from parecido.indexer.system.own_files import (
    create_file,
    is_own,
    place_folder,
    remove_folder,
    remove_own,
    scratch_folder,
    work_folder,
)

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

__all__ = ["cache_folder", "cached_folder"]

_MANIFEST = "manifest.json"
# empty folders that have the place of a file
_IN_PLACE = dict.fromkeys((_MANIFEST, "facts.json", "model.xml", "model.bin"), CACHED)
_NOT_WRITABLE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.EEXIST, errno.ENOTDIR, errno.ENOTEMPTY),  # something else has its place
)


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
        path = folder.parent / f"{key}.lock"
        if os.path.lexists(path) and not is_own(path, is_lock):
            return _temporary(key, fill)  # a lock is emptied when it is taken
        lock = filelock.FileLock(path)
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
    # the lock is held: what lies here under this key is damaged, or left by a killed process
    for name in os.listdir(folder.parent):
        if re.fullmatch(re.escape(folder.name) + r"(\.[a-z0-9_]{8})?", name):
            remove_folder(folder.parent / name, CACHED, _IN_PLACE)
    with work_folder(folder.parent, f"{folder.name}.", CACHED) as work:
        fill(work)
        _seal(work)
        place_folder(work, folder)


def _temporary(key: str, fill: Callable[[Path], None]) -> Path:
    if key not in _TEMPORARY:
        _TEMPORARY[key] = scratch_folder("parecido-encoder-")
    folder = Path(_TEMPORARY[key].name)
    if not _intact(folder):
        remove_own(folder, CACHED)
        fill(folder)
        _seal(folder)
    return folder


_TEMPORARY: dict[str, TemporaryDirectory[str]] = {}


def _seal(folder: Path) -> None:
    digests = {path.name: file_digest(path) for path in sorted(folder.iterdir())}
    with create_file(folder / _MANIFEST) as file:
        file.write(json.dumps(digests).encode())
