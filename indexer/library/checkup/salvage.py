"""Copy what can be read of a damaged catalogue into a new one."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import count
from pathlib import Path

from parecido.indexer.catalogue.sqlite.errors import translate_errors
from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter
from parecido.indexer.errors import LibraryDamaged
from parecido.indexer.system.kinds import FRESH_CATALOGUE
from parecido.indexer.system.own_files import NotOurs, remove_own, set_aside

__all__ = ["is_structure_sound", "salvage"]


def is_structure_sound(path: Path) -> bool:
    try:
        with Catalogue(path) as catalogue:
            return not [line for line in catalogue.integrity() if line.startswith("SQLite")]
    except LibraryDamaged:
        return False


def salvage(path: Path) -> tuple[str, bool]:
    """Copy every readable row into a new catalogue that takes the damaged one's place.

    What was done, and whether the old one had a table of uploads.
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
            target.execute("DELETE FROM uploads")  # of the new one's own making
            kept = _copy_readable(source, target)
            knows_uploads = _has_uploads(source)
            if not target.execute("SELECT 1 FROM facts WHERE key = 'encoder'").fetchone():
                raise LibraryDamaged(
                    f"Nothing usable can be read from {path}.",
                    "Remove the library's folder and index again; your pictures are not affected.",
                )
    except BaseException:
        _remove_fresh(path)
        raise
    moment = time.strftime("%Y%m%d-%H%M%S")
    for number in count():
        aside = f"{path.name}.damaged-{moment}-{os.getpid()}{number or ''}"
        with suppress(NotOurs):
            set_aside(path, aside)
            break
    install(fresh, path)
    done = f"copied {kept} readable pictures into a new catalogue; the old one is {aside}"
    return done, knows_uploads


def _has_uploads(source: sqlite3.Connection) -> bool:
    try:
        source.execute("SELECT 1 FROM uploads LIMIT 1")
    except sqlite3.DatabaseError as error:
        return "no such table" not in str(error)
    return True


def _remove_fresh(path: Path) -> None:
    folder = Path(os.path.realpath(path.parent))
    for kind in FRESH_CATALOGUE:
        remove_own(folder, kind)


def _copy_readable(source: sqlite3.Connection, target: sqlite3.Connection) -> int:
    """Copy the rows of all tables; how many pictures there were."""
    from parecido.indexer.catalogue.sqlite.schema import metadata

    kept = 0
    for table in metadata.sorted_tables:
        columns = [column.name for column in table.columns]
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        for row in _readable_rows(source, table.name, names):
            target.execute(f"INSERT OR IGNORE INTO {table.name} ({names}) VALUES ({marks})", row)
            kept += table.name == "pictures"
    return kept


def _readable_rows(source: sqlite3.Connection, table: str, columns: str) -> Iterator[tuple]:  # type: ignore[type-arg]
    query = f"SELECT rowid, {columns} FROM {table} WHERE rowid >= ? ORDER BY rowid"
    start: int | None = 0
    while start is not None:
        try:
            for row in source.execute(query, (start,)):
                yield row[1:]
                start = row[0] + 1
            return
        except sqlite3.DatabaseError:
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
        except sqlite3.DatabaseError:
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
