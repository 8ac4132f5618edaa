"""Whether a RaBitQ code is one that a descriptor has, whatever processor computed it.

FAISS subtracts from a descriptor the centroid of its list, keeps the sign of each number of this
residual ``r``, and quantises the absolute values with one scale ``t``: the level of ``|rⱼ|`` is the
whole part of ``t|rⱼ|``, at most ``K``.  Five floats follow.  Processors sum in different orders, so
a residual near zero gets either sign, a number near a step either level, and where two scales are
equally good, either of them, which changes the levels of a whole code.  Compared byte by byte,
sound codes differ in 12 % of their bytes.

So a code is asked for what must hold in any order of sums: the sign of each number that is further
from zero than rounding reaches; that there is one scale that gives all its levels; and floats
within the error of the sums that they come from (Higham, "Accuracy and Stability of Numerical
Algorithms", 2nd edition, 2002, section 3.1).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from parecido.indexer.arithmetic import HALF_ULP
from parecido.indexer.arrays import Exact, Pixels

__all__ = ["belong"]

Codes = Pixels
Bools = npt.NDArray[np.bool_]

_FLOATS = 5
_EPSILON = 1e-5  # that FAISS adds before it takes the whole part
_LEAST = 2.0**-22  # squared length of a residual, below which FAISS computes its floats otherwise
_STEPS = 16  # roundings beside the sums, generously counted


class _Parts(NamedTuple):
    """What ``n`` codes say."""

    positive: Bools
    """``(n, d)``: the sign of each number of the residual."""
    levels: Exact
    """``(n, d)``: of its absolute value, 0 to ``K``."""
    floats: Exact
    """``(n, 5)``: ‖r‖² − ‖x‖²; ‖r‖² √d / Σ|rⱼ|; the error of the signs alone; c·r; ‖r‖² / Σ
    (levelⱼ + ½)|rⱼ|."""


def belong(
    codes: Codes, fresh: Codes, vectors: Exact, centroids: Exact, bits: int, error: float
) -> Bools:
    """Which codes ``(n, size)`` of ``bits`` a number, 2 to 9, are those of vectors ``(n, d)``.

    ``centroids`` ``(n, d)`` are those of the lists that they lie in, and ``fresh`` ``(n, size)``
    the codes that FAISS gives them here and now.  ``error`` bounds how far each number of a vector
    was from the one given, when it was encoded.
    """
    dimension = vectors.shape[1]
    kept, made = (_read(some, dimension, bits) for some in (codes, fresh))
    residuals = vectors - centroids
    sizes = np.abs(residuals)
    errors = error + HALF_ULP * (sizes + error)  # and of the subtraction
    clear = sizes > errors
    signs = (kept.positive == (residuals > 0)) | ~clear
    return np.asarray(
        signs.all(axis=1)
        & _have_one_scale(kept.levels, sizes, errors, clear, bits)
        & _floats_agree(kept, made, vectors, centroids, error)
    )


def _read(codes: Codes, dimension: int, bits: int) -> _Parts:
    """The parts of codes: signs, three floats, levels, two floats, each from a whole byte on."""
    more = bits - 1
    ends = np.cumsum([(dimension + 7) // 8, 12, (dimension * more + 7) // 8])
    signs, first, levels, last = np.split(codes, ends, axis=1)
    positive = np.unpackbits(signs, axis=1, count=dimension, bitorder="little").astype(bool)
    flat = np.unpackbits(levels, axis=1, count=dimension * more, bitorder="little")
    found = flat.reshape(len(codes), dimension, more) @ (1.0 * (1 << np.arange(more)))
    # those of negative numbers are stored with every bit turned
    found = np.where(positive, found, (1 << more) - 1 - found)
    floats = np.concatenate([first, last], axis=1).copy().view("<f4")
    return _Parts(positive, found, floats.astype(np.float64))


def _have_one_scale(levels: Exact, sizes: Exact, errors: Exact, clear: Bools, bits: int) -> Bools:
    """Which rows have a scale that gives every level: at least each one's step, below its next."""
    highest = (1 << (bits - 1)) - 1
    # of the division by the length, of the scale and of their product
    slack = 1 + _STEPS * HALF_ULP
    with np.errstate(divide="ignore"):
        least = (levels - _EPSILON * slack) / ((sizes + errors) * slack)
        most = (levels + 1) * slack / np.maximum(sizes - errors, 0)
    least = np.where(clear, least, 0).max(axis=1)
    most = np.where(clear & (levels < highest), most, np.inf).min(axis=1)
    return np.asarray(least <= most)


def _floats_agree(
    kept: _Parts, made: _Parts, vectors: Exact, centroids: Exact, error: float
) -> Bools:
    """Which rows' floats are as near to those of the fresh codes as their sums allow."""
    dimension = vectors.shape[1]
    residuals = vectors - centroids
    sizes = np.abs(residuals)
    total, squares = sizes.sum(axis=1), (sizes**2).sum(axis=1)
    own, middle = ((rows**2).sum(axis=1) for rows in (vectors, centroids))
    summing = (dimension + _STEPS) * HALF_ULP
    reach = error * dimension**0.5 + HALF_ULP * np.sqrt(squares)  # of the residual as a whole
    tiny = np.finfo(np.float64).tiny
    # relative errors of ‖r‖², Σ|rⱼ| and Σ(levelⱼ + ½)|rⱼ|
    of_squares = reach / np.sqrt(np.maximum(squares, tiny))
    of_squares = 2 * of_squares + of_squares**2 + summing
    of_total = error * dimension / np.maximum(total, tiny) + summing
    weights = [some.levels + 0.5 for some in (kept, made)]
    products = [(some * sizes).sum(axis=1) for some in weights]
    of_product = sum(
        error * some.sum(axis=1) / np.maximum(product, tiny) + summing
        for some, product in zip(weights, products, strict=True)
    )
    spread = dimension * squares / np.maximum(total**2, tiny)  # 1 where all sizes are the same
    of_error = 4 * squares / max(dimension - 1, 1) * spread
    a, b = kept.floats.T, made.floats.T
    wrong = np.stack(
        [
            np.abs(a[0] - b[0])
            - 2 * (squares * of_squares + own * summing + 2 * error * np.sqrt(dimension * own)),
            np.abs(a[1] - b[1]) - 2 * np.abs(b[1]) * (of_squares + of_total),
            np.abs(a[2] ** 2 - b[2] ** 2) - 8 * of_error * (of_squares + of_total),
            np.abs(a[3] - b[3]) - 2 * np.sqrt(middle) * (reach + summing * np.sqrt(squares)),
            np.abs(a[4] * products[0] - b[4] * products[1])
            - squares * (2 * of_squares + of_product),
        ]
    )
    # of a residual that is mostly rounding nothing is known but its length and its product
    vague = (squares < _LEAST) | (of_squares > 0.25) | (of_total > 0.25) | (of_product > 0.25)
    wrong[[1, 2, 4]] = np.where(vague, -1, wrong[[1, 2, 4]])
    return np.asarray((wrong <= 0).all(axis=0))
