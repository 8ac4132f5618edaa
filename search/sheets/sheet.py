"""Queries and what was found as one labelled picture, a row for each query."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from parecido.indexer.errors import PictureUnreadable
from parecido.indexer.pictures.decode import Limits, pillow_limit, render
from parecido.indexer.pictures.read import probe
from parecido.indexer.system.text import printable
from parecido.search.results import Hit, Results
from parecido.search.sheets import canvas
from parecido.search.sheets.canvas import CARD, FAINT, INK, PAPER, QUERY, clipped, font

__all__ = [
    "Row",
    "Section",
    "Tile",
    "check_target",
    "draw_sheet",
    "make_sheet",
    "save_sheet",
    "write_sheet",
]

_ENDINGS = (".png",)

_CELL = 220
_CAPTION = 44
_GAP = 12
_TITLE = 40
_BADGE = 30
# Bluish green and vermilion of Okabe and Ito's palette, a little darker: told apart by people who
# see no difference between red and green.  The sign says it without colour.
_RIGHT, _WRONG = "#007d5a", "#c94f00"


@dataclass(frozen=True)
class Tile:
    """A picture with two lines under it."""

    source: bytes | str
    """The picture's bytes, or its path."""
    first: str
    second: str
    is_right: bool | None = None
    """Marked with a tick or a cross, where it is known."""


@dataclass(frozen=True)
class Row:
    """A query and what was found for it."""

    query: Tile
    found: Sequence[Tile]


@dataclass(frozen=True)
class Section:
    """Rows under a title."""

    title: str
    """Empty for none."""
    rows: Sequence[Row]


def check_target(path: str) -> None:
    """As :func:`parecido.search.sheets.canvas.check_target`; a sheet is a PNG."""
    canvas.check_target(path, _ENDINGS)


def write_sheet(answered: Sequence[tuple[Results, bytes | str]], path: str) -> None:
    """Write the sheet of :func:`make_sheet` to a PNG file, as :func:`save_sheet` does."""
    check_target(path)  # before the pictures are read
    save_sheet(make_sheet(answered), path)


def save_sheet(sheet: Image.Image, path: str) -> None:
    """As :func:`parecido.search.sheets.canvas.save`; a sheet is a PNG."""
    canvas.save(sheet, path, _ENDINGS)


def make_sheet(answered: Sequence[tuple[Results, bytes | str]]) -> Image.Image:
    """One row for each query: the query with a coloured frame, then its hits, best first.

    The second of each pair is where the query's picture is: its bytes, or its path.
    """
    rows = [
        Row(
            Tile(source, "query", os.path.basename(results.query)),
            [Tile(hit.path, _score_line(hit), os.path.basename(hit.path)) for hit in results.hits],
        )
        for results, source in answered
    ]
    return draw_sheet([Section("", rows)])


def draw_sheet(sections: Sequence[Section]) -> Image.Image:
    """Sections one below the other: the query of each row on the left, then what was found."""
    rows = [row for section in sections for row in section.rows]
    columns = 1 + max((len(row.found) for row in rows), default=0)
    width = columns * (_CELL + _GAP) + 3 * _GAP
    height = len(rows) * (_CELL + _CAPTION + _GAP) + _GAP
    height += sum(_TITLE for section in sections if section.title)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = _GAP
    for section in sections:
        if section.title:
            title = clipped(draw, printable(section.title), 20, width - 2 * _GAP)
            draw.text((_GAP, top), title, fill=INK, font=font(20))
            top += _TITLE
        for row in section.rows:
            _draw_row(sheet, draw, row, top)
            top += _CELL + _CAPTION + _GAP
    return sheet


def _draw_row(sheet: Image.Image, draw: ImageDraw.ImageDraw, row: Row, top: int) -> None:
    _place(sheet, draw, row.query.source, _GAP, top)
    _frame(draw, _GAP, top, QUERY)
    _caption(draw, _GAP, top, row.query, QUERY)
    for number, tile in enumerate(row.found, 1):
        left = 3 * _GAP + number * (_CELL + _GAP)
        _place(sheet, draw, tile.source, left, top)
        colour = INK
        if tile.is_right is not None:
            colour = _RIGHT if tile.is_right else _WRONG
            _frame(draw, left, top, colour)
            _badge(draw, left, top, tile.is_right)
        _caption(draw, left, top, tile, colour)


def _frame(draw: ImageDraw.ImageDraw, left: int, top: int, colour: str) -> None:
    draw.rectangle((left - 4, top - 4, left + _CELL + 3, top + _CELL + 3), outline=colour, width=3)


def _badge(draw: ImageDraw.ImageDraw, left: int, top: int, is_right: bool) -> None:
    """A tick or a cross in the upper left corner; drawn, for the font has neither."""
    right, bottom = left + _BADGE - 1, top + _BADGE - 1
    draw.rectangle((left, top, right, bottom), fill=_RIGHT if is_right else _WRONG)
    if is_right:
        points = [(left + 7, top + 15), (left + 13, top + 21), (left + 23, top + 8)]
        draw.line(points, fill=PAPER, width=4, joint="curve")
    else:
        draw.line((left + 8, top + 8, right - 8, bottom - 8), fill=PAPER, width=4)
        draw.line((left + 8, bottom - 8, right - 8, top + 8), fill=PAPER, width=4)


def _score_line(hit: Hit) -> str:
    label = f" · {hit.labels[0].name}" if hit.labels and hit.labels[0].probability >= 0.05 else ""
    return f"{hit.score:.3f}{label}"


def _place(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, source: bytes | str, left: int, top: int
) -> None:
    draw.rectangle((left, top, left + _CELL - 1, top + _CELL - 1), fill=CARD)
    try:
        limits = Limits()
        with pillow_limit(limits):
            data = source if isinstance(source, bytes) else probe(_path(source), limits)
            picture = render(data, _fit, limits).image
    except PictureUnreadable as error:
        draw.text((left + 10, top + _CELL // 2), error.kind, fill=FAINT, font=font(14))
        return
    sheet.paste(picture, (left + (_CELL - picture.width) // 2, top + (_CELL - picture.height) // 2))


def _path(source: str) -> Path:
    return Path(source).expanduser()


def _fit(width: int, height: int) -> tuple[int, int]:
    scale = _CELL / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _caption(draw: ImageDraw.ImageDraw, left: int, top: int, tile: Tile, colour: str) -> None:
    under = top + _CELL + 6
    first, second = printable(tile.first), printable(tile.second)
    draw.text((left, under), clipped(draw, first, 15, _CELL), fill=colour, font=font(15))
    draw.text((left, under + 19), clipped(draw, second, 13, _CELL), FAINT, font(13))
