"""Takes out of a catalogue whatever is not what was written.

Nothing of a row that fails its digest is believed but what can be looked up: its path, where a file
lies.  What SQLite cannot read is another matter: :mod:`parecido.indexer.checkup.salvage`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from parecido.indexer.catalogue.sqlite.connections import SCHEMA_VERSION, open_for_writing
from parecido.indexer.catalogue.sqlite.errors import translate_errors
from parecido.indexer.catalogue.sqlite.queries import chunks, marks
from parecido.indexer.catalogue.sqlite.sealing.check import Damage, Findings
from parecido.indexer.catalogue.sqlite.sealing.digests import Key, Text, list_fields
from parecido.indexer.catalogue.sqlite.sealing.seals import seal_everything
from parecido.indexer.catalogue.sqlite.sealing.structure import (
    LARGEST_ID,
    find_last_id,
    is_number,
)
from parecido.indexer.system.paths import bounds_below, signed64
from parecido.indexer.system.text import plural

__all__ = ["DAMAGED", "choose_facts", "mend", "raise_numbers", "set_aside_row"]

DAMAGED = "its record was damaged"
"""Why a picture is set aside."""
_SIMPLE = (
    *("removals", "descriptors", "regions", "details", "looks"),
    *("spaces", "uploads", "skips", "aside", "mounts"),
)
_WITHOUT = {
    "encoder": "the encoder",
    "index": "whether the index is exhaustive",
    "dimension": "the dimension that was asked for",
    "think_twice": "whether searches think twice",
    "within": "whether regions are kept",
}
"""Facts that cannot be learned or counted again."""


def mend(path: Path, damage: Damage, check: Callable[[], None]) -> list[str]:
    """Take out what is damaged, in one transaction; what was done, in words.

    ``check`` is asked before the commit; what it raises undoes all.
    Pictures whose rows are damaged are set aside; descriptors go, so that their pictures have none.
    """
    with translate_errors(path), closing(open_for_writing(path)) as connection:
        connection.text_factory = Text
        connection.execute("BEGIN IMMEDIATE")
        done = list(_mend(connection, damage))
        connection.text_factory = str
        seal_everything(connection)
        check()
        connection.execute("COMMIT")
    return done


def _mend(connection: sqlite3.Connection, damage: Damage) -> Iterator[str]:
    yield from _mend_facts(connection, damage)
    yield from _mend_roots(connection, damage.of("roots"))
    for table in _SIMPLE:
        _drop(connection, table, damage.of(table).bad)
    if damage.of("spaces").bad or damage.of("spaces").missing:
        connection.execute("DELETE FROM spaces")
        names = "('space', 'regional_space', 'judgement', 'chance')"
        connection.execute(f"UPDATE facts SET value = '' WHERE key IN {names}")
        yield "the library's own spaces are learned again"
    yield from _mend_pictures(connection, damage.of("pictures"))
    if not damage.of("alembic_version").is_sound:
        connection.execute("DELETE FROM alembic_version")
        connection.execute("INSERT INTO alembic_version VALUES (?)", (SCHEMA_VERSION,))
    for one in damage.tables:
        if one.bad and one.table != "pictures":
            verb = "was" if len(one.bad) == 1 else "were"
            lost = plural(len(one.bad), "row")
            yield f"did not believe {lost} of {one.table} that {verb} not what was written"
        if one.missing:
            yield f"{plural(one.missing, 'row')} of {one.table} had been lost"
        if one.broken:
            yield f"made {plural(one.broken, 'seal')} of {one.table} again"
    raise_numbers(connection)
    for line in damage.counters:
        yield f"put right: {line}"
    for name in ("user_version", "application_id"):
        connection.execute(f"PRAGMA {name} = 0")


def _drop(connection: sqlite3.Connection, table: str, keys: Collection[Key]) -> None:
    (key, *_) = list_fields()[table]
    for chunk in chunks([one for one in keys if isinstance(one, int)]):
        connection.execute(f"DELETE FROM {table} WHERE {key} IN ({marks(chunk)})", chunk)
    # as bytes: a text that is no UTF-8 any more is equal to none that can be given
    for texts in chunks([bytes(one) for one in keys if isinstance(one, bytes)]):
        condition = f"CAST({key} AS BLOB) IN ({marks(texts)})"
        connection.execute(f"DELETE FROM {table} WHERE {condition}", texts)


def _plain(value: Any) -> Any:
    """A value as it is given to SQLite."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, Text) else value


