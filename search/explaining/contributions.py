"""Why two pictures match: how much each place of them adds to their score.

A descriptor is pooled from a feature map ``f`` of ``n`` cells, so it is a sum over these cells, and
so is its inner product with any vector.  Which part of the descriptor ``x`` comes from a cell:

=======  ==================================  =========================================
pooling  channel ``k`` before unit length    the part of cell ``c``
=======  ==================================  =========================================
avg      ``mean_c f_ck``                     ``f_ck / n``
gem      ``(mean_c f_ck^p)^(1/p)``           ``f_ck^p / (n x_k^(p-1))``, as GeM is
                                             homogeneous: ``x_k = x_k^p / x_k^(p-1)``
max      ``max_c f_ck``                      ``x_k``, shared by the cells that have it
rgem     ``r + w`` of unit length each        both split as GeM: see :func:`parts_of`
=======  ==================================  =========================================

Divided by the length of ``x`` these parts sum to the unit descriptor, exactly and for all four;
so the cosine with another picture's ``q`` is the sum of what the cells contribute, ``part_c · q``.
For average pooling that is class activation mapping (Zhou, Khosla, Lapedriza, Oliva and Torralba,
"Learning Deep Features for Discriminative Localization", CVPR 2016, eq. 2) with the other picture's
descriptor in the place of a class's weights, as in Stylianou, Souvenir and Pless, "Visualizing Deep
Similarity Networks", WACV 2019, who take average and maximum pooling apart so.  GeM is eq. 3 of
Radenović, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI 2019.

In a library's own space (:mod:`parecido.indexer.learning.space`) the score is ``q' · W (x − m) / ‖W
(x − m)‖`` with a unit ``q'``, which is affine in ``x``: a cell contributes ``(part_c − m / n) · v``
with ``v = Wᵀ q' / ‖W (x − m)‖``.  The mean is shared evenly, for ``m / n`` is what a cell of the
average picture holds: so a cell's contribution says how much more it has of what the other picture
has than a cell of the library has on average, and nothing is said by a cell that is average.  Again
the sum is the score.

Contributions below zero are places that made the pictures differ.  With average and maximum pooling
of a network that ends in a rectifier there are none; in a space there are many.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from parecido.indexer.encoders.pooling import GEM_POWER, from_mean, to_powers
from parecido.indexer.errors import InvalidRequest
from parecido.indexer.learning.space import Space
from parecido.indexer.records.choices import MAP_POOLINGS

__all__ = ["Seen", "Side", "Why", "contributions", "parts_of", "why"]

Floats = npt.NDArray[np.float32]
Exact = npt.NDArray[np.float64]
_NOTHING = (
    1e-12  # a descriptor shorter than this has no direction: parecido.indexer.encoders.encoder
)


class Seen(Protocol):
    """What a network makes of a picture."""

    @property
    def descriptor(self) -> Floats:
        """``(d,)``, of unit length: what a search compares, stored where it is indexed."""

    @property
    def features(self) -> Floats:
        """``(rows, columns, d)``, of any size: what the network has before pooling."""


@dataclass(frozen=True, eq=False)
class Side:
    """What the cells of one of two pictures contribute to their score."""

    cells: Exact
    """``(rows, columns)``: cosines that sum to the score; its cells divide the picture evenly."""
    residual: float
    """The score less the sum of the cells: what rounding leaves, of stored descriptors mostly."""

    @property
    def sum(self) -> float:
        """The sum of all contributions."""
        return float(self.cells.sum())

    @property
    def peak(self) -> tuple[int, int]:
        """Row and column of the cell that contributes most."""
        row, column = np.unravel_index(int(self.cells.argmax()), self.cells.shape)
        return int(row), int(column)


@dataclass(frozen=True, eq=False)
class Why:
    """Which places of a query and of its hit made them match."""

    score: float
    """Their cosine, as a search tells it, -1 to 1."""
    query: Side
    """The query's cells against the hit."""
    hit: Side
    """The hit's cells against the query."""

    @property
    def residual(self) -> float:
        """The larger of what the two maps leave unexplained."""
        return max(self.query.residual, self.hit.residual, key=abs)


