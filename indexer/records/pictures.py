"""The plain records that cross module borders.  All are immutable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Encoding", "IndexReport", "Label", "Picture", "Problem", "Skip"]


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
    """When it was taken by the camera's clock, ``2024-05-01T12:30:00``; None where unknown."""
    camera: str = ""
    """Maker and model."""
    added_at: float = 0.0
    """When it came into the library, in seconds since 1970."""


@dataclass(frozen=True)
class Skip:
    """A file that was looked at and left out."""

    path: str
    reason: str
    kind: str
    """Group for summaries; see :class:`parecido.PictureUnreadable`."""


@dataclass(frozen=True)
class Encoding:
    """What an encoder gives for ``n`` pictures."""

    descriptors: npt.NDArray[np.float32]
    """``(n, dimension)``, rows of unit length."""
    labels: list[tuple[Label, ...]]
    """For each picture its likeliest classes, best first; empty tuples where there is no head."""


@dataclass(frozen=True)
class Problem:
    """Something that ``verify`` found."""

    what: str
    """What is wrong, in one line."""
    repairable: bool
    """Whether ``verify --repair`` mends it."""


@dataclass
class IndexReport:
    """What an indexing run did.  Every file that it saw is counted in exactly one group."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    moved: int = 0
    removed: int = 0
    skipped: list[Skip] = field(default_factory=list)
    seconds: float = 0.0
    encoded: int = 0
    """Pictures that went through the network (copies of known bytes do not)."""
    interrupted: bool = False
    preparing_seconds: float = 0.0
    """Part of ``seconds`` spent on opening the encoder: building it where it was not cached."""
    missing_roots: list[str] = field(default_factory=list)
    """Roots that were not there; their pictures were kept."""

    @property
    def pictures_per_second(self) -> float:
        """Pictures added or updated a second, the opening of the encoder left out."""
        working = self.seconds - self.preparing_seconds
        return (self.added + self.updated) / working if working > 0 else 0.0
