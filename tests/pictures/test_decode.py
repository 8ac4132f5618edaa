"""Decoding: the right colours upright, at the encoder's size; and every refusal with its reason."""

from __future__ import annotations

import io
import os
import random
import socket
import struct
import sys
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pillow_heif
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile, JpegImagePlugin, PngImagePlugin

import parecido.indexer.pictures.decode
import parecido.indexer.pictures.opening
import parecido.indexer.pictures.read
from parecido.indexer.errors import PictureUnreadable
from parecido.indexer.pictures.decode import Decoded, Limits, decode, pillow_limit, render
from parecido.indexer.pictures.read import decode_file, probe
from parecido.indexer.records.encoder import EncoderSpec, SizePolicy
from tests.conftest import OWN_FIXTURES
from tests.support.fakes import fake_spec
from tests.support.waiting import PATIENCE

Pixels = npt.NDArray[np.uint8]
KINDS = {"not-a-picture", "damaged", "too-large", "empty", "vanished", "unreadable", "unsupported"}
SPEC = fake_spec(size=SizePolicy(64, 64, step=16))
QUADRANTS = ((220, 40, 40), (40, 200, 60), (50, 60, 210), (230, 210, 60))

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's special files")


# -- making pictures and looking at them -------------------------------------------------------


def quadrants(width: int = 96, height: int = 64) -> Image.Image:
    """Four colours: red, green; blue, yellow."""
    small = Image.new("RGB", (2, 2))
    small.putdata(QUADRANTS)
    return small.resize((width, height), Image.Resampling.NEAREST)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    if form == "HEIF":
        pillow_heif.register_heif_opener()
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def decoded(data: bytes, spec: EncoderSpec = SPEC) -> Decoded:
    return decode(data, spec, Limits())


