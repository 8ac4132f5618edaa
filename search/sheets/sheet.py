"""Queries and what was found as one labelled picture, a row for each query.

All drawn sheets are made of these rows: those of a search, of an evaluation's worst queries, and of
the places that made pictures match.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from parecido.indexer.errors import PictureUnreadable
from parecido.indexer.system.text import printable
from parecido.search.results import Hit, Results
from parecido.search.sheets import canvas
from parecido.search.sheets.canvas import (
    CARD,
    FAINT,
    INK,
    PAPER,
    QUERY,
    clip,
    font,
    read_upright,
    short_name,
)

__all__ = [
    "CELL",
    "Row",
    "Section",
    "Source",
    "Tile",
    "check_target",
    "draw_sheet",
    "make_sheet",
    "save_sheet",
    "write_sheet",
]

_ENDINGS = (".png",)

CELL = 220
"""Pixels of either side of the square that a picture is drawn in."""
_CAPTION = 44
_GAP = 12
_FRAME = 4
_STORY = _FRAME + CELL + _GAP  # of a picture below the lines
_TITLE = 40
_BADGE = 30
# Bluish green and vermilion of Okabe and Ito's palette, a little darker: told apart by people who
# see no difference between red and green.  The sign says it without colour.
_RIGHT, _WRONG = "#007d5a", "#c94f00"

Source = bytes | str | Image.Image | None
"""A picture's bytes, its path, or one that is drawn already, no larger than a cell; None where it
cannot be read.
"""


@dataclass(frozen=True)
class Tile:
    """A picture with two lines under it."""

    source: Source
    first: str
    second: str
    is_right: bool | None = None
    """Marked with a tick or a cross, where it is known."""
    below: Sequence[Source] = ()
    """More pictures, under the lines."""


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
    below: int = 0
    """For how many pictures under the lines each row has room."""

    @property
    def row_height(self) -> int:
        """Of one row with the gap after it, in pixels."""
        return CELL + _CAPTION + _GAP + self.below * _STORY


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
            Tile(source, "query", short_name(results.query)),
            [Tile(hit.path, _score_line(hit), short_name(hit.path)) for hit in results.hits],
        )
        for results, source in answered
    ]
    return draw_sheet([Section("", rows)])


def draw_sheet(sections: Sequence[Section]) -> Image.Image:
    """Sections one below the other: the query of each row on the left, then what was found."""
    rows = [row for section in sections for row in section.rows]
    columns = 1 + max((len(row.found) for row in rows), default=0)
    width = columns * (CELL + _GAP) + 3 * _GAP
    height = _GAP + sum(
        len(section.rows) * section.row_height + (_TITLE if section.title else 0)
        for section in sections
    )
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = _GAP
    for section in sections:
        if section.title:
            title = clip(draw, printable(section.title), 20, width - 2 * _GAP)
            draw.text((_GAP, top), title, fill=INK, font=font(20))
            top += _TITLE
        for row in section.rows:
            _draw_row(sheet, draw, row, top)
            top += section.row_height
    return sheet


def _draw_row(sheet: Image.Image, draw: ImageDraw.ImageDraw, row: Row, top: int) -> None:
    _draw_tile(sheet, draw, row.query, (_GAP, top), QUERY)
    _frame(draw, _GAP, top, QUERY)
    for number, tile in enumerate(row.found, 1):
        left = 3 * _GAP + number * (CELL + _GAP)
        colour = INK if tile.is_right is None else _RIGHT if tile.is_right else _WRONG
        _draw_tile(sheet, draw, tile, (left, top), colour)
        if tile.is_right is not None:
            _frame(draw, left, top, colour)
            _badge(draw, left, top, tile.is_right)


def _frame(draw: ImageDraw.ImageDraw, left: int, top: int, colour: str) -> None:
    right, bottom = left + CELL + _FRAME - 1, top + CELL + _FRAME - 1
    draw.rectangle((left - _FRAME, top - _FRAME, right, bottom), outline=colour, width=3)


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


def _draw_tile(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    tile: Tile,
    corner: tuple[int, int],
    colour: str,
) -> None:
    """A tile whose upper left corner is there, its lines in a colour and grey."""
    left, top = corner
    under = top + CELL + 6
    _place(sheet, draw, tile.source, left, top)
    first, second = printable(tile.first), printable(tile.second)
    draw.text((left, under), clip(draw, first, 15, CELL), colour, font(15))
    draw.text((left, under + 19), clip(draw, second, 13, CELL), FAINT, font(13))
    for number, source in enumerate(tile.below):
        _place(sheet, draw, source, left, top + CELL + _CAPTION + _FRAME + number * _STORY)


def _place(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, source: Source, left: int, top: int
) -> None:
    """A picture in the middle of its cell, or words where there is none."""
    draw.rectangle((left, top, left + CELL - 1, top + CELL - 1), fill=CARD)
    picture = _open(source)
    if isinstance(picture, str):
        draw.text((left + 10, top + CELL // 2), picture, FAINT, font(14))
        return
    sheet.paste(picture, (left + (CELL - picture.width) // 2, top + (CELL - picture.height) // 2))


def _open(source: Source) -> Image.Image | str:
    """A picture, no larger than a cell; or why there is none."""
    if source is None:
        return "cannot be read"
    if isinstance(source, Image.Image):
        return source
    try:
        return read_upright(source, CELL)
    except PictureUnreadable as error:
        return error.kind
