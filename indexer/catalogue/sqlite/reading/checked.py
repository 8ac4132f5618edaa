"""Rows that become records: checked, since a catalogue may come from anywhere."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from parecido.indexer.errors import LibraryDamaged
from parecido.indexer.records.details import Details
from parecido.indexer.records.pictures import Label, Picture

__all__ = ["details_of", "picture_of"]

_KINDS = (
    *((int,), (bytes,), (int,), (int,), (str,), (int,), (int,), (bytes,), (str,)),
    *((str, type(None)), (str,), (float, int), (int, type(None))),
)
_MOST_LABELS = 1000
_DETAILS = (
    *((int,), (str,), (int,), (int, type(None)), (float, type(None)), (float, type(None))),
    *((str,), (str,)),
)


def picture_of(row: Any, catalogue: Path) -> Picture:
    """A picture by its row.  Raises :class:`~parecido.LibraryDamaged` for what is none."""
    try:
        if any(type(value) not in kinds for value, kinds in zip(row, _KINDS, strict=True)):
            raise ValueError("a value is of another type")
        labels = _labels(row[8])
    except (ValueError, TypeError, RecursionError) as error:
        raise _report(catalogue, f"picture {row[0]} is not recorded as one ({error})") from error
    facts: list[Any] = [row[0], os.fsdecode(row[1]), *row[2:8], labels, *row[9:]]
    return Picture(*facts)


def details_of(row: Any, catalogue: Path) -> Details:
    """Details by their row.  Raises :class:`~parecido.LibraryDamaged` for what is none."""
    try:
        if any(type(value) not in kinds for value, kinds in zip(row, _DETAILS, strict=True)):
            raise ValueError("a value is of another type")
        _, taken_from, is_utc, *told, keywords, sidecars = row
        lists = [json.loads(text) for text in (keywords, sidecars)]
        if not all(type(found) is list for found in lists):
            raise ValueError("expected lists of words and of files")
        found = Details.from_json([taken_from or None, bool(is_utc), *told, *lists])
        if not all(type(word) is str for word in found.keywords):
            raise ValueError("a keyword is no text")
    except (ValueError, TypeError, RecursionError) as error:
        what = f"what is told of picture {row[0]} is not recorded as such ({error})"
        raise _report(catalogue, what) from error
    return found


def _report(catalogue: Path, what: str) -> LibraryDamaged:
    return LibraryDamaged(
        f"The catalogue {catalogue} is damaged: {what}.",
        "Save what can be read: parecido verify --repair.",
    )


def _labels(text: str) -> tuple[Label, ...]:
    found = json.loads(text)
    if type(found) is not list or len(found) > _MOST_LABELS:
        raise ValueError(f"expected a list of classes, got {text[:80]!r}")
    return tuple(_label(*label) for label in found)


def _label(name: Any, probability: Any, number: Any) -> Label:
    is_one = type(name) is str and type(number) is int and type(probability) in (int, float)
    if not is_one or not math.isfinite(probability):
        raise ValueError(f"expected a class, got {name!r:.80}")
    return Label(name, probability, number)
