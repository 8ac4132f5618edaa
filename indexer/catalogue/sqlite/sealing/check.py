"""Which rows of a catalogue are what was written."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from parecido.indexer.catalogue.sqlite.sealing.digests import (
    FIELDS,
    TOP,
    VERSION,
    Key,
    Sheet,
    Text,
    Top,
    in_buckets,
    key_bytes,
    list_fields,
)
from parecido.indexer.catalogue.sqlite.sealing.structure import (
    LARGEST_ID,
    SCHEMA,
    Rows,
    find_wrong_counters,
)
from parecido.indexer.system.text import plural

__all__ = [
    "Damage",
    "Findings",
    "examine",
    "find_damage",
    "find_version",
    "is_sealed",
    "judge",
    "order_sheets",
]


@dataclass
class Findings:
    """What the seals of one table tell of its rows."""

    table: str
    bad: set[Key] = field(default_factory=set)
    """Keys of rows that are not what was written, or of which nobody knows."""
    unknown: set[Key] = field(default_factory=set)
    """Those of them that never were written."""
    unsealed: set[Key] = field(default_factory=set)
    """Those of them of which no seal says anything, for it is lost."""
    missing: int = 0
    """Rows that were written and are gone."""
    broken: int = 0
    """Seals that are damaged, while the rows can be told to be right by others."""

    @property
    def is_sound(self) -> bool:
        """Whether everything is what was written."""
        return not (self.bad or self.missing or self.broken)

    def tell(self) -> Iterator[str]:
        """What is wrong, in words."""
        if self.bad:
            verb = "is" if len(self.bad) == 1 else "are"
            yield f"{plural(len(self.bad), 'row')} of {self.table} {verb} not what was written"
        if self.missing:
            verb = "is" if self.missing == 1 else "are"
            yield f"{plural(self.missing, 'row')} of {self.table} {verb} missing"
        if self.broken:
            verb = "is" if self.broken == 1 else "are"
            yield f"{plural(self.broken, 'seal')} of {self.table} {verb} damaged"


@dataclass(frozen=True)
class Damage:
    """What is wrong with a catalogue that SQLite can read."""

    tables: Sequence[Findings]
    """Of every table."""
    counters: Sequence[str]
    """Numbers and settings that are not what they were, in words."""

    @property
    def is_none(self) -> bool:
        """Whether everything is what was written."""
        return not self.counters and all(one.is_sound for one in self.tables)

    def tell(self) -> list[str]:
        """What is wrong, in words."""
        return [*self.counters, *(line for one in self.tables for line in one.tell())]

    def of(self, table: str) -> Findings:
        """What was found of one table."""
        return next((one for one in self.tables if one.table == table), Findings(table))


Sheets = dict[int, Sheet]


def examine(connection: sqlite3.Connection) -> Damage:
    """What is not as it was written, seen at one moment, of a catalogue with a sound schema."""
    connection.execute("BEGIN")
    try:
        counters = find_wrong_counters(lambda query: connection.execute(query).fetchall())
        return Damage(find_damage(connection), counters)
    finally:
        connection.execute("ROLLBACK")


def is_sealed(rows: Rows) -> bool:
    """Whether a catalogue ever had seals, whatever became of them."""
    ours = "('seals', 'spare_facts', 'aside')"
    if rows(f"SELECT 1 FROM sqlite_master WHERE name IN {ours} OR tbl_name IN {ours}"):
        return True
    if not rows("SELECT 1 FROM sqlite_master WHERE name = 'facts'"):
        return False
    return bool(rows(f"SELECT 1 FROM facts WHERE key IN ('{SCHEMA}', '{LARGEST_ID}')"))


def order_sheets(rows: Iterable[tuple[Any, ...]]) -> dict[str, Sheets]:
    """The sheets by table and bucket, from rows of ``seals``."""
    found: dict[str, Sheets] = {}
    for table, bucket, *rest in rows:
        name = table.decode("utf-8", "replace") if isinstance(table, bytes) else str(table)
        if isinstance(bucket, int):
            found.setdefault(name, {})[bucket] = Sheet(*rest)
    return found


def find_damage(connection: sqlite3.Connection) -> list[Findings]:
    """What the seals tell of every table, from one moment's view of the catalogue."""
    factory = connection.text_factory
    connection.text_factory = Text
    try:
        query = "SELECT table_name, bucket, version, entries, digest FROM seals"
        sheets = order_sheets(connection.execute(query))
        version = find_version(sheets)
        found = []
        for table, fields in list_fields(version).items():
            rows = connection.execute(f"SELECT {', '.join(fields)} FROM {table} ORDER BY 1")
            found.append(judge(table, rows, sheets.pop(table, {})))
        # of no table that there is
        found += [Findings(table, broken=len(own)) for table, own in sheets.items()]
        return found
    finally:
        connection.text_factory = factory


