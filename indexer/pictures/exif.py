"""When and with what a picture was taken, as its EXIF data tell."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from PIL import Image

from parecido.indexer.records.pictures import UNKNOWN, Taken

__all__ = ["read_taken"]

_PHOTO = 0x8769  # the directory with the camera's own data
_ORIGINAL, _DIGITISED, _CHANGED = 0x9003, 0x9004, 0x0132
_MAKE, _MODEL = 0x010F, 0x0110
_LONGEST = 80  # letters of a camera's name that are kept


def read_taken(image: Image.Image) -> Taken:
    """What the EXIF data of an opened picture tell; never fails."""
    try:
        exif = image.getexif()
        if not exif:
            return UNKNOWN
        photo = exif.get_ifd(_PHOTO)
        dates = (photo.get(_ORIGINAL), photo.get(_DIGITISED), exif.get(_CHANGED))
        return Taken(_first_date(dates), _camera(exif.get(_MAKE), exif.get(_MODEL)))
    except Exception:  # damaged EXIF does not make a picture unreadable
        return UNKNOWN


def _first_date(found: tuple[Any, ...]) -> str | None:
    for value in found:
        try:
            return datetime.strptime(_text(value)[:19], "%Y:%m:%d %H:%M:%S").isoformat()
        except ValueError:  # missing, or zeros from a camera whose clock was never set
            continue
    return None


def _camera(make: Any, model: Any) -> str:
    maker, name = _text(make), _text(model)
    if maker and name.lower().startswith(maker.split()[0].lower()):
        maker = ""  # "Canon", "Canon EOS 5D"
    return " ".join(f"{maker} {name}".split())[:_LONGEST]


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return ""
    return "".join(c for c in value.partition("\0")[0] if c.isprintable()).strip()
