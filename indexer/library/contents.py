"""What may lie in a library's folder, and what is refused there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from parecido.indexer.errors import InvalidRequest
from parecido.indexer.library.layout import (
    CATALOGUE,
    NEIGHBOURS,
    REGIONS,
    SIGNATURE,
    THUMBNAILS,
    UPLOADS,
    VECTORS,
)
from parecido.indexer.records.encoder import CACHE_FOLDER, QUANTISED_FOLDER
from parecido.indexer.system import kinds
from parecido.indexer.system.kinds import INDEXES, JOURNALS, LOCK, WORK_MARK, WRITER, Kind, is_lock
from parecido.indexer.system.own_files import is_file, is_folder, is_foreign, is_own, own_files

__all__ = ["check_own", "refuse_foreign"]

_FOLDERS = {VECTORS: INDEXES, NEIGHBOURS: kinds.NEIGHBOURS, REGIONS: INDEXES}

_WRITERS = WRITER.while_writing()
_NOTES = (kinds.SESSIONS.while_writing(), kinds.SCRUB.while_writing())
_LOOKS, _LOOK_SECONDS = 5, 0.02
# what these files hold, and what is wrong with one that holds something else
_CONTENTS = {
    LOCK: (is_lock, "holds something, and the library's own lock is empty"),
    SIGNATURE: (WRITER.is_made, "does not record who writes the library"),
    **{
        f"{name}-{end}": (is_made, "is no journal of SQLite's")
        for name in (CATALOGUE, f"{CATALOGUE}.new")
        for end, is_made in JOURNALS.items()
    },
}


def refuse_foreign(folder: Path) -> None:
    """A new library goes into a folder of its own, never among somebody's pictures."""
    foreign = sorted(name for name in os.listdir(folder) if not _is_left_over(folder / name))
    if foreign:
        raise InvalidRequest(
            f"{folder} is no library, and other things lie in it ({foreign[0]}).",
            "Choose a new or an empty folder with --library.",
        )


def _is_left_over(path: Path) -> bool:
    """Whether this is what a killed creation or a lost catalogue leaves, and holds nothing else."""
    if is_file(path):
        return _is_known(path.name) or any(
            note.names.fullmatch(path.name) and is_own(path, note.is_made) for note in _NOTES
        )
    if path.name == UPLOADS:
        return is_folder(path)  # nothing in it is ever taken for the library's own by its place
    if path.name == THUMBNAILS:
        sizes = [path / name for name in os.listdir(path)] if is_folder(path) else []
        return is_folder(path) and all(
            size.name.isdecimal() and _holds_only(size, kinds.THUMBNAILS) for size in sizes
        )
    if path.name == CACHE_FOLDER:
        return is_folder(path) and all(_is_cached(path / name) for name in os.listdir(path))
    if path.name == QUANTISED_FOLDER:
        from parecido.indexer.encoders.building.quantised_model import is_own_model

        return is_own_model(path)
    if kinds.WORK.fullmatch(path.name):
        return bool(own_files(path, WORK_MARK))
    return path.name in _FOLDERS and _holds_only(path, _FOLDERS[path.name])


def _is_cached(path: Path) -> bool:
    """Whether this is a built encoder, one that is being built, or its lock."""
    if kinds.CACHED_LOCK.fullmatch(path.name):
        return is_own(path, is_lock)
    is_named = kinds.CACHED_FOLDER.fullmatch(path.name) is not None
    return is_named and _holds_only(path, kinds.CACHED)


def _holds_only(folder: Path, kind: Kind) -> bool:
    if not is_folder(folder):
        return False
    return len(own_files(folder, kind.while_writing())) == len(os.listdir(folder))


def _is_known(name: str) -> bool:
    return bool(
        name in _CONTENTS or kinds.CATALOGUES.fullmatch(name) or _WRITERS.names.fullmatch(name)
    )


def _holds(path: Path, is_made: Callable[[BinaryIO], bool]) -> bool:
    """Whether what lies there was made so, as far as it can be told; it may come and go."""
    for _ in range(_LOOKS):
        if is_own(path, is_made) or not os.access(path, os.R_OK):
            return True
        time.sleep(_LOOK_SECONDS)  # it went and came again between two questions
    return False


def check_own(folder: Path) -> None:
    """Raise :class:`~parecido.InvalidRequest` for what has the place of a library's file.

    A link would be followed, and a lock that holds something emptied.
    """
    real = Path(os.path.realpath(folder))  # which may be reached by a link
    try:
        found = os.listdir(real)
    except OSError:  # there is none, or it says so itself when it is opened
        return
    for name in found:
        if not _is_known(name):
            continue
        is_made, what = _CONTENTS.get(name, (None, ""))
        if is_foreign(real / name):
            what = "is no regular file, and links inside a library are not followed"
        elif is_made is None or _holds(real / name, is_made):
            continue
        raise InvalidRequest(
            f"{folder / name} {what}; nothing was changed.", "Move it out of the library's folder."
        )
