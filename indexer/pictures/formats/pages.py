"""Which of a TIFF's pictures is the one to show."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import IO

from parecido.indexer.pictures.formats.layouts.directory import Directory

__all__ = ["choose_page", "turn_to"]

_KIND, _OLD_KIND, _WIDTH, _HEIGHT = 254, 255, 256, 257
_REDUCED, _MASK, _OLD_REDUCED = 1, 4, 2


def choose_page(directories: Sequence[Directory]) -> Directory | None:
    """The first page, or where that is a reduced copy, the largest that is none."""
    first = next(iter(directories), None)
    if first is None or not _is_reduced(first):
        return first
    whole = [one for one in directories if not _is_reduced(one) and not _is_mask(one)]
    return max(whole, key=_count_pixels, default=first)


def turn_to(file: IO[bytes], page: Directory) -> IO[bytes]:
    """The file as if that page were its first."""
    file.seek(0)
    data = bytearray(file.read())
    is_big = b"+" in data[2:4]
    struct.pack_into(page.order + ("Q" if is_big else "I"), data, 8 if is_big else 4, page.offset)
    return io.BytesIO(data)


def _is_reduced(one: Directory) -> bool:
    return bool(one.number(_KIND) & _REDUCED) or one.number(_OLD_KIND) == _OLD_REDUCED


def _is_mask(one: Directory) -> bool:
    return bool(one.number(_KIND) & _MASK)


def _count_pixels(one: Directory) -> int:
    return one.number(_WIDTH) * one.number(_HEIGHT)
