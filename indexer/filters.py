"""Which pictures a question is about, apart from what they look like."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from typing import Any

from indexer.errors import InvalidRequest

__all__ = ["Filter"]

_GLOB = frozenset("*?[")
_STARS = 8  # in a pattern; the time that SQLite takes grows with a power of their number
_LIKELY = 0.05  # a label below is left out of tables, too


@dataclass(frozen=True)
class Filter:
    """Pictures that pass all that is given; nothing given, all pass.

    Raises :class:`~indexer.errors.InvalidRequest` for dates that are none.
    """

    path: str | None = None
    """A file or a folder with all below it; with ``*``, ``?`` or ``[`` a pattern for the whole
    path, as SQLite's GLOB reads it (``*`` crosses folders)."""
    label: str | None = None
    """Part of the name of a label that is at least 5 % likely, in any case."""
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

    def __post_init__(self) -> None:
        if self.path is not None and self.path.count("*") > _STARS:
            raise InvalidRequest(f"A pattern may have {_STARS} stars.", "Make it simpler.")
        for bound in (self.taken_from, self.taken_to):
            if bound is not None:
                _period(bound)
        if self.added_since is not None:
            _moment(self.added_since)

    @property
    def passes_all(self) -> bool:
        """Whether nothing is asked for."""
        return all(getattr(self, field.name) is None for field in fields(self))

    def where(self) -> tuple[str, list[Any]]:
        """As a condition on the table ``pictures``, with its values."""
        conditions: list[str] = []
        values: list[Any] = []

        def want(condition: str, *given: Any) -> None:
            conditions.append(condition)
            values.extend(given)

        if self.path is not None:
            raw = os.fsencode(self.path)
            if _GLOB & set(self.path):
                # a BLOB is no text to GLOB, so it is read as one: the bytes stay as they are
                want("CAST(path AS TEXT) GLOB CAST(? AS TEXT)", raw)
            else:
                folder = raw.rstrip(b"/")
                want("(path = ? OR (path > ? AND path < ?))", raw, folder + b"/", folder + b"0")
        if self.label is not None:
            # anywhere in the JSON first, which is quick, and then in the names alone
            want(
                "instr(lower(labels), ?) AND EXISTS (SELECT 1 FROM json_each(labels)"
                " WHERE instr(lower(json_extract(json_each.value, '$[0]')), ?)"
                " AND json_extract(json_each.value, '$[1]') >= ?)",
                json.dumps(self.label.lower())[1:-1],
                self.label.lower(),
                _LIKELY,
            )
        if self.format is not None:
            want("upper(format) = ?", self.format.upper())
        if self.camera is not None:
            want("instr(lower(camera), ?)", self.camera.lower())
        for name in ("width", "height"):
            if (least := getattr(self, f"min_{name}")) is not None:
                want(f"{name} >= ?", least)
            if (most := getattr(self, f"max_{name}")) is not None:
                want(f"{name} <= ?", most)
        if self.taken_from is not None:
            want("taken_at >= ?", _period(self.taken_from)[0])
        if self.taken_to is not None:
            want("taken_at < ?", _period(self.taken_to)[1])
        if self.added_since is not None:
            want("added_at >= ?", _moment(self.added_since))
        return " AND ".join(conditions) or "1", values


def _period(text: str) -> tuple[str, str]:
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


def _moment(text: str) -> float:
    """A date or a date with a time, in seconds since 1970."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError) as error:
        raise _no_date(text) from error


def _no_date(text: str) -> InvalidRequest:
    return InvalidRequest(
        f"{text!r} is no date.", "Write 2024-05-01 or 2024-05-01T12:30:00; for taken also 2024-05."
    )
