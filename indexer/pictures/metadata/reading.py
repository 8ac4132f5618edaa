"""All that an opened picture tells, its parts weighed against each other.

Whatever is damaged takes nothing from the other parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from PIL import Image

from parecido.indexer.pictures.metadata.exif import read_camera, read_exif
from parecido.indexer.pictures.metadata.iptc import (
    IPTC_RESOURCE,
    XMP_RESOURCE,
    list_resources,
    read_iptc,
)
from parecido.indexer.pictures.metadata.texts import read_profile, read_texts
from parecido.indexer.pictures.metadata.told import NOTHING, Told
from parecido.indexer.pictures.metadata.xmp import read_xmp
from parecido.indexer.records.details import NO_DETAILS, Details
from parecido.indexer.records.pictures import UNKNOWN, Taken

__all__ = ["Metadata", "read_metadata", "weigh"]

_TIFF_IPTC, _TIFF_RESOURCES = 33723, 34377
_MOST_BYTES = 16 << 20  # of Photoshop's resources


class Metadata(NamedTuple):
    """What a picture tells beside its pixels."""

    taken: Taken
    """When, and with which camera."""
    details: Details


def read_metadata(image: Image.Image) -> Metadata:
    """What an opened picture tells: EXIF data before XMP, IPTC and the texts of a PNG.

    Never fails.
    """
    exif = _try(image.getexif, None) if hasattr(image, "getexif") else None
    parts = [("exif", _try(lambda: read_exif(exif), NOTHING) if exif is not None else NOTHING)]
    parts += _try(lambda: list(_list_parts(image)), [])
    camera = _try(lambda: read_camera(exif), "") if exif is not None else ""
    at, details = weigh(parts)
    if at is None and details == NO_DETAILS and not camera:
        return Metadata(UNKNOWN, NO_DETAILS)
    return Metadata(Taken(at, camera), details)


def weigh(parts: Sequence[tuple[str, Told]]) -> tuple[str | None, Details]:
    """The moment, and the rest, of parts in the order of their weight, each with its name.

    When a picture was taken counts before when it became a file, and that before when a program
    wrote it, whichever part tells.
    """
    at, taken_from, is_utc = None, None, False
    for moment, name in [
        *((told.made, name) for name, told in parts),
        *((told.digitised, name) for name, told in parts),
        *((told.changed, name) for name, told in parts),
    ]:
        if moment is not None:
            (at, is_utc), taken_from = moment, name
            break
    rating = next((told.rating for _, told in parts if told.rating is not None), None)
    position = next((told.position for _, told in parts if told.position is not None), None)
    latitude, longitude = position or (None, None)
    keywords = tuple(dict.fromkeys(word for _, told in parts for word in told.keywords))
    return at, Details(taken_from, is_utc, rating, latitude, longitude, keywords)


def _list_parts(image: Image.Image) -> Iterator[tuple[str, Told]]:
    """What XMP, IPTC and texts tell, as far as there are any."""
    info: dict[Any, Any] = image.info
    resources = _list_resources(image)
    is_png = image.format == "PNG"
    packet = info.get("xmp") or info.get("XML:com.adobe.xmp") or resources.get(XMP_RESOURCE)
    if not packet and is_png:
        packet = read_profile(info, "xmp")
    if packet:
        is_text = is_png and isinstance(packet, str)
        yield "xmp", _try(lambda: read_xmp(packet if is_text else _plain(packet)), NOTHING)
    fields = resources.get(IPTC_RESOURCE)
    if is_png and not fields and (profile := read_profile(info, "iptc")):
        fields = list_resources(profile).get(IPTC_RESOURCE, profile)
    if image.format == "TIFF" and not fields:
        fields = _read_field(image, _TIFF_IPTC)
        if fields[3:4] == b"\x1c":  # long numbers that were turned about with the others
            fields = b"".join(fields[at : at + 4][::-1] for at in range(0, len(fields), 4))
    if fields:
        yield "iptc", _try(lambda: read_iptc(_plain(fields)), NOTHING)
    if is_png:
        yield "png", _try(lambda: read_texts(info), NOTHING)


def _list_resources(image: Image.Image) -> dict[int, Any]:
    """Photoshop's resources, where a format has them."""
    if image.format in ("JPEG", "MPO"):
        found = image.info.get("photoshop")
        return found if isinstance(found, dict) else {}
    if image.format == "PSD":
        return {number: data for number, _, data in getattr(image, "resources", ())}
    if image.format == "TIFF":
        data = _read_field(image, _TIFF_RESOURCES)
        return list_resources(data) if 0 < len(data) <= _MOST_BYTES else {}
    return {}


def _read_field(image: Image.Image, tag: int) -> bytes:
    """The bytes of a field of TIFF, which programs declare as bytes or as long numbers.

    Of the latter Pillow reads the first alone, so its bytes are asked for as they lie in the file.
    """
    tags: Any = getattr(image, "tag_v2", {})
    raw = getattr(tags, "_tagdata", {}).get(tag)
    return raw if isinstance(raw, bytes) else _plain(tags.get(tag, b""))


def _plain(value: Any) -> bytes:
    """Bytes of what Pillow gives for a field of TIFF, which programs declare as this or that."""
    if isinstance(value, tuple) and len(value) == 1:
        (value,) = value
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("latin-1", "replace")  # as it decodes them
    if isinstance(value, tuple) and all(isinstance(one, int) and 0 <= one < 256 for one in value):
        return bytes(value)
    return b""


def _try(read: Callable[[], Any], otherwise: Any) -> Any:
    """What a part tells; damaged metadata do not make a picture unreadable."""
    try:
        return read()
    except Exception:  # decoders raise almost anything on damaged bytes
        return otherwise
