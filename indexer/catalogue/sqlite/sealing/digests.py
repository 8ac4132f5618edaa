"""What is sealed of a catalogue, and how.

Rows lie in *buckets*: of neighbouring ids, or of keys whose hashes begin alike.  A bucket has a
*sheet* in the table ``seals``: key and digest of each of its rows, and a digest of the sheet.  So a
row that was changed, lost, doubled or put back to an older state is known by its key.  The bucket
-1 of a table is its *top*: how many sheets there are, and the sum of their digests modulo 2¹²⁸,
which a change of one sheet changes in one step.  A sheet that is lost or put back shows there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import groupby
from typing import Any, NamedTuple

__all__ = [
    "FIELDS",
    "TOP",
    "VERSION",
    "Key",
    "Sheet",
    "Text",
    "Top",
    "bucket_of",
    "in_buckets",
    "key_bytes",
    "list_fields",
    "row_digest",
]

VERSION = 2
_FIRST: Mapping[str, tuple[str, ...]] = {
    "alembic_version": ("version_num",),
    "facts": ("key", "value"),
    "spare_facts": ("key", "value"),
    "roots": ("path", "device", "inode"),
    "pictures": (
        *("id", "path", "file_size", "mtime_ns", "content_hash", "width", "height"),
        *("format", "labels", "added_at", "taken_at", "camera"),
    ),
    "descriptors": ("picture_id", "generation", "vector"),
    "removals": ("picture_id", "generation"),
    "spaces": ("fingerprint", "pictures", "mean", "matrix"),
    "regions": ("picture_id", "map_rows", "map_columns", "vectors"),
    "uploads": ("path", "content_hash", "before", "state", "stamp"),
    "skips": ("path", "file_size", "mtime_ns", "kind", "reason", "decoder"),
    "aside": ("path", "picture_id", "added_at", "reason"),
}
FIELDS: Mapping[int, Mapping[str, tuple[str, ...]]] = {
    1: _FIRST,
    2: {
        **_FIRST,
        "roots": (*_FIRST["roots"], "rules"),
        "mounts": ("path", "device", "inode"),
        "pictures": (*_FIRST["pictures"], "ctime_ns", "decoding"),
        "details": (
            *("picture_id", "taken_from", "is_utc", "rating", "latitude", "longitude"),
            *("keywords", "sidecars"),
        ),
        "looks": ("picture_id", "version", "thumbnail"),
        "skips": (*_FIRST["skips"], "ctime_ns"),
    },
}
"""The columns of each table that are sealed, its key first, by the version of this list.

A migration that changes columns adds a version.  The rows are checked by the version that sealed
them before it begins, and sealed by the new one when it is done (``upgrade.migrate``).
"""

_BY_ID = ("pictures", "descriptors", "details", "looks", "removals", "regions")
"""Tables whose keys are ids, so that their rows come in the order of their buckets."""

TOP = -1
_SIZE = 16  # bytes of a digest
_KEY = 8  # bytes that stand for a key
_ENTRY = _KEY + _SIZE
_IDS = 6  # binary places of an id within its bucket: 64 rows
_MOST = (1 << 57) - 1
_TOP = struct.Struct("<Q16s")

Key = int | str | bytes


class Text(bytes):
    """A text as it lies in the file, which after damage need not be UTF-8."""


def list_fields(version: int = VERSION) -> Mapping[str, tuple[str, ...]]:
    """The sealed columns of every table, the key first."""
    return FIELDS[version]


def row_digest(table: str, values: Sequence[Any]) -> bytes:
    """16 bytes over a row's values with their types and lengths."""
    parts = [table.encode()]
    for value in values:
        if isinstance(value, Text):
            parts += (b"t%d:" % len(value), value)
        elif isinstance(value, bytes):
            parts += (b"b%d:" % len(value), value)
        elif isinstance(value, str):
            text = value.encode("utf-8", "surrogatepass")
            parts += (b"t%d:" % len(text), text)
        elif isinstance(value, int):
            parts.append(b"i%d:" % value)
        elif isinstance(value, float):
            parts.append(b"f" + struct.pack("<d", value))
        else:
            parts.append(b"n")
    return blake2b(b"".join(parts), digest_size=_SIZE).digest()