def find_version(sheets: Mapping[str, Sheets]) -> int:
    """By which list of fields a catalogue was sealed: the one that nearly all its sheets name."""
    told = Counter(
        sheet.version
        for own in sheets.values()
        for sheet in own.values()
        if sheet.version in FIELDS
    )
    return told.most_common(1)[0][0] if told else VERSION


def judge(
    table: str, rows: Iterable[tuple[Any, ...]], sheets: Sheets, *, complete: bool = True
) -> Findings:
    """What a table's sheets tell of its rows, which come in the order of their keys.

    Unless they are ``complete``, for some cannot be read, those that are there are believed.

    The columns are those of the list of fields by which the sheets were made.
    """
    findings = Findings(table)
    keys: list[Key] = []
    seen = set()
    standing = Top()
    doubtful: list[tuple[list[Key], Sheet]] = []
    for bucket, own in in_buckets(table, rows):
        seen.add(bucket)
        keys += (key for key, _ in own)
        digest = _judge_bucket(findings, bucket, own, sheets.get(bucket))
        if digest is not None:
            standing = standing.with_sheets([digest])
        else:
            actual = _sheet_of((table, bucket), own)
            doubtful.append(([key for key, _ in own], actual))
    for bucket in sheets.keys() - seen - {TOP}:
        digest = _judge_bucket(findings, bucket, [], sheets[bucket])
        if digest is not None:
            standing = standing.with_sheets([digest])
        else:
            findings.broken += 1
    top = Top.unpack(table, sheets[TOP]) if TOP in sheets else None
    findings.broken += top is None
    if top == standing.with_sheets(sheet.digest for _, sheet in doubtful):
        # what is left of the sum is that of these rows
        findings.broken += len(doubtful)
    elif doubtful:
        lost = {key for own, _ in doubtful for key in own}
        findings.bad |= lost
        if top == standing:
            findings.unknown |= lost
        else:
            findings.unsealed |= lost
    elif top is not None and complete:
        # a sheet is gone, or one of before is there with rows of before: nothing tells which
        findings.broken += 1
        findings.bad.update(keys)
    return findings


def _judge_bucket(
    findings: Findings, bucket: int, own: list[tuple[Key, bytes]], sheet: Sheet | None
) -> bytes | None:
    """The digest of the sheet as it was written; None where that cannot be told."""
    place = (findings.table, bucket)
    if sheet is None:
        return None
    if sheet.is_sound(place):
        entries = sheet.rows()
        findings.bad.update(key for key, digest in own if entries.get(key_bytes(key)) != digest)
        findings.unknown.update(key for key, _ in own if key_bytes(key) not in entries)
        findings.missing += len(entries.keys() - {key_bytes(key) for key, _ in own})
        return sheet.digest
    # one half of the sheet that agrees with the rows tells that the other half is damaged
    actual = _sheet_of(place, own)
    if sheet.digest == actual.digest or sheet.entries == actual.entries:
        findings.broken += 1
        return actual.digest
    return None


def _sheet_of(place: tuple[str, int], own: list[tuple[Key, bytes]]) -> Sheet:
    return Sheet.of(place, {key_bytes(key): digest for key, digest in own})
