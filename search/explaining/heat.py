"""Pictures that show which places of others made them match.

Brightness alone carries it, so that everybody can read it, on grey paper too: a place that adds
nothing is dark and without colour, one that adds most is as in the original, and two lines run
where half and four fifths of the most are added.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from parecido.indexer.pictures.decode import Limits, pillow_limit, render
from parecido.indexer.system.text import printable
from parecido.search.explaining.contributions import Side
from parecido.search.explaining.explanation import Explanation, View
from parecido.search.sheets.canvas import CARD, FAINT, INK, PAPER, QUERY, clipped, font

__all__ = ["Band", "Column", "draw_pair", "draw_sheet", "lit"]

_SIDE, _CELL, _CAPTION, _GAP = 620, 220, 48, 12
_MARGIN, _HEAD, _FOOT, _NARROWEST = 28, 88, 116, 300
_DARKEST = 0.26  # of a picture's brightness, where nothing is added
_LINES = ((0.5, 1.6), (0.8, 2.6))  # of the most that a place adds, and the line's width
_TOLD = 1e-3  # a residual below it does not show in a score of three digits

Grey = npt.NDArray[np.float32]


class Column(NamedTuple):
    """A hit on a sheet."""

    title: str
    name: str
    hit: bytes | None = None
    """The hit's file; None where it cannot be read."""
    found: Explanation | None = None


class Band(NamedTuple):
    """A query on a sheet, and its hits."""

    name: str
    query: bytes
    """The query's file."""
    columns: Sequence[Column]


# -- one picture ----------------------------------------------------------------------------------


def lit(data: bytes, view: View, side: Side, longest: int) -> Image.Image:
    """A picture's bytes, upright, lit by what its places add, its longer side ``longest`` pixels.

    What lies outside the view is darkest.  Raises ``PictureUnreadable``.
    """
    image = _upright(data, longest)
    across, down = image.width / view.width, image.height / view.height
    left, top, right, bottom = (
        round(edge * factor)
        for edge, factor in zip(view.box, (across, down, across, down), strict=True)
    )
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    heat = np.zeros((image.height, image.width), np.float32)
    heat[top:bottom, left:right] = smooth(side, right - left, bottom - top)
    shown = _dimmed(np.asarray(image, np.float32), heat)
    lines = heat[top:bottom, left:right]
    scale = max(0.6, longest / _SIDE)  # thinner lines do not show
    for level, width in _LINES:
        _contour(shown[top:bottom, left:right], lines, level, width * scale)
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


def _dimmed(pixels: npt.NDArray[np.float32], heat: Grey) -> npt.NDArray[np.float32]:
    """RGB ``(h, w, 3)`` darker and greyer the less a place adds."""
    share = heat[..., None]
    grey = pixels @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    coloured = share * pixels + (1 - share) * grey[..., None]
    dimmed: npt.NDArray[np.float32] = coloured * (_DARKEST + (1 - _DARKEST) * share)
    return dimmed


def _contour(pixels: npt.NDArray[np.float32], heat: Grey, level: float, width: float) -> None:
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


def _upright(data: bytes, longest: int) -> Image.Image:
    def fit(width: int, height: int) -> tuple[int, int]:
        scale = longest / max(width, height)
        return max(1, round(width * scale)), max(1, round(height * scale))

    limits = Limits()
    with pillow_limit(limits):
        return render(data, fit, limits).image


# -- two pictures ---------------------------------------------------------------------------------


def draw_pair(query: bytes, hit: bytes, found: Explanation) -> Image.Image:
    """A query and a hit side by side, each lit by what its places add to their score."""
    sides = [
        ("Query", QUERY, found.query, lit(query, found.query, found.why.query, _SIDE)),
        ("Hit", INK, found.hit, lit(hit, found.hit, found.why.hit, _SIDE)),
    ]
    widths = [max(picture.width, _NARROWEST) for *_, picture in sides]
    tall = max(picture.height for *_, picture in sides)
    size = (sum(widths) + 2 * _MARGIN + 2 * _GAP, _HEAD + tall + _FOOT)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    _head(draw, found, sheet.width)
    left = _MARGIN
    for (role, colour, view, picture), width in zip(sides, widths, strict=True):
        sheet.paste(picture, (left, _HEAD))
        under = _HEAD + picture.height + 8
        draw.text((left, under), role, colour, font(14))
        after = round(draw.textlength(role, font(14))) + 10
        name = clipped(draw, _name(view.name), 14, width - after)
        draw.text((left + after, under), name, FAINT, font(14))
        left += width + 2 * _GAP
    _legend(sheet, draw, _HEAD + tall + 56, found)
    return sheet


