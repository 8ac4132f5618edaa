"""Moments that devices and programs write into the names of their files: a guess, and the last."""

from __future__ import annotations

import re

from parecido.indexer.pictures.metadata.dates import Clock, Moment, from_unix, to_moment

__all__ = ["read_name"]

_DAY = r"(?<![0-9])(?P<year>19[0-9]{2}|20[0-9]{2})(?P<sign>[-_.]?)(?P<month>[0-9]{2})(?P=sign)"
# IMG_20200131_235959, 2020-01-31 23.59.59, Screen Shot 2020-01-31 at 11.59.59 PM
_WHOLE = re.compile(
    rf"{_DAY}(?P<day>[0-9]{{2}})(?:[ _T.@,-]{{1,3}}|\s(?:at|um|à|a las|alle|om|kl\.)\s)?"
    r"(?P<hour>[0-9]{2})(?P<dot>[-_.:h ]?)(?P<minute>[0-9]{2})(?:(?P=dot)|m)(?P<second>[0-9]{2})"
    r"(?:[0-9]{3})?(?![0-9])(?:\s?(?P<half>[AaPp][Mm])\b)?"
)
# IMG-20200131-WA0001, 2020-01-31
_SIGNED = re.compile(rf"{_DAY}(?P<day>[0-9]{{2}})(?<=[-_.][0-9]{{2}})(?![0-9])")
# between letters, eight digits are a part of a number, as in a hash
_DIGITS = re.compile(rf"(?<![A-Za-z]){_DAY}(?P<day>[0-9]{{2}})(?![0-9A-Za-z])")
# FB_IMG_1580515199000, mmexport1580515199000: milliseconds since 1970
_MILLISECONDS = re.compile(r"(?:^|[^0-9])(1[0-9]{12})(?![0-9])")
_GREENWICH = re.compile(r"PXL_[0-9]")  # Pixel phones name files by UTC


def read_name(name: str) -> Moment | None:
    """The moment in a file's name, without its folder; None where there is none."""
    stem = name.rpartition(".")[0] or name
    for found in _WHOLE.finditer(stem):
        clock = _read_clock(found, _GREENWICH.match(stem) is not None)
        if clock is not None and (moment := _to_moment(found, clock)) is not None:
            return moment
    for found in (*_SIGNED.finditer(stem), *_DIGITS.finditer(stem)):
        if (moment := _to_moment(found, None)) is not None:
            return moment
    seconds = _MILLISECONDS.search(stem)
    return from_unix(int(seconds[1]) / 1000) if seconds is not None else None


def _to_moment(found: re.Match[str], clock: Clock | None) -> Moment | None:
    month, day = int(found["month"]), int(found["day"])
    # of a name, zeros are no parts of a date that is known in part
    return to_moment(int(found["year"]), month, day, clock) if month and day else None


def _read_clock(found: re.Match[str], is_utc: bool) -> Clock | None:
    hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"])
    if found["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if found["half"][0] in "Pp" else 0)
    return Clock(hour, minute, second, is_utc) if max(hour * 2.5, minute, second) < 60 else None
