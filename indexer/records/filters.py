"""Which pictures a question is about, apart from what they look like."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from operator import index
from typing import Any

from parecido.indexer.errors import InvalidRequest

__all__ = ["LIKELY", "Filter", "likelihood", "mention"]

_GLOB = frozenset("*?[")
_STARS = 8  # in a pattern; the time that SQLite takes grows with a power of their number
_KEPT = 5  # labels of a picture in the catalogue
_RARE = 2  # classes that are looked for as text first; for each it takes 40 ms a 100,000 pictures
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

    def __post_init__(self) -> None:
        if self.classes is not None:  # in one order, so that equal filters are found again
            object.__setattr__(self, "classes", _indices(self.classes))
        if self.path is not None and self.path.count("*") > _STARS:
            raise InvalidRequest(f"A pattern may have {_STARS} stars.", "Make it simpler.")
        for bound in (self.taken_from, self.taken_to):
            if bound is not None:
                _period(bound)
        if self.added_since is not None:
            _moment(self.added_since)
        self._check_order()

    def _check_order(self) -> None:
        """Refuse bounds that no picture can meet: they are a slip, and its answer would be none."""
        for name in ("width", "height"):
            least, most = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if least is not None and most is not None and least > most:
                raise _crossed(name, least, most)
        first, last = self.taken_from, self.taken_to
        if first is not None and last is not None and _period(first)[0] >= _period(last)[1]:
            raise _crossed("date", first, last)

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
            want(*_located(self.path))
        if self.label is not None:
            # anywhere in the JSON first, which is quick, and then in the names alone
            want(
                "instr(lower(labels), ?) AND EXISTS (SELECT 1 FROM json_each(labels)"
                " WHERE instr(lower(json_extract(json_each.value, '$[0]')), ?)"
                " AND json_extract(json_each.value, '$[1]') >= ?)",
                json.dumps(self.label.lower())[1:-1],
                self.label.lower(),
                LIKELY,
            )
        if self.format is not None:
            want("upper(format) = ?", self.format.upper())
        if self.camera is not None:
            want("instr(lower(camera), ?)", self.camera.lower())
        for bound, sign in (("min", ">="), ("max", "<=")):
            for name in ("width", "height"):
                if (given := getattr(self, f"{bound}_{name}")) is not None:
                    want(f"{name} {sign} ?", given)
        if self.taken_from is not None:
            want("taken_at >= ?", _period(self.taken_from)[0])
        if self.taken_to is not None:
            want("taken_at < ?", _period(self.taken_to)[1])
        if self.added_since is not None:
            want("added_at >= ?", _moment(self.added_since))
        if self.classes is not None:  # last, as it takes the longest
            want(f"{mention(self.classes)} AND {likelihood(self.classes)} >= ?", LIKELY)
        return " AND ".join(conditions) or "1", values


def _located(path: str) -> tuple[Any, ...]:
    """The condition for a file, a folder or a pattern, and its values."""
    raw = os.fsencode(path)
    if _GLOB & set(path):
        # a BLOB is no text to GLOB, so it is read as one: the bytes stay as they are
        return "CAST(path AS TEXT) GLOB CAST(? AS TEXT)", raw
    folder = raw.rstrip(b"/")
    return "(path = ? OR (path > ? AND path < ?))", raw, folder + b"/", folder + b"0"


def likelihood(classes: Sequence[int]) -> str:
    """How likely it is that a row of ``pictures`` shows one of these classes: SQL, 0 to 1.

    The sum over those of its five labels that are among them, for the network gives a picture one
    class.  Each label is looked at by its place: among 100,000 pictures that takes 100 to 250 ms,
    and a join with ``json_each`` 260 to 440.
    """
    among = f"IN ({', '.join(str(int(one)) for one in classes)})"
    terms = [
        f"CASE WHEN json_extract(labels, '$[{place}][2]') {among}"
        f" THEN json_extract(labels, '$[{place}][1]') ELSE 0 END"
        for place in range(_KEPT)
    ]
    return f"min(1.0, {' + '.join(terms)})"


def mention(classes: Sequence[int]) -> str:
    """What every row with one of these classes meets, and few others: SQL, quicker than to parse.

    Labels lie as ``json.dumps`` writes them, ``["tiger", 0.61, 292]``.
    """
    if len(classes) > _RARE:
        return "1"
    texts = [f"instr(labels, ', {int(one)}]')" for one in classes]
    return f"({' OR '.join(texts) or '0'})"


def _indices(given: Iterable[int]) -> tuple[int, ...]:
    """Class indices in ascending order, each once."""
    try:
        return tuple(sorted({index(one) for one in given}))
    except TypeError as error:
        raise InvalidRequest(
            f"Expected indices of classes, got {given!r}.",
            "For a word take parecido.indexer.encoders.imagenet.words.classes_of.",
        ) from error


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


def _crossed(name: str, low: object, high: object) -> InvalidRequest:
    return InvalidRequest(
        f"No {name} is from {low} to {high}: the lower bound is above the upper.",
        "Exchange them, or leave one out.",
    )


def _no_date(text: str) -> InvalidRequest:
    return InvalidRequest(
        f"{text!r} is no date.", "Write 2024-05-01 or 2024-05-01T12:30:00; for taken also 2024-05."
    )
