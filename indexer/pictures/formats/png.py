"""PNGs whose metadata are larger than Pillow allows: without what is not needed."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import IO, NamedTuple

__all__ = ["drop_long_texts"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHUNK = struct.Struct(">I4s")
_AROUND = 12  # bytes of a chunk beside its data: length, kind, checksum
# Above this, a text or a profile that is unpacked makes Pillow refuse the picture
_LONGEST = 1 << 20
# Of all texts together; Pillow refuses 64 MB, and none of them is needed but XMP
_ALL_TEXTS = 16 << 20
_LONGEST_PROFILE = 16 << 20
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")


class _Chunk(NamedTuple):
    kind: bytes
    start: int
    length: int


def drop_long_texts(file: IO[bytes]) -> tuple[IO[bytes], bytes]:
    """A PNG as it is, or without texts and a profile that are too long for Pillow.

    Beside it that profile, empty where none was dropped.  Only the heads of the chunks are read
    where nothing is too long.
    """
    chunks = list(_list_chunks(file))
    dropped, profile, total = set(), b"", 0
    for chunk in chunks:
        if chunk.kind == b"iCCP":
            unpacked = _unpack_profile(_read(file, chunk))
            if unpacked is not None and len(unpacked) <= _LONGEST:
                continue
            profile = unpacked or b""
            dropped.add(chunk)
        elif chunk.kind in _TEXTS:
            size = _LONGEST + 1 if total > _ALL_TEXTS else _measure_text(_read(file, chunk), chunk)
            total += min(size, _LONGEST)
            if size > _LONGEST or total > _ALL_TEXTS:
                dropped.add(chunk)
    file.seek(0)
    if not dropped:
        return file, b""
    data = memoryview(file.read())
    pieces, at = [], 0
    for chunk in sorted(dropped, key=lambda one: one.start):
        pieces.append(data[at : chunk.start])
        at = chunk.start + chunk.length + _AROUND
    pieces.append(data[at:])
    return io.BytesIO(b"".join(pieces)), profile


def _list_chunks(file: IO[bytes]) -> Iterator[_Chunk]:
    """Those that may be dropped."""
    at = len(_SIGNATURE)
    while True:
        file.seek(at)
        head = file.read(_CHUNK.size)
        if len(head) < _CHUNK.size:
            return
        length, kind = _CHUNK.unpack(head)
        if kind == b"IEND":
            return
        if kind in _TEXTS or kind == b"iCCP":
            yield _Chunk(kind, at, length)
        at += length + _AROUND


def _read(file: IO[bytes], chunk: _Chunk) -> bytes:
    file.seek(chunk.start + _CHUNK.size)
    return file.read(chunk.length)


def _measure_text(data: bytes, chunk: _Chunk) -> int:
    """The length of a text when it is unpacked; no more than one above the longest."""
    _, _, rest = data.partition(b"\0")
    if chunk.kind == b"zTXt":
        return len(_unpack(rest[1:], _LONGEST + 1))
    if chunk.kind == b"iTXt" and rest[:1] == b"\1":
        return len(_unpack(rest[2:].split(b"\0", 2)[-1], _LONGEST + 1))
    return len(data)


def _unpack_profile(data: bytes) -> bytes | None:
    """A profile; None where it is too long, or packed in a way that is not known."""
    _, _, rest = data.partition(b"\0")
    if rest[:1] != b"\0":
        return None
    found = _unpack(rest[1:], _LONGEST_PROFILE + 1)
    return found if len(found) <= _LONGEST_PROFILE else None


def _unpack(data: bytes, most: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, most)
    except zlib.error:  # damaged, which Pillow passes over
        return b""
