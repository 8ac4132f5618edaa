"""What files this program makes: how they are called, and how they begin or end.

A name alone proves nothing: somebody may have put a file of the same name where the program keeps
its own.  So before a file is replaced or removed it is looked into.  One that is empty, or nothing
but zeros as a power cut leaves it, holds nothing that could be lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

__all__ = [
    "ARRIVALS",
    "CACHED",
    "CACHED_FOLDER",
    "CACHED_LOCK",
    "CATALOGUES",
    "FRESH_CATALOGUE",
    "INDEXES",
    "INDEX_SEAL",
    "JOURNALS",
    "LOCK",
    "MODELS",
    "NEIGHBOURS",
    "PIXELS",
    "SCRUB",
    "SEAL",
    "SESSIONS",
    "THUMBNAILS",
    "THUMBNAIL_MARK",
    "WORK",
    "WORK_MARK",
    "WORK_MARK_NAME",
    "WRITER",
    "BySize",
    "Kind",
    "any_content",
    "is_blank",
    "is_lock",
]

_HEAD = 4096
_TEMPORARY = r"(\.\d+(-[0-9a-f]{8})?\.tmp)"  # behind the name of what is being written
_SQLITE = b"SQLite format 3\0"

INDEX_SEAL = b"parecido"
"""With which a vector index's file ends."""
SEAL = b"\nsealed\n"
"""With which a file of neighbours ends, and a thumbnail's."""
THUMBNAIL_MARK = b"parecido"
"""The comment of a thumbnail."""


class Kind(NamedTuple):
    """Files of one sort: their names, and whether what is in one is this program's."""

    names: re.Pattern[str]
    is_made: Callable[[BinaryIO], bool]
    """Asked with a file that is open for reading at its beginning."""

    def while_writing(self) -> Kind:
        """These files, and what they are called while they are being written."""
        return self._replace(names=re.compile(f"({self.names.pattern}){_TEMPORARY}?"))

    def only(self, name: str) -> Kind:
        """The one file of that name."""
        return self._replace(names=re.compile(re.escape(name)))


def any_content(file: BinaryIO) -> bool:
    """For files whose names nobody else gives."""
    return True


def is_blank(file: BinaryIO) -> bool:
    """Whether a file is empty or holds nothing but zeros."""
    file.seek(0)
    while piece := file.read(1 << 20):
        if piece.strip(b"\0"):
            return False
    return True


def _begins(*heads: bytes) -> Callable[[BinaryIO], bool]:
    def is_made(file: BinaryIO) -> bool:
        return file.read(_HEAD).startswith(heads) or is_blank(file)

    return is_made


def _is_index(file: BinaryIO) -> bool:
    # FAISS's names of an exhaustive index with ids and of a projection before another index
    if _begins(b"IxM2", b"IxPT")(file):
        return True
    length = file.seek(0, 2)
    file.seek(max(0, length - len(INDEX_SEAL)))
    return file.read() == INDEX_SEAL


def _is_neighbours(file: BinaryIO) -> bool:
    head = file.read(256)
    fields = (b"'id'", b"'near'", b"'cosine'")
    is_table = head.startswith(b"\x93NUMPY") and all(name in head for name in fields)
    length = file.seek(0, 2)
    file.seek(max(0, length - len(SEAL)))
    return is_table or file.read() == SEAL or is_blank(file)


def _is_thumbnail(file: BinaryIO) -> bool:
    """JPEG with our comment, or as it was made before there was one: of Pillow's, quality 82."""
    head = file.read(_HEAD)
    start = b"\xff\xd8\xff\xe0\x00\x10JFIF"
    comment = b"\xff\xfe" + (len(THUMBNAIL_MARK) + 2).to_bytes(2, "big") + THUMBNAIL_MARK
    tables = b"\xff\xdb\x00\x43\x00\x06\x04\x04\x05\x04\x04\x06"
    is_ours = head.startswith(start) and head[20:].startswith((comment, tables))
    return is_ours or is_blank(file)


def is_lock(file: BinaryIO) -> bool:
    """Whether a lock is empty, or holds what filelock writes where a system has no flock.

    That is the number of the process, the host, and when it was started.
    """
    return re.fullmatch(rb"(\d+\n[^\n]{1,255}\n([^\n]{1,64}\n)?)?", file.read(_HEAD)) is not None


def _is_fresh(file: BinaryIO) -> bool:
    """A catalogue that is being made: with our tables, or with none yet."""
    head = file.read(1 << 20)
    is_ours = b"CREATE TABLE pictures" in head or b"CREATE " not in head
    return (head.startswith(_SQLITE) and is_ours) or is_blank(file)


