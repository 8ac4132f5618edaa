"""Whether a file has what the rules of decoding changed for, told by its first bytes.

So that of an older library only those pictures are decoded and encoded once more that may have
other pixels by now: PNGs without transparency are as they were, and nearly all of a phone's HEIC.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping

__all__ = ["HEAD_BYTES", "has_changed_pixels"]

HEAD_BYTES = 1 << 16
"""How much of a file is looked at."""

_WITH_ALPHA = 4  # of a PNG's colour types
_WEBP_ALPHA, _WEBP_ANIMATION = 0x10, 0x02
# What a HEIF or AVIF calls an alpha plane: ISO/IEC 23008-12, and MIAF (23000-22)
_ALPHA_PLANES = (b"urn:mpeg:hevc:2015:auxid:1\0", b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha")


def has_changed_pixels(head: bytes, form: str) -> bool:
    """Whether a picture may have other pixels since the second version of the rules.

    ``head`` are the first :data:`HEAD_BYTES` of its file, ``form`` Pillow's name of its format.
    True where that cannot be told.
    """
    tell = _TELL.get(form)
    try:
        return tell is None or tell(head)
    except (IndexError, struct.error):
        return True


def _tell_png(head: bytes) -> bool:
    if head[25] & _WITH_ALPHA:
        return True
    for kind in _list_chunks(head):
        if kind in (b"tRNS", b"acTL"):
            return True
        if kind == b"IDAT":
            return False
    return True  # its pixels begin further behind


def _list_chunks(head: bytes) -> Iterator[bytes]:
    at = 8
    while at + 8 <= len(head):
        length, kind = struct.unpack_from(">I4s", head, at)
        yield kind
        at += 12 + length


def _tell_webp(head: bytes) -> bool:
    kind = head[12:16]
    if kind == b"VP8L":
        return bool(struct.unpack_from("<I", head, 21)[0] >> 28 & 1)
    return kind != b"VP8 " and (kind != b"VP8X" or bool(head[20] & (_WEBP_ALPHA | _WEBP_ANIMATION)))


def _tell_heif(head: bytes) -> bool:
    length = struct.unpack_from(">I", head, 0)[0]
    size, kind = struct.unpack_from(">I4s", head, length)
    if kind != b"meta" or length + size > len(head) or b"avis" in head[:length]:
        return True  # what it has is told elsewhere, or it is an animation
    return any(name in head for name in _ALPHA_PLANES)


def _tell_bitmap(head: bytes) -> bool:
    return bool(struct.unpack_from("<H", head, 28)[0] > 24)


_TELL: Mapping[str, Callable[[bytes], bool]] = {
    "PNG": _tell_png,
    "WEBP": _tell_webp,
    "HEIF": _tell_heif,
    "AVIF": _tell_heif,
    "BMP": _tell_bitmap,
}
