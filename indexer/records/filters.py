"""Which pictures a question is about, apart from what they look like."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from operator import index

from parecido.indexer.errors import InvalidRequest

__all__ = ["LIKELY", "Filter", "moment", "parse_near", "period"]

_STARS = 8  # in a pattern; the time that SQLite takes grows with a power of their number
LIKELY = 0.05
"""Least probability of what a picture is said to show; a label below is left out of tables, too."""


@dataclass(frozen=True)
class Filter:
    """Pictures that pass all that is given; nothing given, all pass.

    Raises :class:`~parecido.InvalidRequest` for dates that are none, and for bounds of which
    the lower is above the upper.
    """

    path: str | None = None
    """A file or a folder with all below it; with ``*``, ``?`` or ``[`` a pattern for the whole
    path, as SQLite's GLOB reads it (``*`` crosses folders)."""
    label: str | None = None
    """Part of the name of a label that is at least 5 % likely, in any case.  For words that people
    give use ``classes``: :func:`parecido.indexer.encoders.imagenet.words.classes_of`."""
    format: str | None = None
    """Pillow's name of the file format, in any case."""
    camera: str | None = None
    """Part of the camera's maker and model, in any case."""
    min_width: int | None = None
    min_height: int | None = None
    max_width: int | None = None
    max_height: int | None = None
    taken_from: str | None = None
    """By the camera's clock: ``2024``, ``2024-05``, ``2024-05-01`` or ``2024-05-01T12:30:00``."""
    taken_to: str | None = None
    """As ``taken_from``; the whole of that year, month, day or second counts."""
    added_since: str | None = None
    """When it came into the library: a date or a date with a time, in local time unless it names
    another zone."""
    classes: tuple[int, ...] | None = None
    """Indices of ImageNet classes that are together at least 5 % likely, as far as they are among
    the five likeliest; kept in ascending order.  Of none, no picture passes."""

    near: tuple[float, float, float] | None = None
    """Taken at most so far from a place: its latitude and longitude in degrees (WGS 84, north and
    east above 0), and kilometres above 0."""
    keyword: str | None = None
    """One of the picture's keywords, in any case."""
    min_rating: int | None = None
    """At least so many stars, 0 to 5; -1 are pictures that were rejected."""

    def __post_init__(self) -> None:
        if self.classes is not None:  # in one order, so that equal filters are found again
            object.__setattr__(self, "classes", _indices(self.classes))
        if self.path is not None and self.path.count("*") > _STARS:
            raise InvalidRequest(f"A pattern may have {_STARS} stars.", "Make it simpler.")
        for bound in (self.taken_from, self.taken_to):
            if bound is not None:
                period(bound)
        if self.added_since is not None:
            moment(self.added_since)
        if self.near is not None:
            object.__setattr__(self, "near", _check_near(self.near))
        if self.min_rating is not None and not -1 <= self.min_rating <= 5:
            raise InvalidRequest("A rating is from -1 (rejected) to 5.", "Give such a number.")
        self._check_order()

    def _check_order(self) -> None:
        """Refuse bounds that no picture can meet: they are a slip, and its answer would be none."""
        for name in ("width", "height"):
            least, most = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if least is not None and most is not None and least > most:
                raise _report_crossing(name, least, most)
        first, last = self.taken_from, self.taken_to
        if first is not None and last is not None and period(first)[0] >= period(last)[1]:
            raise _report_crossing("date", first, last)

    @property
    def passes_all(self) -> bool:
        """Whether nothing is asked for."""
        return all(getattr(self, field.name) is None for field in fields(self))


def _indices(given: Iterable[int]) -> tuple[int, ...]:
    """Class indices in ascending order, each once."""
    try:
        return tuple(sorted({index(one) for one in given}))
    except TypeError as error:
        raise InvalidRequest(
            f"Expected indices of classes, got {given!r}.",
            "For a word take parecido.indexer.encoders.imagenet.words.classes_of.",
        ) from error


def parse_near(text: str) -> tuple[float, float, float]:
    """A place and a distance as people write them: ``48.858,2.294,5``, the last in kilometres."""
    try:
        latitude, longitude, kilometres = (float(part) for part in text.split(","))
    except ValueError as error:
        raise _no_place(text) from error
    return _check_near((latitude, longitude, kilometres))


def _check_near(near: tuple[float, float, float]) -> tuple[float, float, float]:
    try:
        latitude, longitude, kilometres = map(float, near)
    except (TypeError, ValueError) as error:
        raise _no_place(near) from error
    if not (abs(latitude) <= 90 and abs(longitude) <= 180 and 0 < kilometres < math.inf):
        raise _no_place(near)
    return latitude, longitude, kilometres


def period(text: str) -> tuple[str, str]:
    """First moment of a year, month, day or second, and the first after it."""
    try:
        parts = [int(part) for part in text.split("-")] if "T" not in text else []
        if len(parts) == 1 and len(text) == 4:
            begin, end = datetime(parts[0], 1, 1), datetime(parts[0] + 1, 1, 1)
        elif len(parts) == 2:
            begin = datetime(parts[0], parts[1], 1)
            end = datetime(parts[0] + parts[1] // 12, parts[1] % 12 + 1, 1)
        elif len(parts) == 3:
            begin = datetime.combine(date(*parts), datetime.min.time())
            end = begin + timedelta(days=1)
        else:
            begin = datetime.fromisoformat(text).replace(tzinfo=None, microsecond=0)
            end = begin + timedelta(seconds=1)
    except (ValueError, OverflowError) as error:
        raise _no_date(text) from error
    return begin.isoformat(), end.isoformat()


def moment(text: str) -> float:
    """A date or a date with a time, in seconds since 1970."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError) as error:
        raise _no_date(text) from error


def _report_crossing(name: str, low: object, high: object) -> InvalidRequest:
    return InvalidRequest(
        f"No {name} is from {low} to {high}: the lower bound is above the upper.",
        "Exchange them, or leave one out.",
    )


def _no_place(given: object) -> InvalidRequest:
    return InvalidRequest(
        f"{given!r} is no place with a distance.",
        "Write latitude and longitude in degrees, and kilometres: 48.858,2.294,5.",
    )


def _no_date(text: str) -> InvalidRequest:
    return InvalidRequest(
        f"{text!r} is no date.", "Write 2024-05-01 or 2024-05-01T12:30:00; for taken also 2024-05."
    )
