"""Packed bytes → bytes, no more than are expected."""

from __future__ import annotations

import io
import struct
import zlib

__all__ = ["COMPRESSIONS", "NONE", "PACKBITS", "unpack_bytes"]

NONE, PACKBITS = 1, 32773
_LZW, _LZMA, _ZSTD = 5, 34925, 50000
_DEFLATES = (8, 32946)
COMPRESSIONS = (NONE, _LZW, PACKBITS, *_DEFLATES, _LZMA, _ZSTD)
"""Numbers that TIFF gives to those that are unpacked here."""


def unpack_bytes(data: memoryview, compression: int, width: int, height: int) -> memoryview:
    """What was packed, rows of ``width`` bytes; shorter where the data end.

    Raises what decoders raise of damage: ``OSError``, ``ValueError``, ``zlib.error``.
    """
    expected = width * height
    if compression == NONE:
        return data[:expected]
    if compression in _DEFLATES:
        return memoryview(zlib.decompressobj().decompress(data, expected))
    return memoryview(_unpack_with_libtiff(data, compression, width, height))


def _unpack_with_libtiff(data: memoryview, compression: int, width: int, height: int) -> bytes:
    """By the library that Pillow has: as a grey picture whose pixels are these bytes."""
    from PIL import TiffImagePlugin

    start = 8 + 2 + 9 * 12 + 4
    tags = {256: width, 257: height, 258: 8, 259: compression, 262: 1, 273: start, 277: 1}
    tags |= {278: height, 279: len(data)}
    fields = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + fields + bytes(4)
    with TiffImagePlugin.TiffImageFile(io.BytesIO(head + data)) as image:
        return image.tobytes()
