"""What is known of a catalogue's file beside its rows: its schema, its settings, its counters."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from parecido.indexer.catalogue.sqlite.known_schemas import STATISTICS

__all__ = [
    "LARGEST_ID",
    "SCHEMA",
    "Rows",
    "digest_schema",
    "find_last_id",
    "find_odd_structure",
    "find_wrong_counters",
    "is_number",
]

SCHEMA = "schema"
"""The fact that holds the digest of the schema."""
LARGEST_ID = "largest id"
"""The fact that holds the largest id that was ever given."""

Rows = Callable[[str], list[Any]]
"""What gives all rows of a query."""
_OBJECTS = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
_DIGITS = 16
_SETTINGS = {"user_version": 0, "application_id": 0}


def digest_schema(connection: sqlite3.Connection) -> str:
    """A digest of all tables and indexes as they are defined, and of how the file is laid out."""
    return _digest(lambda query: connection.execute(query).fetchall())


def _digest(rows: Rows) -> str:
    objects = [row for row in rows(_OBJECTS) if row[1] not in STATISTICS]
    settings = [rows(f"PRAGMA {name}") for name in ("page_size", "encoding", "auto_vacuum")]
    return blake2b(repr([objects, settings]).encode(), digest_size=16).hexdigest()


def find_last_id(connection: sqlite3.Connection) -> int:
    """The largest id that SQLite's own counter has given, which no seal covers."""
    query = (
        "SELECT coalesce(max(seq), 0) FROM sqlite_sequence"
        " WHERE name = 'pictures' AND typeof(seq) = 'integer'"
    )
    return int(connection.execute(query).fetchone()[0])


def find_odd_structure(rows: Rows) -> list[str]:
    """What of the schema is not as it was made, in words.

    Either of two facts may tell how it was made: one that was changed names no schema.
    """
    query = f"SELECT value FROM facts WHERE key = '{SCHEMA}'"
    told = {row[0] for row in rows(f"{query} UNION {query.replace('facts', 'spare_facts')}")}
    return [] if _digest(rows) in told else ["the schema is not as it was made"]


def find_wrong_counters(rows: Rows) -> list[str]:
    """Settings of the file, and numbers that only rise, that are not what they were; in words."""
    found = []
    for name, expected in _SETTINGS.items():
        ((told,),) = rows(f"PRAGMA {name}")
        if told != expected:
            found.append(f"the catalogue's {name} is {told} instead of {expected}")
    given = [row[0] for row in rows("SELECT seq FROM sqlite_sequence WHERE name = 'pictures'")]
    largest = _number(rows, LARGEST_ID)
    if given != [largest] and not (largest == 0 and given in ([], [0])):
        found.append(f"the counter of ids is {_several(given)} instead of {largest}")
    ((most,),) = rows(
        "SELECT max((SELECT coalesce(max(id), 0) FROM pictures),"
        " (SELECT coalesce(max(picture_id), 0) FROM removals))"
    )
    if largest is not None and most > largest:
        found.append(f"there is a picture {most}, and {largest} are said to be the most")
    generation = _number(rows, "generation", missing=0)
    ((newest,),) = rows(
        "SELECT max((SELECT coalesce(max(generation), 0) FROM descriptors"
        " WHERE typeof(generation) = 'integer'), (SELECT coalesce(max(generation), 0) FROM removals"
        " WHERE typeof(generation) = 'integer'))"
    )
    if generation is None or generation < newest:
        found.append(f"the generation is {generation}, and {newest} was written")
    return found


def _number(rows: Rows, fact: str, missing: int | None = None) -> int | None:
    found = rows(f"SELECT value FROM facts WHERE key = '{fact}'")
    if not found:
        return missing
    text = found[0][0]
    return int(text) if is_number(text) else None


def is_number(text: Any) -> bool:
    """Whether a text is a number that can be counted on from."""
    return isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) < _DIGITS


def _several(numbers: list[Any]) -> str:
    return ", ".join(map(str, numbers)) or "lost"
