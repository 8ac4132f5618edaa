"""What a question shows, and which hits show the same picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from parecido.indexer.arrays import Vectors
from parecido.indexer.records.pictures import LOOK_SIDE, Look
from parecido.search.sameness.verdict import is_same

__all__ = ["Found", "Shown", "judge", "thumbnail_of"]


class Shown(NamedTuple):
    """A picture that was asked about."""

    content_hash: bytes | None = None
    """Of its file; None for a part of it, and where there is no file."""
    thumbnail: Vectors | None = None
    """Luma ``(cells, cells)`` of it; None where that is not known."""
    unframed: Vectors | None = None
    """The same of what lies in a frame of one colour, where it has one."""


class Found(NamedTuple):
    """A hit, which may show the same."""

    content_hash: bytes
    look: Look | None
    """None where it was indexed before such were kept."""


def judge(shown: Sequence[Shown], found: Sequence[Found]) -> list[bool | None]:
    """Whether each of some hits shows the same picture as one that was asked about.

    None where that cannot be told: for other bytes, where one of the two has no thumbnail.
    """
    hashes = {one.content_hash for one in shown if one.content_hash is not None}
    seen = [number for number, hit in enumerate(found) if hit.look is not None]
    drawn = [one for own in shown for one in (own.thumbnail, own.unframed)]
    asked = [one for one in drawn if one is not None]
    verdicts: list[bool | None] = [None] * len(found)
    if seen and asked:
        theirs = np.stack([thumbnail_of(hit.look) for hit in found if hit.look is not None])
        same = np.logical_or.reduce([is_same(thumbnail, theirs) for thumbnail in asked])
        for number, verdict in zip(seen, same.tolist(), strict=True):
            verdicts[number] = verdict
    return [
        True if hit.content_hash in hashes else verdict
        for hit, verdict in zip(found, verdicts, strict=True)
    ]


def thumbnail_of(look: Look) -> Vectors:
    """A kept thumbnail ``(LOOK_SIDE, LOOK_SIDE)``, float32."""
    cells = np.frombuffer(look.thumbnail, np.uint8)
    return cells.reshape(LOOK_SIDE, LOOK_SIDE).astype(np.float32)