def _head(draw: ImageDraw.ImageDraw, found: Explanation, width: int) -> None:
    score = f"{found.why.score:.3f}"
    draw.text((_MARGIN, 18), score, INK, font(38))
    left = _MARGIN + round(draw.textlength(score, font(38))) + 16
    what = clipped(draw, "the cosine of the two pictures", 15, width - left - _MARGIN)
    draw.text((left, 23), what, INK, font(15))
    encoder = clipped(draw, printable(found.encoder), 13, width - left - _MARGIN)
    draw.text((left, 44), encoder, FAINT, font(13))


def _legend(sheet: Image.Image, draw: ImageDraw.ImageDraw, top: int, found: Explanation) -> None:
    """What brightness and lines mean, and what the places add up to."""
    long, high = 150, 12
    draw.text((_MARGIN, top), "adds nothing", FAINT, font(13))
    left = _MARGIN + round(draw.textlength("adds nothing", font(13))) + 8
    shades = 255 * (_DARKEST + (1 - _DARKEST) * np.linspace(0, 1, long, dtype=np.float32))
    bar = np.repeat(np.tile(shades, (high, 1))[..., None], 3, axis=2)
    scale = np.tile(np.linspace(0, 1, long, dtype=np.float32), (high, 1))
    for level, width in _LINES:
        _contour(bar, scale, level, width)
    sheet.paste(Image.fromarray(bar.astype(np.uint8)), (left, top + 2))
    draw.rectangle((left, top + 2, left + long - 1, top + 1 + high), outline=FAINT)
    draw.text((left + long + 8, top), "adds most", FAINT, font(13))
    why = found.why
    told = f"The places of each picture add up to {why.query.sum:.3f}."
    if abs(why.residual) > _TOLD:
        told = (
            f"The places add up to {why.query.sum:.3f} and {why.hit.sum:.3f}; "
            f"the score has {why.residual:+.3f} that they do not explain."
        )
    room = sheet.width - 2 * _MARGIN
    draw.text((_MARGIN, top + 22), clipped(draw, told, 13, room), FAINT, font(13))


# -- a query and its hits -------------------------------------------------------------------------


def draw_sheet(bands: Sequence[Band]) -> Image.Image:
    """For each query: the query, then its hits, lit by what they share with it.

    Below each hit the query is lit by what it shares with that hit.
    """
    columns = 1 + max((len(band.columns) for band in bands), default=0)
    high = 2 * _CELL + _CAPTION + 2 * _GAP
    size = (columns * (_CELL + _GAP) + 3 * _GAP, len(bands) * high + _GAP)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, band in enumerate(bands):
        top = _GAP + number * high
        _place(sheet, draw, _upright(band.query, _CELL), _GAP, top)
        frame = (_GAP - 4, top - 4, _GAP + _CELL + 3, top + _CELL + 3)
        draw.rectangle(frame, outline=QUERY, width=3)
        _caption(draw, _GAP, top + _CELL, "query", band.name, QUERY)
        for place, column in enumerate(band.columns, 1):
            left = 3 * _GAP + place * (_CELL + _GAP)
            _caption(draw, left, top + _CELL, column.title, column.name, INK)
            pictures: list[Image.Image | None] = [None, None]
            if column.hit is not None and column.found is not None:
                view, why = column.found, column.found.why
                pictures[0] = lit(column.hit, view.hit, why.hit, _CELL)
                pictures[1] = lit(band.query, view.query, why.query, _CELL)
            for picture, edge in zip(pictures, (top, top + _CELL + _CAPTION), strict=True):
                _place(sheet, draw, picture, left, edge)
    return sheet


def _place(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, picture: Image.Image | None, left: int, top: int
) -> None:
    """A picture in the middle of its cell, or words where there is none."""
    draw.rectangle((left, top, left + _CELL - 1, top + _CELL - 1), fill=CARD)
    if picture is None:
        draw.text((left + 10, top + _CELL // 2), "cannot be read", FAINT, font(14))
        return
    sheet.paste(picture, (left + (_CELL - picture.width) // 2, top + (_CELL - picture.height) // 2))


def _caption(
    draw: ImageDraw.ImageDraw, left: int, under: int, first: str, second: str, colour: str
) -> None:
    draw.text((left, under + 6), clipped(draw, first, 15, _CELL), colour, font(15))
    draw.text((left, under + 25), clipped(draw, _name(second), 13, _CELL), FAINT, font(13))


def _name(path: str) -> str:
    return printable(os.path.basename(path) or path)
