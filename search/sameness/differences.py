"""Where two pictures that lie on each other differ: a caption, a stamp, another face.

Compression, another size and a place that is off by a part of a cell leave small differences
wherever there are edges; what was written on a picture leaves large ones in a few places.
"""

from __future__ import annotations

import numpy as np

from parecido.indexer.arrays import Exact, Vectors

__all__ = ["find_worst"]

_BLOCK = 3
"""Cells along a side of the blocks that are looked at; they overlap."""
_AROUND = 5
"""The same of what tells how much goes on there."""
_LEVELS, _OF_DETAIL, _OF_ALL = 2.0, 0.3, 2.0
"""What a block may differ by: grey levels, a share of the detail around it, and of the median."""


def find_worst(ours: Vectors, theirs: Vectors, covered: Vectors) -> Exact:
    """How much ``n`` pairs of thumbnails ``(n, s, s)``, around 0, differ in their worst block.

    As a multiple of what it may differ by in a copy; ``(n,)``.
    """
    power = np.maximum((ours.astype(np.float64) ** 2).sum((1, 2), keepdims=True), 1)
    gain = (ours * theirs).sum((1, 2), keepdims=True) / power
    ours = ours * gain
    count = _sum_blocks(covered, _BLOCK)
    inside = count >= 0.75 * _BLOCK**2
    squares = _sum_blocks((theirs - ours) ** 2 * covered, _BLOCK) / np.maximum(count, 1)
    differences = np.sqrt(np.maximum(squares, 0))
    median = np.array(
        [
            np.median(one[there]) if there.any() else 0.0
            for one, there in zip(differences, inside, strict=True)
        ]
    )
    detail = np.minimum(_spread(ours), _spread(theirs))
    allowed = _LEVELS + _OF_DETAIL * detail + _OF_ALL * median[:, None, None]
    worst: Exact = np.where(inside, differences / allowed, 0).max((1, 2))
    return worst


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
    blocks: Exact = (
        sums[:, side:, side:] - sums[:, :-side, side:] - sums[:, side:, :-side]
    ) + sums[:, :-side, :-side]
    return blocks
