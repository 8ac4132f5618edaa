"""TIFFs and Photoshop's files of every layout, written by the book."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["DEFLATE", "LZW", "NONE", "PACKBITS", "Tiff", "psd", "tiff"]

NONE, LZW, DEFLATE, PACKBITS = 1, 5, 8, 32773


@dataclass(frozen=True)
class Tiff:
    """What to write beside the pixels, as the numbers that TIFF has for it."""

    photometric: int = 2
    planes: bool = False
    compression: int = NONE
    order: str = "<"
    tile: tuple[int, int] | None = None
    rows: int = 20
    predictor: int = 1
    extra: tuple[int, ...] = ()
    tags: tuple[tuple[int, tuple[int, ...]], ...] = ()
    bits: int = 0
    """Of samples that are packed, or that leave upper bits of two bytes empty."""
    packs: bool = True


def _pack(raw: bytes, compression: int, width: int) -> bytes:
    if compression == DEFLATE:
        return zlib.compress(raw)
    if compression in (LZW, PACKBITS):
        file = io.BytesIO()
        grey = Image.frombytes("L", (width, len(raw) // width), raw)
        name = {LZW: "tiff_lzw", PACKBITS: "packbits"}[compression]
        grey.save(file, "TIFF", compression=name, tiffinfo={278: grey.height})
        with Image.open(file) as image:
            tags: Any = image.tag_v2  # type: ignore[attr-defined]
            (start,), (count,) = tags[273], tags[279]
        return file.getvalue()[start : start + count]
    return raw


def _pack_samples(part: npt.NDArray[Any], how: Tiff) -> bytes:
    """Rows of a strip or tile, ``(rows, across, channels)``."""
    if how.predictor == 2:
        part = np.diff(part, axis=1, prepend=part.dtype.type(0))
    if how.bits and how.packs:
        split = np.unpackbits(part.astype(">u2").view(np.uint8).reshape(*part.shape, 2), axis=3)
        return np.packbits(split[..., 16 - how.bits :].reshape(len(part), -1), axis=1).tobytes()
    return part.astype(part.dtype.newbyteorder(how.order)).tobytes()


def tiff(pixels: npt.NDArray[Any], how: Tiff) -> bytes:
    """A TIFF by the book, its pixels in front of its directory."""
    height, width, channels = pixels.shape
    across, down = how.tile or (width, how.rows)
    strips, data = [], bytearray(8)
    for plane in range(channels) if how.planes else [slice(None)]:
        chosen = pixels[:, :, plane : plane + 1] if isinstance(plane, int) else pixels
        for top in range(0, height, down):
            for left in range(0, width, across):
                part = chosen[top : top + down, left : left + across]
                if how.tile:
                    missing = ((0, down - len(part)), (0, across - part.shape[1]), (0, 0))
                    part = np.pad(part, missing)
                raw = _pack_samples(part, how)
                packed = _pack(raw, how.compression, len(raw) // len(part))
                strips.append((len(data), len(packed)))
                data += packed
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    offsets, counts = zip(*strips, strict=True)
    tags: dict[int, tuple[int, ...]] = {
        256: (width,),
        257: (height,),
        258: (how.bits or pixels.dtype.itemsize * 8,) * channels,
        259: (how.compression,),
        262: (how.photometric,),
        277: (channels,),
        284: (2 if how.planes else 1,),
        317: (how.predictor,),
        339: (kind,) * channels,
    }
    if how.tile:
        tags |= {322: (across,), 323: (down,), 324: offsets, 325: counts}
    else:
        tags |= {273: offsets, 278: (down,), 279: counts}
    if how.extra:
        tags[338] = how.extra
    return _close(data, {**tags, **dict(how.tags)}, how.order)


def _close(data: bytearray, tags: dict[int, tuple[int, ...]], order: str) -> bytes:
    """Write the directory behind the pixels."""
    entries = b""
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}I", *values)
        if len(values) > 1:
            data += bytes(len(data) % 2)
            packed, where = struct.pack(order + "I", len(data)), packed
            data += where
        entries += struct.pack(order + "HHI", tag, 4, len(values)) + packed
    data += bytes(len(data) % 2)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    data[:8] = mark + struct.pack(order + "I", len(data))
    return bytes(data) + struct.pack(order + "H", len(tags)) + entries + bytes(4)


def psd(
    planes: npt.NDArray[Any], colours: int, *, large: bool = False, packs: bool = False
) -> bytes:
    """Planes ``(channels, height, width)`` as Photoshop writes them, without layers."""
    channels, height, width = planes.shape
    bits = planes.dtype.itemsize * 8
    head = struct.pack(
        ">4sH6xHIIHH", b"8BPS", 2 if large else 1, channels, height, width, bits, colours
    )
    sections = struct.pack(">II", 0, 0) + (bytes(8) if large else bytes(4))
    raw = planes.astype(planes.dtype.newbyteorder(">"))
    if not packs:
        return head + sections + b"\0\0" + raw.tobytes()
    rows = [_pack(row.tobytes(), PACKBITS, row.nbytes) for plane in raw for row in plane]
    counts = b"".join(struct.pack(">I" if large else ">H", len(row)) for row in rows)
    return head + sections + b"\0\1" + counts + b"".join(rows)
