"""JPEGs behind bytes that are not theirs: a blank line of a web server, a Macintosh's header."""

from __future__ import annotations

import re
from typing import IO

__all__ = ["find_jpeg"]

# Some of another program's output in front of a picture; a JPEG that lies further behind is a part
# of something else
_FARTHEST = 512
_BLANK = re.compile(rb"[\0\s\xff\xef\xbb\xbf]*")
_FARTHEST_BEHIND_ANYTHING = 160  # MacBinary's header has 128
# Of what begins so, a JPEG near the beginning is a part: sound, documents, archives, films, fonts
_OTHERS = (
    *(b"ID3", b"%PDF", b"PK", b"RIFF", b"fLaC", b"OggS", b"%!PS", b"\x7fELF", b"MZ", b"Rar!"),
    *(b"\xd0\xcf\x11\xe0", b"\x1f\x8b", b"7z", b"BZh", b"\xfd7zXZ", b"FWS", b"CWS", b"FLV", b"<"),
    *(b"\x1aE\xdf\xa3", b"\0\0\1\xba", b"\0\0\1\xb3", b"SQLite", b"8BPS", b"II", b"MM", b"GIF8"),
    *(b"\x89", b"BM", b"BLP", b"FUJI", b"FOVb", b"\0MRM", b"gimp", b"\xff\xfb", b"\xff\xf1", b"{"),
)
# application data, a comment, tables, a frame
_FIRST_MARKERS = tuple(
    bytes([marker]) for marker in (*range(0xE0, 0xF0), 0xFE, 0xDB, 0xC4, *range(0xC0, 0xC4), 0xDD)
)


def find_jpeg(file: IO[bytes]) -> int:
    """Where a JPEG begins behind stray bytes of a file; 0 for nowhere.

    A marker must follow that headers begin with, so that no accident of bytes is taken for one.
    """
    file.seek(0)
    head = file.read(_FARTHEST + 12)
    at = head.find(b"\xff\xd8\xff")
    if at <= 0 or at > _FARTHEST or head[at + 3 : at + 4] not in _FIRST_MARKERS:
        return 0
    stray = head[:at]
    if _BLANK.fullmatch(stray):
        return at
    is_other = stray.startswith(_OTHERS) or stray[4:8] == b"ftyp"
    return 0 if is_other or at > _FARTHEST_BEHIND_ANYTHING else at
