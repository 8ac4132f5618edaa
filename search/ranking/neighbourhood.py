"""The neighbours of a shortlist's pictures, for expansion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from parecido.indexer.arithmetic import round_scores
from parecido.indexer.arrays import Ids, Vectors, is_in
from parecido.indexer.library.layout import NEIGHBOURS as FOLDER
from parecido.indexer.library.library import Library
from parecido.indexer.vectors.neighbours import Neighbours, nearest
from parecido.search.ranking.rerank import NEIGHBOURS, Neighbourhood

if TYPE_CHECKING:
    from parecido.indexer.vectors.nearest import NearestIndex

__all__ = ["NeighbourFinder"]

# Pictures that came or changed since the file was written are compared one by one with a shortlist:
# 16,000 of them, which is what a run leaves between two files, in 45 ms on two busy cores.  Where
# there are more, the index is asked.
_FRESH = 20_000


class NeighbourFinder:
    """Neighbours from the library's file, or looked for in the index where it has none.

    Either way they are the nearest of what the index sees now; of a compressed one, nearly so.
    Belongs to one index; not safe for use from several threads.
    """

    def __init__(self, library: Library, index: NearestIndex) -> None:
        self.index = index
        self._folder = library.folder / FOLDER
        spec, space = library.encoder, index.gallery.space
        self._dimension = space.dimension if space is not None else spec.dimension if spec else 0
        self._kept: Neighbours | None = None
        self._seen = (-1, False)
        self._standing: Ids = np.empty(0, np.int64)
        self._fresh = (self._standing, np.empty((0, 0), np.float32))
        """Ids and descriptors of what is newer than the file."""

    def of(self, ids: Ids, leave_out: frozenset[int]) -> Neighbourhood:
        """The neighbours of pictures ``(L,)`` among what the index sees, some left out."""
        self._refresh()
        stands, own = self._vectors_of(ids)
        near = np.full((len(ids), 2 * NEIGHBOURS), -1, np.int64)
        if self._kept is not None:
            near[:, :NEIGHBOURS] = self._first(*self._kept.of(ids), leave_out, stale=True)
            near[is_in(ids, self._fresh[0])] = -1
        enough = min(NEIGHBOURS, len(self._standing) - 1 - len(leave_out))
        is_short = (near >= 0).sum(axis=1) < enough
        if len(self._fresh[0]):
            near[:, NEIGHBOURS:] = self._fresh_ones(ids, own, leave_out)
        short = np.flatnonzero(is_short & stands)
        if len(short):
            k = NEIGHBOURS + len(leave_out)
            near[short] = -1
            found = nearest(self.index, ids[short], own[short], k)
            near[short, :NEIGHBOURS] = self._first(*found, leave_out)
        return self._neighbourhood(own, near)

    def _first(
        self, near: Ids, cosines: Vectors, leave_out: frozenset[int], *, stale: bool = False
    ) -> Ids:
        """The first of each row ``(n, NEIGHBOURS)`` that may be named; -1 where there are fewer.

        What a file that is ``stale`` knows of changed pictures is not believed.
        """
        there = is_in(near, self._standing) & np.isin(near, list(leave_out), invert=True)
        if stale:
            there &= ~is_in(near, self._fresh[0])
        order = np.argsort(np.where(there, -cosines, 2), axis=1, kind="stable")[:, :NEIGHBOURS]
        first = np.take_along_axis(np.where(there, near, -1), order, 1)
        missing = max(0, NEIGHBOURS - first.shape[1])
        return np.pad(first, ((0, 0), (0, missing)), constant_values=-1)

    def _fresh_ones(self, ids: Ids, own: Vectors, leave_out: frozenset[int]) -> Ids:
        """The nearest of what is newer than the file."""
        fresh, vectors = self._fresh
        cosines = own @ vectors.T
        cosines[ids[:, None] == fresh] = -2
        most = min(NEIGHBOURS + len(leave_out), len(fresh))
        best = np.argpartition(-cosines, most - 1, axis=1)[:, :most]
        cosines = np.take_along_axis(cosines, best, 1)
        near = np.where(cosines > -2, fresh[best], -1)
        return self._first(near, cosines, leave_out)

    def _neighbourhood(self, own: Vectors, near: Ids) -> Neighbourhood:
        """The nearest of those named, by their descriptors; each is read once."""
        unique, back = np.unique(near, return_inverse=True)
        stands, found = self._vectors_of(unique)
        back = back.reshape(near.shape)
        vectors = found[back]
        # exact in any order, as all products of what lies on the grid
        products = np.einsum("nm,nkm->nk", own, vectors, dtype=np.float64)
        cosines = np.where(stands[back], round_scores(products), np.float32(-1))
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :NEIGHBOURS]
        vectors = np.take_along_axis(vectors, order[:, :, None], 1)
        return Neighbourhood(np.take_along_axis(cosines, order, 1), vectors)

    def _vectors_of(self, ids: Ids) -> tuple[npt.NDArray[np.bool_], Vectors]:
        """Which pictures are still there, and their descriptors ``(n, m)``, 0 for the others."""
        stands = is_in(ids, self._standing)
        found = ids[stands]
        vectors = np.zeros((len(ids), self._dimension), np.float32)
        if not len(found):
            return stands, vectors
        found, rows = self.index.vectors_of(found)
        stands = is_in(ids, found)  # some may just have left
        vectors[stands] = rows[np.searchsorted(found, ids[stands])]
        return stands, vectors

    def _refresh(self) -> None:
        """Follow the index, and the file that a writer makes after its last commit."""
        index, gallery = self.index, self.index.gallery
        generation = index.generation
        path = self._folder / f"{gallery.file_name(generation)}.npy"
        seen = (generation, path.exists())
        if seen == self._seen:
            return
        self._kept = Neighbours.open(self._folder, gallery)
        self._standing = index.ids()
        self._fresh = (np.empty(0, np.int64), np.empty((0, 0), np.float32))
        if self._kept is not None and self._kept.generation < generation:
            written = gallery.source.ids(before=self._kept.generation)
            fresh = np.setdiff1d(self._standing, written, assume_unique=True)
            if len(fresh) <= _FRESH:
                self._fresh = fresh, self._vectors_of(fresh)[1]
            else:
                self._kept = None
        self._seen = seen
