"""Small pictures with metadata of all kinds, made byte by byte."""

from __future__ import annotations

import io
import struct
from typing import Any

from PIL import Image, PngImagePlugin

PHOTO, GPS = 0x8769, 0x8825
ORIGINAL, DIGITISED, CHANGED = 0x9003, 0x9004, 0x0132

SPACES = {
    "exif": "http://ns.adobe.com/exif/1.0/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "dc": "http://purl.org/dc/elements/1.1/",
}


def xmp(inner: str = "", **attributes: str) -> str:
    """A packet; ``exif_DateTimeOriginal="…"`` becomes an attribute, ``inner`` comes as it is."""
    spaces = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in SPACES.items())
    told = " ".join(f'{name.replace("_", ":", 1)}="{text}"' for name, text in attributes.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {spaces} {told}>{inner}</rdf:Description>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )


def iptc(*fields: tuple[int, int, bytes]) -> bytes:
    """Fields of IPTC-IIM: record, number, value."""
    return b"".join(
        struct.pack(">BBBH", 0x1C, record, number, len(value)) + value
        for record, number, value in fields
    )


def resource(data: bytes, number: int = 0x0404) -> bytes:
    """A resource of Photoshop's."""
    return b"8BIM" + struct.pack(">HHI", number, 0, len(data)) + data + b"\0" * (len(data) % 2)


def plain(form: str = "JPEG", **options: Any) -> bytes:
    """A small picture in that format."""
    stream = io.BytesIO()
    Image.effect_noise((40, 30), 60).convert("RGB").save(stream, form, **options)
    return stream.getvalue()


def jpeg_with(block: bytes) -> bytes:
    """A JPEG with these resources of Photoshop's."""
    data, whole = plain(), b"Photoshop 3.0\0" + block
    return data[:2] + b"\xff\xed" + struct.pack(">H", len(whole) + 2) + whole + data[2:]


def png_with(kind: str = "tEXt", **texts: str) -> bytes:
    """A PNG with texts; ``_`` in a keyword stands for a blank."""
    info = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        key = name.replace("_", " ")
        if kind == "iTXt":
            info.add_itxt(key, text)
        else:
            info.add_text(key, text, zip=kind == "zTXt")
    return plain("PNG", pnginfo=info)


def exif(own: dict[int, Any] | None = None, gps: dict[int, Any] | None = None, **tags: Any) -> Any:
    """EXIF data: the camera's own directory, that of the place, and tags as ``t0132=…``."""
    made = Image.Exif()
    for name, value in tags.items():
        made[int(name[1:], 16)] = value
    made.get_ifd(PHOTO).update(own or {})
    if gps:
        made.get_ifd(GPS).update(gps)
    return made
