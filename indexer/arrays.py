"""Names for arrays, each with its dtype, and what is done with rows of any kind."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

__all__ = ["Exact", "Ids", "Pixels", "Vectors", "is_in", "pages", "sample"]

Ids = npt.NDArray[np.int64]
"""Ids of pictures, or of what else has descriptors."""
Vectors = npt.NDArray[np.float32]
"""Descriptors, scores and other numbers as they are stored and searched."""
Exact = npt.NDArray[np.float64]
"""Numbers in the precision in which sums are made."""
Pixels = npt.NDArray[np.uint8]
"""Pictures: upright RGB ``(height, width, 3)``."""


def pages(ids: Ids, size: int) -> Iterator[Ids]:
    """Ids ``(n,)`` in pieces of at most that size, in their order."""
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


def sample(ids: Ids, most: int, seed: int) -> Ids:
    """Ids ``(n,)`` themselves, or so many of them drawn without replacement, ascending."""
    if len(ids) <= most:
        return ids
    return np.sort(np.random.default_rng(seed).choice(ids, most, replace=False))


def is_in(ids: Ids, ascending: Ids) -> npt.NDArray[np.bool_]:
    """Which ids, of any shape, are among others, which may be a million.

    ``np.isin`` takes a look at each of those.
    """
    if not len(ascending):
        return np.zeros(ids.shape, bool)
    places = np.minimum(np.searchsorted(ascending, ids), len(ascending) - 1)
    return np.asarray(ascending[places] == ids)
