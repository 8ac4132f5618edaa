"""How one thumbnail lies on another: shifted and scaled, along each axis on its own."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple, TypeAlias

import numpy as np

from parecido.indexer.arrays import Vectors
from parecido.indexer.records.pictures import LOOK_SIDE as SIDE

__all__ = ["Bank", "Placing", "lay", "make_bank", "shrink"]

Placing: TypeAlias = Vectors
"""``(n, 4)``: scale and start across, scale and start down.  What lies at a share u of the picture
that is laid on another lies at ``start + scale · u`` of that one."""

# Two edges nearer to each other than that share of a side are one edge: a quarter of a cell.
_SAME_EDGE = 0.25 / SIDE
# Scales across and down that are tried: as it is; a part or a frame of 5, 10 and 13 % on each side,
# and such of two sides only
_SCALES = (
    *((1.0, 1.0), (0.9, 0.9), (1.11, 1.11), (0.8, 0.8), (1.25, 1.25), (0.74, 0.74), (1.35, 1.35)),
    *((1.0, 0.88), (0.88, 1.0), (1.0, 1.14), (1.14, 1.0)),
)
_JITTER = 0.03


class Bank(NamedTuple):
    """Placings that are tried first, on a grid of ``side`` cells."""

    placings: Placing
    across: Vectors
    """Weights ``(t, cells, side)``."""
    down: Vectors
    """Weights ``(t, side, cells)``."""
    covered: Vectors
    """Which cells are compared, ``(t, side · side)``, 1 or 0."""


@cache
def make_bank(side: int, cells: int) -> Bank:
    """The placings that are tried of a thumbnail of so many cells on one of ``side``."""
    placings = np.array(
        [
            (across, 0.5 - across / 2 + x, down, 0.5 - down / 2 + y)
            for across, down in _SCALES
            for x in _list_shifts(across)
            for y in _list_shifts(down)
        ],
        np.float32,
    )
    across = _weigh(placings[:, :2], side, cells)
    covered = _cover(placings, side).reshape(len(placings), -1)
    down = _weigh(placings[:, 2:], side, cells)
    return Bank(placings, np.ascontiguousarray(across.transpose(0, 2, 1)), down, covered)


def _list_shifts(scale: float) -> tuple[float, ...]:
    """From the one edge to the other."""
    reach = abs(1 - scale) / 2
    if reach == 0:
        return (-_JITTER, 0.0, _JITTER)
    return (-reach, 0.0, reach) if reach < 0.06 else (-reach, -reach / 2, 0.0, reach / 2, reach)


def lay(thumbnail: Vectors, placings: Placing) -> tuple[Vectors, Vectors]:
    """A thumbnail ``(cells, cells)`` laid on others, and where it can be compared with them.

    Both ``(n, SIDE, SIDE)``; the latter is 1 or 0.
    """
    cells = len(thumbnail)
    down = _weigh(placings[:, 2:], SIDE, cells)
    across = _weigh(placings[:, :2], SIDE, cells)
    laid = (down @ thumbnail) @ across.transpose(0, 2, 1)
    return laid.astype(np.float32, copy=False), _cover(placings, SIDE)


def shrink(thumbnails: Vectors, side: int) -> Vectors:
    """Thumbnails ``(…, cells, cells)`` at a whole fraction of their size."""
    *others, cells, _ = thumbnails.shape
    step = cells // side
    found: Vectors = thumbnails.reshape(*others, side, step, side, step).mean((-3, -1))
    return found


def _weigh(along: Vectors, side: int, cells: int) -> Vectors:
    """How much of each cell is in each one of a side ``(n, side, cells)``.

    ``along`` are scale and start ``(n, 2)``.  As a thumbnail is made, the weights fall off in a
    straight line to the neighbours' middles.
    """
    scale, start = along[:, 0, None, None], along[:, 1, None, None]
    middles = ((np.arange(side, dtype=np.float32) + 0.5) / side)[None, :, None]
    places = (middles - start) / scale * cells - 0.5
    # the thumbnail's own cells are wide already: variances add up
    reach = np.sqrt(np.maximum((cells / side / scale) ** 2 - 1, 1))
    away = np.abs(np.arange(cells, dtype=np.float32) - places)
    weights: Vectors = np.maximum(1 - away / reach, 0).astype(np.float32)
    weights /= np.maximum(weights.sum(2, keepdims=True), 1e-6)
    return weights


def _cover(placings: Placing, side: int) -> Vectors:
    """Which cells show the same part of both pictures, ``(n, side, side)``, 1 or 0.

    A cell takes in half of its neighbours; beyond the edge of a picture there are none, so cells
    at an edge are compared only where both pictures end there.
    """
    across = _cover_side(placings[:, :2], side)
    down = _cover_side(placings[:, 2:], side)
    covered: Vectors = down[:, :, None] * across[:, None, :]
    return covered


def _cover_side(along: Vectors, side: int) -> Vectors:
    start, end = along[:, 1, None], along.sum(1)[:, None]
    middles = ((np.arange(side, dtype=np.float32) + 0.5) / side)[None, :]
    low, high = middles - 1 / side, middles + 1 / side
    first = (np.abs(start) < _SAME_EDGE) | (low >= np.maximum(start, 0) - _SAME_EDGE)
    last = (np.abs(end - 1) < _SAME_EDGE) | (high <= np.minimum(end, 1) + _SAME_EDGE)
    covered: Vectors = (first & last).astype(np.float32)
    return covered