def key_bytes(key: Any) -> bytes:
    """The 8 bytes that stand for a row's key: an id itself, a hash of anything else."""
    if isinstance(key, int):
        return key.to_bytes(_KEY, "big", signed=True)
    return row_digest("", [key])[:_KEY]


def bucket_of(key: Any) -> int:
    """The bucket in which a row with that key lies, 0 or more."""
    if isinstance(key, int):
        return (key >> _IDS) & _MOST  # no id below 0 was ever given, but damage knows no bounds
    return int.from_bytes(key_bytes(key)[:2], "big")


def in_buckets(
    table: str, rows: Iterable[Sequence[Any]]
) -> Iterator[tuple[int, list[tuple[Key, bytes]]]]:
    """Keys and digests of a table's rows, which come in the order of their keys, by bucket."""
    digests: Iterable[tuple[Key, bytes]] = ((row[0], row_digest(table, row)) for row in rows)
    if table not in _BY_ID:
        digests = sorted(digests, key=lambda row: bucket_of(row[0]))
    for bucket, own in groupby(digests, lambda row: bucket_of(row[0])):
        yield bucket, list(own)


class Sheet(NamedTuple):
    """The digests of a bucket's rows by the bytes of their keys, as they lie in ``seals``."""

    version: int
    entries: bytes
    digest: bytes

    @classmethod
    def of(cls, place: tuple[str, int], rows: Mapping[bytes, bytes]) -> Sheet:
        """The sheet of a table's bucket with these rows."""
        entries = b"".join(key + rows[key] for key in sorted(rows))
        return cls(VERSION, entries, _digest(place, VERSION, entries))

    def is_sound(self, place: tuple[str, int]) -> bool:
        """Whether it is as it was written."""
        return (
            self.version in FIELDS
            and isinstance(self.entries, bytes)
            and len(self.entries) % _ENTRY == 0
            and self.digest == _digest(place, self.version, self.entries)
        )

    def rows(self) -> dict[bytes, bytes]:
        """Digests by the bytes of keys."""
        entries = self.entries
        return {
            entries[at : at + _KEY]: entries[at + _KEY : at + _ENTRY]
            for at in range(0, len(entries) // _ENTRY * _ENTRY, _ENTRY)
        }


class Top(NamedTuple):
    """How many sheets a table has, and the sum of their digests."""

    sheets: int = 0
    total: int = 0

    def with_sheets(self, added: Iterable[bytes], removed: Iterable[bytes] = ()) -> Top:
        """After sheets with these digests came and went."""
        came, went = list(added), list(removed)
        change = sum(map(_number, came)) - sum(map(_number, went))
        return Top(self.sheets + len(came) - len(went), (self.total + change) % (1 << 8 * _SIZE))

    def pack(self, table: str) -> Sheet:
        """As it lies in ``seals``."""
        entries = _TOP.pack(self.sheets, self.total.to_bytes(_SIZE, "little"))
        return Sheet(VERSION, entries, _digest((table, TOP), VERSION, entries))

    @classmethod
    def unpack(cls, table: str, sheet: Sheet) -> Top | None:
        """What lies there; None where it is not as it was written."""
        if not isinstance(sheet.entries, bytes) or len(sheet.entries) != _TOP.size:
            return None
        if sheet.digest != _digest((table, TOP), sheet.version, sheet.entries):
            return None
        count, total = _TOP.unpack(sheet.entries)
        return cls(count, _number(total))


def _number(digest: bytes) -> int:
    return int.from_bytes(digest, "little")


def _digest(place: tuple[str, int], version: int, entries: bytes) -> bytes:
    return row_digest("seals", [*place, version, entries])
