"""Whether what lies in one folder is what was indexed in another.

A handful of pictures is looked at, by their paths relative to the folder.  Size and time of a file
survive its copying; the change time does not, and survives a drive's being mounted elsewhere.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import NamedTuple

from parecido.indexer.catalogue.known import FileRow
from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.errors import PictureUnreadable
from parecido.indexer.pictures.read import open_file
from parecido.indexer.system.files import hash_pieces, read_from_disk
from parecido.indexer.system.paths import SEPARATOR, signed64, within

__all__ = ["Likeness", "compare", "draw_sample"]

_SAMPLE = 64
_FEW = 8  # pictures that say nothing of a folder when they are not there
_MOST, _HARDLY = 0.9, 0.1
_HASHED = 3
_FAT_NS = 2_000_000_000  # the precision with which some file systems keep a file's time


class Likeness(NamedTuple):
    """How many of some pictures lie below another folder, under the same relative path."""

    looked: int
    there: int
    """With the same size."""
    alike: int
    """Those of them with the same time, too."""
    dated: int
    """Those of them whose change times are known."""
    own: int
    """Those of them with the same change time: the very files, and no copies."""
    same_bytes: bool
    """Whether the first few of ``alike`` hold what was indexed."""

    @property
    def has_copies(self) -> bool:
        """Whether most are there with the same bytes."""
        return self.looked > 0 and self.alike >= _MOST * self.looked and self.same_bytes

    @property
    def has_files(self) -> bool:
        """Whether most are there, and are the very files that were indexed."""
        return self.has_copies and self.dated > 0 and self.own >= _MOST * self.dated

    @property
    def is_other(self) -> bool:
        """Whether hardly any is there: another drive lies in the place of the one before."""
        return self.looked >= _FEW and self.there <= _HARDLY * self.looked


def draw_sample(catalogue: Catalogue, folder: bytes) -> list[FileRow]:
    """Up to 64 of the pictures below a folder, drawn at random; the same ones each time."""
    chance, found = random.Random(0), dict[int, FileRow]()
    largest = catalogue.largest_id()
    # most roots hold a good part of their library: 256 looks take 5 ms, and all of a million rows
    # a second and more
    for _ in range(4 * _SAMPLE if largest else 0):
        for row in catalogue.files_after(chance.randrange(largest), 1):
            if within(row.path, folder) and row.path != folder:
                found[row.id] = row
        if len(found) == _SAMPLE:
            break
    return list(found.values()) if len(found) >= _SAMPLE // 2 else _draw_from_all(catalogue, folder)


def _draw_from_all(catalogue: Catalogue, folder: bytes) -> list[FileRow]:
    """Each as likely as every other: Vitter, Random sampling with a reservoir, 1985."""
    chance = random.Random(0)
    drawn: list[FileRow] = []
    for count, row in enumerate(catalogue.files_below(folder)):
        if count < _SAMPLE:
            drawn.append(row)
        elif (place := chance.randrange(count + 1)) < _SAMPLE:
            drawn[place] = row
    return drawn


def compare(sample: Sequence[FileRow], old: bytes, new: bytes) -> Likeness:
    """What of pictures below the folder ``old`` lies below ``new``.  Reads three files at most."""
    there = alike = dated = own = 0
    first: list[tuple[bytes, bytes]] = []
    for row in sample:
        path = new.rstrip(SEPARATOR) + row.path[len(old.rstrip(SEPARATOR)) :]
        try:
            status = os.stat(path)
        except OSError:
            continue
        if status.st_size != row.file_size:
            continue
        there += 1
        if abs(signed64(status.st_mtime_ns) - row.mtime_ns) > _FAT_NS:
            continue
        alike += 1
        first += [(path, row.content_hash)] if len(first) < _HASHED else []
        if row.ctime_ns is not None and os.name != "nt":
            dated += 1
            own += signed64(status.st_ctime_ns) == row.ctime_ns
    same_bytes = bool(first) and all(_holds(path, digest) for path, digest in first)
    return Likeness(len(sample), there, alike, dated, own, same_bytes)


def _holds(path: bytes, digest: bytes) -> bool:
    try:
        with open_file(os.fsdecode(path)) as file:
            return hash_pieces(read_from_disk(file)) == digest
    except (OSError, PictureUnreadable):
        return False
