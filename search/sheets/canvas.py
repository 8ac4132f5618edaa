"""What all drawn pictures share: colours, lettering, and the files that they are written to."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from parecido.indexer.errors import InvalidRequest
from parecido.indexer.pictures.decode import Limits, pillow_limit, render
from parecido.indexer.pictures.in_memory import Content
from parecido.indexer.pictures.read import probe
from parecido.indexer.system.own_files import is_own, replacing
from parecido.indexer.system.text import printable

__all__ = [
    "CARD",
    "FAINT",
    "FORMATS",
    "INK",
    "PAPER",
    "QUERY",
    "check_target",
    "clip",
    "font",
    "read_upright",
    "save",
    "short_name",
]

PAPER, CARD, INK, FAINT, QUERY = "#ffffff", "#eeeef1", "#1c1c1e", "#6b6b72", "#0a62c9"
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_MARK = "parecido"
_SOFTWARE = 0x0131  # the EXIF tag; in a PNG the text of that name


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, so that no machine lacks it."""
    return ImageFont.load_default(size)


def clip(draw: ImageDraw.ImageDraw, text: str, size: int, room: int) -> str:
    """As much of a line as there is room for, in pixels."""
    letters = font(size)
    if draw.textlength(text, letters) <= room:
        return text
    while text and draw.textlength(f"{text}…", letters) > room:
        text = text[:-1]
    return f"{text}…"


def short_name(path: str) -> str:
    """The last part of a path as one line of plain text."""
    return printable(os.path.basename(path) or path)


def read_upright(source: Content | str, longest: int) -> Image.Image:
    """A picture, what can be decoded or its path, upright, its longer side ``longest`` pixels.

    Raises ``PictureUnreadable``.
    """

    def fit(width: int, height: int) -> tuple[int, int]:
        scale = longest / max(width, height)
        return max(1, round(width * scale)), max(1, round(height * scale))

    limits = Limits()
    with pillow_limit(limits):
        content = (
            probe(Path(os.path.expanduser(source)), limits) if isinstance(source, str) else source
        )
        return render(content, fit, limits).image


def check_target(path: str, endings: Collection[str] = tuple(FORMATS)) -> None:
    """Refuse a name for a picture where something else than one of this program lies.

    Raises ``InvalidRequest``: a slip such as ``-o photo.jpg`` must not cost a picture.
    """
    if _ending(path) not in endings:
        names = " or ".join(dict.fromkeys(FORMATS[ending] for ending in endings))
        raise InvalidRequest(
            f"{path} is not named as a {names}.", f"Give a name that ends in {', '.join(endings)}."
        )
    if not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        raise InvalidRequest(f"The folder of {path} is not there.", "Make it, or choose another.")
    if os.path.lexists(path) and not is_own(_resolve(path), _is_ours):
        raise InvalidRequest(
            f"{path} is there already, and this program did not draw it.",
            "Choose another name; nothing was overwritten.",
        )


def save(picture: Image.Image, path: str, endings: Collection[str] = tuple(FORMATS)) -> None:
    """Write a picture in the format that its name says, whole or not at all.

    Raises ``InvalidRequest`` where the file cannot be written, or is something else's.
    """
    check_target(path, endings)
    form = FORMATS[_ending(path)]
    options: dict[str, Any]
    if form == "PNG":
        info = PngInfo()
        info.add_text("Software", _MARK)
        options = {"pnginfo": info}
    else:
        exif = Image.Exif()
        exif[_SOFTWARE] = _MARK
        options = {"exif": exif, "quality": 90}
    try:
        with replacing(_resolve(path), _is_ours) as file:
            picture.save(file, form, **options)
    except OSError as error:
        raise InvalidRequest(
            f"{path} could not be written: {error.strerror or error}.",
            "Choose a folder that can be written.",
        ) from error


def _ending(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _resolve(path: str) -> Path:
    """The path of the file itself, be it a link, in a folder that may be reached by one."""
    folder, name = os.path.split(os.path.abspath(path))
    return Path(os.path.realpath(folder), name)


def _is_ours(file: BinaryIO) -> bool:
    try:
        with Image.open(file, formats=tuple(set(FORMATS.values()))) as image:
            return _MARK in (image.info.get("Software"), image.getexif().get(_SOFTWARE))
    except Exception:  # whatever it is, it is none of ours
        return False
