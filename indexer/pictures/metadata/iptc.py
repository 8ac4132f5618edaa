"""What the press's fields tell (IPTC-IIM), which Photoshop keeps among its resources."""

from __future__ import annotations

from parecido.indexer.pictures.metadata.dates import Moment, read_clock, to_moment
from parecido.indexer.pictures.metadata.told import Told, to_keywords

__all__ = ["IPTC_RESOURCE", "XMP_RESOURCE", "list_resources", "read_iptc"]

IPTC_RESOURCE, XMP_RESOURCE = 0x0404, 0x0424
_MARK = 0x1C
_CHARACTERS, _KEYWORD = (1, 90), (2, 25)
_MADE, _DIGITISED = ((2, 55), (2, 60)), ((2, 62), (2, 63))
_UTF_8 = b"\x1b%G"


def read_iptc(data: bytes) -> Told:
    """What the fields tell; of damaged ones, those before the damage."""
    fields = _list_fields(data)
    is_utf_8 = _UTF_8 in fields.get(_CHARACTERS, [])
    return Told(
        _moment(fields, *_MADE),
        _moment(fields, *_DIGITISED),
        keywords=to_keywords(_text(word, is_utf_8) for word in fields.get(_KEYWORD, [])),
    )


def list_resources(data: bytes) -> dict[int, bytes]:
    """Photoshop's resources by their numbers, as TIFF keeps them."""
    found: dict[int, bytes] = {}
    at = 0
    while data[at : at + 4] == b"8BIM":
        number = int.from_bytes(data[at + 4 : at + 6])
        at += 6 + (1 + data[at + 6] + 1) // 2 * 2 if at + 6 < len(data) else 6
        size = int.from_bytes(data[at : at + 4])
        found.setdefault(number, data[at + 4 : at + 4 + size])
        at += 4 + (size + 1) // 2 * 2
    return found


def _list_fields(data: bytes) -> dict[tuple[int, int], list[bytes]]:
    found: dict[tuple[int, int], list[bytes]] = {}
    at = 0
    while at + 5 <= len(data) and data[at] == _MARK:
        which, size = (data[at + 1], data[at + 2]), int.from_bytes(data[at + 3 : at + 5])
        at += 5
        if size & 0x8000:  # the length has a length of its own
            wide = size & 0x7FFF
            if wide > 4:
                break
            size = int.from_bytes(data[at : at + wide])
            at += wide
        value = data[at : at + size]
        if len(value) < size:
            break
        found.setdefault(which, []).append(value)
        at += size
    return found


def _moment(
    fields: dict[tuple[int, int], list[bytes]], day: tuple[int, int], clock: tuple[int, int]
) -> Moment | None:
    text = _text(next(iter(fields.get(day, ())), b"")).replace("-", "").replace(":", "")
    if len(text) != 8 or not text.isascii() or not text.isdigit():
        return None
    time = read_clock(_text(next(iter(fields.get(clock, ())), b"")))
    return to_moment(int(text[:4]), int(text[4:6]), int(text[6:]), time)


def _text(value: bytes, is_utf_8: bool = True) -> str:
    """Text in UTF-8, whether its file says so or not, or else in what is most likely."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("utf-8" if is_utf_8 else "cp1252", "replace")