# -- facts -----------------------------------------------------------------------------------------


def choose_facts(
    rows: Mapping[str, Sequence[tuple[Any, ...]]], found: Mapping[str, Findings]
) -> dict[str, str]:
    """The facts, from those rows of the two tables that hold them that are what was written.

    Where no seal says anything of a fact, both must say the same.  Not so the numbers that only
    rise, of which no more is wanted than that they are not given again.
    """
    facts, spare = (
        {row[0]: _show(row[1]) for row in rows[name]} for name in ("facts", "spare_facts")
    )
    right: dict[Any, str] = {}
    for key in facts.keys() | spare.keys():
        sealed = [
            own[key]
            for name, own in (("facts", facts), ("spare_facts", spare))
            if key in own and key not in found[name].bad
        ]
        told = [own[key] for own in (facts, spare) if key in own]
        numbers = [int(one) for one in told if is_number(one)]
        if sealed:
            right[key] = sealed[0]
        elif _is_counter(key) and numbers:
            right[key] = str(max(numbers))
        elif all(key in one.unsealed for one in found.values()) and told[0] == told[1]:
            right[key] = told[0]
    return {_show(key): value for key, value in right.items()}


def _is_counter(key: Any) -> bool:
    return _show(key) in (LARGEST_ID, "generation")


def _mend_facts(connection: sqlite3.Connection, damage: Damage) -> Iterator[str]:
    found = {name: damage.of(name) for name in ("facts", "spare_facts")}
    if all(one.is_sound for one in found.values()):
        return
    rows = {name: connection.execute(f"SELECT key, value FROM {name}").fetchall() for name in found}
    right = choose_facts(rows, found)
    for name in found:
        connection.execute(f"DELETE FROM {name}")
    connection.executemany("INSERT INTO facts VALUES (?, ?)", list(right.items()))
    before = {_show(key): _show(value) for key, value in rows["facts"]}
    back = [key for key in right if before.get(key) != right[key]]
    if back:
        yield f"put back {plural(len(back), 'fact')} from the second copy"
    named = {_show(key) for own in rows.values() for key, _ in own}
    for key in sorted(named - right.keys()):
        if key in _WITHOUT:
            yield f"{_WITHOUT[key]} is no longer known"
    has_regions = connection.execute("SELECT 1 FROM regions LIMIT 1").fetchone()
    if "within" not in right and has_regions:
        connection.execute("INSERT INTO facts VALUES ('within', 'on')")


def _show(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def raise_numbers(connection: sqlite3.Connection) -> None:
    """Let the generation and the counter of ids be no less than what is there.

    In the caller's transaction; both are raised once more, for files may lie there that are named
    after later ones.
    """
    newest = _newest_generation(connection)
    largest = _most(
        connection,
        LARGEST_ID,
        *(("pictures", "id"), ("removals", "picture_id"), ("aside", "picture_id")),
    )
    if _fact(connection, LARGEST_ID) is None:
        largest = max(largest, find_last_id(connection))
    for key, value in (("generation", newest + 1), (LARGEST_ID, largest)):
        connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, str(value)))
    connection.execute("DELETE FROM sqlite_sequence WHERE name = 'pictures'")
    connection.execute("INSERT INTO sqlite_sequence VALUES ('pictures', ?)", (largest,))


def _newest_generation(connection: sqlite3.Connection) -> int:
    tables = (("descriptors", "generation"), ("removals", "generation"))
    return _most(connection, "generation", *tables)


