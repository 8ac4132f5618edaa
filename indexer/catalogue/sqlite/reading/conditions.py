"""Filters in SQLite's language."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
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
