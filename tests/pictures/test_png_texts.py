"""PNGs with metadata larger than Pillow allows, and JPEGs behind stray bytes: read all the same."""

from __future__ import annotations

import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from parecido.indexer.errors import PictureUnreadable
from parecido.indexer.pictures.decode import Limits, Rendered, render
from parecido.indexer.pictures.formats.png import drop_long_texts
from tests.pictures.test_decode import ROTATED

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def chunk(kind: bytes, data: bytes) -> bytes:
    checked = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checked


def saved(form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 30, 60)).save(file, form, **options)
    return file.getvalue()


def png(*chunks: bytes, behind: bool = False, **options: object) -> bytes:
    """A PNG with chunks before or behind its pixels."""
    plain = saved(**options)
    at = plain.index(b"IEND" if behind else b"IDAT") - 4
    return plain[:at] + b"".join(chunks) + plain[at:]


def shown(data: bytes) -> Rendered:
    return render(data, lambda width, height: (width, height), Limits())


def colour(data: bytes) -> tuple[int, ...]:
    return tuple(int(value) for value in np.asarray(shown(data).image)[15, 20])


def profile(size: int, plain: bytes = SRGB) -> bytes:
    """A profile with zeros behind it, up to a size."""
    filled = bytearray(plain + bytes(size - len(plain)))
    filled[:4] = struct.pack(">I", len(filled))
    return chunk(b"iCCP", b"printer\0\0" + zlib.compress(bytes(filled), 9))


LONG = zlib.compress(b"a harbour at dawn, " * 200_000, 9)
CHUNKS = {
    "zTXt": [chunk(b"zTXt", b"prompt\0\0" + LONG)],
    "iTXt": [chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LONG)],
    "many": [chunk(b"zTXt", b"note\0\0" + zlib.compress(b"x" * 900_000, 9))] * 90,
    "plain": [chunk(b"tEXt", b"prompt\0" + b"x" * 3_000_000)] * 30,
    "iCCP": [profile(2_000_000)],
    "huge iCCP": [profile(40_000_000)],
    "iCCP of another kind": [chunk(b"iCCP", b"printer\0\7" + LONG)],
}


@pytest.mark.parametrize("what", CHUNKS)
@pytest.mark.parametrize("behind", [False, True])
def test_long_metadata_do_not_keep_a_png_from_being_read(what: str, behind: bool) -> None:
    data = png(*CHUNKS[what], behind=behind and "iCCP" not in what)
    assert colour(data) == (200, 30, 60)
    assert shown(data).format == "PNG"


def test_a_long_profile_is_applied() -> None:
    turned = colour(saved(icc_profile=ROTATED))
    assert turned != (200, 30, 60)
    assert colour(png(profile(2_000_000, ROTATED))) == turned


def test_dates_beside_long_texts_are_kept() -> None:
    exif = Image.Exif()
    exif[0x0132], exif[0x0110] = "2024:05:01 12:30:00", "Camera"
    found = shown(png(*CHUNKS["zTXt"], exif=exif))
    assert found.metadata.taken == ("2024-05-01T12:30:00", "Camera")
    xmp = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta/>")
    kept, _ = drop_long_texts(io.BytesIO(png(xmp, *CHUNKS["zTXt"])))
    with Image.open(kept) as image:
        assert image.info["xmp"] == b"<x:xmpmeta/>"
        assert "prompt" not in image.info


def test_an_ordinary_png_is_passed_on_as_it_is() -> None:
    file = io.BytesIO(png(chunk(b"tEXt", b"a\0b"), icc_profile=SRGB))
    assert drop_long_texts(file) == (file, b"")
    assert file.tell() == 0


STRAY = {
    "a blank line": b"\r\n",
    "a mark of UTF-8": b"\xef\xbb\xbf\n\n",
    "zeros": bytes(400),
    "MacBinary": b"\0\x08IMG_0001" + bytes(118),
    "a few bytes": b"junk!",
}


@pytest.mark.parametrize("what", STRAY)
def test_a_jpeg_behind_stray_bytes_is_read(what: str) -> None:
    found = shown(STRAY[what] + saved("JPEG"))
    assert (found.width, found.height, found.format) == (40, 30, "JPEG")


@pytest.mark.parametrize(
    "head",
    [
        *(b"ID3\4\0\0\0\0\0\0APIC\0\0\0\0image/jpeg\0", b"%PDF-1.7\n", b"PK\3\4" + bytes(26)),
        *(b"\0\0\0\x18ftypM4A \0\0\0\0", b"RIFF\0\0\0\0AVI ", bytes(10_000), b"text " * 60),
    ],
)
def test_a_jpeg_inside_something_else_is_not_taken_for_it(head: bytes) -> None:
    with pytest.raises(PictureUnreadable) as caught:
        shown(head + saved("JPEG"))
    assert caught.value.kind == "not-a-picture"


def test_damage_to_metadata_ends_as_before() -> None:
    """Whatever the chunks say, there is a picture or a refusal."""
    rng, ends = random.Random(4), set()
    whole = png(*CHUNKS["iTXt"], profile(2_000_000), icc_profile=SRGB)
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(3):
            data[rng.randrange(8, 900)] = rng.randrange(256)
        try:
            shown(bytes(data))
            ends.add("shown")
        except PictureUnreadable as error:
            ends.add(error.kind)
    assert ends <= {"shown", "damaged", "too-large"}
    assert "damaged" in ends
