"""Where two pictures that lie on each other differ: a caption, a stamp, another face.

Compression, another size and a place that is off by a part of a cell leave small differences
wherever there are edges; what was written on a picture leaves large ones in a few places.
"""

from __future__ import annotations

import numpy as np

from parecido.indexer.arrays import Exact, Vectors

__all__ = ["find_worst"]

_BLOCK = 2
"""Cells along a side of the blocks that are looked at; they overlap."""
_AROUND = 4
"""The same of what tells how much goes on there."""
# What a block may differ by: grey levels, a share of the detail around it, and a multiple of the
# median of all blocks.  Of those tried, these let through the most copies of 48 photographs beside
# a five hundredth of the pairs of memes that were made of half of them.
_LEVELS, _OF_DETAIL, _OF_MEDIAN = 1.0, 0.1, 2.0


def find_worst(ours: Vectors, theirs: Vectors, covered: Vectors) -> Exact:
    """How much ``n`` pairs of thumbnails differ in their worst block, ``(n,)``.

    As a multiple of what it may differ by in a copy.  The thumbnails ``(n, s, s)`` are around 0,
    and 0 where they are not ``covered``.
    """
    ours = _light(ours, theirs)
    count = _sum_blocks(covered, _BLOCK)
    inside = count >= 0.75 * _BLOCK**2
    squares = _sum_blocks((theirs - ours) ** 2 * covered, _BLOCK) / np.maximum(count, 1)
    differences = np.where(inside, np.sqrt(np.maximum(squares, 0)), np.nan)
    median = np.nanmedian(differences.reshape(len(ours), -1), axis=1)[:, None, None]
    detail = np.minimum(_spread(ours), _spread(theirs))
    allowed = _LEVELS + _OF_DETAIL * detail + _OF_MEDIAN * median
    worst: Exact = np.nanmax(differences / allowed, axis=(1, 2))
    return worst


def _light(ours: Vectors, theirs: Vectors) -> Vectors:
    """Ours with the gain that brings them nearest to theirs."""
    power = np.maximum((ours**2).sum((1, 2), keepdims=True), 1)
    lit: Vectors = ours * ((ours * theirs).sum((1, 2), keepdims=True) / power)
    return lit


def _spread(values: Vectors) -> Exact:
    """The standard deviation around each block."""
    edge = (_AROUND - _BLOCK) // 2
    padded = np.pad(values, ((0, 0), (edge, edge), (edge, edge)), mode="edge")
    mean = _sum_blocks(padded, _AROUND) / _AROUND**2
    square = _sum_blocks(padded**2, _AROUND) / _AROUND**2
    spread: Exact = np.sqrt(np.maximum(square - mean**2, 0))
    return spread


def _sum_blocks(values: Vectors, side: int) -> Exact:
    """Sums over all blocks of ``(n, s, s)``."""
    sums = np.pad(values.astype(np.float64), ((0, 0), (1, 0), (1, 0))).cumsum(1).cumsum(2)
    upper = sums[:, :-side, side:] - sums[:, :-side, :-side]
    blocks: Exact = sums[:, side:, side:] - sums[:, side:, :-side] - upper
    return blocks
