"""What tables a catalogue of each version has, so that one with others is refused.

A prepared file might have a view in the place of a table, which computes for ever when it is asked,
or a trigger that runs when something is written.  A new migration adds an entry: what is new, and
what has other columns than before.  A test compares all with what the migrations make.
"""

from __future__ import annotations

import sqlite3
from functools import cache
from pathlib import Path

from parecido.indexer.errors import LibraryDamaged

__all__ = ["SCHEMAS", "STATISTICS", "check_schema", "describe_schema"]

_MOST_OBJECTS = 200
STATISTICS = ("sqlite_stat1", "sqlite_stat4")
"""Tables that SQLite keeps for itself where somebody analysed the file."""
_AFFINITIES = (
    *(("integer", ("INT",)), ("text", ("CHAR", "CLOB", "TEXT")), ("bytes", ("BLOB",))),
    ("real", ("REAL", "FLOA", "DOUB")),
)

SCHEMAS: dict[str, dict[str, str]] = {
    "0001": {
        "table alembic_version": "version_num:text",
        "table facts": "key:text value:text",
        "table roots": "device:integer inode:integer path:bytes",
        "table pictures": "added_at:real content_hash:bytes file_size:integer"
        " format:text height:integer id:id labels:text"
        " mtime_ns:integer path:bytes width:integer",
        "table sqlite_sequence": "name:bytes seq:bytes",
        "table descriptors": "generation:integer picture_id:id vector:bytes",
        "table skips": "file_size:integer kind:text mtime_ns:integer path:bytes reason:text",
    },
    "0002": {
        "table removals": "generation:integer picture_id:id",
    },
    "0003": {
        "table pictures": "added_at:real camera:text content_hash:bytes"
        " file_size:integer format:text height:integer id:id"
        " labels:text mtime_ns:integer path:bytes"
        " taken_at:text width:integer",
    },
    "0004": {
        "table spaces": "fingerprint:text matrix:bytes mean:bytes pictures:integer",
        "table regions": "map_columns:integer map_rows:integer picture_id:id vectors:bytes",
    },
    "0005": {
        "table uploads": "before:bytes content_hash:bytes path:bytes stamp:integer state:text",
    },
    "0006": {
        "table seals": "bucket:integer digest:bytes entries:bytes table_name:text version:integer",
        "table spare_facts": "key:text value:text",
        "table aside": "added_at:real path:bytes picture_id:integer reason:text",
        "table skips": "decoder:text file_size:integer kind:text mtime_ns:integer path:bytes"
        " reason:text",
    },
    "0007": {
        "table pictures": "added_at:real camera:text content_hash:bytes ctime_ns:integer"
        " decoding:integer file_size:integer format:text height:integer id:id"
        " labels:text mtime_ns:integer path:bytes"
        " taken_at:text width:integer",
        "table roots": "device:integer inode:integer path:bytes rules:text",
        "table skips": "ctime_ns:integer decoder:text file_size:integer kind:text mtime_ns:integer"
        " path:bytes reason:text",
        "table mounts": "device:integer inode:integer path:bytes",
        "table details": "is_utc:integer keywords:text latitude:real longitude:real picture_id:id"
        " rating:integer sidecars:text taken_from:text",
        "table looks": "picture_id:id thumbnail:bytes version:integer",
    },
}
"""By version: tables that came or changed, with their columns; one that went has none."""


def check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Raise :class:`~parecido.LibraryDamaged` for a catalogue whose tables are not its version's.

    Or that has views, triggers or anything that computes.  Indices are no matter: without one, or
    with one more, questions take another time and get the same answer.  Says nothing of a file that
    is no catalogue, or one of a later version.  Takes 0.3 ms.
    """
    connection.execute("BEGIN")  # one state: a writer may be bringing it up to date
    try:
        version = _version(connection, path)
        if version not in SCHEMAS:
            return
        found, expected = describe_schema(connection), _expect(version)
    finally:
        connection.execute("ROLLBACK")
    for name in sorted(found.keys() | expected.keys()):
        if name not in expected:
            _refuse(path, f"it has a {name}, which no catalogue has")
        if name not in found:
            _refuse(path, f"it has no {name}")
        if found[name] != expected[name]:
            _refuse(path, f"its {name} has {found[name][:200]} instead of {expected[name]}")


def describe_schema(connection: sqlite3.Connection) -> dict[str, str]:
    """What a file defines but plain indices: tables with their columns, and what else there is."""
    query = "SELECT type, name, tbl_name, rootpage, coalesce(sql, '') FROM sqlite_master LIMIT ?"
    found: dict[str, str] = {}
    for kind, name, table, root, sql in connection.execute(query, (_MOST_OBJECTS,)).fetchall():
        if not all(isinstance(one, str) for one in (kind, name, table, sql)):
            found["definition that is no text"] = ""  # SQLite reads it all the same
        elif kind == "index":
            rows = connection.execute(f"PRAGMA index_info({_quote(name)})").fetchall()
            if all(row[2] for row in rows):
                continue
            found[f"computed index {name}"[:200]] = table
        elif kind != "table" or not root:
            found[f"{'virtual ' if kind == 'table' else ''}{kind} {name}"[:200]] = table
        elif name not in STATISTICS:
            found[f"table {name}"[:200]] = _columns(connection, name, sql)
    return found


def _columns(connection: sqlite3.Connection, table: str, sql: str) -> str:
    """The columns by name, with what SQLite makes of their types."""
    told = [
        f"{name}:{_affinity(kind, key)}{' (computed)' if hidden else ''}"
        for _, name, kind, _, _, key, hidden in connection.execute(
            f"PRAGMA table_xinfo({_quote(table)})"
        )
    ]
    return " ".join(sorted(told)) + (" (checked)" if "CHECK" in sql.upper() else "")


def _affinity(kind: str, key: int) -> str:
    """As SQLite derives it from a declared type; ``id`` of a column that is the row's number."""
    kind = kind.upper()
    if kind == "INTEGER" and key == 1:
        return "id"
    for name, words in _AFFINITIES:
        if any(word in kind for word in words):
            return name
    return "number" if kind else "bytes"


def _quote(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _version(connection: sqlite3.Connection, path: Path) -> str | None:
    query = "SELECT type, rootpage FROM sqlite_master WHERE name = 'alembic_version' LIMIT 2"
    rows = connection.execute(query).fetchall()
    if not rows:
        return None
    if len(rows) > 1 or rows[0][0] != "table" or not rows[0][1]:
        _refuse(path, f"its alembic_version is a {rows[0][0]} of another kind")
    rows = connection.execute("SELECT version_num FROM alembic_version LIMIT 1").fetchall()
    return rows[0][0] if rows and isinstance(rows[0][0], str) else None


@cache
def _expect(version: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for step in sorted(SCHEMAS):
        if step <= version:
            found |= SCHEMAS[step]
    return {name: what for name, what in found.items() if what}


def _refuse(path: Path, what: str) -> None:
    raise LibraryDamaged(
        f"The catalogue {path} is not as parecido makes it: {what}.",
        "Use it only if you know where it comes from; save what can be read: parecido verify "
        "--repair.",
    )
