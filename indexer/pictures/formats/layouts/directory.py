"""The directories of a TIFF: which pictures it has, and what is told of each (TIFF 6, BigTIFF)."""

from __future__ import annotations

import struct
from typing import IO, NamedTuple

__all__ = ["PREFIXES", "Directory", "list_directories"]

_PREFIXES = {b"II*\0": ("<", False), b"MM\0*": (">", False)}
_BIG_PREFIXES = {b"II+\0": ("<", True), b"MM\0+": (">", True)}
PREFIXES = tuple({**_PREFIXES, **_BIG_PREFIXES})
"""How a TIFF begins."""
# Letter of a field type for struct; of what is no whole number only the length
_LETTERS = {1: "B", 2: "s", 3: "H", 4: "I", 6: "b", 7: "s", 8: "h", 9: "i", 13: "I", 16: "Q"}
_LETTERS |= {17: "q", 18: "Q"}
_MOST_DIRECTORIES = 32
_MOST_FIELDS = 4096
_MOST_VALUES = 1 << 16  # of a field, but for the places of strips and tiles
_MOST_BYTES = 16 << 20  # of a profile
_SUB_DIRECTORIES = 330


class _Field(NamedTuple):
    kind: int
    many: int
    inline: bytes


class Directory:
    """What is told of one picture of a TIFF.  Values are read when they are asked for."""

    def __init__(self, file: IO[bytes], order: str, big: bool, offset: int) -> None:
        self.order = order
        """``<`` or ``>``, as for struct."""
        self.offset = offset
        """Where it lies in the file."""
        self.following = 0
        """Where the next one lies; 0 for nowhere."""
        self._file = file
        self._big = big
        self._fields: dict[int, _Field] = {}
        self._read()

    def _read(self) -> None:
        count_form, form = ("Q", "HHQ8s") if self._big else ("H", "HHI4s")
        self._file.seek(self.offset)
        head = self._file.read(struct.calcsize(self.order + count_form))
        (count,) = struct.unpack(self.order + count_form, head)
        size = struct.calcsize(self.order + form)
        data = self._file.read(min(count, _MOST_FIELDS) * size)
        for at in range(0, len(data) - size + 1, size):
            tag, kind, many, inline = struct.unpack_from(self.order + form, data, at)
            self._fields.setdefault(tag, _Field(kind, many, inline))
        tail = self._file.read(8 if self._big else 4)
        if count <= _MOST_FIELDS and len(tail) == (8 if self._big else 4):
            (self.following,) = struct.unpack(self.order + ("Q" if self._big else "I"), tail)

    def __contains__(self, tag: int) -> bool:
        return tag in self._fields

    def numbers(self, tag: int, most: int = _MOST_VALUES) -> tuple[int, ...]:
        """The values of a field of whole numbers; none where it is missing, damaged or longer."""
        field = self._fields.get(tag)
        letter = _LETTERS.get(field.kind, "") if field else ""
        if field is None or letter in ("", "s") or field.many > most:
            return ()
        form = f"{self.order}{field.many}{letter}"
        data = self._take(field, struct.calcsize(form))
        return struct.unpack(form, data) if len(data) == struct.calcsize(form) else ()

    def number(self, tag: int, missing: int = 0) -> int:
        """The first value of a field of whole numbers."""
        found = self.numbers(tag)
        return found[0] if found else missing

    def text(self, tag: int) -> str:
        """A field of text; empty where it is missing."""
        raw = self.raw(tag).partition(b"\0")[0].decode("latin-1")
        return "".join(letter for letter in raw if letter.isprintable()).strip()[:60]

    def raw(self, tag: int) -> bytes:
        """The bytes of a field of bytes or text."""
        field = self._fields.get(tag)
        if field is None or field.kind not in (1, 2, 7) or field.many > _MOST_BYTES:
            return b""
        return self._take(field, field.many)

    def _take(self, field: _Field, size: int) -> bytes:
        if size <= len(field.inline):
            return field.inline[:size]
        form = self.order + ("Q" if self._big else "I")
        self._file.seek(struct.unpack(form, field.inline)[0])
        return self._file.read(size)


def list_directories(file: IO[bytes]) -> list[Directory]:
    """The first directories of a file, each followed by those inside it; none of a damaged one."""
    file.seek(0)
    head = file.read(16)
    file.seek(0)
    order, big = {**_PREFIXES, **_BIG_PREFIXES}.get(head[:4], ("", False))
    found: list[Directory] = []
    try:
        if not order:
            return []
        at = struct.unpack_from(order + "Q", head, 8)[0] if big else 0
        at = at or struct.unpack_from(order + "I", head, 4)[0]
        seen: set[int] = set()
        while at and at not in seen and len(found) < _MOST_DIRECTORIES:
            seen.add(at)
            one = Directory(file, order, big, at)
            found.append(one)
            for inside in one.numbers(_SUB_DIRECTORIES)[:_MOST_DIRECTORIES]:
                if inside and inside not in seen:
                    seen.add(inside)
                    found.append(Directory(file, order, big, inside))
            at = one.following
    except (struct.error, OverflowError, ValueError, OSError):
        pass  # what was found up to there
    file.seek(0)
    return found
