"""Pooling by the generalised mean (GeM) in NumPy, and what its twin in Keras shares with it.

Radenović, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI 2019,
eq. 3, with p = 3 and activations clipped from below.  What a network's own descriptors are pooled
with is in its graph (:mod:`parecido.indexer.encoders.building.assemble`); here are the parts of a
map, for regional descriptors and for explanations.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

__all__ = [
    "GEM_EPSILON",
    "GEM_POWER",
    "from_mean",
    "pool_gem",
    "pool_powers",
    "to_powers",
    "window_side",
]

GEM_POWER = 3.0
GEM_EPSILON = 1e-6

_Numbers = TypeVar("_Numbers", npt.NDArray[np.float32], npt.NDArray[np.float64])


def to_powers(features: _Numbers) -> _Numbers:
    """The features, clipped from below, to the power whose mean is taken; their type is kept."""
    powers: _Numbers = np.power(np.maximum(features, GEM_EPSILON), GEM_POWER)
    return powers


def from_mean(mean: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The generalised mean of features, of the ordinary mean of their powers."""
    pooled: npt.NDArray[np.float64] = mean ** (1 / GEM_POWER)
    return pooled


def pool_gem(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The descriptor ``(d,)`` of unit length of a map ``(rows, columns, d)``, or a part of one."""
    return pool_powers(to_powers(features))


def pool_powers(powers: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The same, of the powers of its features, which overlapping parts share."""
    pooled = from_mean(powers.mean(axis=(0, 1), dtype=np.float64))
    unit: npt.NDArray[np.float32] = (pooled / np.linalg.norm(pooled)).astype(np.float32)
    return unit


def window_side(rows: int, columns: int) -> int:
    """Side of the windows of regional pooling on the map of a picture of the native size.

    Half the shorter side, 1 or more.
    """
    return max(1, min(rows, columns) // 2)
