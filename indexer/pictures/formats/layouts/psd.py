"""Photoshop's files that Pillow does not read: of 16 and 32 bits, and large ones (PSB).

After Adobe's "Photoshop File Formats Specification".  What is shown is the picture that Photoshop
keeps beside the layers.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from PIL import Image

from parecido.indexer.errors import PictureUnreadable
from parecido.indexer.pictures.formats.cut import Loaded
from parecido.indexer.pictures.formats.layouts.packed import NONE, PACKBITS, unpack_bytes
from parecido.indexer.pictures.formats.layouts.plain import Channels, PlainPicture, compose
from parecido.indexer.pictures.formats.layouts.samples import (
    FLOATING,
    UNSIGNED,
    Samples,
    scale,
    unpack,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["PSD", "is_beyond_pillow", "open_psd"]

PSD = b"8BPS"
_HEAD = struct.Struct(">4sH6xHIIHH")
_LARGE = 2
_PROFILE, _EXIF = 1039, 1058
_BITMAP, _GREY, _PALETTE, _RGB, _CMYK, _MANY, _DUOTONE, _LAB = 0, 1, 2, 3, 4, 7, 8, 9
_MODES = {_GREY: "L", _RGB: "RGB", _CMYK: "CMYK", _DUOTONE: "L", _LAB: "LAB"}
_BLOCK = 1 << 22  # samples that are scaled at once
_NOT_READ = {_BITMAP: "in black and white", _PALETTE: "with a palette", _MANY: "of many inks"}
_PACKINGS = {2: "zip", 3: "zip with prediction"}


@dataclass(frozen=True)
class _Layout:
    width: int
    height: int
    channels: int
    bits: int
    mode: str
    is_large: bool
    start: int
    """Where the pixels begin, with how they are packed."""

    @property
    def has_alpha(self) -> bool:
        return self.mode == "RGB" and self.channels == 4  # as Pillow takes it

    @property
    def shown(self) -> int:
        return Image.getmodebands(self.mode) + self.has_alpha


def is_beyond_pillow(head: bytes) -> bool:
    """Whether a file that begins so is one of Photoshop's, and Pillow would not read it."""
    if not head.startswith(PSD) or len(head) < _HEAD.size:
        return False
    _, version, _, _, _, bits, _ = _HEAD.unpack_from(head)
    return version == _LARGE or bits in (16, 32)


def open_psd(file: IO[bytes]) -> PlainPicture:
    """A file of Photoshop's, which is decoded when it is loaded.

    Raises :class:`~parecido.PictureUnreadable`.
    """
    file.seek(0)
    _, version, channels, height, width, bits, colours = _HEAD.unpack(file.read(_HEAD.size))
    mode = _MODES.get(colours)
    if version not in (1, _LARGE) or channels < 1:
        raise PictureUnreadable("damaged: its header makes no sense", "damaged")
    if colours in _NOT_READ:
        raise PictureUnreadable(f"a PSD {_NOT_READ[colours]}, which is not read", "unsupported")
    if mode is None or bits not in (8, 16, 32):
        raise PictureUnreadable("damaged: its header makes no sense", "damaged")
    if channels < Image.getmodebands(mode):
        raise PictureUnreadable("damaged: it has too few channels", "damaged")
    try:
        _skip(file, ">I")
        found = _read_resources(file)
        _skip(file, ">Q" if version == _LARGE else ">I")
    except (struct.error, OverflowError, OSError) as error:
        raise PictureUnreadable("damaged: its header ends too early", "damaged") from error
    layout = _Layout(width, height, channels, bits, mode, version == _LARGE, file.tell())
    exif = Image.Exif()
    if _EXIF in found:
        exif.load(b"Exif\0\0" + found[_EXIF])
    file.seek(0)
    data = file.read()
    picture = PlainPicture("PSD", (width, height), lambda: _read(memoryview(data), layout), exif)
    if _PROFILE in found:
        picture.info["icc_profile"] = found[_PROFILE]
    return picture


def _skip(file: IO[bytes], form: str) -> None:
    """Go behind a section that begins with its length."""
    (length,) = struct.unpack(form, file.read(struct.calcsize(form)))
    file.seek(length, io.SEEK_CUR)


def _read_resources(file: IO[bytes]) -> dict[int, bytes]:
    """The profile and the EXIF data, by their numbers."""
    (length,) = struct.unpack(">I", file.read(4))
    data, at = file.read(length), 0
    found: dict[int, bytes] = {}
    while at + 12 <= len(data):
        (number,) = struct.unpack_from(">H", data, at + 4)
        at += 6 + (data[at + 6] + 2) // 2 * 2
        if at + 4 > len(data):
            break
        (size,) = struct.unpack_from(">I", data, at)
        if number in (_PROFILE, _EXIF):
            found[number] = data[at + 4 : at + 4 + size]
        at += 4 + (size + 1) // 2 * 2
    return found


def _read(data: memoryview, layout: _Layout) -> Loaded:
    import numpy as np

    if layout.start + 2 > len(data):
        raise PictureUnreadable("damaged: its pixels are missing", "damaged")
    (packing,) = struct.unpack_from(">H", data, layout.start)
    if packing in _PACKINGS:
        raise PictureUnreadable(
            f"a PSD packed with {_PACKINGS[packing]}, which is not read", "unsupported"
        )
    samples = Samples(layout.bits, FLOATING if layout.bits == 32 else UNSIGNED)
    width = samples.count_bytes(layout.width)
    start, lengths = layout.start + 2, [width * layout.height] * layout.channels
    if packing == 1:
        form, count = "I" if layout.is_large else "H", layout.channels * layout.height
        if start + struct.calcsize(f">{count}{form}") > len(data):
            raise PictureUnreadable("damaged: its pixels are missing", "damaged")
        rows = struct.unpack_from(f">{count}{form}", data, start)
        start += struct.calcsize(f">{count}{form}")
        tall = layout.height
        lengths = [sum(rows[tall * one : tall * (one + 1)]) for one in range(layout.channels)]
    elif packing != 0:
        raise PictureUnreadable("damaged: its pixels are packed in no known way", "damaged")
    pixels = np.zeros((layout.height, layout.width, layout.shown), np.uint8)
    there = layout.height
    for channel in range(layout.shown):
        packed = data[start : start + lengths[channel]]
        start += lengths[channel]
        rows_here = _fill(pixels[:, :, channel], packed, packing == 1, samples)
        there = min(there, rows_here)
    if layout.mode == "CMYK":
        np.invert(pixels, out=pixels)  # 0 is all of an ink
    missing = np.arange(layout.height) < there
    return compose(Channels(pixels, missing), layout.mode, "A" if layout.has_alpha else "")


def _fill(
    plane: npt.NDArray[np.uint8], packed: memoryview, is_packed: bool, samples: Samples
) -> int:
    """Write a channel's samples; how many rows are there."""
    height, width = int(plane.shape[0]), int(plane.shape[1])
    each = samples.count_bytes(width)
    try:
        raw = unpack_bytes(packed, PACKBITS if is_packed else NONE, each, height)
    except (OSError, ValueError):
        return 0
    there = min(len(raw) // each, height)
    # 1 is white, whatever is brighter
    white = float(samples.full) if samples.is_narrow else 1.0
    step = max(1, _BLOCK // width)
    for top in range(0, there, step):
        rows = min(step, there - top)
        block = unpack(raw[top * each : (top + rows) * each], rows, width, samples)
        plane[top : top + rows] = scale(block, 0, white)
    return there
