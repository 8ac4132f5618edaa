"""Same picture or not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from parecido.indexer.arrays import Exact, Vectors
from parecido.indexer.records.pictures import LOOK_SIDE
from parecido.search.sameness.alignment import align, correlate
from parecido.search.sameness.differences import find_worst

__all__ = ["compare", "is_same"]

_LEAST_CORRELATION = 0.96
# Of 1,920 pairs of memes none is below this, of 384 copies 98 %.
_LARGEST_DIFFERENCE = 2.0
# A picture of the library is known by its small thumbnail, which shifts and scales less truly: with
# 2 it would be half of the copies that were cut.
_LARGEST_OF_STORED = 3.0


def compare(thumbnail: Vectors, others: Vectors) -> tuple[Vectors, Exact]:
    """The correlations of luma ``(cells, cells)`` with thumbnails ``(n, SIDE, SIDE)``, aligned.

    And how much each differs in its worst block, as a multiple of what it may differ by in a copy,
    infinite where that was not looked at; both ``(n,)``.
    """
    correlations = np.zeros(len(others), np.float32)
    worst = np.full(len(others), np.inf)
    found = align(thumbnail, others)
    if len(found.rows):
        correlation, ours, theirs = correlate(found.laid, found.theirs, found.covered)
        correlations[found.rows] = correlation
        alike = correlation >= _LEAST_CORRELATION
        if alike.any():
            differences = find_worst(ours[alike], theirs[alike], found.covered[alike])
            worst[found.rows[alike]] = differences
    return correlations, worst


def is_same(thumbnail: Vectors, others: Vectors) -> npt.NDArray[np.bool_]:
    """Whether a picture is the same as each of some others, ``(n,)``; arguments as above.

    However it was compressed, scaled, turned, mirrored, framed or cut by a tenth; not where
    something was written on one of them.
    """
    correlations, worst = compare(thumbnail, others)
    most = _LARGEST_OF_STORED if len(thumbnail) == LOOK_SIDE else _LARGEST_DIFFERENCE
    return (correlations >= _LEAST_CORRELATION) & (worst <= most)
