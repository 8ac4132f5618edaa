"""The arithmetic in which scores are exact, and how far any other may be from it.

A sum of floating-point numbers depends on the order in which it is taken, and every processor has
an order of its own: its BLAS adds four, eight or sixteen products side by side.  So that a library
gives the same answers wherever it is opened, the numbers that scores are made of lie on a grid of
2⁻²⁶.  A product of two such numbers is a multiple of 2⁻⁵², and no partial sum of the products of
two unit vectors exceeds 1 (Cauchy and Schwarz), so float64, which holds every multiple of 2⁻⁵² up
to 2, holds all of them: the order does not matter, nothing is rounded.

The grid moves a coordinate by at most 2⁻²⁷, 7·10⁻⁹, and the cosine of two descriptors of 1280
numbers by some 5·10⁻⁹, of which seven promised digits see nothing.

Where float32 is quick and near enough, :func:`rounding` says how near: the error of an inner
product of n terms is at most ``γₙ Σ|xᵢyᵢ|``, ``γₙ = n·u / (1 − n·u)``, in any order and with or
without fused products (Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition,
2002, section 3.1).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from parecido.indexer.arrays import Exact, Vectors

__all__ = [
    "DIGITS",
    "GRID",
    "HALF_ULP",
    "cosines",
    "round_scores",
    "rounding",
    "row_sums",
    "to_grid",
    "unit",
]


DIGITS = 7
"""Decimal digits of a score that are the same everywhere; ties are broken after rounding."""
GRID = 26
"""Binary places of the numbers that scores are made of."""
HALF_ULP = 2.0**-24
"""The largest relative error of one rounding to float32, Higham's u."""


def to_grid(vectors: Vectors) -> Vectors:
    """Numbers of at most 1, rounded in place to multiples of 2⁻²⁶; the array itself.

    In float32 all three steps but the middle one are exact, and a number above 1/4 is on the grid
    already.
    """
    vectors *= np.float32(2.0**GRID)
    np.rint(vectors, out=vectors)
    vectors *= np.float32(2.0**-GRID)
    return vectors


def unit(rows: npt.NDArray[np.floating]) -> Vectors:
    """Rows ``(n, d)`` brought to unit length and onto the grid, float32; rows of zeros stay so."""
    exact = rows.astype(np.float64)
    exact /= np.maximum(np.sqrt(row_sums(exact * exact)), 1e-300)[:, None]
    return to_grid(exact.astype(np.float32))


def row_sums(rows: Exact) -> Exact:
    """The sums of rows ``(n, d)`` in one defined order: half is added to half until one is left.

    For sums that are rounded.  NumPy's own order is its own affair, and BLAS's the processor's.
    """
    while rows.shape[1] > 1:
        kept = (rows.shape[1] + 1) // 2
        halves = rows[:, :kept].copy()
        halves[:, : rows.shape[1] - kept] += rows[:, kept:]
        rows = halves
    return rows[:, 0] if rows.shape[1] else np.zeros(len(rows))


def cosines(queries: Vectors, rows: Vectors) -> Vectors:
    """Cosines ``(q, n)`` of unit rows ``(q, d)`` and ``(n, d)`` that lie on the grid, float32.

    Exact, and then rounded to the promised digits: the same on every processor, for whatever is
    compared with them at the same time.  A single query ``(d,)`` gives ``(n,)``.
    """
    # the smaller side first: queries are few
    return round_scores(queries.astype(np.float64) @ rows.astype(np.float64).T)


def round_scores(scores: Exact) -> Vectors:
    """Scores of -1 to 1 rounded to the promised digits, float32."""
    return np.clip(scores, -1, 1).round(DIGITS).astype(np.float32)


def rounding(dimension: int) -> float:
    """How far the score of unit vectors may be from what float32 sums of their products give.

    2·10⁻⁵ for 256 numbers, 8·10⁻⁵ for 1280: the worst case, ten to thirty times what is seen.  The
    rounding to the promised digits is in it.
    """
    return dimension * HALF_ULP / (1 - dimension * HALF_ULP) + 10.0**-DIGITS