def _most(connection: sqlite3.Connection, fact: str, *columns: tuple[str, str]) -> int:
    found: list[int] = [
        connection.execute(
            f"SELECT coalesce(max({name}), 0) FROM {table} WHERE typeof({name}) = 'integer'"
        ).fetchone()[0]
        for table, name in columns
    ]
    return max(_fact(connection, fact) or 0, *found)


def _fact(connection: sqlite3.Connection, key: str) -> int | None:
    row = connection.execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone()
    text = str(_plain(row[0])) if row else ""
    return int(text) if is_number(text) else None


# -- rows ------------------------------------------------------------------------------------------


def _mend_roots(connection: sqlite3.Connection, found: Findings) -> Iterator[str]:
    """Keep a root below which there are pictures; its folder's identity is looked up again.

    Where that is away, it gets one that no folder has: an empty folder in its place is no emptied
    root.  What it excluded cannot be believed.
    """
    for key in found.bad:
        _drop(connection, "roots", [key])
        if not isinstance(key, bytes) or isinstance(key, Text) or key in found.unknown:
            continue
        low, high = bounds_below(key)
        query = "SELECT 1 FROM pictures WHERE path = ? OR (path > ? AND path < ?) LIMIT 1"
        if connection.execute(query, (key, low, high)).fetchone():
            put = "INSERT INTO roots (path, device, inode) VALUES (?, ?, ?)"
            connection.execute(put, (key, *_identity(key)))
            shown = os.fsdecode(key)
            yield f"what {shown} excludes and includes, if anything, is no longer known"


def _identity(path: bytes) -> tuple[int, int]:
    try:
        status = os.stat(path)
        if os.path.isdir(path) and not os.listdir(path):
            return 0, 0
    except (OSError, ValueError):
        return 0, 0
    return signed64(status.st_dev), signed64(status.st_ino)


def _mend_pictures(connection: sqlite3.Connection, found: Findings) -> Iterator[str]:
    bad = found.bad
    if not bad:
        return
    known = 0
    newest = _newest_generation(connection)
    gone = {row[0] for row in connection.execute("SELECT picture_id FROM removals")}
    gone |= found.unknown
    for chunk in chunks(sorted(key for key in bad if isinstance(key, int))):
        query = f"SELECT id, path FROM pictures WHERE id IN ({marks(chunk)})"
        rows = connection.execute(query, chunk).fetchall()
        _drop(connection, "pictures", chunk)
        for picture_id, path in rows:
            known += set_aside_row(connection, path, 0 if picture_id in gone else picture_id)
        connection.executemany(
            "INSERT OR REPLACE INTO removals VALUES (?, ?)",
            [(picture_id, newest + 1) for picture_id, _ in rows if picture_id > 0],
        )
    yield f"set {plural(len(bad), 'picture')} aside whose records were not what was written"
    if known < len(bad):
        yield f"the paths of {plural(len(bad) - known, 'picture')} are lost"


def set_aside_row(connection: sqlite3.Connection, path: Any, picture_id: int = 0) -> bool:
    """Remember a path, and the id if it is to come back; whether it can be one."""
    if not isinstance(path, bytes) or isinstance(path, Text) or b"\0" in path:
        return False
    if not os.path.isabs(path):
        return False
    if connection.execute("SELECT 1 FROM pictures WHERE path = ?", (path,)).fetchone():
        return False
    query = "SELECT 1 FROM aside WHERE picture_id = ?"
    largest = _fact(connection, LARGEST_ID)
    is_given = picture_id > 0 and (largest is None or picture_id <= largest)
    if not is_given or connection.execute(query, (picture_id,)).fetchone():
        picture_id = 0
    connection.execute("DELETE FROM skips WHERE path = ?", (path,))
    connection.execute(
        "INSERT OR IGNORE INTO aside VALUES (?, ?, NULL, ?)", (path, picture_id or None, DAMAGED)
    )
    return True
