"""Copy what can be read of a damaged catalogue, and is what was written, into a new one."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from typing import Any

from parecido.indexer.catalogue.sqlite.errors import UNREADABLE, translate_errors
from parecido.indexer.catalogue.sqlite.opening import be_careful
from parecido.indexer.catalogue.sqlite.queries import marks
from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.catalogue.sqlite.sealing.check import (
    Findings,
    find_version,
    is_sealed,
    judge,
    order_sheets,
)
from parecido.indexer.catalogue.sqlite.sealing.digests import Sheet, Text, list_fields
from parecido.indexer.catalogue.sqlite.sealing.seals import seal_everything
from parecido.indexer.catalogue.sqlite.writing.mend import (
    choose_facts,
    raise_numbers,
    set_aside_row,
)
from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter
from parecido.indexer.errors import LibraryDamaged
from parecido.indexer.system.kinds import FRESH_CATALOGUE
from parecido.indexer.system.own_files import NotOurs, remove_own, set_aside
from parecido.indexer.system.text import plural

__all__ = ["is_structure_sound", "salvage"]


def is_structure_sound(path: Path) -> bool:
    """Whether SQLite can read all of it, and its schema is as it was made.

    Of one that must be brought up to date: whether that can be done.
    """
    try:
        with Catalogue(path) as catalogue:
            if any(line.startswith("SQLite") for line in catalogue.integrity()):
                return False
            if not catalogue.is_outdated:
                return not catalogue.find_odd_structure()
            # one that has seals is not brought up to date unless all are right; it may say, too,
            # that it is older than it is
            return not catalogue.is_sealed() or (
                not catalogue.find_odd_structure() and catalogue.examine().is_none
            )
    except LibraryDamaged:
        return False


def salvage(path: Path) -> tuple[list[str], bool]:
    """Copy every readable row that is what was written into a new catalogue in the old one's place.

    A catalogue that never had seals is believed.  What was done, in words, and whether the old one
    had a table of uploads.
    """
    from parecido.indexer.catalogue.sqlite.upgrade import install

    fresh = path.with_name(f"{path.name}.new")
    _remove_fresh(path)
    CatalogueWriter(fresh).close()
    try:
        with (
            translate_errors(path),
            closing(sqlite3.connect(path)) as source,
            closing(sqlite3.connect(fresh)) as target,
            target,
        ):
            # lets SQLite read a file that is shorter than its header says
            source.execute("PRAGMA writable_schema = ON")
            be_careful(source)
            source.text_factory = Text
            kept, aside = _copy(source, target)
            knows_uploads = _had_seals(source) or _has_uploads(source)
            query = "SELECT 1 FROM facts WHERE key = 'encoder'"
            if not kept + aside and not target.execute(query).fetchone():
                raise LibraryDamaged(
                    f"Nothing usable can be read from {path}.",
                    "Remove the library's folder and index again; your pictures are not affected.",
                )
    except BaseException:
        _remove_fresh(path)
        raise
    moment = time.strftime("%Y%m%d-%H%M%S")
    for number in count():
        name = f"{path.name}.damaged-{moment}-{os.getpid()}{number or ''}"
        with suppress(NotOurs):
            set_aside(path, name)
            break
    install(fresh, path)
    done = [f"copied {kept} readable pictures into a new catalogue; the old one is {name}"]
    if aside:
        done.append(f"set {plural(aside, 'picture')} aside whose records were not what was written")
    return done, knows_uploads


def _has_uploads(source: sqlite3.Connection) -> bool:
    try:
        source.execute("SELECT 1 FROM uploads LIMIT 1")
    except UNREADABLE as error:
        return "no such table" not in str(error)
    return True


def _remove_fresh(path: Path) -> None:
    folder = Path(os.path.realpath(path.parent))
    for kind in FRESH_CATALOGUE:
        remove_own(folder, kind)


def _copy(source: sqlite3.Connection, target: sqlite3.Connection) -> tuple[int, int]:
    """Copy the rows of all tables; how many pictures there are, and how many are set aside."""
    sealed = _had_seals(source)
    sheets = _read_sheets(source) if sealed else {}
    # a column that the source has not gets its default
    fields = dict(list_fields(find_version(sheets) if sealed else 1))
    if not sealed:
        fields["skips"] = fields["skips"][:-1]  # as the last schema without seals had it
    found = _judge_readable(source, fields, sheets) if sealed else {}
    kept = aside = 0
    spare: dict[str, list[tuple[Any, ...]]] = {"facts": [], "spare_facts": []}
    refused: list[tuple[Any, Any]] = []
    for table, names in fields.items():
        if table == "alembic_version":
            continue
        target.execute(f"DELETE FROM {table}")  # of the new one's own making
        columns = ", ".join(names)
        put = f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({marks(names)})"
        own = found.setdefault(table, Findings(table))
        for row in _readable_rows(source, table, columns):
            if table in spare:
                spare[table].append(row)
            elif row[0] in own.bad:
                refused += [(row[0], row[1])] if table == "pictures" else []
            else:
                target.execute(put, [_plain(value) for value in row])
                kept += table == "pictures"
    facts = choose_facts(spare, {name: found[name] for name in spare})
    target.executemany("INSERT INTO facts VALUES (?, ?)", list(facts.items()))
    for name, number in _readable_rows(source, "sqlite_sequence", "name, seq"):
        if not sealed and name == b"pictures" and isinstance(number, int):
            target.execute("UPDATE sqlite_sequence SET seq = max(seq, ?)", (number,))
    for picture_id, path in refused:
        is_known = picture_id not in found["pictures"].unknown
        aside += set_aside_row(target, path, picture_id if is_known else 0)
    raise_numbers(target)
    seal_everything(target)
    return kept, aside


def _read_sheets(source: sqlite3.Connection) -> Mapping[str, dict[int, Sheet]]:
    seals = "table_name, bucket, version, entries, digest"
    return order_sheets(_readable_rows(source, "seals", seals))


def _judge_readable(
    source: sqlite3.Connection,
    fields: Mapping[str, Sequence[str]],
    sheets: Mapping[str, dict[int, Sheet]],
) -> dict[str, Findings]:
    """What the seals tell of the rows that can be read, by table."""
    try:
        source.execute("SELECT sum(length(entries)) FROM seals").fetchone()
        complete = True
    except UNREADABLE:
        complete = False  # so that the sum of the sheets says nothing
    found = {}
    for table, names in fields.items():
        rows = _readable_rows(source, table, ", ".join(names))
        found[table] = judge(table, rows, sheets.get(table, {}), complete=complete)
    return found


def _had_seals(source: sqlite3.Connection) -> bool:
    try:
        return is_sealed(lambda query: source.execute(query).fetchall())
    except UNREADABLE:
        return True  # of what cannot be told nothing is believed


def _readable_rows(source: sqlite3.Connection, table: str, columns: str) -> Iterator[tuple]:  # type: ignore[type-arg]
    query = f"SELECT rowid, {columns} FROM {table} WHERE rowid >= ? ORDER BY rowid"
    start: int | None = 0
    while start is not None:
        try:
            for row in source.execute(query, (start,)):
                yield row[1:]
                start = row[0] + 1
            return
        except UNREADABLE:
            start = _first_readable(source, f"{query} LIMIT 1", start)
            if start is not None:
                # by itself: Python's cursor reads ahead, and would stumble over the next bad page
                row = source.execute(f"{query} LIMIT 1", (start,)).fetchone()
                if row is None:
                    return
                yield row[1:]
                start = row[0] + 1


def _first_readable(source: sqlite3.Connection, query: str, start: int) -> int | None:
    """The smallest rowid from ``start`` on where a row can be read; None where there is none.

    Found by leaps that double, then by halves, so that no row behind a bad page is lost.
    """

    def readable(rowid: int) -> bool:
        try:
            source.execute(query, (rowid,)).fetchone()
            return True
        except UNREADABLE:
            return False

    bad, good = start - 1, start
    while not readable(good):
        bad, good = good, start + 2 * (good - start) + 1
        if good > 1 << 40:
            return None
    while good - bad > 1:
        middle = (bad + good) // 2
        bad, good = (bad, middle) if readable(middle) else (middle, good)
    return good


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, Text) else value