def corners(pixels: Pixels) -> list[tuple[int, ...]]:
    """The colours in the middle of the four quadrants, in reading order."""
    height, width = pixels.shape[:2]
    rows, columns = (height // 4, 3 * height // 4), (width // 4, 3 * width // 4)
    return [tuple(map(int, pixels[row, column])) for row in rows for column in columns]


def centre(data: bytes) -> tuple[int, ...]:
    """The colour in the middle of a decoded picture."""
    pixels = decoded(data).pixels
    return tuple(map(int, pixels[pixels.shape[0] // 2, pixels.shape[1] // 2]))


def columns(data: bytes, count: int = 3) -> list[tuple[int, ...]]:
    """The colours in the middle of each of so many equal columns."""
    pixels = decoded(data).pixels
    width = pixels.shape[1]
    middles = [width * (2 * i + 1) // (2 * count) for i in range(count)]
    return [tuple(map(int, pixels[pixels.shape[0] // 2, column])) for column in middles]


def assert_near(colours: Any, expected: Any, tolerance: int = 3) -> None:
    """Equal within so many steps of 255."""
    np.testing.assert_allclose(
        np.asarray(colours, float), np.asarray(expected, float), rtol=0, atol=tolerance
    )


def reason(data: bytes, limits: Limits | None = None) -> PictureUnreadable:
    with pytest.raises(PictureUnreadable) as caught:
        decode(data, SPEC, limits or Limits())
    assert caught.value.reason
    assert caught.value.kind in KINDS
    return caught.value


# -- formats -----------------------------------------------------------------------------------

FORMATS = [
    ("JPEG", {"quality": 95}),
    ("JPEG", {"quality": 95, "progressive": True}),
    ("MPO", {"quality": 95, "save_all": True, "append_images": [Image.new("RGB", (96, 64))]}),
    ("PNG", {}),
    ("WEBP", {"quality": 95}),
    ("WEBP", {"lossless": True}),
    ("GIF", {}),
    ("BMP", {}),
    ("DIB", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "jpeg"}),
    ("TIFF", {"compression": "tiff_deflate", "big_tiff": True}),
    ("AVIF", {"quality": 90}),
    ("HEIF", {"quality": 95}),
    ("JPEG2000", {}),
    ("JPEG2000", {"irreversible": True, "no_jp2": True}),
    ("PPM", {}),
    ("TGA", {}),
    ("ICO", {"sizes": [(96, 64)]}),
    ("QOI", {}),
    ("PCX", {}),
    ("SGI", {}),
    ("DDS", {}),
]


@pytest.mark.parametrize(("form", "options"), FORMATS)
def test_each_format_decodes_to_the_colours_it_was_made_of(
    form: str, options: dict[str, Any]
) -> None:
    picture = decoded(saved(quadrants(), form, **options))
    assert_near(corners(picture.pixels), QUADRANTS, 6)
    assert (picture.width, picture.height) == (96, 64)
    assert picture.format == {"MPO": "JPEG"}.get(form, form)
    assert picture.pixels.dtype == np.uint8


def test_a_file_decodes_as_its_bytes_do(tmp_path: Path) -> None:
    data = saved(quadrants(), "PNG")
    (tmp_path / "a.png").write_bytes(data)
    from_file, from_bytes = decode_file(tmp_path / "a.png", SPEC, Limits()), decoded(data)
    np.testing.assert_array_equal(from_file.pixels, from_bytes.pixels)
    assert probe(tmp_path / "a.png", Limits()) == data


@pytest.mark.parametrize("name", ["a.txt", "a.png", "a", "a.heic"])
def test_the_content_decides_and_not_the_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(saved(quadrants(), "JPEG"))
    assert decode_file(tmp_path / name, SPEC, Limits()).format == "JPEG"


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF", "AVIF", "HEIF", "MPO"])
def test_the_first_frame_of_several_is_the_picture(form: str) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue", "lime")]
    data = saved(frames[0], form, save_all=True, append_images=frames[1:], duration=40)
    assert_near(centre(data), (255, 0, 0), 4)


# -- colours -----------------------------------------------------------------------------------


def steps(values: list[float], dtype: str) -> npt.NDArray[Any]:
    """A picture in columns of 16 pixels."""
    return np.tile(np.repeat(np.array(values, dtype), 16), (40, 1))


def grey(*values: int) -> list[tuple[int, int, int]]:
    return [(value, value, value) for value in values]


def palette_image() -> Image.Image:
    image = Image.new("P", (40, 40), 1)
    image.putpalette([0, 0, 0, 10, 200, 30, 255, 0, 0])
    return image


@pytest.mark.parametrize(("form", "options"), [("JPEG", {"quality": 95}), ("TIFF", {})])
def test_cmyk_is_shown_as_the_inks_on_paper(form: str, options: dict[str, Any]) -> None:
    inks = {(0, 255, 255, 0): (255, 0, 0), (255, 0, 0, 0): (0, 255, 255), (0, 0, 0, 255): (0, 0, 0)}
    shown = {ink: centre(saved(Image.new("CMYK", (40, 40), ink), form, **options)) for ink in inks}
    assert_near(list(shown.values()), list(inks.values()))


@pytest.mark.parametrize("form", ["PNG", "TIFF", "JPEG2000", "PPM"])
def test_sixteen_bits_of_grey_are_shown_by_their_upper_eight(form: str) -> None:
    image = Image.fromarray(steps([0, 32768, 65535], "uint16"))
    assert_near(columns(saved(image, form)), grey(0, 128, 255), 1)


def test_sixteen_bits_in_the_other_byte_order_are_shown_alike() -> None:
    values = steps([0, 32768, 65535], ">u2")
    image = Image.frombytes("I;16B", (48, 40), values.tobytes())
    assert_near(columns(saved(image, "TIFF")), grey(0, 128, 255), 1)


@pytest.mark.parametrize(
    ("values", "dtype", "shown"),
    [
        ([0, 128, 255], "int32", (0, 128, 255)),
        ([0, 100, 200], "int32", (0, 100, 200)),
        ([0, 128 * 257, 65535], "int32", (0, 128, 255)),
        ([0, 500_000, 1_000_000], "int32", (0, 127, 255)),
        ([-1000, 0, 1000], "int32", (0, 127, 255)),
        ([0, 0.5, 1], "float32", (0, 127, 255)),
        ([0, 0.2, 0.4], "float32", (0, 51, 102)),
        ([0, 127.5, 255], "float32", (0, 127, 255)),
        ([0, 128 * 257, 65535], "float32", (0, 128, 255)),
        ([-2, 0, 2], "float32", (0, 127, 255)),
        ([7, 7, 7], "int32", (7, 7, 7)),
        ([-7, -7, -7], "float32", (0, 0, 0)),
    ],
)
def test_integers_and_floats_are_shown_by_the_range_they_fit(
    values: list[float], dtype: str, shown: tuple[int, int, int]
) -> None:
    image = Image.fromarray(steps(values, dtype))
    assert image.mode in ("I", "F")
    assert_near(columns(saved(image, "TIFF")), grey(*shown), 2)


@pytest.mark.parametrize("hole", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [0, 3])
def test_values_that_are_no_numbers_do_not_decide_the_range(hole: float, place: int) -> None:
    values = [0, 128 * 257, 65535]
    values[place:place] = [hole]
    shown = columns(saved(Image.fromarray(steps(values, "float32")), "TIFF"), 4)
    assert shown[place] in grey(0, 255)
    del shown[place]
    assert_near(shown, grey(0, 128, 255), 2)


def test_a_picture_of_nothing_but_nan_is_black() -> None:
    assert centre(saved(Image.fromarray(steps([float("nan")], "float32")), "TIFF")) == (0, 0, 0)


@pytest.mark.parametrize("form", ["PNG", "GIF", "BMP", "TIFF", "TGA", "PCX"])
def test_a_palette_is_looked_up(form: str) -> None:
    assert centre(saved(palette_image(), form)) == (10, 200, 30)


@pytest.mark.parametrize(
    ("form", "transparency", "shown"),
    [
        ("PNG", 1, (255, 255, 255)),
        ("GIF", 1, (255, 255, 255)),
        ("PNG", 0, (10, 200, 30)),
        ("GIF", 0, (10, 200, 30)),
        ("PNG", b"\xff\x80\xff", (132, 227, 142)),
    ],
)
def test_a_transparent_palette_entry_is_shown_over_white(
    form: str, transparency: int | bytes, shown: tuple[int, int, int]
) -> None:
    assert_near(centre(saved(palette_image(), form, transparency=transparency)), shown, 1)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "TGA", "JPEG2000"])
def test_grey_with_alpha_is_shown_over_white(form: str) -> None:
    assert_near(centre(saved(Image.new("LA", (40, 40), (100, 128)), form)), (177, 177, 177), 1)


@pytest.mark.parametrize(
    "form", ["PNG", "TIFF", "WEBP", "TGA", "ICO", "AVIF", "HEIF", "JPEG2000", "QOI", "DDS", "SGI"]
)
def test_colour_with_alpha_is_shown_over_white(form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    half, none = (Image.new("RGBA", (40, 40), colour) for colour in ("#ff000080", "#00000000"))
    assert_near(centre(saved(half, form, **options)), (255, 127, 127), 3)
    assert_near(centre(saved(none, form, **options)), (255, 255, 255), 1)


def test_the_hidden_colour_of_transparent_pixels_does_not_bleed_into_their_neighbours() -> None:
    # red and transparent green, one pixel each: over white that is half red, with no green in it
    checker = np.zeros((512, 512, 4), np.uint8)
    checker[:, ::2] = (255, 0, 0, 255)
    checker[:, 1::2] = (0, 255, 0, 0)
    assert_near(centre(saved(Image.fromarray(checker), "PNG")), (255, 127, 127), 3)


@pytest.mark.parametrize(
    ("mode", "colour", "transparency", "shown"),
    [
        ("RGB", (10, 20, 30), (10, 20, 30), (255, 255, 255)),
        ("RGB", (10, 20, 30), (10, 20, 31), (10, 20, 30)),
        ("L", 7, 7, (255, 255, 255)),
        ("L", 7, 8, (7, 7, 7)),
        ("1", 0, 0, (255, 255, 255)),
    ],
)
def test_one_transparent_colour_of_a_png_is_shown_over_white(
    mode: str, colour: Any, transparency: Any, shown: tuple[int, int, int]
) -> None:
    image = Image.new(mode, (40, 40), colour)
    assert centre(saved(image, "PNG", transparency=transparency)) == shown


@pytest.mark.parametrize(
    ("form", "options"),
    [
        *(("PNG", {}), ("BMP", {}), ("PPM", {}), ("PCX", {}), ("TIFF", {})),
        *(("TIFF", {"compression": "group4"}), ("GIF", {})),
    ],
)
def test_one_bit_is_black_or_white(form: str, options: dict[str, Any]) -> None:
    image = Image.fromarray(steps([0, 255, 0], "uint8")).convert("1")
    assert_near(columns(saved(image, form, **options)), grey(0, 255, 0), 1)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF", "JPEG2000"])
def test_grey_is_grey(form: str) -> None:
    image = Image.fromarray(steps([20, 128, 240], "uint8"))
    assert_near(columns(saved(image, form)), grey(20, 128, 240), 6)


def test_lab_is_shown_in_srgb() -> None:
    # Lab of sRGB's red under D50: L 54.3, a 80.8, b 69.9
    red = Image.new("LAB", (40, 40), (138, 128 + 81, 128 + 70))
    assert_near(centre(saved(red, "TIFF")), (255, 0, 0), 6)


def test_ycbcr_is_shown_in_rgb() -> None:
    assert_near(centre(saved(Image.new("YCbCr", (40, 40), (76, 85, 255)), "TIFF")), (254, 0, 0))


# -- colour profiles ---------------------------------------------------------------------------

SRGB_XYZ = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))


def profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile, version 2.1, by the book (ICC.1:2001-04, clauses 6.1 to 6.5)."""
    fixed = {
        b"desc": b"desc" + struct.pack(">II", 0, 5) + b"made\0" + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
    }
    table, data, start = b"", b"", 128 + 4 + 12 * (len(tags) + len(fixed))
    for name, value in {**fixed, **tags}.items():
        table += name + struct.pack(">II", start + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    header = struct.pack(">II4s4s4s", 0, 0x02100000, b"mntr", space, b"XYZ ")
    header += struct.pack(">6H4s", 2020, 1, 1, 0, 0, 0, b"acsp") + bytes(28)
    header += xyz(0.9642, 1.0, 0.8249)[8:] + bytes(48)
    count = struct.pack(">I", len(tags) + len(fixed))
    return struct.pack(">I", start + len(data)) + header + count + table + data


def xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in values))


def gamma(exponent: float) -> bytes:
    return b"curv" + struct.pack(">IIH", 0, 1, round(exponent * 256)) + bytes(2)


def rgb_profile(red: Any, green: Any, blue: Any) -> bytes:
    tags = {b"rXYZ": xyz(*red), b"gXYZ": xyz(*green), b"bXYZ": xyz(*blue)}
    return profile(b"RGB ", {**tags, **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), gamma(2.2))})


# its red is sRGB's green, its green is blue, its blue is red
ROTATED = rgb_profile(SRGB_XYZ[1], SRGB_XYZ[2], SRGB_XYZ[0])
LINEAR_GREY = profile(b"GRAY", {b"kTRC": gamma(1.0)})
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize(
    ("form", "options"),
    [
        *(("JPEG", {"quality": 95}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})),
        *(("AVIF", {"quality": 95}), ("HEIF", {"quality": 95})),
    ],
)
def test_an_embedded_profile_is_converted_to_srgb(form: str, options: dict[str, Any]) -> None:
    image = Image.fromarray(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8))
    image = image.resize((96, 64), Image.Resampling.NEAREST)
    data = saved(image, form, icc_profile=ROTATED, **options)
    assert_near(columns(data), [(0, 255, 0), (0, 0, 255), (255, 0, 0)], 12)


def test_the_colours_of_a_palette_are_converted_too() -> None:
    image = Image.new("P", (40, 40), 0)
    image.putpalette([255, 0, 0])
    assert_near(centre(saved(image, "PNG", icc_profile=ROTATED)), (0, 255, 0))


def test_a_profile_is_converted_before_the_picture_is_laid_over_white() -> None:
    half = Image.new("RGBA", (40, 40), (255, 0, 0, 128))
    assert_near(centre(saved(half, "PNG", icc_profile=ROTATED)), (127, 255, 127))


def test_a_profile_of_grey_is_converted() -> None:
    # linear light 0.5 is 188 in sRGB (IEC 61966-2-1)
    image = Image.fromarray(steps([0, 128, 255], "uint8"))
    assert_near(columns(saved(image, "PNG", icc_profile=LINEAR_GREY)), grey(0, 188, 255), 2)


def test_an_srgb_profile_changes_nothing() -> None:
    plain, tagged = saved(quadrants(), "PNG"), saved(quadrants(), "PNG", icc_profile=SRGB)
    assert plain != tagged
    np.testing.assert_array_equal(decoded(plain).pixels, decoded(tagged).pixels)


@pytest.mark.parametrize(
    "damaged",
    [
        *(b"nonsense", b"\0" * 200, ROTATED[:150], ROTATED[:-60]),
        *(ROTATED[:36] + b"xxxx" + ROTATED[40:], LINEAR_GREY),
    ],
    ids=["nonsense", "zeros", "header", "cut", "signature", "another space"],
)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_damaged_profile_is_passed_over(form: str, damaged: bytes) -> None:
    picture = decoded(saved(quadrants(), form, icc_profile=damaged))
    assert_near(corners(picture.pixels), QUADRANTS, 12)


# -- orientation -------------------------------------------------------------------------------

# EXIF 2.3, tag 274: where the picture's top and left went; a stored picture from an upright one
STORED: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda upright: upright,  # first row: top, first column: left
    2: lambda upright: upright[:, ::-1],  # top, right
    3: lambda upright: upright[::-1, ::-1],  # bottom, right
    4: lambda upright: upright[::-1],  # bottom, left
    5: lambda upright: upright.swapaxes(0, 1),  # left, top
    6: lambda upright: upright[:, ::-1].swapaxes(0, 1),  # right, top
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: lambda upright: upright[::-1].swapaxes(0, 1),  # left, bottom
}


def turned(upright: Image.Image, orientation: int, form: str, **options: Any) -> bytes:
    """A picture stored turned, with the orientation that says so."""
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](np.asarray(upright))))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(stored, form, exif=exif.tobytes(), **options)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(
    ("form", "options", "tolerance"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}, 6),
        ("MPO", {"quality": 95, "subsampling": 0}, 6),
        ("PNG", {}, 1),
        ("WEBP", {"lossless": True}, 1),
        ("TIFF", {}, 1),
        ("TIFF", {"compression": "tiff_lzw"}, 1),
        ("AVIF", {"quality": 100, "subsampling": "4:4:4"}, 6),
        ("HEIF", {"quality": 100, "chroma": 444}, 6),
    ],
)
def test_all_orientations_decode_to_the_same_upright_pixels(
    form: str, options: dict[str, Any], tolerance: int, orientation: int
) -> None:
    plain = decoded(turned(quadrants(), 1, form, **options))
    picture = decoded(turned(quadrants(), orientation, form, **options))
    assert_near(corners(picture.pixels), QUADRANTS, 8)
    assert_near(picture.pixels, plain.pixels, tolerance)
    assert (picture.width, picture.height) == (96, 64)


@pytest.mark.parametrize("orientation", STORED)
def test_large_jpegs_that_are_scaled_while_decoded_are_turned_too(orientation: int) -> None:
    picture = decoded(turned(quadrants(1440, 960), orientation, "JPEG"))
    assert_near(corners(picture.pixels), QUADRANTS, 8)
    assert (picture.width, picture.height) == (1440, 960)
    assert picture.pixels.shape[:2] == (48, 80)


@pytest.mark.parametrize("orientation", [0, 9, 255, 65535])
def test_an_orientation_that_is_none_is_passed_over(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = decoded(saved(quadrants(), "JPEG", exif=exif.tobytes()))
    assert_near(corners(picture.pixels), QUADRANTS, 8)


def test_an_orientation_told_by_xmp_alone_counts() -> None:
    stored = Image.fromarray(np.ascontiguousarray(STORED[6](np.asarray(quadrants()))))
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><d tiff:Orientation="6"/></x:xmpmeta>'
    picture = decoded(saved(stored, "WEBP", lossless=True, xmp=xmp))
    assert_near(corners(picture.pixels), QUADRANTS, 1)
    assert (picture.width, picture.height) == (96, 64)


def exif_block(*entries: tuple[int, int, int, int]) -> bytes:
    """EXIF by hand: entries of tag, type, count and value or offset."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + bytes(64)


@pytest.mark.parametrize(
    "entry",
    [
        (0x010F, 5, 1, 40),  # the maker's name as a fraction
        (0x011A, 2, 1, 65),  # the resolution as text
        (0x0128, 7, 1, 0),  # its unit as raw bytes
        (0x8769, 4, 1, 1 << 30),  # a table far outside
    ],
)
def test_another_damaged_tag_does_not_keep_a_picture_from_being_turned(
    entry: tuple[int, int, int, int],
) -> None:
    stored = Image.fromarray(np.ascontiguousarray(STORED[6](np.asarray(quadrants()))))
    data = saved(stored, "JPEG", quality=95, exif=exif_block((0x0112, 3, 1, 6), entry))
    picture = decoded(data)
    assert_near(corners(picture.pixels), QUADRANTS, 8)
    assert (picture.width, picture.height) == (96, 64)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0garbage", exif_block((1, 2, 3, 4))[:20]])
def test_damaged_exif_does_not_make_a_picture_unreadable(exif: bytes) -> None:
    picture = decoded(saved(quadrants(), "JPEG", quality=95, exif=exif))
    assert_near(corners(picture.pixels), QUADRANTS, 8)


# -- size --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 900), (900, 1), (64, 64), (65, 63), (640, 480), (480, 640), (333, 2000)]
)
@pytest.mark.parametrize("keep_aspect", [True, False])
def test_the_shape_is_the_size_policys_target(size: tuple[int, int], keep_aspect: bool) -> None:
    policy = SizePolicy(64, 48, step=16, keep_aspect=keep_aspect)
    picture = decoded(saved(Image.new("RGB", size), "PNG"), fake_spec(size=policy))
    width, height = policy.target(*size)
    assert picture.pixels.shape == (height, width, 3)
    assert (picture.width, picture.height) == size


def test_a_target_of_ones_own_is_met_exactly() -> None:
    seen = []

    def target(width: int, height: int) -> tuple[int, int]:
        seen.append((width, height))
        return 17, 5

    image, *size, form, _taken, _note = render(turned(quadrants(), 6, "JPEG"), target, Limits())
    assert (image.mode, image.size, size, form) == ("RGB", (17, 5), [96, 64], "JPEG")
    assert set(seen) == {(96, 64)}


SIDES = st.integers(1, 100_000)
SQUARES = st.sampled_from([(224, 32), (240, 32), (260, 32), (299, 32), (331, 32)])


def policy_of(square: tuple[int, int]) -> SizePolicy:
    return SizePolicy(square[0], square[0], step=square[1])


def on_a_tie(width: int, height: int, policy: SizePolicy) -> bool:
    """Whether a side lies halfway between two, where the last bit of a float decides."""
    sides = [policy.height * (width / height) ** exponent for exponent in (0.5, -0.5)]
    distances = [(side - policy.height) / policy.step % 1 for side in sides]
    return any(abs(distance - 0.5) < 1e-9 for distance in distances)


@given(SIDES, SIDES, st.integers(32, 700), st.integers(32, 700), st.sampled_from([8, 16, 32]))
def test_sides_are_whole_steps_away_from_the_native_ones(
    width: int, height: int, native_width: int, native_height: int, step: int
) -> None:
    policy = SizePolicy(native_height, native_width, step=step)
    target_width, target_height = policy.target(width, height)
    assert (target_width - native_width) % step == 0
    assert (target_height - native_height) % step == 0
    assert min(target_width, target_height) >= step


@given(SIDES, SIDES, SQUARES)
def test_the_area_stays_near_the_native_one(
    width: int, height: int, square: tuple[int, int]
) -> None:
    policy = policy_of(square)
    target_width, target_height = policy.target(width, height)
    # half a step on each side: at 3 to 1, of 129 and of 388 pixels for the smallest network
    assert 0.84 < target_width * target_height / square[0] ** 2 < 1.18


@given(SIDES, SIDES, SQUARES)
def test_the_shape_follows_the_pictures_up_to_three_to_one(
    width: int, height: int, square: tuple[int, int]
) -> None:
    policy = policy_of(square)
    target_width, target_height = policy.target(width, height)
    aspect = min(max(width / height, 1 / 3), 3)
    assert abs(target_width - square[0] * aspect**0.5) <= policy.step / 2 + 1e-6
    assert abs(target_height - square[0] / aspect**0.5) <= policy.step / 2 + 1e-6


@given(SIDES, SIDES, SQUARES)
@example(3, 1, (224, 32))
@example(2, 3, (224, 32))
def test_a_picture_on_its_side_gets_the_shape_on_its_side(
    width: int, height: int, square: tuple[int, int]
) -> None:
    policy = policy_of(square)
    assume(not on_a_tie(width, height, policy))
    assert policy.target(height, width) == policy.target(width, height)[::-1]


@given(SIDES, SQUARES)
def test_a_square_gets_exactly_the_native_size(side: int, square: tuple[int, int]) -> None:
    assert policy_of(square).target(side, side) == (square[0], square[0])


@given(SIDES, SIDES, st.integers(1, 1000), st.integers(1, 1000))
def test_without_the_aspect_every_picture_gets_the_native_size(
    width: int, height: int, native_width: int, native_height: int
) -> None:
    policy = SizePolicy(native_height, native_width, keep_aspect=False)
    assert policy.target(width, height) == (native_width, native_height)


def test_all_aspect_ratios_together_give_few_shapes() -> None:
    policy = SizePolicy(224, 224)
    shapes = {policy.target(1000, height) for height in range(1, 1001)}
    shapes |= {policy.target(width, 1000) for width in range(1, 1001)}
    assert (224, 224) in shapes
    assert (384, 128) in shapes
    assert len(shapes) <= 20  # each costs a compilation


# -- shortcuts that must not show ----------------------------------------------------------------


def texture(width: int, height: int) -> Image.Image:
    """Soft blobs of every colour."""
    noise = np.random.default_rng(5).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_scaling_while_decoding_gives_nearly_the_same_pixels(
    monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    data = saved(texture(1601, 1203).convert(mode), "JPEG", quality=95)
    sizes = []
    draft = JpegImagePlugin.JpegImageFile.draft

    def noted(image: Any, *arguments: Any) -> Any:
        result = draft(image, *arguments)
        sizes.append(image.size)
        return result

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "draft", noted)
    quick = decoded(data)
    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "draft", lambda *_: None)
    slow = decoded(data)
    assert sizes == [(201, 151)]  # an eighth
    assert (quick.width, quick.height) == (slow.width, slow.height) == (1601, 1203)
    difference = np.abs(quick.pixels.astype(int) - slow.pixels)
    assert difference.mean() < 1.5
    assert difference.max() < 12


def test_a_draft_never_falls_below_the_wanted_size() -> None:
    data = saved(texture(1601, 103), "JPEG", quality=95)  # squeezed to three to one
    picture = decoded(data)
    expected = texture(1601, 103).resize(picture.pixels.shape[1::-1], Image.Resampling.BICUBIC)
    assert np.abs(picture.pixels.astype(int) - np.asarray(expected)).mean() < 2


@pytest.mark.parametrize("mode", ["P", "P over white", "1", "LA", "RGBA", "I;16", "YCbCr"])
def test_a_large_picture_converted_in_bands_looks_as_if_converted_whole(
    monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    size = (3001, 2501)  # neither the bands nor the reduction divide it
    options: dict[str, Any] = {}
    if mode.startswith("P"):
        small = texture(300, 250).quantize(32, dither=Image.Dither.NONE)
        image = small.resize(size, Image.Resampling.NEAREST)
        if mode == "P over white":
            options["transparency"] = 3
            image.info["transparency"] = 3
        whole = image.convert("RGBA" if options else "RGB")
    elif mode == "I;16":
        whole = texture(*size).convert("L")
        image = Image.fromarray(np.asarray(whole).astype(np.uint16) * 257)
    elif mode == "RGBA":
        image = texture(*size)
        image.putalpha(texture(*size).getchannel("R").point(lambda value: 255 - value))
        white = Image.new("RGBA", size, "white")
        whole = Image.alpha_composite(white, image).convert("RGB")
    else:
        image = texture(*size).convert(mode)
        whole = image.convert({"1": "L", "LA": "RGBA", "YCbCr": "RGB"}[mode])
    crops: list[Any] = []
    crop = Image.Image.crop
    monkeypatch.setattr(
        Image.Image, "crop", lambda im, box=None: crops.append(box) or crop(im, box)
    )
    form = "TIFF" if mode in ("YCbCr", "I;16") else "PNG"
    in_bands = decoded(saved(image, form, compress_level=1, **options)).pixels
    assert len([box for box in crops if box]) > 1
    at_once = decoded(saved(whole, "PNG", compress_level=1)).pixels
    assert_near(in_bands, at_once, 2)  # alpha is rounded once more


def test_pictures_above_32_megapixels_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(Image.new("1", (6000, 5400)), "PNG")
    came, entered, lock = threading.Event(), threading.Event(), threading.Lock()

    class Turn:
        def __enter__(self) -> None:
            came.set()
            lock.acquire()

        def __exit__(self, *_: object) -> None:
            lock.release()

    load = ImageFile.ImageFile.load

    def telling(image: ImageFile.ImageFile) -> Any:
        if image.width == 6000:
            entered.set()
        return load(image)

    monkeypatch.setattr(parecido.indexer.pictures.decode, "_large", Turn())
    monkeypatch.setattr(ImageFile.ImageFile, "load", telling)
    thread = threading.Thread(target=decoded, args=[data])
    with lock:
        thread.start()
        small = decoded(saved(quadrants(), "PNG"))  # is not held up
        assert came.wait(PATIENCE)
        assert not entered.is_set()
    thread.join(PATIENCE)
    assert entered.is_set()
    assert not lock.locked()
    assert small.width == 96


# -- limits ------------------------------------------------------------------------------------


def test_more_pixels_than_the_limit_are_refused_and_as_many_are_not() -> None:
    data = saved(Image.new("RGB", (100, 80)), "PNG")
    assert decode(data, SPEC, Limits(pixels=8000)).width == 100
    refused = reason(data, Limits(pixels=7999))
    assert refused.kind == "too-large"
    assert "100 × 80" in refused.reason


def test_more_bytes_than_the_limit_are_refused_and_as_many_are_not(tmp_path: Path) -> None:
    data = saved(quadrants(), "BMP")
    path = tmp_path / "a.bmp"
    path.write_bytes(data)
    assert decode(data, SPEC, Limits(bytes=len(data))).width == 96
    assert probe(path, Limits(bytes=len(data))) == data
    assert reason(data, Limits(bytes=len(data) - 1)).kind == "too-large"
    with pytest.raises(PictureUnreadable, match="too large: 0 MB") as caught:
        probe(path, Limits(bytes=len(data) - 1))
    assert caught.value.kind == "too-large"


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_claiming(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100_000)))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def bmp_claiming(width: int, height: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + info + bytes(1000)


BOMBS = {
    "PNG": png_claiming(100_000, 100_000),
    "PNG just above": png_claiming(20_000, 10_001),
    "BMP": bmp_claiming(100_000, 100_000),
    "GIF": b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\0\0\0,\0\0\0\0" + bytes(100),
    "PPM": b"P6 100000 100000 255\n" + bytes(1000),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_by_its_header_and_never_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bomb: str
) -> None:
    (tmp_path / "bomb").write_bytes(BOMBS[bomb])
    forbid(monkeypatch, ImageFile.ImageFile, "load")
    with pytest.raises(PictureUnreadable, match="too large") as caught:
        decode_file(tmp_path / "bomb", SPEC, Limits())
    assert caught.value.kind == "too-large"


def forbid(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    def forbidden(*arguments: object, **options: object) -> None:
        pytest.fail(f"{name} was called")

    monkeypatch.setattr(owner, name, forbidden)


@pytest.mark.parametrize("inside", ["PNG", "DIB"])
def test_a_large_picture_inside_an_icon_is_refused_before_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch, inside: str
) -> None:
    large = saved(Image.new("RGB", (600, 500)), inside)
    if inside == "DIB":  # an icon's bitmap counts its mask's rows too
        large = large[:8] + struct.pack("<i", 1000) + large[12:]
    # the icon's own table says 256 × 256
    icon = struct.pack("<HHH8BII", 0, 1, 1, 0, 0, 0, 0, 1, 0, 32, 0, len(large), 22) + large
    forbid(monkeypatch, ImageFile.ImageFile, "load")
    assert reason(icon, Limits(pixels=100_000)).kind == "too-large"


def test_pillows_own_guard_is_raised_for_a_run_and_put_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pillow_limit(Limits(pixels=5000)):
        assert Image.MAX_IMAGE_PIXELS == 5000
        with pillow_limit(Limits(pixels=10)):  # never lowered: others may run beside
            assert Image.MAX_IMAGE_PIXELS == 5000
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_pillows_guard_stays_off_where_a_program_put_it_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pillow_limit(Limits()):
        assert Image.MAX_IMAGE_PIXELS is None


# -- files that cannot be read -----------------------------------------------------------------


def refusal(path: Path) -> tuple[str, str]:
    """The kind and the reason, and that asking does not hang."""
    outcome: list[PictureUnreadable] = []

    def ask() -> None:
        with pytest.raises(PictureUnreadable) as caught:
            decode_file(path, SPEC, Limits())
        outcome.append(caught.value)

    thread = threading.Thread(target=ask, daemon=True)  # not joined for ever, should it hang
    thread.start()
    thread.join(PATIENCE)
    assert outcome, "decode_file hangs"
    return outcome[0].kind, outcome[0].reason


def test_an_empty_file_is_told_as_empty(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    assert refusal(tmp_path / "a.jpg") == ("empty", "the file is empty (zero bytes)")
    assert reason(b"").kind == "empty"


def test_a_vanished_file_is_told_as_vanished(tmp_path: Path) -> None:
    assert refusal(tmp_path / "a.jpg") == ("vanished", "the file is not there any more")


def test_a_folder_is_refused_and_leaves_no_file_open(tmp_path: Path) -> None:
    before = len(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else 0
    assert refusal(tmp_path)[0] == "unreadable"
    assert "directory" in refusal(tmp_path)[1]
    assert before == (len(os.listdir("/dev/fd")) if before else 0)


@linux
def test_a_named_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert refusal(tmp_path / "pipe.jpg") == ("not-a-picture", "not a regular file")


@linux
def test_devices_and_sockets_are_refused(tmp_path: Path) -> None:
    assert refusal(Path("/dev/zero")) == ("not-a-picture", "not a regular file")
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{short}/s")
        assert refusal(Path(f"{short}/s"))[0] == "unreadable"


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")]
)
def test_what_the_system_says_of_a_file_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(saved(quadrants(), "PNG"))

    def failing(*arguments: object) -> int:
        raise error

    monkeypatch.setattr(parecido.indexer.pictures.read, "_without_waiting", failing)
    kind, why = refusal(path)
    assert kind == "unreadable"
    assert error.strerror in why


def a_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "text " * 100)
    return file.getvalue()


def film(brand: bytes) -> bytes:
    box = brand + b"\0\0\2\0" + brand + b"mp41"
    return struct.pack(">I", len(box) + 8) + b"ftyp" + box + b"\0\0\0\x08mdat" + bytes(500)


NOT_PICTURES = {
    "text": b"Shopping list: bread, butter, tea.\n" * 20,
    "one byte": b"x",
    "html": b"<!DOCTYPE html><html><body><img src='a.jpg'></body></html>",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg' width='10' height='10'/>",
    "pdf": b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\n" * 5,
    "zip": a_zip(),
    "program": b"\x7fELF\2\1\1" + bytes(300),
    "mp3": b"ID3\4\0\0\0\0\0\0" + bytes(300),
    "mp4": film(b"isom"),
    "mov": film(b"qt  "),
    "3gp": film(b"3gp5"),
    "zeros": bytes(2000),
    "wav": b"RIFF\x24\0\0\0WAVEfmt " + bytes(300),
    "xmp": b"<?xpacket begin=''?><x:xmpmeta xmlns:x='adobe:ns:meta/'/>",
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n",
}


@pytest.mark.parametrize("what", NOT_PICTURES)
def test_what_is_no_picture_is_told_as_such(what: str) -> None:
    assert reason(NOT_PICTURES[what]).kind == "not-a-picture"


class CountedFile(io.FileIO):
    """A file that counts the bytes which are read of it."""

    came = 0

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer)
        self.came += count
        return count

    def readall(self) -> bytes:
        pytest.fail("the whole file is read")


def test_only_the_header_is_read_of_a_file_that_is_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "film.mp4"
    with path.open("wb") as file:
        file.write(film(b"isom"))
        file.truncate(10 << 30)  # 10 GB with nothing in them
    opened: list[CountedFile] = []

    def counted(path: str, mode: str, opener: Any) -> io.BufferedReader:
        opened.append(CountedFile(path, mode, opener=opener))
        return io.BufferedReader(opened[-1])

    monkeypatch.setattr(parecido.indexer.pictures.read, "open", counted, raising=False)
    with pytest.raises(PictureUnreadable, match="not a picture"):
        probe(path, Limits(bytes=1 << 40))
    (file_read,) = opened
    assert 0 < file_read.came < 1 << 20


def test_postscript_is_refused_and_no_program_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.init()  # another part of the process has loaded every plug-in of Pillow's
    assert "EPS" in Image.OPEN
    for name in ("system", "posix_spawn", "fork", "execv"):
        if hasattr(os, name):
            forbid(monkeypatch, os, name)
    forbid(monkeypatch, __import__("subprocess"), "Popen")
    (tmp_path / "a.jpg").write_bytes(NOT_PICTURES["eps"])
    assert refusal(tmp_path / "a.jpg")[0] == "not-a-picture"


@pytest.mark.parametrize(
    ("form", "options"),
    [("WEBP", {"quality": 95}), ("JPEG2000", {}), ("AVIF", {}), ("HEIF", {})],
)
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_what_cannot_be_shown_of_a_file_cut_short_is_told_as_damaged(
    form: str, options: dict[str, Any], part: float
) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    whole = saved(Image.fromarray(noise), form, **options)
    assert decoded(whole).width == 200
    assert reason(whole[: int(len(whole) * part)]).kind == "damaged"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF"])
def test_a_file_that_ends_in_its_header_is_told_as_damaged(form: str) -> None:
    assert reason(saved(quadrants(), form)[:16]).kind == "damaged"


# -- decoders that fail ------------------------------------------------------------------------


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> bytes:
    """A PNG whose decoder raises this."""

    def load(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", load)
    return saved(quadrants(), "PNG")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (TypeError("an integer is required"), "damaged: an integer is required"),
        (ValueError(), "damaged: it cannot be decoded"),
        (SystemError("  \n"), "damaged: it cannot be decoded"),
        (SyntaxError("broken PNG file (chunk b'+@')"), "damaged: broken PNG file"),
        (OSError("broken <_io.BytesIO object at 0x7f>"), "damaged: broken"),
        (OSError("first\nsecond"), "damaged: first"),
        (RuntimeError("x" * 5000), "damaged: " + "x" * 160),
    ],
)
def test_whatever_a_decoder_raises_is_one_line_about_the_file(
    monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    refused = reason(fail_with(monkeypatch, error))
    assert (refused.kind, refused.reason) == ("damaged", told)
    assert refused.__cause__ is error


def test_a_picture_that_does_not_fit_in_memory_is_told_as_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert reason(fail_with(monkeypatch, MemoryError())).kind == "too-large"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ImportError("no _imaging")])
def test_an_interruption_or_a_missing_module_is_not_blamed_on_the_file(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    data = fail_with(monkeypatch, error)
    with pytest.raises(type(error)):
        decoded(data)


def test_a_missing_heif_plug_in_is_not_blamed_on_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = saved(quadrants(), "HEIF")
    (tmp_path / "a.heic").write_bytes(data)
    parecido.indexer.pictures.opening._readable.cache_clear()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImportError):
        decode(data, SPEC, Limits())
    with pytest.raises(ImportError):
        decode_file(tmp_path / "a.heic", SPEC, Limits())
    assert decoded(saved(quadrants(), "PNG")).width == 96  # and no other format needs it


