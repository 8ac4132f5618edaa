"""Uploads of before they had rows in the catalogue, known by the names that servers gave them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from parecido.indexer.catalogue.sqlite.reading.uploads import KEPT, LEAVING, WAITING, Upload
from parecido.indexer.system.files import content_hash
from parecido.indexer.system.own_files import is_file, is_folder
from parecido.indexer.system.paths import bounds_below

__all__ = ["find_earlier_uploads"]

_SHELF = re.compile(r"[0-9a-f]{2}")
# behind a name that the client gave, the first digits of its content's hash
_NAME = re.compile(r"[^/]+-([0-9a-f]{16})(-\d+)?(\.[^./]{1,8})?")
_DELETED = re.compile(rf"\.({_NAME.pattern})\.deleted")  # by a server that was killed at it

_Between = Callable[[bytes, bytes], Sequence[tuple[bytes, bytes]]]


def find_earlier_uploads(folder: Path, between: _Between) -> list[Upload]:
    """Rows for what servers of earlier versions put into a folder.

    ``between`` gives paths and hashes of the pictures between two paths, both exclusive.  A file
    that is not indexed is taken over only if its name tells the hash of its content.
    """
    found = []
    for shelf in _shelves(folder):
        indexed = dict(between(*bounds_below(os.fsencode(shelf))))
        for name in _names(shelf):
            path = shelf / name
            deleted = _DELETED.fullmatch(name)
            match = _NAME.fullmatch(deleted[1] if deleted else name)
            if match is None or match[1][:2] != shelf.name or not is_file(path):
                continue
            raw = os.fsencode(path)
            if raw in indexed and not deleted:
                found.append(Upload(raw, indexed[raw], state=KEPT))
                continue
            with suppress(OSError):  # one that cannot be read stays
                hashed = content_hash(path.read_bytes())
                if hashed.hex().startswith(match[1]):
                    found.append(Upload(raw, hashed, state=LEAVING if deleted else WAITING))
    return found


def _names(folder: Path) -> list[str]:
    """What lies in a folder, by name; nothing where it cannot be looked into."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _shelves(folder: Path) -> Iterator[Path]:
    """The folders that a server made there."""
    for name in _names(folder):
        if _SHELF.fullmatch(name) and is_folder(folder / name):
            yield folder / name
