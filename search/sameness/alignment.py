"""Lay a thumbnail on others so that they agree best: all orientations, scales and shifts.

A few hundred placings are tried on coarse grids, and the best is refined as Lucas and Kanade do
("An iterative image registration technique", 1981), with gain and offset of the light fitted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from parecido.indexer.arrays import Ids, Vectors
from parecido.search.sameness.placing import Placing, lay, make_bank, shrink

__all__ = ["Alignment", "align", "correlate"]

_COARSE, _CELLS = 16, 32
# Of copies the coarse correlation is above 0.92, of one in 250 pairs of other photographs above:
_HOPEFUL = 0.85
_STEPS = 6
_LONGEST_STEP = 0.04
_SHORTEST_STEP = 0.001  # a thirtieth of a cell
_LEAST_COVERED = 0.4
"""Of the cells: a copy that lost more is not told from what shares a corner."""
_SMALLEST, _LARGEST = 0.68, 1.47
_FLAT = 2.0
"""Grey levels: a standard deviation below says that there is nothing to compare."""


class Alignment(NamedTuple):
    """How a thumbnail was laid on ``n`` others."""

    rows: Ids
    """Which of the others were found worth it; the rest is not alike."""
    laid: Vectors
    """The thumbnail, and …"""
    theirs: Vectors
    """… the others, each turned as the best orientation is, ``(n, SIDE, SIDE)``."""
    covered: Vectors
    """Where they can be compared, 1 or 0."""


def align(thumbnail: Vectors, others: Vectors) -> Alignment:
    """Lay luma ``(cells, cells)``, cells a multiple of 32, on thumbnails ``(n, SIDE, SIDE)``."""
    turned = _turn(others)
    placings, orientations, agreement = _find_start(thumbnail, turned)
    rows = np.flatnonzero(agreement >= _HOPEFUL)
    theirs = turned[rows, orientations[rows]]
    placings = _refine(thumbnail, theirs, placings[rows])
    laid, covered = lay(thumbnail, placings)
    return Alignment(rows, laid, theirs, covered)


def correlate(laid: Vectors, theirs: Vectors, covered: Vectors) -> tuple[Vectors, Vectors, Vectors]:
    """The correlation of thumbnails ``(n, s, s)`` where they can be compared ``(n,)``.

    And both around their means, 0 elsewhere.  0 where one of them is flat.
    """
    count = np.maximum(covered.sum((1, 2), keepdims=True), 1)
    ours = (laid - (laid * covered).sum((1, 2), keepdims=True) / count) * covered
    theirs = (theirs - (theirs * covered).sum((1, 2), keepdims=True) / count) * covered
    both = (ours * theirs).sum((1, 2))
    squares = (ours**2).sum((1, 2)) * (theirs**2).sum((1, 2))
    least = (_FLAT**2 * count[:, 0, 0]) ** 2
    found = np.where(squares > least, both / np.sqrt(np.maximum(squares, least)), 0)
    return found.astype(np.float32), ours, theirs


def _turn(thumbnails: Vectors) -> Vectors:
    """The eight flips and quarter turns of thumbnails, ``(n, 8, SIDE, SIDE)``."""
    both = (thumbnails, thumbnails[:, :, ::-1])
    turns = [np.rot90(one, quarter, (1, 2)) for one in both for quarter in range(4)]
    return np.stack(turns, 1)


def _find_start(thumbnail: Vectors, turned: Vectors) -> tuple[Placing, Ids, Vectors]:
    """For each of ``(n, 8, SIDE, SIDE)`` the best placing tried, orientation and correlation."""
    bank = make_bank(_COARSE, _CELLS)
    laid = ((bank.down @ shrink(thumbnail, _CELLS)) @ bank.across).reshape(len(bank.placings), -1)
    count, masked = bank.covered.sum(1), laid * bank.covered
    own, own_square = masked.sum(1), (masked * laid).sum(1)
    theirs = shrink(turned, _COARSE).reshape(-1, _COARSE * _COARSE)
    theirs = theirs - 128  # nearer to their means: float32 loses less
    own_square = own_square - 256 * own + 128**2 * count
    masked, own = masked - 128 * bank.covered, own - 128 * count
    total, square = theirs @ bank.covered.T, (theirs * theirs) @ bank.covered.T
    both = theirs @ masked.T - total * own / count
    spread = np.maximum(square - total**2 / count, 1) * np.maximum(own_square - own**2 / count, 1)
    agreement = (both / np.sqrt(spread)).reshape(len(turned), 8 * len(count))
    best = agreement.argmax(1)
    orientations, places = np.divmod(best, len(bank.placings))
    return bank.placings[places], orientations, agreement[np.arange(len(best)), best]


def _refine(thumbnail: Vectors, theirs: Vectors, placings: Placing) -> Placing:
    """Better placings, from those given."""
    best, record = placings.copy(), np.full(len(placings), -2, np.float32)
    rows = np.arange(len(placings))  # that still move
    for step in range(_STEPS + 1):
        laid, covered = lay(thumbnail, placings)
        found, ours, others = correlate(laid, theirs[rows], covered)
        found = np.where(_is_allowed(placings, covered), found, -1)
        better = found > record[rows]
        best[rows[better]], record[rows[better]] = placings[better], found[better]
        if step == _STEPS or not len(rows):
            break
        moves = _step(laid, ours, others, covered, placings)
        moving = np.abs(moves).max(1) > _SHORTEST_STEP
        placings, rows = (placings + moves)[moving], rows[moving]
    return best


def _is_allowed(placings: Placing, covered: Vectors) -> npt.NDArray[np.bool_]:
    scales = placings[:, ::2]
    within = ((scales > _SMALLEST) & (scales < _LARGEST)).all(1)
    return np.asarray(within & (covered.mean((1, 2)) >= _LEAST_COVERED))


def _step(
    laid: Vectors, ours: Vectors, theirs: Vectors, covered: Vectors, placings: Placing
) -> Placing:
    """A step of Gauss and Newton's for scales and starts, and for the gain of the light."""
    count, side, _ = laid.shape
    down, across = np.gradient(laid, 1 / side, axis=(1, 2))
    middles = (np.arange(side, dtype=np.float32) + 0.5) / side
    x = ((middles - placings[:, 1, None]) / placings[:, 0, None])[:, None, :]
    y = ((middles - placings[:, 3, None]) / placings[:, 2, None])[:, :, None]
    power = np.maximum((ours**2).sum((1, 2), keepdims=True), 1)
    gain = (ours * theirs).sum((1, 2), keepdims=True) / power
    slopes = np.stack([-across * x, -across, -down * y, -down], 3) * (gain * covered)[..., None]
    cells = np.maximum(covered.sum((1, 2)), 1)[:, None, None, None]
    slopes = slopes - slopes.sum((1, 2), keepdims=True) / cells * covered[..., None]
    slopes = np.concatenate([slopes, ours[..., None]], 3).reshape(count, side * side, 5)
    turned = slopes.transpose(0, 2, 1)
    normal = turned @ slopes
    normal += (
        np.eye(5, dtype=np.float32)
        * (1e-5 * np.trace(normal, axis1=1, axis2=2) + 1e-3)[:, None, None]
    )
    rest = (theirs - gain * ours).reshape(count, side * side, 1)
    step = np.linalg.solve(normal, turned @ rest)[:, :4, 0]
    return np.clip(step, -_LONGEST_STEP, _LONGEST_STEP).astype(np.float32)
