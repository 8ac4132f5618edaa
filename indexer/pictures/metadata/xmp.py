"""What a packet of XMP tells, be it in a picture or beside it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from parecido.indexer.pictures.metadata.dates import Moment, read_moment
from parecido.indexer.pictures.metadata.positions import from_xmp
from parecido.indexer.pictures.metadata.told import NOTHING, Told, read_rating, to_keywords

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["MOST_BYTES", "read_xmp"]

MOST_BYTES = 4 << 20
"""Bytes of the largest packet that is read; Lightroom's with a long history have 300,000."""

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_EXIF = "{http://ns.adobe.com/exif/1.0/}"
_XMP = "{http://ns.adobe.com/xap/1.0/}"
_ORIGINAL = (_EXIF + "DateTimeOriginal", "{http://ns.adobe.com/photoshop/1.0/}DateCreated")
_DIGITISED = (_EXIF + "DateTimeDigitized", _XMP + "CreateDate")
_RATING = _XMP + "Rating"
_SUBJECT = "{http://purl.org/dc/elements/1.1/}subject"
_LATITUDE, _LONGITUDE = _EXIF + "GPSLatitude", _EXIF + "GPSLongitude"
_WANTED = {*_ORIGINAL, *_DIGITISED, _RATING, _SUBJECT, _LATITUDE, _LONGITUDE}
_LOCAL = tuple(name.partition("}")[2] for name in sorted(_WANTED))
# An entity can grow without end, or name a file; XMP has none
_DECLARES = re.compile("<!DOCTYPE|<!ENTITY", re.IGNORECASE)
_PROLOGUE = re.compile(r"<\?xml\s[^>]*\?>")
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


def read_xmp(packet: bytes | str) -> Told:
    """What a packet tells; nothing where it is damaged, too long, or declares entities."""
    if len(packet) > MOST_BYTES:
        return NOTHING
    text = _decode(packet) if isinstance(packet, bytes) else packet
    if not any(name in text for name in _LOCAL) or _DECLARES.search(text):
        return NOTHING
    found = _list_properties(_PROLOGUE.sub("", _FORBIDDEN.sub("", text), count=1).strip("\ufeff "))
    subjects = found.get(_SUBJECT, [])
    place = from_xmp(_first(found, _LATITUDE), _first(found, _LONGITUDE))
    return Told(
        _moment(found, _ORIGINAL),
        _moment(found, _DIGITISED),
        rating=read_rating(_first(found, _RATING)),
        position=place,
        keywords=to_keywords(subjects),
    )


def _decode(packet: bytes) -> str:
    """The text of a packet, which may be in UTF-16 or UTF-32, whatever its prologue says."""
    head = packet[:4]
    if b"\0" in head.strip(b"\0") or head[:2] in (b"\xff\xfe", b"\xfe\xff") or head[:1] == b"\0":
        wide = "32" if head.count(b"\0") > 2 else "16"
        order = "be" if head[:1] == b"\0" or head[:2] == b"\xfe\xff" else "le"
        return packet.decode(f"utf-{wide}-{order}", "replace")
    return packet.decode("utf-8", "replace")


def _list_properties(text: str) -> dict[str, list[str]]:
    """The values of the wanted properties of the picture itself, by their whole names.

    What lies deeper is of other pictures, which this one was made of.
    """
    from xml.etree.ElementTree import ParseError, fromstring

    try:
        root = fromstring(text)
    except (ParseError, ValueError):
        return {}
    rdf = root if root.tag == _RDF + "RDF" else root.find(_RDF + "RDF")
    found: dict[str, list[str]] = {}
    for description in rdf if rdf is not None else ():
        for name, value in description.attrib.items():
            if name in _WANTED:
                found.setdefault(name, []).append(value)
        for element in description:
            if element.tag in _WANTED:
                found.setdefault(element.tag, []).extend(_list_values(element))
    return found


def _list_values(element: Element) -> list[str]:
    """The text of a property, or the texts of its list."""
    items = [item.text or "" for item in element.iter(_RDF + "li")]
    return items or [element.text or ""]


def _first(found: dict[str, list[str]], name: str) -> str:
    return next(iter(found.get(name, ())), "").strip()


def _moment(found: dict[str, list[str]], names: tuple[str, ...]) -> Moment | None:
    for name in names:
        if (moment := read_moment(_first(found, name))) is not None:
            return moment
    return None
