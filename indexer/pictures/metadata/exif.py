"""What EXIF data tell: dates, the camera, the place, stars and Windows' keywords."""

from __future__ import annotations

from typing import Any

from PIL import Image

from parecido.indexer.pictures.metadata.dates import Moment, read_moment
from parecido.indexer.pictures.metadata.positions import from_exif
from parecido.indexer.pictures.metadata.told import (
    NOTHING,
    Position,
    Told,
    read_rating,
    to_keywords,
)

__all__ = ["read_camera", "read_exif"]

_PHOTO = 0x8769  # the directory with the camera's own data
_GPS = 0x8825
_ORIGINAL, _DIGITISED, _CHANGED = 0x9003, 0x9004, 0x0132
_MAKE, _MODEL = 0x010F, 0x0110
_RATING, _WORDS = 0x4746, 0x9C9E
_LONGEST = 80  # letters of a camera's name that are kept


def read_exif(exif: Image.Exif) -> Told:
    """What EXIF data tell, apart from the camera.  May fail where they are damaged."""
    if not exif:
        return NOTHING
    photo: dict[int, Any] = exif.get_ifd(_PHOTO) if _PHOTO in exif else {}
    return Told(
        # scanners' programs write them into the first directory
        _moment(photo.get(_ORIGINAL)) or _moment(exif.get(_ORIGINAL)),
        _moment(photo.get(_DIGITISED)) or _moment(exif.get(_DIGITISED)),
        _moment(exif.get(_CHANGED)),
        read_rating(exif[_RATING]) if _RATING in exif else None,
        _position(exif),
        to_keywords(_wide_text(exif[_WORDS]).split(";")) if _WORDS in exif else (),
    )


def read_camera(exif: Image.Exif) -> str:
    """Maker and model on one line; ``""`` where unknown."""
    maker, name = _text(exif.get(_MAKE)), _text(exif.get(_MODEL))
    if maker and name.lower().startswith(maker.split()[0].lower()):
        maker = ""  # "Canon", "Canon EOS 5D"
    return " ".join(f"{maker} {name}".split())[:_LONGEST]


def _moment(value: Any) -> Moment | None:
    text = _text(value)
    return read_moment(text) if text else None


def _position(exif: Image.Exif) -> Position | None:
    if _GPS not in exif:
        return None
    try:
        return from_exif(exif.get_ifd(_GPS))
    except Exception:  # damage here takes nothing from the dates
        return None


def _wide_text(value: Any) -> str:
    """Windows' own fields: UTF-16 in bytes."""
    if isinstance(value, tuple):
        value = bytes(value)
    return value.decode("utf-16-le", "ignore") if isinstance(value, bytes) else ""


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return ""
    return "".join(c for c in value.partition("\0")[0] if c.isprintable()).strip()
