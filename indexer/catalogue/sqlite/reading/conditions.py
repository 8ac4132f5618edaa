"""Filters in SQLite's language."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import Any, Literal
from unicodedata import normalize

from parecido.indexer.records.filters import LIKELY, Filter, moment, period
from parecido.indexer.system.paths import bounds_below

__all__ = ["likelihood", "mention", "where"]

_GLOB = frozenset("*?[")
_FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")
_SPELLINGS = 32  # of one path, each of which takes a look at the index
_EARTH = 6371.0088  # kilometres, the mean radius
_KEPT = 5  # labels of a picture in the catalogue
# Of dates only the year, month or day may be known: all of it has to lie within the bounds
_FIRST_MOMENT = "taken_at || substr('0000-01-01T00:00:00', length(taken_at) + 1) >= ?"
_LAST_MOMENT = "taken_at || '~' < ?"
_RARE = 2  # classes that are looked for as text first; for each it takes 40 ms a 100,000 pictures


def where(wanted: Filter) -> tuple[str, list[Any]]:
    """A filter as a condition on the table ``pictures``, with its values."""
    conditions: list[str] = []
    values: list[Any] = []

    def want(condition: str, *given: Any) -> None:
        conditions.append(condition)
        values.extend(given)

    if wanted.path is not None:
        want(*_at(wanted.path))
    if wanted.label is not None:
        # anywhere in the JSON first, which is quick, and then in the names alone
        want(
            "instr(lower(labels), ?) AND EXISTS (SELECT 1 FROM json_each(labels)"
            " WHERE instr(lower(json_extract(json_each.value, '$[0]')), ?)"
            " AND json_extract(json_each.value, '$[1]') >= ?)",
            json.dumps(wanted.label.lower())[1:-1],
            wanted.label.lower(),
            LIKELY,
        )
    if wanted.format is not None:
        want("upper(format) = ?", wanted.format.upper())
    if wanted.camera is not None:
        want("instr(lower(camera), ?)", wanted.camera.lower())
    for bound, sign in (("min", ">="), ("max", "<=")):
        for name in ("width", "height"):
            if (given := getattr(wanted, f"{bound}_{name}")) is not None:
                want(f"{name} {sign} ?", given)
    if wanted.taken_from is not None:
        want(_FIRST_MOMENT, period(wanted.taken_from)[0])
    if wanted.taken_to is not None:
        want(_LAST_MOMENT, period(wanted.taken_to)[1])
    if wanted.added_since is not None:
        want("added_at >= ?", moment(wanted.added_since))
    for condition in _list_details(wanted):
        want(*condition)
    if wanted.classes is not None:  # last, as it takes the longest
        want(f"{mention(wanted.classes)} AND {likelihood(wanted.classes)} >= ?", LIKELY)
    return " AND ".join(conditions) or "1", values


def _at(path: str) -> tuple[Any, ...]:
    """The condition for a file, a folder or a pattern, and its values."""
    conditions: list[str] = []
    values: list[Any] = []
    for spelling in _spell(path):
        raw = os.fsencode(spelling)
        if _GLOB & set(path):
            # a BLOB is no text to GLOB, so it is read as one: the bytes stay as they are
            conditions.append("CAST(path AS TEXT) GLOB CAST(? AS TEXT)")
            values.append(raw)
        else:
            conditions.append("path = ? OR (path > ? AND path < ?)")
            values += [raw, *bounds_below(raw)]
    return f"({' OR '.join(conditions)})", *values


def _spell(path: str) -> list[str]:
    """A path as systems may have written it: macOS takes é apart, into e and an accent.

    Names below one folder may come from several systems, so each is spelled in every way; of paths
    with many such names, all in one way.
    """
    if path.isascii():
        return [path]
    spellings = [(name, *(normalize(form, name) for form in _FORMS)) for name in path.split("/")]
    names = [tuple(dict.fromkeys(several)) for several in spellings]
    if prod(map(len, names)) <= _SPELLINGS:
        return ["/".join(chosen) for chosen in product(*names)]
    return list(dict.fromkeys("/".join(chosen) for chosen in zip(*spellings, strict=True)))


def _list_details(wanted: Filter) -> Iterator[tuple[Any, ...]]:
    """What is asked of the table ``details``: conditions with their values."""
    if wanted.min_rating is not None:
        yield _among_details("rating >= ?"), wanted.min_rating
    if wanted.keyword is not None:
        spelt = _spell_word(wanted.keyword)
        words = "SELECT 1 FROM json_each(keywords) WHERE value COLLATE NOCASE"
        one_is = f"EXISTS ({words} IN ({', '.join('?' * len(spelt))}))"
        yield _among_details(f"keywords != '[]' AND {one_is}"), *spelt
    if wanted.near is not None:
        yield _near(*wanted.near)


def _among_details(condition: str) -> str:
    """A condition on the table ``details``, asked of pictures."""
    return f"id IN (SELECT picture_id FROM details WHERE {condition})"


def _spell_word(word: str) -> list[str]:
    """A word in the cases that it comes in, of which SQLite knows only ASCII's, é apart or not."""
    cases = (word, word.lower(), word.upper(), word.title(), word.capitalize())
    return sorted({normalize(form, case) for form in _FORMS for case in cases})


def _near(latitude: float, longitude: float, kilometres: float) -> tuple[Any, ...]:
    """The condition for a place on a sphere, and its values.

    By the haversine formula: sin²(Δφ/2) + cos φ₁ · cos φ₂ · sin²(Δλ/2) ≤ sin²(d/2r).  SQLite may be
    without sines, so they are polynomials; what is off is less than a millimetre a kilometre.
    """
    angle = min(kilometres / _EARTH, math.pi)
    reach = math.degrees(angle) + 1e-6
    half, right = repr(math.pi / 360), repr(math.pi / 2)
    angles = (
        f"SELECT picture_id, (latitude - ?) * {half} AS a, {right} - abs(latitude) * 2 * {half}"
        f" AS b, abs(longitude - ?) * {half} AS c FROM details WHERE latitude BETWEEN ? AND ?"
    )
    folded = f"SELECT picture_id, a, b, CASE WHEN c > {right} THEN {math.pi!r} - c ELSE c END AS c"
    sines = f"SELECT picture_id, {_sine('a')} AS a, {_sine('b')} AS b, {_sine('c')} AS c"
    return (
        f"id IN (SELECT picture_id FROM ({sines} FROM ({folded} FROM ({angles})))"
        " WHERE a * a + b * ? * c * c <= ?)",
        *(latitude, longitude, latitude - reach, latitude + reach),
        *(math.cos(math.radians(latitude)), math.sin(angle / 2) ** 2),
    )


def _sine(name: str) -> str:
    """The sine of a column from -π/2 to π/2: SQL."""
    series = "1"
    for place in (14, 12, 10, 8, 6, 4, 2):
        series = f"(1 - {name} * {name} / {float(place * (place + 1))} * {series})"
    return f"{name} * {series}"


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
