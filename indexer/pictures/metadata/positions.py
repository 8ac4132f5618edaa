"""Places on Earth as EXIF and XMP write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from parecido.indexer.pictures.metadata.told import Position, to_position

__all__ = ["from_exif", "from_xmp"]

_NORTH_SOUTH, _LATITUDE, _EAST_WEST, _LONGITUDE = 1, 2, 3, 4
_STATUS = 9
_VOID = "V"  # the receiver had no fix
_XMP = re.compile(
    r"([0-9]{1,3})(?:,([0-9]{1,2}(?:\.[0-9]+)?)(?:,([0-9]{1,2}(?:\.[0-9]+)?))?)?([NSEW])"
)
_PLAIN = re.compile(r"[+-]?[0-9]{1,3}(?:\.[0-9]+)?")


def from_exif(gps: Mapping[int, Any]) -> Position | None:
    """The place that EXIF's directory for GPS tells: degrees, minutes and seconds with a letter."""
    if _letter(gps.get(_STATUS)) == _VOID:
        return None
    latitude = _to_degrees(gps.get(_LATITUDE), _letter(gps.get(_NORTH_SOUTH)), "NS")
    longitude = _to_degrees(gps.get(_LONGITUDE), _letter(gps.get(_EAST_WEST)), "EW")
    return to_position(latitude, longitude)


def from_xmp(latitude: str, longitude: str) -> Position | None:
    """The place that XMP tells: ``48,51.5N`` or ``48,51,30N`` each; also ``48.8583``."""
    return to_position(_read_angle(latitude, "NS"), _read_angle(longitude, "EW"))


def _to_degrees(parts: Any, letter: str, letters: str) -> float | None:
    if not isinstance(parts, (tuple, list)) or not parts or not letter or letter not in letters:
        return None
    numbers = [float(part) for part in parts[:3]]
    degrees: float = sum(number / 60**place for place, number in enumerate(numbers))
    return -degrees if letter == letters[1] else degrees


def _read_angle(text: str, letters: str) -> float | None:
    text = text.strip()
    if _PLAIN.fullmatch(text):
        return float(text)
    found = _XMP.fullmatch(text)
    if found is None or found[4] not in letters:
        return None
    return _to_degrees([float(part or 0) for part in found.groups()[:3]], found[4], letters)


def _letter(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    return value.strip("\0 ").upper()[:1] if isinstance(value, str) else ""
