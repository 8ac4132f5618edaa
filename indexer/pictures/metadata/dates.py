"""Dates in all the forms that devices and programs write, as one text that sorts as time does.

What cannot be meant is not claimed: clocks that were never set, days to come, and days that have
two readings.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

__all__ = ["Clock", "Moment", "from_unix", "read_clock", "read_moment", "to_moment"]

_FIRST_YEAR = 1826  # of the oldest photograph that is left
_LONGEST = 64  # letters of a date
# Where clocks begin that nobody set, and what programs write for "none"
_NEVER_SET = {(1904, 1, 1), (1970, 1, 1), (1980, 1, 1), (2000, 1, 1)}
_UNIX = ((1969, 12, 31), (1970, 1, 1))
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_TIME = r"(?P<time>[0-9]{1,2}[:.h]?[0-9]{2}.*)?"
# 2019:07:21 10:11:12 as EXIF has it, 2019-07-21T10:11:12Z as XMP; unknown parts blank or zeros
_YEAR_FIRST = re.compile(
    r"(?P<year>[0-9]{4})(?:([-:/.])(?P<month>[0-9 ]{1,2})(?:\2(?P<day>[0-9 ]{1,2})"
    rf"(?:(?:[T_]|\s+){_TIME}|[\s:]*)?)?)?"
)
# 20190721T101112, and 20190721 alone
_COMPACT = re.compile(
    r"(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})"
    r"(?:[T _-]?(?P<time>[0-9]{4}(?:[0-9]{2})?[^0-9]?.*))?"
)
# Sun, 21 Jul 2019 10:11:12 GMT (RFC 1123)
_DAY_FIRST = re.compile(
    r"(?:[A-Za-z]{3,9},?\s+)?(?P<day>[0-9]{1,2})[\s-]+(?P<name>[A-Za-z]{3,9})\.?[\s,-]+"
    rf"(?P<year>[0-9]{{4}})(?:,?\s+{_TIME})?"
)
# Sun Jul 21 10:11:12 2019 (C's asctime), with or without a zone before the year
_ASCTIME = re.compile(
    r"[A-Za-z]{3}\s+(?P<name>[A-Za-z]{3})\s+(?P<day>[0-9]{1,2})\s+"
    r"(?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\s+[A-Z]{2,5})?)\s+(?P<year>[0-9]{4})"
)
# 21.07.2019 or 7/21/2019: which is the month shows only where the other is above 12
_YEAR_LAST = re.compile(
    r"(?P<one>[0-9]{1,2})([-:/.])(?P<other>[0-9]{1,2})\2(?P<year>[0-9]{4})" rf"(?:,?\s+{_TIME})?"
)
_CLOCK = re.compile(
    r"([0-9]{1,2})[:.h]?([0-9]{2})(?:[:.m]?([0-9]{2}))?(?:[.,:][0-9]*)?\s*"
    r"(?P<half>[AaPp]\.?[Mm]\.?)?\s*(?P<zone>Z|UTC|GMT|[+-][0-9]{1,2}:?[0-9]{0,2}|[A-Z]{3,5})?"
)


class Moment(NamedTuple):
    """When, as far as it is known."""

    text: str
    """``2019-07-21T10:11:12``, ``2019-07-21``, ``2019-07`` or ``2019``."""
    is_utc: bool = False
    """Whether it is the time of Greenwich, and not that of the place."""


class Clock(NamedTuple):
    """A time of a day."""

    hour: int
    minute: int
    second: int
    is_utc: bool = False


def read_moment(text: str) -> Moment | None:
    """The moment that a text means; None where it means none, or two.  Never fails."""
    text = text.strip()
    if not text or len(text) > _LONGEST:
        return None
    for form in (_YEAR_FIRST, _COMPACT, _DAY_FIRST, _ASCTIME):
        if (found := form.fullmatch(text)) is not None:
            parts = found.groupdict()
            month = _month(parts["name"]) if "name" in parts else _number(parts["month"])
            return to_moment(
                int(parts["year"]), month, _number(parts["day"]), read_clock(parts["time"] or "")
            )
    if (found := _YEAR_LAST.fullmatch(text)) is not None:
        one, other = int(found["one"]), int(found["other"])
        if one != other and max(one, other) <= 12:
            return None  # 03/04/2020 is in March here and in April there
        clock = read_clock(found["time"] or "")
        return to_moment(int(found["year"]), min(one, other), max(one, other), clock)
    return None


def to_moment(
    year: int, month: int | None = 0, day: int | None = 0, clock: Clock | None = None
) -> Moment | None:
    """A moment of numbers; zeros are unknown, and None is no number at all.

    None for a day that there is not, for clocks that were never set, and for days to come.
    """
    if month is None or day is None:
        return None
    try:
        begin = datetime(year, month or 1, day or 1, *(clock[:3] if clock and day else ()))
    except ValueError:
        return None
    latest = datetime.now() + timedelta(days=1)
    if year < _FIRST_YEAR or begin > latest or (month and day and _is_never_set(begin, clock)):
        return None
    if not month:
        return Moment(f"{year:04}")
    if not day:
        return Moment(f"{year:04}-{month:02}")
    if clock is None:
        return Moment(begin.date().isoformat())
    return Moment(begin.isoformat(), clock.is_utc)


def from_unix(seconds: float) -> Moment | None:
    """A moment of seconds since 1970, which are Greenwich's."""
    try:
        when = datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return to_moment(
        when.year, when.month, when.day, Clock(when.hour, when.minute, when.second, is_utc=True)
    )


def read_clock(text: str) -> Clock | None:
    """The time of a day that a text means, its fraction and its zone ignored; None for none."""
    found = _CLOCK.fullmatch(text.strip())
    if found is None:
        return None
    hour, minute, second = (int(part or 0) for part in found.groups()[:3])
    if found["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if found["half"][0] in "Pp" else 0)
    if hour > 23 or minute > 59 or second > 59:
        return None
    return Clock(hour, minute, second, found["zone"] in ("Z", "UTC", "GMT"))


def _is_never_set(when: datetime, clock: Clock | None) -> bool:
    day = (when.year, when.month, when.day)
    if clock is None:
        return day in _UNIX
    if day in _UNIX and when.minute == when.second == 0:
        return True  # the first second of 1970, in some zone
    return day in _NEVER_SET and when.hour == when.minute == 0


def _month(name: str) -> int | None:
    short = name[:3].lower()
    return _MONTHS.index(short) + 1 if short in _MONTHS else None


def _number(text: str | None) -> int:
    return int(text) if text and text.strip().isdigit() else 0
