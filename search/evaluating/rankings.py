"""Every picture of a library against all the others: the rankings that an evaluation measures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from parecido.indexer.arithmetic import cosines
from parecido.indexer.library.library import Library
from parecido.search.ranking.neighbourhood import NeighbourFinder
from parecido.search.ranking.rerank import SHORTLIST, second_scores

__all__ = ["QUERIES_AT_ONCE", "Rankings", "rank"]

QUERIES_AT_ONCE = 128
"""Queries that are ranked together.

In a gallery of 20,000 pictures of 1280 numbers this takes 180 MB beside the 100 MB of the
descriptors; 256 take 250 MB and are a sixth quicker.
"""

_PIECE = 4096  # descriptors that are taken to float64 together

Ids = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


class Rankings(NamedTuple):
    """The rankings of ``b`` queries over the gallery of ``n`` pictures."""

    queries: Ids
    """``(b,)``."""
    ids: Ids
    """``(b, n − 1)``: for each query the others, best first, equal scores by id."""
    scores: Vectors
    """``(b, n − 1)``: their cosines, descending unless re-ranking has reordered them."""
    dimension: int
    """How many numbers of each picture were compared."""


def rank(
    library: Library,
    terms: Mapping[str, bool],
    ids: Ids,
    queries: Ids | None = None,
    *,
    block: int = QUERIES_AT_ONCE,
) -> Iterator[Rankings]:
    """Rank the pictures with these ids by their likeness to some of them, ``block`` at a time.

    ``ids`` are ascending and in the library, and so are ``queries``, which are all of them by
    default.  ``terms`` are the search settings of a recipe; what they do not name is as the library
    was told.  Scores are cosines in the library's space, rounded as a search does it, so equal
    descriptors score equally.  The shortlist is expanded and re-ranked as in a search.
    Memory is the gallery once and ``block × n``, never ``n × n``.
    """
    vectors = _gallery(library, ids)
    by_default = library.catalogue.settings.reranks_by_default()
    second = _Second(library, terms.get("expand", by_default), terms.get("rerank", by_default))
    places = np.arange(len(ids)) if queries is None else np.searchsorted(ids, queries)
    for start in range(0, len(places), block):
        asked = places[start : start + block]
        scores = _cosines(vectors[asked], vectors)
        scores[np.arange(len(asked)), asked] = -np.inf  # last, and cut off
        order = np.argsort(-scores, axis=1, kind="stable")[:, :-1]
        if second.is_wanted:
            for row, place in enumerate(asked.tolist()):
                second.reorder(order[row], vectors, ids, place)
        yield Rankings(
            ids[asked], ids[order], np.take_along_axis(scores, order, 1), vectors.shape[1]
        )


class _Second:
    """Expansion and re-ranking of the shortlists, as
    :class:`parecido.search.ranking.ranking.Ranking` has them.
    """

    def __init__(self, library: Library, expand: bool, rerank: bool) -> None:
        self.is_wanted = expand or rerank
        self._rerank = rerank
        self._around = NeighbourFinder(library, library.vectors()) if expand else None

    def reorder(self, order: Ids, vectors: Vectors, ids: Ids, query: int) -> None:
        """Put the first places of an order ``(n − 1,)`` into the order that these give."""
        shortlist = order[:SHORTLIST].copy()
        own = frozenset([int(ids[query])])
        around = self._around.of(ids[shortlist], own) if self._around else None
        seconds = second_scores(vectors[query], vectors[shortlist], around, rerank=self._rerank)
        order[: len(shortlist)] = shortlist[np.lexsort((shortlist, -seconds))]


def _gallery(library: Library, ids: Ids) -> Vectors:
    """The descriptors ``(n, dimension)`` of these ids, in their order."""
    vectors = np.empty((0, 0), np.float32)
    filled = 0
    for found, rows in library.gallery().read_after(-1):
        if not filled:
            vectors = np.empty((len(ids), rows.shape[1]), np.float32)
        wanted = rows[np.isin(found, ids)]
        vectors[filled : filled + len(wanted)] = wanted
        filled += len(wanted)
    return vectors


def _cosines(queries: Vectors, gallery: Vectors) -> Vectors:
    scores = np.empty((len(queries), len(gallery)), np.float32)
    for start in range(0, len(gallery), _PIECE):
        piece = slice(start, start + _PIECE)
        scores[:, piece] = cosines(queries, gallery[piece])
    return scores
