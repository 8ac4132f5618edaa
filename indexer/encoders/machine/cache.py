"""The user's cache of built encoders: one folder for each fingerprint.

A folder appears whole or not at all: it is filled under another name, synced and renamed.  Its
manifest holds the digest of every file, so a damaged one is noticed, removed and built again.

Where the user's cache cannot be written (a container with a read-only root, a user without a home)
the next best place that lasts has them: a folder of the library's, then a private one among the
system's temporary folders.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from parecido.indexer.errors import EncoderUnavailable, NoSpace
from parecido.indexer.records.encoder import CACHE_FOLDER
from parecido.indexer.system.files import file_digest
from parecido.indexer.system.kinds import CACHED, is_lock
from parecido.indexer.system.own_files import (
    create_file,
    is_folder,
    is_own,
    place_folder,
    private_folder,
    remove_folder,
    remove_own,
    scratch_folder,
    work_folder,
)

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

__all__ = ["cache_folder", "cached_folder", "is_writable", "lasting_folder"]

_log = logging.getLogger("parecido")

_MANIFEST = "manifest.json"
_PRIVATE = "parecido-cache"
_NO_HOME = Path("~/.cache/parecido")
# empty folders that have the place of a file
_IN_PLACE = dict.fromkeys((_MANIFEST, "facts.json", "model.xml", "model.bin"), CACHED)
_NOT_WRITABLE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT),  # /proc says the last
    *(errno.EEXIST, errno.ENOTDIR, errno.ENOTEMPTY, errno.ELOOP),  # something else has its place
    *(errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP),  # nothing there can be locked
)


def cache_folder() -> Path:
    """``$PARECIDO_CACHE`` or the user's cache folder for parecido, which may not be writable."""
    chosen = os.environ.get("PARECIDO_CACHE")
    if chosen:
        return Path(chosen)
    import platformdirs

    try:
        return Path(platformdirs.user_cache_dir("parecido"))
    except RuntimeError:  # of a user without a home
        return _NO_HOME


def lasting_folder(name: str) -> Path:
    """A folder of that name for what other programs keep, where it will be found again.

    In the user's cache, or in a private temporary folder where that cannot be written.
    """
    cache = cache_folder()
    if is_writable(cache / name):
        return cache / name
    private = private_folder(_PRIVATE)
    return (cache if private is None else private) / name


def cached_folder(key: str, fill: Callable[[Path], None], library: Path | None = None) -> Path:
    """The intact cache folder of that key, made with ``fill(empty folder)`` where there is none.

    Two processes that want the same one wait for each other.  Where the user's cache cannot be
    written, the folder is made in that of the ``library``, if one is given, or in a private
    temporary one, and found there again; where that cannot be either, it lasts as long as the
    process.
    """
    for place in _places(library):
        try:
            if _intact(place / key) or _make_in(place, key, fill):
                return place / key
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpace(
                    f"There is no space left for the encoder in {place}.",
                    "Free some, or point PARECIDO_CACHE elsewhere.",
                ) from error
            if error.errno not in _NOT_WRITABLE:
                raise
    return _temporary(key, fill)


def _places(library: Path | None) -> list[Path]:
    """Where encoders are kept, the best first; each need not be there, or be writable."""
    # without a home it would be a folder called "~" among somebody's files
    found = [cache_folder()] if cache_folder().parts[0] != "~" else []
    if library is not None and library.is_dir():
        inside = library / CACHE_FOLDER
        if is_folder(inside) or not os.path.lexists(inside):  # no link leads out of the library
            found.append(inside)
    private = private_folder(_PRIVATE)
    return found if private is None else [*found, private]


def is_writable(folder: Path) -> bool:
    """Whether files can be made there, or the folder itself."""
    if folder.parts[0] == "~":
        return False
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _make_in(place: Path, key: str, fill: Callable[[Path], None]) -> bool:
    """Make the folder of a key; false where something else is in the way.  Raises ``OSError``."""
    import filelock

    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{key}.lock"
    if os.path.lexists(path) and not is_own(path, is_lock):
        return False  # a lock is emptied when it is taken
    with filelock.FileLock(path):
        if not _intact(place / key):
            _make(place / key, fill, place)
    return True


def _intact(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text("utf-8"))
        return bool(manifest) and all(
            file_digest(folder / name) == digest for name, digest in manifest.items()
        )
    except (OSError, ValueError, AttributeError):
        return False


def _make(folder: Path, fill: Callable[[Path], None], place: Path) -> None:
    # the lock is held: what lies here under this key is damaged, or left by a killed process
    for name in os.listdir(place):
        if re.fullmatch(re.escape(folder.name) + r"(\.[a-z0-9_]{8})?", name):
            remove_folder(place / name, CACHED, _IN_PLACE)
    with work_folder(place, f"{folder.name}.", CACHED) as work:
        if place != cache_folder():
            _tell(f"{place} is used instead")
        fill(work)
        _seal(work)
        place_folder(work, folder)


def _tell(instead: str) -> None:
    _log.warning(
        "The cache %s cannot be written; %s. Set PARECIDO_CACHE or XDG_CACHE_HOME to a folder that "
        "lasts.",
        cache_folder(),
        instead,
    )


def _temporary(key: str, fill: Callable[[Path], None]) -> Path:
    if key not in _TEMPORARY:
        try:
            _TEMPORARY[key] = scratch_folder("parecido-encoder-")
        except OSError as error:
            raise EncoderUnavailable(
                f"There is no place for the encoder: neither the cache {cache_folder()} nor a "
                f"temporary folder can be written ({error.strerror or error}).",
                "Set PARECIDO_CACHE and TMPDIR to folders that can be.",
            ) from error
        _tell("what is built now goes with this process")
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