# -- any damage --------------------------------------------------------------------------------

FUZZED = {
    "JPEG": saved(texture(96, 72), "JPEG", exif=exif_block((0x0112, 3, 1, 6)), icc_profile=ROTATED),
    "progressive JPEG": saved(texture(96, 72), "JPEG", progressive=True),
    "PNG": saved(texture(64, 48), "PNG", exif=exif_block((0x0112, 3, 1, 6)), icc_profile=ROTATED),
    "palette PNG": saved(texture(64, 48).quantize(16), "PNG", transparency=3),
    "GIF": saved(texture(64, 48).quantize(16), "GIF", transparency=3),
    "WEBP": saved(texture(96, 72), "WEBP", exif=exif_block((0x0112, 3, 1, 6))),
    "lossless WEBP": saved(texture(64, 48).convert("RGBA"), "WEBP", lossless=True),
    "TIFF": saved(texture(64, 48), "TIFF", icc_profile=ROTATED),
    "LZW TIFF": saved(texture(64, 48), "TIFF", compression="tiff_lzw"),
    "BMP": saved(texture(64, 48), "BMP"),
    "palette BMP": saved(texture(64, 48).quantize(16), "BMP"),
    "ICO": saved(texture(48, 48), "ICO"),
    "JPEG2000": saved(texture(64, 48), "JPEG2000"),
    "AVIF": saved(texture(64, 48), "AVIF"),
    "HEIF": saved(texture(64, 48), "HEIF"),
}
# damage in the first bytes, where the headers are, tells more than in the middle of the pixels
PLACES = st.one_of(st.integers(0, 200), st.integers(0, 1 << 20))
DAMAGE = st.tuples(
    st.lists(st.tuples(PLACES, st.integers(0, 255)), max_size=6),
    st.none() | st.floats(0, 1),
    st.booleans(),
)


