"""A picture lit by what its places add to a score.

Brightness alone carries it, so that everybody can read it, on grey paper too: a place that adds
nothing is dark and without colour, one that adds most is as in the original, and two lines run
where half and four fifths of the most are added.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from parecido.indexer.pictures.in_memory import Content
from parecido.search.explaining.contributions import Side
from parecido.search.explaining.explanation import View
from parecido.search.sheets.canvas import PAPER, read_upright

__all__ = ["FULL", "draw_heat", "draw_scale", "smooth"]

FULL = 620
"""Pixels of the longer side at which lines have their full width."""
_DARKEST = 0.26  # of a picture's brightness, where nothing is added
_LINES = ((0.5, 1.6), (0.8, 2.6))  # of the most that a place adds, and the line's width

Grey = npt.NDArray[np.float32]


def draw_heat(data: Content, view: View, side: Side, longest: int) -> Image.Image:
    """A picture's bytes, upright, lit by what its places add, its longer side ``longest`` pixels.

    What lies outside the view is darkest.  Raises ``PictureUnreadable``.
    """
    image = read_upright(data, longest)
    across, down = image.width / view.width, image.height / view.height
    left, top, right, bottom = (
        round(edge * factor)
        for edge, factor in zip(view.box, (across, down, across, down), strict=True)
    )
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    heat = np.zeros((image.height, image.width), np.float32)
    heat[top:bottom, left:right] = smooth(side, right - left, bottom - top)
    shown = _dim(np.asarray(image, np.float32), heat)
    lines = heat[top:bottom, left:right]
    scale = max(0.6, longest / FULL)  # thinner lines do not show
    for level, width in _LINES:
        _draw_contour(shown[top:bottom, left:right], lines, level, width * scale)
    found = Image.fromarray(np.clip(shown + 0.5, 0, 255).astype(np.uint8))
    if view.box != (0, 0, view.width, view.height):
        edges = (left, top, right - 1, bottom - 1)
        ImageDraw.Draw(found).rectangle(edges, outline=PAPER, width=max(1, longest // 300))
    return found


def smooth(side: Side, width: int, height: int) -> Grey:
    """What places add, of the most that one adds: ``(height, width)`` in 0..1, between cells too.

    Bicubic between the cells' middles; contributions below zero are 0.
    """
    cells = np.maximum(side.cells, 0).astype(np.float32)
    most = float(cells.max())
    if most > 0:
        cells /= most
    found = Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(found, np.float32), 0, 1)


def draw_scale(width: int, height: int) -> Image.Image:
    """How a white picture is lit from nothing on the left to the most on the right."""
    scale = np.tile(np.linspace(0, 1, width, dtype=np.float32), (height, 1))
    shades = 255 * (_DARKEST + (1 - _DARKEST) * scale)
    bar = np.repeat(shades[..., None], 3, axis=2)
    for level, line in _LINES:
        _draw_contour(bar, scale, level, line)
    return Image.fromarray(bar.astype(np.uint8))


def _dim(pixels: npt.NDArray[np.float32], heat: Grey) -> npt.NDArray[np.float32]:
    """RGB ``(h, w, 3)`` darker and greyer the less a place adds."""
    share = heat[..., None]
    grey = pixels @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    coloured = share * pixels + (1 - share) * grey[..., None]
    dimmed: npt.NDArray[np.float32] = coloured * (_DARKEST + (1 - _DARKEST) * share)
    return dimmed


def _draw_contour(pixels: npt.NDArray[np.float32], heat: Grey, level: float, width: float) -> None:
    """Draw where the heat has a level: a white line in a dark one, seen on any ground."""
    if min(heat.shape) < 2:
        return
    down, across = np.gradient(heat)
    # to first order, the distance to the line in pixels
    distance = np.abs(heat - level) / np.maximum(np.hypot(down, across), 1e-5)
    for reach, colour, strength in ((width * 1.1, 0.0, 0.55), (width / 2, 255.0, 0.95)):
        share = strength * np.clip(reach + 0.5 - distance, 0, 1)[..., None]
        pixels *= 1 - share
        pixels += colour * share
