"""The library's own space: descriptors turned, weighted and shortened by what the library holds.

Learned from the descriptors alone, without labels.  After PCA with whitening (Jégou and Chum,
"Negative evidences and co-occurences in image retrieval: the benefit of PCA and whitening", ECCV
2012) the direction of variance λ is weighted by

    λ^(1 - a/2) / (λ + ρ),   a = 0.5, ρ = 0.0045 of the sum of all λ.

That is λ^(-a/2), half-whitening, where λ is well above ρ, and fades out below, as a Wiener filter
does where noise prevails; so how many directions are kept matters little.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np

from parecido.indexer.arithmetic import GRID, row_sums, to_grid
from parecido.indexer.arrays import Exact, Vectors

__all__ = [
    "AUTO_DIMENSION",
    "LEAST_PICTURES",
    "Space",
    "auto_dimension",
    "has_outgrown",
    "learn",
]


_PRODUCT = 53  # binary digits of the largest whole number up to which float64 holds all

# Lite0 on 1212 photographs of 101 classes, mAP: raw 72.0; exponent 0.5 and 128 directions without
# fading 74.9, with it 75.4.  On 360 photographs of 30 classes: raw 84.4, without fading 76.6 (32
# directions would have been right), with it 87.4.  0.003 and 0.006 differ by less than 0.5, and so
# do exponents of 0.75 and 1 with more fading.
_EXPONENT = 0.5
_FADING = 0.0045
_LEAST_VARIANCE = 1e-4  # of unit vectors together; float16, as they are stored, gives 4e-8

AUTO_DIMENSION = 128
"""Directions kept where nobody says how many, in libraries of up to 4,096 pictures."""
_LARGE, _LARGE_DIMENSION = 4096, 256
LEAST_PICTURES = 64
"""Smaller libraries are searched in the encoder's own space."""
_GROWTH = 2  # a library so many times as large as what its space was learned from learns anew


@dataclass(frozen=True, eq=False)
class Space:
    """An affine map of descriptors ``(d,)`` to ``(m,)``, followed by bringing them to unit length.

    ``y = (x − mean) · matrixᵀ``, then ``y / ‖y‖``.
    """

    mean: Vectors
    """``(d,)``."""
    matrix: Vectors
    """``(m, d)``."""
    pictures: int = 0
    """How many pictures the library had when it was learned."""

    @property
    def dimension(self) -> int:
        """Length of what comes out."""
        return len(self.matrix)

    def shorten(self, dimension: int) -> Space:
        """The space of the first dimensions, in which the library varies most."""
        if dimension >= self.dimension:
            return self
        return Space(self.mean, self.matrix[:dimension].copy(), self.pictures)

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits; an index belongs to one space."""
        return blake2b(self.mean.tobytes() + self.matrix.tobytes(), digest_size=8).hexdigest()

    @cached_property
    def _whole(self) -> tuple[Exact, Exact, Exact]:
        """The matrix and the mean's image in whole numbers, ``(m, d)`` and ``(m,)``, and a scale.

        For unit rows in units of 2⁻²⁶ no partial sum of a product with the matrix exceeds 2⁵³, the
        whole numbers that float64 holds: so the product is exact, whatever order it is summed in.
        Against float32 the matrix loses nothing that a cosine could show, and descriptors of
        queries and pictures lose the same.
        """
        matrix = self.matrix.astype(np.float64)
        # each row's length, and a little for rounding, is below this power of two
        _, powers = np.frexp(1.01 * np.sqrt(row_sums(matrix * matrix)))
        whole = np.rint(np.ldexp(matrix, (_PRODUCT - GRID - powers)[:, None]))
        offset = np.rint(np.ldexp(self.mean.astype(np.float64), GRID)) @ whole.T
        return whole, offset, np.ldexp(1.0, powers - _PRODUCT)

    def apply(self, vectors: Vectors) -> Vectors:
        """Unit rows ``(n, m)`` for descriptors ``(n, d)`` of unit length, float32.

        The same to the last bit on every processor, and for a row whatever the others are; their
        numbers lie on the grid of :mod:`parecido.indexer.arithmetic`.  A descriptor that lies at
        the mean has no direction, and gets the first.
        """
        matrix, offset, scale = self._whole
        turned = np.rint(np.ldexp(vectors.astype(np.float64), GRID)) @ matrix.T
        turned -= offset
        turned *= scale
        lengths = np.sqrt(row_sums(turned * turned))
        lost = lengths < 1e-6
        if lost.any():
            turned[lost, 0] = lengths[lost] = 1
        turned /= lengths[:, None]
        return to_grid(turned.astype(np.float32))


def learn(vectors: Iterable[Vectors], dimension: int, pictures: int = 0) -> Space:
    """A space of at most so many dimensions from descriptors, given in blocks ``(n, d)``.

    Fewer where there are fewer descriptors or numbers in each.  ``pictures`` is remembered.
    """
    count, total, moments, shift = 0, np.zeros(0), np.zeros((0, 0)), np.zeros(0, np.float32)
    held: list[Vectors] = []  # while they are no more than numbers in each
    for block in vectors:
        if not len(block):
            continue
        if not count:
            total, moments = np.zeros(block.shape[1]), np.zeros((block.shape[1],) * 2)
            # moments about a point among them: what is left for rounding is as small as the spread
            shift = block.mean(axis=0)
        shifted = block - shift
        count += len(shifted)
        total += shifted.sum(axis=0, dtype=np.float64)
        held.append(shifted)
        if count > len(total):
            for rows in held:
                moments += rows.T @ rows
            held = []
    mean = total / max(count, 1)
    if held:
        variances, directions = _of_few(np.concatenate(held) - mean)
    else:
        variances, directions = np.linalg.eigh(moments / max(count, 1) - np.outer(mean, mean))
    mean += shift
    kept = max(1, min(dimension, count - 1, len(mean)))
    variances = np.maximum(variances[::-1], 0)
    weights = variances ** (1 - _EXPONENT / 2)
    # where all pictures are the same, their rounding fades out too
    weights /= variances + _FADING * max(variances.sum(), _LEAST_VARIANCE)
    matrix = (directions[:, ::-1] * weights)[:, :kept].T
    return Space(mean.astype(np.float32), np.ascontiguousarray(matrix, np.float32), pictures)


def _of_few(rows: Exact) -> tuple[Any, Any]:
    """Variances ``(n,)``, ascending, and unit directions ``(d, n)`` of centred rows ``(n, d)``.

    From the products of the rows with each other, of which there are fewer than of their numbers:
    of 512 descriptors of 2048 it takes 0.06 s instead of 0.9.  What does not vary has no direction.
    """
    variances, parts = np.linalg.eigh(rows @ rows.T / len(rows))
    varies = variances > 1e-12 * variances[-1]
    lengths = np.sqrt(np.where(varies, variances, np.inf) * len(rows))
    return variances, rows.T @ parts / lengths


def auto_dimension(pictures: int) -> int:
    """Directions kept where nobody says how many, in a library of so many pictures.

    Twice as many in large ones: of 1212 photographs among 8788 others mAP is 62.7 with 128, 64.9
    with 256 and 65.1 with all; without these others 75.4 with 128 and 74.7 with all.
    """
    return AUTO_DIMENSION if pictures <= _LARGE else _LARGE_DIMENSION


def has_outgrown(space: Space | None, count: int) -> bool:
    """Whether a library of so many pictures should learn its space, for the first time or anew."""
    if space is None:
        return count >= LEAST_PICTURES
    return not space.pictures / (2 * _GROWTH) <= count < space.pictures * _GROWTH
