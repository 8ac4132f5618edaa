"""Pictures whose decoding costs more than their size tells: refused, or decoded another way."""

from __future__ import annotations

import re
from typing import Any

from PIL import Image

from parecido.indexer.errors import PictureUnreadable
from parecido.indexer.pictures.in_memory import Content

__all__ = ["check_costs", "load"]

# Each scan of a JPEG goes over all its pixels, also one that says nothing: 20,000 of them in 3 MB
# took 290 s.  Encoders write about 10; 200 megapixels with as many are half of this.
_SCANNED_PIXELS = 4_000_000_000
# A Netpbm file whose numbers are text is read in Python: 3.8 s of a core for a megapixel.
_TEXT_PIXELS = 2_000_000
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
_SEQUENTIAL = (0xC0, 0xC1)
_SCAN = 0xDA
_END = 0xD9
_STANDALONE = (0x01, *range(0xD0, 0xD9))
# behind a scan's header come bytes without markers, but for those that only restart it
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")


def check_costs(image: Image.Image, content: Content, most_pixels: int) -> None:
    """Look at what the width and the height do not tell of an opened picture.

    Raises :class:`~parecido.PictureUnreadable`.
    """
    form, pixels = image.format, image.width * image.height
    if form in ("JPEG", "MPO") and isinstance(content, bytes):
        most = _SCANNED_PIXELS // pixels
        if _may_have_scans(content, most) and _count_scans(content, most) > most:
            raise _too_costly(f"more than {most} scans of {pixels / 1e6:.1f} megapixels")
    elif form == "TIFF":
        tags: Any = getattr(image, "tag_v2", {})
        across, down = tags.get(_TILE_WIDTH, 0), tags.get(_TILE_LENGTH, 0)
        if isinstance(across, int) and isinstance(down, int) and across * down > most_pixels:
            raise _too_costly(f"a tile of {across} × {down} pixels")
    elif form == "PPM" and pixels > _TEXT_PIXELS and _is_text(image):
        raise _too_costly(f"{pixels / 1e6:.0f} megapixels as text")


def load(image: Image.Image, content: Content) -> Image.Image:
    """An opened picture with its pixels; by another decoder where Pillow's is written in Python."""
    if image.format == "QOI" and isinstance(content, bytes):
        import qoi  # 0.05 s for a megapixel that takes Pillow 3

        found = Image.fromarray(qoi.decode(content))
        found.format = image.format
        return found
    image.load()
    return image


def _is_text(image: Image.Image) -> bool:
    return any(tile[0] == "ppm_plain" for tile in getattr(image, "tile", ()))


def _may_have_scans(data: bytes, many: int) -> bool:
    """Whether a JPEG may have more scans than so many, at a glance."""
    # by two bytes, which may stand in metadata or behind the picture, too: 0.9 ms for a megabyte
    return not _has_one_scan(data) and data.count(b"\xff\xda") > many


def _has_one_scan(data: bytes) -> bool:
    """Whether libjpeg reads the first scan of a JPEG and no other.

    So it does with one that is not progressive and whose first scan has all components.
    """
    at, components = 2, 0
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == _SCAN:
            return components > 0 and data[at + 4] == components
        if marker in _FRAMES:
            if marker not in _SEQUENTIAL or components:
                return False
            components = data[at + 9]
        elif marker == _END or marker in _STANDALONE or marker == 0xFF:
            return False  # as no encoder writes it
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return False


def _count_scans(data: bytes, enough: int) -> int:
    """How many scans the first picture of a file has; no more than one above ``enough``."""
    scans, at = 0, 2
    while scans <= enough and at + 4 <= len(data):
        if data[at] != 0xFF or data[at + 1] == 0xFF:
            at += 1  # padding, or damage
            continue
        marker = data[at + 1]
        if marker == _END:
            break
        if marker in _STANDALONE:
            at += 2
            continue
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
        if marker == _SCAN:
            scans += 1
            found = _MARKER.search(data, at)
            if found is None:
                break
            at = found.start()
    return scans


def _too_costly(what: str) -> PictureUnreadable:
    return PictureUnreadable(f"too costly to decode: {what}", "too-large")
