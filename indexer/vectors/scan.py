"""The nearest neighbours by looking at every descriptor, a piece at a time."""

from __future__ import annotations

import numpy as np

from parecido.indexer.arrays import Ids, Vectors

__all__ = ["Nearest"]


class Nearest:
    """The ``k`` largest inner products of each query among all the descriptors that pass by.

    ``queries`` are ``(n, dimension)`` float32.  Memory does not depend on how many pass.
    """

    def __init__(self, queries: Vectors, k: int) -> None:
        self._queries = queries
        self._k = k
        self._scores = np.empty((len(queries), 0), np.float32)
        self._ids = np.empty((len(queries), 0), np.int64)

    def see(self, ids: Ids, vectors: Vectors) -> None:
        """Let ids ``(m,)`` with their descriptors ``(m, dimension)`` pass by."""
        scores = np.concatenate([self._scores, self._queries @ vectors.T], axis=1)
        rows = np.broadcast_to(ids, (len(self._queries), len(ids)))
        ids = np.concatenate([self._ids, rows], axis=1)
        if scores.shape[1] > self._k:
            best = np.argpartition(-scores, self._k - 1, axis=1)[:, : self._k]
            scores, ids = np.take_along_axis(scores, best, 1), np.take_along_axis(ids, best, 1)
        self._scores, self._ids = scores, ids

    def best(self) -> tuple[Vectors, Ids]:
        """Scores and ids, both ``(n, k)`` or less where fewer passed by, best first."""
        order = np.lexsort((self._ids, -self._scores), axis=1)
        return (
            np.take_along_axis(self._scores, order, 1),
            np.take_along_axis(self._ids, order, 1),
        )
