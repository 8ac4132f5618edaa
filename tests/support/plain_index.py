"""The nearest neighbours with NumPy alone: another engine behind the port, and an oracle."""

from __future__ import annotations

import numpy as np

from parecido.indexer.arrays import Ids, Vectors
from parecido.indexer.vectors.gallery import Gallery
from parecido.indexer.vectors.nearest import Candidates

__all__ = ["PlainIndex"]


class PlainIndex:
    """Every descriptor in memory, compared one by one; what it leaves out it knows exactly."""

    def __init__(self, gallery: Gallery) -> None:
        self.gallery = gallery
        self.generation = -1
        self._rows: dict[int, Vectors] = {}
        self.refresh()

    @property
    def count(self) -> int:
        return len(self._rows)

    def ids(self) -> Ids:
        return np.array(sorted(self._rows), np.int64)

    def refresh(self) -> None:
        source = self.gallery.source
        generation, since = source.generation(), self.generation
        for ids, vectors in self.gallery.read_after(since):
            self._rows.update(zip(ids.tolist(), vectors, strict=True))
        for gone in source.list_removals_after(since).tolist():
            self._rows.pop(gone, None)
        self.generation = generation

    def search(
        self, queries: Vectors, k: int, allowed: Ids | None = None, *, threads: int = 1
    ) -> Candidates:
        ids = self.ids() if allowed is None else np.intersect1d(self.ids(), allowed)
        _, vectors = self.vectors_of(ids)
        if not len(ids):
            shape = (len(queries), k)
            bound = np.full(len(queries), -np.inf)
            return Candidates(np.full(shape, -1), np.full(shape, -np.inf, np.float32), bound)
        products = queries.astype(np.float64) @ vectors.astype(np.float64).T
        scores: Vectors = products.astype(np.float32)
        order = np.argsort(-scores, axis=1, kind="stable")
        best = np.take_along_axis(scores, order, 1)
        bound = np.full(len(queries), -np.inf)
        if k < len(ids):
            bound = best[:, k - 1].astype(np.float64)
        return Candidates(ids[order[:, :k]], best[:, :k], bound)

    def vectors_of(self, ids: Ids, *, exact: bool = False) -> tuple[Ids, Vectors]:
        there = np.intersect1d(ids, self.ids())
        rows = [self._rows[one] for one in there.tolist()]
        width = len(next(iter(self._rows.values()))) if self._rows else 0
        return there, np.stack(rows) if rows else np.empty((0, width), np.float32)