def why(query: Seen, hit: Seen, pooling: str, space: Space | None = None, window: int = 0) -> Why:
    """The score of two pictures that were seen, and how the cells of either make it up.

    ``pooling`` is ``avg``, ``gem``, ``rgem`` with its ``window``, or ``max``.  Raises
    ``InvalidRequest`` for another one.
    """
    one, other = (_project(seen.descriptor, space) for seen in (query, hit))
    score = float(np.clip(one @ other, -1, 1))
    sides = []
    for seen, against in ((query, other), (hit, one)):
        cells = contributions(seen.features, against, pooling, space, window)
        sides.append(Side(cells, score - float(cells.sum())))
    return Why(score, *sides)


def contributions(
    features: Floats,
    against: npt.NDArray[np.floating],
    pooling: str,
    space: Space | None = None,
    window: int = 0,
) -> Exact:
    """What each cell of a map ``(rows, columns, d)`` adds to the cosine with a vector.

    ``against`` has unit length, ``(d,)``, or ``(m,)`` in the space where one is given.  Returns
    ``(rows, columns)``, whose sum is the cosine.
    """
    parts = parts_of(features, pooling, window)
    if space is None:
        return np.asarray(parts @ against.astype(np.float64), np.float64)
    matrix = space.matrix.astype(np.float64)
    mean = space.mean.astype(np.float64)
    length = np.linalg.norm(matrix @ (parts.sum(axis=(0, 1)) - mean))
    weights = matrix.T @ against / max(float(length), _NOTHING)
    found = parts @ weights - mean @ weights / (parts.shape[0] * parts.shape[1])
    return np.asarray(found, np.float64)


def parts_of(features: Floats, pooling: str, window: int = 0) -> Exact:
    """The part of the unit descriptor that comes from each cell: ``(rows, columns, d)``.

    Their sum is the descriptor.  One in which the network sees nothing has the same in each cell.

    Regional GeM is the sum of two vectors of unit length: GeM of the whole map, and the mean of the
    unit GeM vectors ``g_j`` of all its windows of ``window × window`` cells.  Either is linear in
    the powers ``f_ck^p`` once the pooled numbers are known, so it is split as GeM is: a cell's part
    of the mean is ``f_ck^p · sum over its windows of 1 / (window² g_jk^(p-1) ‖g_j‖)`` over their
    number.

    Raises ``InvalidRequest`` for a pooling that is not over cells.
    """
    maps = features.astype(np.float64)
    rows, columns, channels = maps.shape
    if pooling == "avg":
        parts = maps / (rows * columns)
    elif pooling == "max":
        holds = maps == maps.max(axis=(0, 1))
        parts = np.where(holds, maps, 0.0) / holds.sum(axis=(0, 1))
    elif pooling == "gem":
        parts = _gem_parts(maps)
    elif pooling == "rgem":
        parts = _unit_sum(_gem_parts(maps)) + _unit_sum(_regional_parts(maps, window))
    else:
        raise InvalidRequest(
            f"Descriptors with pooling {pooling} are not made of places of a picture.",
            f"Index into a new library with --pooling {', '.join(MAP_POOLINGS)}.",
        )
    if np.linalg.norm(parts.sum(axis=(0, 1))) <= _NOTHING:
        return np.full(maps.shape, channels**-0.5 / (rows * columns))
    return _unit_sum(parts)


def _gem_parts(maps: Exact) -> Exact:
    shares = to_powers(maps) / (maps.shape[0] * maps.shape[1])
    pooled = from_mean(shares.sum(axis=(0, 1)))
    return np.asarray(shares / pooled ** (GEM_POWER - 1))


def _regional_parts(maps: Exact, window: int) -> Exact:
    powers = to_powers(maps)
    regions = sliding_window_view(powers, (window, window), axis=(0, 1)).mean(axis=(-2, -1))
    pooled = from_mean(regions)
    lengths = np.linalg.norm(pooled, axis=-1, keepdims=True)
    weights = 1 / (window**2 * pooled ** (GEM_POWER - 1) * lengths)
    down, across = weights.shape[:2]
    total = np.zeros_like(maps)
    for y in range(window):
        for x in range(window):
            total[y : y + down, x : x + across] += weights
    return np.asarray(powers * total / (down * across))


def _unit_sum(parts: Exact) -> Exact:
    """The same parts of a vector of unit length."""
    length = float(np.linalg.norm(parts.sum(axis=(0, 1))))
    return np.asarray(parts / max(length, _NOTHING))


def _project(vector: Floats, space: Space | None) -> Exact:
    """A descriptor where the library compares it, of unit length."""
    if space is not None:
        vector = space.apply(vector[None])[0]
    placed: Exact = vector.astype(np.float64)
    return placed
