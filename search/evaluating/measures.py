"""How good rankings are: average precision, recall@k, precision@k, N-S, and bootstrap intervals.

Pure NumPy.  A query's ranking comes as one row of ``relevant``: ``(q, n)`` booleans, the gallery in
ranking order, best first, without the query itself; true where a picture is of the query's group.
Every function gives one number for each query, ``(q,)`` float64; a collection's figure is their
mean.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from parecido.indexer.errors import InvalidRequest

__all__ = [
    "average_precision",
    "bootstrap_interval",
    "nister_stewenius",
    "precision_at",
    "recall_at",
]

Relevance = npt.NDArray[np.bool_]
Values = npt.NDArray[np.float64]


def average_precision(relevant: Relevance) -> Values:
    """The average precision of each query, 0 to 1; its mean over queries is mAP.

    The mean of the precision at the rank of each relevant picture, over all ``R`` of them::

        AP = 1/R · Σ_k  precision(k) · relevant(k)

    without interpolation: Buckley and Voorhees, "Evaluating evaluation measure stability", SIGIR
    2000; Manning, Raghavan and Schütze, *Introduction to Information Retrieval*, 2008, section 8.4.
    It is what scikit-learn's ``average_precision_score`` gives where no two scores are equal; of
    equal scores scikit-learn makes one step, here the ranking has put them in an order.  The
    landmark benchmarks (Philbin et al., CVPR 2007) take trapezoids, which come out a little
    differently.

    Raises ``InvalidRequest`` for a query that has no relevant picture: its AP is undefined.
    """
    queries, ranks = np.nonzero(relevant)  # row by row, ranks ascending
    totals = np.bincount(queries, minlength=len(relevant))
    if not totals.all():
        raise InvalidRequest(
            "A query has no relevant picture, so its average precision is undefined.",
            "Leave out groups of a single picture.",
        )
    # of how many relevant pictures of its row each is the last so far
    found = np.arange(1, len(ranks) + 1) - np.repeat(np.cumsum(totals) - totals, totals)
    sums = np.bincount(queries, weights=found / (ranks + 1), minlength=len(relevant))
    values: Values = sums / totals
    return values


def recall_at(relevant: Relevance, k: int) -> Values:
    """1 for each query with at least one relevant picture among its first ``k``, else 0.

    This is the field's recall@k of retrieval by classes: Oh Song et al., "Deep metric learning via
    lifted structured feature embedding", CVPR 2016.  It is not the share of the relevant pictures
    found, which text retrieval calls recall; the two are one where a single picture is relevant, as
    in Jégou, Douze and Schmid, "Product quantization for nearest neighbor search", TPAMI 2011.
    """
    _check(k)
    return np.asarray(relevant[:, :k].any(axis=1), np.float64)


def precision_at(relevant: Relevance, k: int) -> Values:
    """The share of relevant pictures among the first ``k`` of each query, 0 to 1.

    Manning, Raghavan and Schütze, 2008, section 8.4.  The divisor is ``k`` always, as in TREC's
    evaluation: a group of ``g`` pictures reaches at most ``(g − 1) / k``.
    """
    _check(k)
    values: Values = relevant[:, :k].sum(axis=1) / np.float64(k)
    return values


def nister_stewenius(relevant: Relevance) -> Values:
    """How many of the first four are of the query's object, 1 to 4, for groups of exactly four.

    Nistér and Stewénius, "Scalable recognition with a vocabulary tree", CVPR 2006.  There the query
    is in the gallery and counts as found; here it is left out of its own ranking and counted as
    found, so a query's score is 1 and the relevant ones among its first three.
    """
    values: Values = 1.0 + relevant[:, :3].sum(axis=1)
    return values


def bootstrap_interval(
    values: Values, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[Values, Values]:
    """Lower and upper ends ``(m,)`` of percentile intervals for the means of ``(q, m)`` values.

    Queries are drawn with replacement, all measures of a query together: Efron and Tibshirani, *An
    Introduction to the Bootstrap*, 1993, chapter 13.  The same seed draws the same queries, so two
    recipes on one collection are resampled alike.  Memory is a few rows of ``q``, whatever the
    number of resamples.

    Raises ``InvalidRequest`` without values, for a level outside 0..1 or for no resamples.
    """
    if not len(values) or not 0 < level < 1 or resamples < 1:
        raise InvalidRequest(
            "An interval needs values, a level between 0 and 1 and at least one resample; got "
            f"{len(values)} values, a level of {level} and {resamples} resamples."
        )
    draw = np.random.default_rng(seed)
    count = len(values)
    means = np.empty((resamples, values.shape[1]))
    for row in means:
        # how often each query was drawn: a product with it is quicker than gathering rows
        times = np.bincount(draw.integers(count, size=count), minlength=count)
        row[:] = times @ values / count
    ends = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return ends[0], ends[1]


def _check(k: int) -> None:
    if k < 1:
        raise InvalidRequest(f"k must be 1 or more, got {k}.")
