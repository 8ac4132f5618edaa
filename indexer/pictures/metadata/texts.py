"""What the texts of a PNG tell, and what other programs' metadata lie in them."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import IO, Any

from parecido.indexer.pictures.metadata.dates import Moment, read_moment
from parecido.indexer.pictures.metadata.told import Told, clean

__all__ = ["leave_out_pixels", "read_profile", "read_texts"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS = (b"IDAT", b"fdAT")
_MOST_BYTES = 32 << 20  # of a file's chunks without pixels

# PNG's own, and what ImageMagick makes of EXIF data; its "date:create" is the file's date
_MADE = ("creation time", "creationtime", "creation_time", "exif:datetimeoriginal")
_DIGITISED = ("exif:datetimedigitized", "xmp:createdate")
_LONGEST = 256  # letters of a text that may be a date
_MOST_LETTERS = 4 << 20


def read_texts(texts: Mapping[Any, Any]) -> Told:
    """What texts by their keywords tell."""
    short = {
        str(key).lower(): value
        for key, value in texts.items()
        if isinstance(value, str) and len(value) <= _LONGEST
    }
    return Told(_moment(short, _MADE), _moment(short, _DIGITISED))


def read_profile(texts: Mapping[Any, Any], name: str) -> bytes:
    """Metadata that ImageMagick wrote as hexadecimal text: ``iptc`` or ``xmp``; empty for none."""
    text = texts.get(f"Raw profile type {name}")
    if not isinstance(text, str) or len(text) > _MOST_LETTERS:
        return b""
    # an empty line, the name, the length, and the digits in lines
    lines = text.strip("\n").split("\n")
    try:
        return bytes.fromhex("".join(lines[2:]))
    except ValueError:
        return b""


def leave_out_pixels(file: IO[bytes]) -> IO[bytes]:
    """A PNG without its pixels, behind which texts may stand; any other file as it is."""
    start = file.tell()
    if file.read(len(_SIGNATURE)) != _SIGNATURE:
        file.seek(start)
        return file
    kept = io.BytesIO()
    kept.write(_SIGNATURE)
    while len(head := file.read(8)) == 8 and kept.tell() < _MOST_BYTES:
        rest = int.from_bytes(head[:4]) + 4  # and its checksum
        if head[4:] in _PIXELS:
            file.seek(rest, os.SEEK_CUR)
        else:
            kept.write(head + file.read(min(rest, _MOST_BYTES)))
    kept.seek(0)
    return kept


def _moment(texts: dict[str, str], keywords: tuple[str, ...]) -> Moment | None:
    for keyword in keywords:
        if (moment := read_moment(clean(texts.get(keyword, "")))) is not None:
            return moment
    return None
