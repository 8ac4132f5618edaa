"""What one part of a file tells, before it is weighed against the others."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from parecido.indexer.pictures.metadata.dates import Moment

__all__ = ["NOTHING", "Position", "Told", "clean", "read_rating", "to_keywords", "to_position"]

_LONGEST_WORD = 120  # letters of a keyword that are kept
_MOST_WORDS = 200


class Position(NamedTuple):
    """A place on Earth, WGS 84."""

    latitude: float
    """-90 to 90 degrees, north above 0."""
    longitude: float
    """-180 to 180 degrees, east above 0."""


class Told(NamedTuple):
    """What EXIF data, a packet of XMP, a sidecar and so on tell."""

    made: Moment | None = None
    """When the picture was taken."""
    digitised: Moment | None = None
    """When it became a file, by a scanner for example."""
    changed: Moment | None = None
    """When a program wrote it."""
    rating: int | None = None
    """-1 (rejected) to 5."""
    position: Position | None = None
    keywords: tuple[str, ...] = ()


NOTHING = Told()


def clean(text: str) -> str:
    """One line without what a terminal would obey; what follows a NUL is left out."""
    return " ".join("".join(c for c in text.partition("\0")[0] if c.isprintable()).split())


def to_keywords(words: Iterable[str]) -> tuple[str, ...]:
    """Each once, in their order."""
    found = (clean(word)[:_LONGEST_WORD] for word in words)
    return tuple(dict.fromkeys(word for word in found if word))[:_MOST_WORDS]


def read_rating(value: object) -> int | None:
    """Stars, -1 for a picture that was rejected; None for anything else."""
    try:
        stars = float(str(value).strip())
    except ValueError:
        return None
    return int(stars) if math.isfinite(stars) and -1 <= stars <= 5 else None


def to_position(latitude: float | None, longitude: float | None) -> Position | None:
    """A place; None where there is none, and for 0, 0, which devices write for that."""
    if latitude is None or longitude is None:
        return None
    is_place = abs(latitude) <= 90 and abs(longitude) <= 180  # false for NaN
    if not is_place or (latitude == 0 and longitude == 0):
        return None
    return Position(round(latitude, 7), round(longitude, 7))
