"""Queries and their hits as one labelled picture, a row for each query."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from indexer.decode import Limits, pillow_limit, probe, render
from indexer.durable import replacing
from indexer.errors import InvalidRequest, PictureUnreadable
from indexer.text import printable
from search.results import Hit, Results

__all__ = ["check_target", "make_sheet", "write_sheet"]

_MARK = "parecido"

_CELL = 220
_CAPTION = 44
_GAP = 12
_PAPER, _CARD, _INK, _FAINT, _QUERY = "#ffffff", "#eeeef1", "#1c1c1e", "#6b6b72", "#0a62c9"


def check_target(path: str) -> None:
    """Refuse a name for a sheet where something else than a sheet of this program lies.

    Raises ``InvalidRequest``: a slip such as ``--sheet *.png`` must not cost a picture.
    """
    if not path.lower().endswith(".png"):
        raise InvalidRequest(
            f"A sheet is a PNG, and {path} is not named so.", "Give a name that ends in .png."
        )
    if not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        raise InvalidRequest(
            f"The folder of the sheet {path} is not there.", "Make it, or choose another."
        )
    if os.path.lexists(path) and not _is_sheet(path):
        raise InvalidRequest(
            f"{path} is there already, and it is no sheet of this program.",
            "Choose another name; nothing was overwritten.",
        )


def _is_sheet(path: str) -> bool:
    try:
        with Image.open(path, formats=("PNG",)) as image:
            return image.info.get("Software") == _MARK
    except Exception:  # whatever it is, it is no sheet
        return False


def write_sheet(answered: Sequence[tuple[Results, bytes | str]], path: str) -> None:
    """Write the sheet of :func:`make_sheet` to a PNG file, whole or not at all.

    Raises ``InvalidRequest`` where the file cannot be written, or is something else's.
    """
    check_target(path)
    info = PngInfo()
    info.add_text("Software", _MARK)
    sheet = make_sheet(answered)
    try:
        with replacing(Path(path)) as temporary:
            sheet.save(temporary, "PNG", pnginfo=info)
    except OSError as error:
        raise InvalidRequest(
            f"The sheet {path} could not be written: {error.strerror or error}.",
            "Choose a folder that can be written.",
        ) from error


def make_sheet(answered: Sequence[tuple[Results, bytes | str]]) -> Image.Image:
    """One row for each query: the query with a coloured frame, then its hits, best first.

    The second of each pair is where the query's picture is: its bytes, or its path.
    """
    columns = 1 + max((len(results.hits) for results, _ in answered), default=0)
    width = columns * (_CELL + _GAP) + 3 * _GAP
    height = len(answered) * (_CELL + _CAPTION + _GAP) + _GAP
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, (results, source) in enumerate(answered):
        top = _GAP + row * (_CELL + _CAPTION + _GAP)
        _place(sheet, draw, source, _GAP, top)
        frame = (_GAP - 4, top - 4, _GAP + _CELL + 3, top + _CELL + 3)
        draw.rectangle(frame, outline=_QUERY, width=3)
        _caption(draw, _GAP, top, "query", os.path.basename(results.query), _QUERY)
        for hit in results.hits:
            left = 3 * _GAP + hit.rank * (_CELL + _GAP)
            _place(sheet, draw, hit.path, left, top)
            _caption(draw, left, top, _score_line(hit), os.path.basename(hit.path), _INK)
    return sheet


def _score_line(hit: Hit) -> str:
    label = f" · {hit.labels[0].name}" if hit.labels and hit.labels[0].probability >= 0.05 else ""
    return f"{hit.score:.3f}{label}"


def _place(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, source: bytes | str, left: int, top: int
) -> None:
    draw.rectangle((left, top, left + _CELL - 1, top + _CELL - 1), fill=_CARD)
    try:
        limits = Limits()
        with pillow_limit(limits):
            data = source if isinstance(source, bytes) else probe(_path(source), limits)
            picture = render(data, _fit, limits).image
    except PictureUnreadable as error:
        draw.text((left + 10, top + _CELL // 2), error.kind, fill=_FAINT, font=_font(14))
        return
    sheet.paste(picture, (left + (_CELL - picture.width) // 2, top + (_CELL - picture.height) // 2))


def _path(source: str) -> Path:
    return Path(source).expanduser()


def _fit(width: int, height: int) -> tuple[int, int]:
    scale = _CELL / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _caption(
    draw: ImageDraw.ImageDraw, left: int, top: int, first: str, second: str, colour: str
) -> None:
    under = top + _CELL + 6
    draw.text((left, under), _clipped(draw, first, 15), fill=colour, font=_font(15))
    draw.text((left, under + 19), _clipped(draw, printable(second), 13), _FAINT, _font(13))


def _clipped(draw: ImageDraw.ImageDraw, text: str, size: int) -> str:
    font = _font(size)
    if draw.textlength(text, font) <= _CELL:
        return text
    while text and draw.textlength(f"{text}…", font) > _CELL:
        text = text[:-1]
    return f"{text}…"


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
