"""A shortlist once more: expansion by neighbours, and re-ranking by shared neighbours.

Both use what the library itself knows of its pictures, and no labels.  Expansion moves the query
and every picture of the shortlist towards their own nearest neighbours: average query expansion
with α-weights (Radenović, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human
Annotation", TPAMI 2019, section 3.4) on both sides (database-side augmentation: Turcot and Lowe,
"Better matching with fewer features", ICCV workshops 2009).  Re-ranking compares the sets of
k-reciprocal neighbours (Zhong, Zheng, Cao and Li, "Re-ranking Person Re-identification with
k-reciprocal Encoding", CVPR 2017), within the shortlist.

Here the query counts as if it were a picture of the library, so that a file finds the same whether
it is indexed or not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from parecido.indexer.arithmetic import cosines, round_scores, unit
from parecido.indexer.arrays import Exact, Ids, Vectors

__all__ = ["NEIGHBOURS", "SHORTLIST", "Neighbourhood", "second_scores"]


SHORTLIST = 100
"""Pictures that are looked at a second time."""
NEIGHBOURS = 5
"""Towards how many of its neighbours a descriptor is moved."""
_ALPHA = 3.0
_K1, _K2 = 10, 3  # of k-reciprocal encoding: the neighbours, and those that are averaged over
_COSINE = 0.5  # share of the cosine in the final score


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """The nearest neighbours of a shortlist's pictures, from the whole library."""

    cosines: Vectors
    """``(L, NEIGHBOURS)``, best first; -1 where there are fewer."""
    vectors: Vectors
    """``(L, NEIGHBOURS, m)``: their descriptors; anything where there are none."""


def second_scores(
    query: Vectors, shortlist: Vectors, around: Neighbourhood | None, *, rerank: bool
) -> Vectors:
    """Scores ``(L,)`` of a shortlist ``(L, m)`` for a query ``(m,)``, the more the more alike.

    All descriptors have unit length and lie on the grid of :mod:`parecido.indexer.arithmetic`, and
    the shortlist is ordered by its cosine with the query.  Scores are rounded as cosines are, so
    that equal ones are equal on every processor.  With ``around`` both sides are expanded.  Without
    ``rerank`` the scores are cosines of expanded descriptors; with it, they are one minus the mixed
    Jaccard and cosine distance, 0 to 1.
    """
    rows = np.concatenate([query[None], shortlist])
    if around is not None:
        rows = _expand(rows, around)
    if not rerank:
        return cosines(rows[0], rows[1:])
    return _reciprocal(rows)


def _expand(rows: Vectors, around: Neighbourhood) -> Vectors:
    """Query and shortlist ``(1 + L, m)``, moved towards their neighbours."""
    scores = cosines(rows[0], rows[1:])
    moved = rows.astype(np.float64)
    nearest = np.argsort(-scores, kind="stable")[:NEIGHBOURS]
    moved[0] += _weights(scores[nearest]) @ moved[1:][nearest]
    # the query takes the last neighbour's place where it is nearer
    known = around.cosines
    comes_in = scores > known[:, -1]
    weights = _weights(known)
    weights[comes_in, -1] = 0
    moved[1:] += np.einsum("lk,lkm->lm", weights, around.vectors)
    moved[1:] += (_weights(scores) * comes_in)[:, None] * rows[0]
    return unit(moved)


def _weights(scores: Vectors) -> Exact:
    return np.asarray(np.maximum(scores, 0).astype(np.float64) ** _ALPHA)


def _reciprocal(rows: Vectors) -> Vectors:
    """k-reciprocal similarity of the rows after the first ``(1 + L, m)`` to the first, 0 to 1."""
    count = len(rows)
    scores = cosines(rows, rows).astype(np.float64)
    np.fill_diagonal(scores, np.inf)  # everybody is its own nearest neighbour
    order = np.argsort(-scores, axis=1, kind="stable")
    np.fill_diagonal(scores, 1)
    reach = min(_K1, count - 1)
    wide = _mutual(order, reach + 1)
    narrow = _mutual(order, round(reach / 2) + 1)
    # a neighbour's own narrow set joins where more than two thirds of it are shared already, as in
    # the authors' program; in the paper, where two thirds are
    shared = wide @ narrow.T
    joins = wide * (shared > 2 / 3 * narrow.sum(axis=1))
    members = (wide + joins @ narrow) > 0
    encoded = np.where(members, np.exp(scores - 1), 0)
    encoded /= encoded.sum(axis=1, keepdims=True)
    nearest = order[:, : min(_K2, count)]
    encoded = encoded[nearest].mean(axis=1)
    overlap = np.minimum(encoded[1:], encoded[0]).sum(axis=1)
    alike = overlap / (2 - overlap)
    return round_scores((1 - _COSINE) * alike + _COSINE * (1 + scores[0, 1:]) / 2)


def _mutual(order: Ids, k: int) -> Vectors:
    """Which rows are among each other's ``k`` nearest, as 0 and 1 ``(n, n)``."""
    near = np.zeros(order.shape, np.float32)
    np.put_along_axis(near, order[:, :k], 1, axis=1)
    return near * near.T
