"""The plain records that cross module borders.  All are immutable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from parecido.indexer.records.details import NO_DETAILS, Details
from parecido.indexer.records.regions import Regional

if TYPE_CHECKING:
    from parecido.indexer.arrays import Vectors

__all__ = [
    "LOOK_SIDE",
    "LOOK_VERSION",
    "UNKNOWN",
    "Described",
    "Encoding",
    "FileEntry",
    "Label",
    "Look",
    "Note",
    "Picture",
    "Skip",
    "Taken",
]

LOOK_SIDE = 32
"""Width and height of a thumbnail that is kept, in cells, whatever shape the picture has."""
LOOK_VERSION = 1
"""Of how thumbnails are made; others cannot be compared with these."""


class Label(NamedTuple):
    """An ImageNet class with its probability in 0..1 and its index in 0..999."""

    name: str
    probability: float
    class_index: int


@dataclass(frozen=True)
class Picture:
    """One picture of a library, as the catalogue knows it."""

    id: int
    path: str
    """Absolute path; bytes that are no UTF-8 are surrogate-escaped, as Python does everywhere."""
    width: int
    """Upright width in pixels."""
    height: int
    """Upright height in pixels."""
    format: str
    """Pillow's name of the file format, ``JPEG`` for example."""
    file_size: int
    """Bytes of the file."""
    mtime_ns: int
    content_hash: bytes
    """BLAKE2b of the file's bytes, 16 bytes."""
    labels: tuple[Label, ...]
    """The five likeliest ImageNet classes; empty where the encoder has no such head."""
    taken_at: str | None = None
    """When it was taken by the camera's clock, ``2024-05-01T12:30:00``, or as much of that as is
    known: ``2024-05-01``, ``2024-05`` or ``2024``; None where unknown."""
    camera: str = ""
    """Maker and model."""
    added_at: float = 0.0
    """When it came into the library, in seconds since 1970."""
    ctime_ns: int | None = None
    """When the file, or what is known of it, changed last; None where that is not known."""


@dataclass(frozen=True)
class Skip:
    """A file that was looked at and left out."""

    path: str
    reason: str
    kind: str
    """Group for summaries; see :class:`parecido.PictureUnreadable`."""


@dataclass(frozen=True)
class Note:
    """Something to know of a picture that was added or updated."""

    path: str
    note: str
    """What is missing of it, in a few words."""


@dataclass(frozen=True)
class Encoding:
    """What an encoder gives for ``n`` pictures."""

    descriptors: Vectors
    """``(n, dimension)``, rows of unit length."""
    labels: list[tuple[Label, ...]]
    """For each picture its likeliest classes, best first; empty tuples where there is no head."""


class Taken(NamedTuple):
    """Where a picture's metadata say nothing, both are unknown."""

    at: str | None
    """By the camera's clock, without a time zone: ``2024-05-01T12:30:00``, or as much of that as is
    known."""
    camera: str
    """Maker and model, ``""`` where unknown."""


UNKNOWN = Taken(None, "")


@dataclass(frozen=True)
class Look:
    """A picture as a small grey thumbnail."""

    thumbnail: bytes
    """Luma, a byte a cell, as many rows as cells in a row."""
    version: int = LOOK_VERSION


@dataclass(frozen=True)
class Described:
    """What the encoder said of some bytes; every file that holds them shares it."""

    width: int
    height: int
    format: str
    labels: tuple[Label, ...]
    vector: bytes
    """Little-endian float16, as the catalogue stores it."""
    taken: Taken = UNKNOWN
    regional: Regional | None = None
    """Regional descriptors, where the library keeps them."""
    details: Details = NO_DETAILS
    note: str = ""
    """What is missing of the picture, as of a file that was cut short; it is not kept."""
    decoding: int = 1
    """By which rules its pixels were made; see :mod:`parecido.indexer.pictures.formats.changes`."""
    look: Look | None = None
    """By which its copies are known; None where that was not made yet."""


class FileEntry(NamedTuple):
    """A file as the walk saw it."""

    path: bytes
    """Absolute, as the file system's bytes."""
    file_size: int
    mtime_ns: int
    ctime_ns: int | None = None
    """When its bytes, its name or its rights changed last, which no program can set; None where
    the system does not keep it."""