@pytest.mark.filterwarnings("ignore")  # Pillow warns about much of what it meets in there
@pytest.mark.parametrize("form", FUZZED)
@settings(max_examples=200, suppress_health_check=OWN_FIXTURES)
@given(damage=DAMAGE)
def test_damaged_bytes_give_a_right_shaped_picture_or_a_reason(
    form: str, damage: tuple[list[tuple[int, int]], float | None, bool]
) -> None:
    changes, part, doubled = damage
    changed = bytearray(FUZZED[form])
    for place, value in changes:
        changed[place % len(changed)] = value
    data = bytes(changed) if part is None else bytes(changed)[: int(part * len(changed))]
    try:
        picture = decode(data * (1 + doubled), SPEC, Limits(pixels=1_000_000))
    except PictureUnreadable as error:
        outcome = (error.kind in KINDS, bool(error.reason.strip()), "\n" not in error.reason)
    else:
        width, height = SPEC.size.target(picture.width, picture.height)
        shape = (picture.pixels.shape, picture.pixels.dtype)
        outcome = (shape == ((height, width, 3), np.uint8), picture.width > 0, picture.format != "")
    assert outcome == (True, True, True)


@settings(max_examples=100)
@given(st.binary(min_size=1, max_size=300))
@pytest.mark.filterwarnings("ignore")
def test_random_bytes_are_refused_or_decoded_and_nothing_else(data: bytes) -> None:
    try:
        outcome = decode(data, SPEC, Limits(pixels=1_000_000)).pixels.shape[2] == 3
    except PictureUnreadable as error:
        outcome = error.kind in ("not-a-picture", "damaged", "too-large", "unsupported")
    assert outcome


def test_decoding_from_many_threads_gives_what_one_thread_gives() -> None:
    pictures = [
        saved(texture(200, 150), "JPEG", icc_profile=ROTATED),
        saved(texture(200, 150).quantize(16), "PNG", transparency=3, icc_profile=ROTATED),
        turned(texture(200, 150), 6, "TIFF"),
        saved(texture(200, 150), "AVIF"),
        saved(texture(200, 150), "HEIF"),
    ]
    expected = [decoded(data).pixels for data in pictures]
    order = random.Random(1).choices(range(len(pictures)), k=120)
    results: list[Pixels | None] = [None] * len(order)

    def work(share: int) -> None:
        for place in range(share, len(order), 6):
            results[place] = decoded(pictures[order[place]]).pixels

    threads = [threading.Thread(target=work, args=(share,)) for share in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for place, number in enumerate(order):
        np.testing.assert_array_equal(results[place], expected[number])