INDEXES = Kind(re.compile(r"\d{12}(-[0-9a-f]{16})?\.faiss"), _is_index)
"""A vector index, named after its generation and its space."""
NEIGHBOURS = Kind(re.compile(r"\d{12}(-[0-9a-f]{16})?\.npy"), _is_neighbours)
THUMBNAILS = Kind(re.compile(r"[0-9a-f]{32}\.jpg"), _is_thumbnail)
"""Named after the content of the original."""


class BySize:
    """For files that must not be opened: whether a size is one that they have."""

    def __init__(self, fits: Callable[[int], bool]) -> None:
        self.fits = fits

    def __call__(self, file: BinaryIO) -> bool:
        raise AssertionError("this file must not be opened")


def _is_rollback(file: BinaryIO) -> bool:
    """A rollback journal; until its first sync its header has no mark, and says how it is built."""
    head = file.read(28)
    built = (int.from_bytes(head[20:24], "big"), int.from_bytes(head[24:28], "big"))
    is_begun = head[:12] == bytes(12) and all(
        size.bit_count() == 1 and 512 <= size <= 65536 for size in built
    )
    file.seek(0)
    return is_begun or _begins(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7", _NONE)(file)


_NONE = bytes(24)  # for a header: of a journal that is done with, or whose writer died
JOURNALS: dict[str, Callable[[BinaryIO], bool]] = {
    "wal": _begins(b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83", _NONE),
    "journal": _is_rollback,
    # Never opened: when a process closes a file, all locks that it holds on it are gone, SQLite's
    # too, and another process that comes then cuts the file short under its readers.
    # It grows by pages of 4 kB.
    "shm": BySize(lambda size: size % (4 << 10) == 0 or size <= 3),
}
"""What lies beside a catalogue, by the end of its name; SQLite itself empties and removes it."""
CATALOGUES = re.compile(
    r"catalogue\.sqlite((\.new)?(-wal|-shm|-journal)?|\.damaged-\d{8}-\d{6}-\d+)"
)
FRESH_CATALOGUE = (
    Kind(re.compile(r"catalogue\.sqlite\.new"), _is_fresh),
    *(
        Kind(re.compile(rf"catalogue\.sqlite\.new-{end}"), is_made)
        for end, is_made in JOURNALS.items()
    ),
)
"""What a catalogue is called before it takes its place."""
LOCK = "lock"
"""Empty, but where a file system has no locks; see :func:`is_lock`."""
WRITER = Kind(re.compile(r"writer\.json(\.tmp)?"), _begins(b'{"pid": '))
"""Who holds the lock."""

ARRIVALS = Kind(
    re.compile(
        r"\.(?P<name>[^/]+)\.(?P<hash>[0-9a-f]{32})"
        r"\.(?P<kind>new|other)-(?P<stamp>[0-9a-f]{16})[0-9a-f]{8}"
    ),
    any_content,
)
"""What has been uploaded and has no place yet: a new picture, or other bytes for one.

No walk takes these up, nor what they are called while they are written.
"""
SESSIONS = Kind(re.compile(r"sessions\.json"), _begins(b'{"before": '))
"""Which sessions of a server's were ended."""
SCRUB = Kind(re.compile(r"scrub\.json"), _begins(b'{"last_id": '))
"""Up to which picture the files of pictures were read and compared."""

MODELS = Kind(re.compile(r"model\.(xml|bin)"), any_content)
"""A quantised model; whose it is, is told by its digest."""
PIXELS = Kind(re.compile(r"\d{4}\.npy"), _begins(b"\x93NUMPY"))
"""Pictures that a model is calibrated on."""
WORK = re.compile(r"encoder\.new-[a-z0-9_]{8}")
"""A folder in which a quantised model is made."""
WORK_MARK_NAME = "made-by-parecido"
WORK_MARK = Kind(re.compile(WORK_MARK_NAME), is_blank)
"""Lies in every such folder, so that no other passes for one."""
CACHED = Kind(re.compile(r"(manifest|facts)\.json|(model|raw)\.(xml|bin)"), any_content)
"""What a folder of the encoder cache holds; it is named after the encoder's fingerprint."""
CACHED_FOLDER = re.compile(r"(facts-)?[0-9a-f]{32}(-maps)?(\.[a-z0-9_]{8})?")
CACHED_LOCK = re.compile(r"(facts-)?[0-9a-f]{32}(-maps)?\.lock")
