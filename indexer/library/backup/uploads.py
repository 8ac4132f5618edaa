"""The files of uploaded pictures, found as the rows of a catalogue tell of them.

A server gives them their places, replaces and removes them meanwhile, each time after a commit; so
what does not agree with its row may agree with the row of a newer copy of the catalogue.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.catalogue.sqlite.reading.uploads import LEAVING, WAITING, Upload
from parecido.indexer.library.backup.container import Writing
from parecido.indexer.library.backup.manifest import UploadEntry
from parecido.indexer.system.files import content_hash
from parecido.indexer.system.own_files import is_folder, read_file

__all__ = ["UploadCopies", "upload_bytes"]

_SHELF = re.compile(r"[0-9a-f]{2}")
_NAME = re.compile(r"[^\W_][\w-]*(\.[\w-]+)*")


@dataclass
class UploadCopies:
    """The uploads that are in a backup so far."""

    archive: Writing
    entries: dict[tuple[bytes, bytes], UploadEntry] = field(default_factory=dict)
    """By the path and the hash of what was copied."""
    taken: set[str] = field(default_factory=set)
    """Names of members, in small letters: some disks keep no others apart."""

    def add(self, catalogue: Catalogue) -> tuple[list[UploadEntry], list[bytes]]:
        """Copy what a catalogue tells of and is not copied yet.

        The entries of what there is, and the paths of what cannot be had as the catalogue has it.
        """
        found, missing = [], []
        for upload in catalogue.uploads.list_uploads():
            entry = self._known(upload) or self._copy(upload)
            if entry is not None:
                found.append(entry)
            elif upload.state == WAITING or (
                upload.state != LEAVING and catalogue.known(upload.path) is not None
            ):
                missing.append(upload.path)
        return found, missing

    def _known(self, upload: Upload) -> UploadEntry | None:
        return self.entries.get((upload.path, upload.content_hash))

    def _copy(self, upload: Upload) -> UploadEntry | None:
        data = _read(upload)
        if data is None:
            return None
        digest = content_hash(data)
        known = self.entries.get((upload.path, digest))
        if known is not None:
            return known
        name = self._name(upload)
        self.archive.add(name, io.BytesIO(data))
        entry = UploadEntry(upload.path.hex(), name, digest.hex())
        self.entries[upload.path, digest] = entry
        return entry

    def _name(self, upload: Upload) -> str:
        """A member's name that is no other's: the file's own where that is harmless anywhere."""
        path = Path(os.fsdecode(upload.path))
        shelf = path.parent.name
        if not _SHELF.fullmatch(shelf):
            shelf = upload.content_hash.hex()[:2] or "00"
        name = path.name
        if not _NAME.fullmatch(name) or len(os.fsencode(name)) > 200 or not _is_text(name):
            name = f"upload-{upload.content_hash.hex()[:16]}"
        found = next(
            n for n in _number_names(f"uploads/{shelf}/", name) if n.casefold() not in self.taken
        )
        self.taken.add(found.casefold())
        return found


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _number_names(folder: str, name: str) -> Iterator[str]:
    stem, dot, suffix = name.rpartition(".")
    yield folder + name
    for number in count(2):
        yield f"{folder}{stem or suffix}-{number}{dot}{suffix if stem else ''}".rstrip(".")


def _read(upload: Upload) -> bytes | None:
    """The bytes that were uploaded last, in their place or on their way to it.

    Else those of before, as long as the others have no place.
    """
    path = Path(os.fsdecode(upload.path))
    here = read_file(path)
    digest = content_hash(here) if here is not None else b""
    if here is not None and digest == upload.content_hash:
        return here
    if is_folder(path.parent):
        arrived = f".{upload.content_hash.hex()}."
        for name in os.listdir(path.parent):
            if name.startswith(".") and arrived in name:
                data = read_file(path.parent / name)
                if data is not None and content_hash(data) == upload.content_hash:
                    return data
    return here if upload.holds(digest) else None


def upload_bytes(uploads: Iterable[Upload]) -> int:
    """What their files take, as far as they are there."""
    total = 0
    for upload in uploads:
        try:
            total += os.lstat(upload.path).st_size
        except OSError:
            continue
    return total
