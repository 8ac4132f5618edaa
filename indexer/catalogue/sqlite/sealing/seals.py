"""Seals rows as they are written, whatever statement writes them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from parecido.indexer.catalogue.sqlite.queries import chunks, marks
from parecido.indexer.catalogue.sqlite.sealing.digests import (
    TOP,
    Key,
    Sheet,
    Top,
    bucket_of,
    in_buckets,
    key_bytes,
    list_fields,
    row_digest,
)
from parecido.indexer.catalogue.sqlite.sealing.structure import (
    LARGEST_ID,
    SCHEMA,
    digest_schema,
    find_last_id,
)
from parecido.indexer.errors import LibraryDamaged

__all__ = ["Seals", "seal_everything"]

_PUT = "INSERT OR REPLACE INTO seals (table_name, bucket, version, entries, digest) VALUES"
_CAME, _LEFT = "parecido_came", "parecido_left"


class Seals:
    """The seals of one writing connection.

    Triggers that this connection alone has tell of every row that comes, changes or leaves; its
    digest is computed there and then, and the sheets are written at the end of the transaction.  So
    no statement can forget them.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._changed: dict[str, dict[Key, bytes | None]] = {}
        # without it, a row that is replaced leaves without a trigger
        connection.execute("PRAGMA recursive_triggers = ON")
        connection.create_function(_CAME, -1, self._come)
        connection.create_function(_LEFT, 2, self._leave)
        for statement in _triggers():
            connection.execute(statement)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Seal what changes within the caller's transaction."""
        self._changed.clear()
        try:
            yield
            self._write()
        finally:
            self._changed.clear()

    def _come(self, table: str, *values: Any) -> None:
        self._changed.setdefault(table, {})[values[0]] = row_digest(table, values)

    def _leave(self, table: str, key: Key) -> None:
        self._changed.setdefault(table, {})[key] = None

    def _write(self) -> None:
        if "pictures" in self._changed:
            _keep_largest_id(self._connection)
        for table, changed in list(self._changed.items()):
            _write_sheets(self._connection, table, changed)


def _keep_largest_id(connection: sqlite3.Connection) -> None:
    """Remember the largest id that was given, which SQLite keeps outside every seal."""
    largest = find_last_id(connection)
    known = connection.execute("SELECT value FROM facts WHERE key = ?", (LARGEST_ID,)).fetchone()
    if known != (str(largest),):
        connection.execute(
            "INSERT OR REPLACE INTO facts (key, value) VALUES (?, ?)", (LARGEST_ID, str(largest))
        )


def _write_sheets(
    connection: sqlite3.Connection, table: str, changed: Mapping[Key, bytes | None]
) -> None:
    buckets: dict[int, dict[bytes, bytes | None]] = {}
    for key, digest in changed.items():
        buckets.setdefault(bucket_of(key), {})[key_bytes(key)] = digest
    before = _read_sheets(connection, table, [TOP, *buckets])
    # every table has one from its making: a lost one is damage, and the sum of what is touched now
    # would call all other rows lost
    sheet = before.pop(TOP, None)
    top = Top.unpack(table, sheet) if sheet is not None else None
    if top is None:
        raise _refusal(table)
    written: dict[int, Sheet] = {}
    for bucket, rows in buckets.items():
        known = before.get(bucket)
        # one that is damaged must not be sealed anew with what it says
        if known is not None and not known.is_sound((table, bucket)):
            raise _refusal(table)
        own = {**(known.rows() if known else {}), **rows}
        kept = {key: digest for key, digest in own.items() if digest is not None}
        if kept:
            written[bucket] = Sheet.of((table, bucket), kept)
    top = top.with_sheets(
        [sheet.digest for sheet in written.values()], [sheet.digest for sheet in before.values()]
    )
    _put_sheets(connection, table, {**written, TOP: top.pack(table)})
    empty = [bucket for bucket in before if bucket not in written]
    connection.executemany(
        "DELETE FROM seals WHERE table_name = ? AND bucket = ?", [(table, b) for b in empty]
    )


def _read_sheets(
    connection: sqlite3.Connection, table: str, buckets: list[int]
) -> dict[int, Sheet]:
    found = {}
    for chunk in chunks(buckets):
        query = (
            "SELECT bucket, version, entries, digest FROM seals"
            f" WHERE table_name = ? AND bucket IN ({marks(chunk)})"
        )
        for bucket, *rest in connection.execute(query, (table, *chunk)):
            found[bucket] = Sheet(*rest)
    return found


def _put_sheets(connection: sqlite3.Connection, table: str, sheets: Mapping[int, Sheet]) -> None:
    rows = [(table, bucket, *sheet) for bucket, sheet in sheets.items()]
    connection.executemany(f"{_PUT} (?, ?, ?, ?, ?)", rows)


def _refusal(table: str) -> LibraryDamaged:
    return LibraryDamaged(
        f"The catalogue is damaged (the seals of its {table}).",
        "Mend it: parecido verify --repair.",
    )


def seal_everything(connection: sqlite3.Connection) -> None:
    """Seal all rows as they are, in the caller's transaction.

    For what was just made, brought up to date or mended.
    """
    connection.execute("DELETE FROM seals")
    facts = {SCHEMA: digest_schema(connection), LARGEST_ID: str(find_last_id(connection))}
    connection.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", list(facts.items()))
    connection.execute("DELETE FROM spare_facts")
    connection.execute("INSERT INTO spare_facts SELECT key, value FROM facts")
    for table, fields in list_fields().items():
        query = f"SELECT {', '.join(fields)} FROM {table} ORDER BY {fields[0]}"
        top = Top()
        for bucket, rows in in_buckets(table, connection.execute(query)):
            sheet = Sheet.of((table, bucket), {key_bytes(key): digest for key, digest in rows})
            _put_sheets(connection, table, {bucket: sheet})
            top = top.with_sheets([sheet.digest])
        _put_sheets(connection, table, {TOP: top.pack(table)})


def _triggers() -> Iterator[str]:
    for table, fields in list_fields().items():
        if table == "alembic_version":
            continue  # which a migration alone changes
        new = ", ".join(f"NEW.{field}" for field in fields)
        came = f"SELECT {_CAME}('{table}', {new});"
        left = f"SELECT {_LEFT}('{table}', OLD.{fields[0]});"
        # the spare comes along
        come = leave = ""
        if table == "facts":
            come = "INSERT OR REPLACE INTO spare_facts VALUES (NEW.key, NEW.value);"
            leave = "DELETE FROM spare_facts WHERE key = OLD.key;"
        for event, body in (
            ("INSERT", came + come),
            ("UPDATE", left + leave + came + come),
            ("DELETE", left + leave),
        ):
            yield (
                f"CREATE TEMP TRIGGER seal_{table}_{event.lower()} AFTER {event} ON main.{table}"
                f" BEGIN {body} END"
            )
