"""All that a catalogue holds, to compare, and a library that has something of everything."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from parecido import IndexOptions, Library, index, remove
from parecido.indexer.catalogue.changes import Own
from parecido.indexer.catalogue.sqlite.sealing.digests import list_fields
from parecido.indexer.library.layout import CATALOGUE
from tests.support.fakes import fake_encoder, save_picture, save_pictures

__all__ = [
    "Records",
    "digest_rows",
    "find_wrong",
    "fold",
    "make_rich_library",
    "read_records",
    "tamper",
]

Records = dict[str, dict[Any, tuple[Any, ...]]]
"""Rows by table and key."""

# learned or counted again, or of no meaning for answers
_LEARNED = ("generation", "chance", "judgement", "space", "regional_space", "schema", "largest id")


def make_rich_library(folder: Path, pictures: int = 70) -> Path:
    """A library with rows in every table, ``folder / "library"``, its journal folded.

    Of ``folder / "pictures"``: one picture was given other content, one was moved, one removed, and
    a file is none.  ``folder / "older"`` is the library before all that.
    """
    save_pictures(folder / "pictures", pictures)
    (folder / "pictures" / "notes.png").write_bytes(b"no picture")
    options = IndexOptions(within=True, think_twice=True, workers=1)
    where = folder / "pictures"
    with Library.create(folder / "library") as library:
        index(library, [where], options, encoder=fake_encoder())
    fold(folder / "library")
    shutil.copytree(folder / "library", folder / "older")
    save_picture(where / "0005.png", 4711)
    (where / "0006.png").rename(where / "moved.png")
    with Library.open(folder / "library") as library:
        index(library, [where], encoder=fake_encoder())
        remove(library, [where / "0007.png"])
        (where / "0007.png").unlink()
        with library.writer() as writing:
            (kept,) = writing.catalogue.pictures([1])
            writing.catalogue.write([Own(os.fsencode(kept.path), kept.content_hash, b"", 3)])
        index(library, [where], encoder=fake_encoder())
        with library.writer() as writing:
            writing.regions().save()
            writing.vectors().save()
    fold(folder / "library")
    return folder / "library"


def fold(library: Path) -> None:
    """Leave a catalogue without a journal."""
    with closing(sqlite3.connect(library / CATALOGUE)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def tamper(library: Path, *statements: str) -> None:
    """Change a catalogue behind its seals' back."""
    with closing(sqlite3.connect(library / CATALOGUE, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            connection.execute(statement)


def read_records(library: Path) -> Records:
    """Every row of a catalogue."""
    found: Records = {}
    with closing(sqlite3.connect(library / CATALOGUE)) as connection:
        for table, fields in list_fields().items():
            rows = connection.execute(f"SELECT {', '.join(fields)} FROM {table}")
            found[table] = {row[0]: tuple(row) for row in rows}
    return found


def digest_rows(connection: sqlite3.Connection) -> str:
    """A digest of every row of every table of a catalogue."""
    digest = hashlib.sha256()
    query = "SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT GLOB 'sqlite_*'"
    for (table,) in sorted(connection.execute(query)):
        rows = connection.execute(f"SELECT * FROM {table}").fetchall()
        digest.update(f"{table} {sorted(map(repr, rows))}".encode())
    return digest.hexdigest()


def find_wrong(right: Records, found: Records) -> list[str]:
    """Rows that neither are what is right nor could have been made again; empty where none is.

    A row may be gone.  A picture may have another id and another time at which it was added.
    """
    known = _by_path(right)
    wrong = [
        f"{path!r}: {name}"
        for path, parts in _by_path(found).items()
        for name, part in parts.items()
        if part not in (None, known.get(path, {}).get(name))
    ]
    for table in ("skips", "uploads", "alembic_version"):
        for key, row in found[table].items():
            own = right[table].get(key)
            # a change time that is not known is taken over when the file is seen
            if row != own and not (own and row == (*own[:-2], "", None)):
                wrong.append(f"{table}: {key!r}")
    # a root keeps its path, while its folder's identity may be unknown
    wrong += [f"roots: {key!r}" for key in found["roots"].keys() - right["roots"].keys()]
    for table in ("facts", "spare_facts"):
        for key, (_, value) in found[table].items():
            told = right[table].get(key, (key, None))[1]
            if key not in _LEARNED and value != told:
                wrong.append(f"{table}: {key} is {value}")
        if int(found[table]["generation"][1]) < int(right[table]["generation"][1]):
            wrong.append(f"{table}: the generation")
        if int(found[table]["largest id"][1]) < max(found["pictures"], default=0):
            wrong.append(f"{table}: the largest id")
    living = found["removals"].keys() & found["pictures"].keys()
    return [*wrong, *(f"removals: {key} is there" for key in living)]


def _by_path(records: Records) -> dict[bytes, dict[str, Any]]:
    """What is known of every picture, apart from its id and when it came."""
    found = {}
    for picture_id, (_, path, *rest) in records["pictures"].items():
        regional = records["regions"].get(picture_id, (0,))
        found[path] = {
            "row": (*rest[:7], *rest[8:10]),
            "change time": rest[10],
            # by the first rules, where it was not kept yet
            "decoding": None if rest[11] == 1 else rest[11],
            "descriptor": records["descriptors"][picture_id][2],
            # one that waits for its own has none
            "regions": regional[1:] if len(regional) > 1 and regional[1] else None,
            "details": records["details"].get(picture_id, (0,))[1:] or None,
            "look": records["looks"].get(picture_id, (0,))[1:] or None,
        }
    return found
