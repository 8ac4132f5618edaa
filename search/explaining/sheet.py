"""Two pictures, or queries and their hits, with the places that made them match."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from parecido.indexer.errors import PathNotFound, PictureUnreadable
from parecido.indexer.pictures.in_memory import Content
from parecido.indexer.system.text import printable
from parecido.search.engine import Engine
from parecido.search.explaining.explanation import (
    Explanation,
    GivenPicture,
    Look,
    explain_views,
    view_pictures,
)
from parecido.search.explaining.heat import FULL, draw_heat, draw_scale
from parecido.search.results import Hit, Results
from parecido.search.sheets.canvas import (
    FAINT,
    INK,
    PAPER,
    QUERY,
    check_target,
    clip,
    font,
    save,
    short_name,
)
from parecido.search.sheets.sheet import CELL, Row, Section, Tile, draw_sheet

__all__ = ["draw_pair", "draw_reasons", "write_reasons"]

_MOST = 5  # hits of a query on a sheet
_MARGIN, _HEAD, _FOOT, _NARROWEST, _GAP = 28, 88, 116, 300, 24
_TOLD = 1e-3  # a residual below it does not show in a score of three digits

Answered = Sequence[tuple[Results, bytes | str]]


def draw_pair(query: Content, hit: Content, found: Explanation) -> Image.Image:
    """A query and a hit side by side, each lit by what its places add to their score."""
    sides = [
        ("Query", QUERY, found.query, draw_heat(query, found.query, found.why.query, FULL)),
        ("Hit", INK, found.hit, draw_heat(hit, found.hit, found.why.hit, FULL)),
    ]
    widths = [max(picture.width, _NARROWEST) for *_, picture in sides]
    tall = max(picture.height for *_, picture in sides)
    size = (sum(widths) + 2 * _MARGIN + _GAP, _HEAD + tall + _FOOT)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    _head(draw, found, sheet.width)
    left = _MARGIN
    for (role, colour, view, picture), width in zip(sides, widths, strict=True):
        sheet.paste(picture, (left, _HEAD))
        under = _HEAD + picture.height + 8
        draw.text((left, under), role, colour, font(14))
        after = round(draw.textlength(role, font(14))) + 10
        name = clip(draw, short_name(view.name), 14, width - after)
        draw.text((left + after, under), name, FAINT, font(14))
        left += width + _GAP
    _legend(sheet, draw, _HEAD + tall + 56, found)
    return sheet


def _head(draw: ImageDraw.ImageDraw, found: Explanation, width: int) -> None:
    score = f"{found.why.score:.3f}"
    draw.text((_MARGIN, 18), score, INK, font(38))
    left = _MARGIN + round(draw.textlength(score, font(38))) + 16
    what = clip(draw, "the cosine of the two pictures", 15, width - left - _MARGIN)
    draw.text((left, 23), what, INK, font(15))
    encoder = clip(draw, printable(found.encoder), 13, width - left - _MARGIN)
    draw.text((left, 44), encoder, FAINT, font(13))


def _legend(sheet: Image.Image, draw: ImageDraw.ImageDraw, top: int, found: Explanation) -> None:
    """What brightness and lines mean, and what the places add up to."""
    long, high = 150, 12
    draw.text((_MARGIN, top), "adds nothing", FAINT, font(13))
    left = _MARGIN + round(draw.textlength("adds nothing", font(13))) + 8
    sheet.paste(draw_scale(long, high), (left, top + 2))
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
    draw.text((_MARGIN, top + 22), clip(draw, told, 13, room), FAINT, font(13))


# -- queries and their hits -----------------------------------------------------------------------


def write_reasons(engine: Engine, answered: Answered, path: str, most: int = _MOST) -> None:
    """Write the sheet of :func:`draw_reasons` to a file.

    Raises ``InvalidRequest`` where the file cannot be written or is something else's, or where the
    encoder has no feature map.
    """
    check_target(path)  # before any work
    save(draw_reasons(engine, answered, most), path)


def draw_reasons(engine: Engine, answered: Answered, most: int = _MOST) -> Image.Image:
    """For each query its first ``most`` hits, lit by what they share with it.

    Below each hit the query is lit by what it shares with that hit.  The second of each pair is
    where the query's picture is: its bytes, or its path.  A hit that cannot be read any more is
    told in its place.
    """
    rows = []
    for results, source in answered:
        (query,) = view_pictures(engine, [GivenPicture(source)])
        found = [_hit_tile(engine, query, hit) for hit in results.hits[:most]]
        rows.append(Row(Tile(query.data, "query", short_name(results.query)), found))
    return draw_sheet([Section("", rows, below=1)])


def _hit_tile(engine: Engine, query: Look, hit: Hit) -> Tile:
    score, name = f"{hit.score:.3f}", short_name(hit.path)
    try:
        (seen,) = view_pictures(engine, [GivenPicture(hit.path)])
    except (PathNotFound, PictureUnreadable):
        return Tile(None, score, name, below=[None])
    why = explain_views(engine, query, seen).why
    return Tile(
        draw_heat(seen.data, seen.view, why.hit, CELL),
        score,
        name,
        below=[draw_heat(query.data, query.view, why.query, CELL)],
    )
