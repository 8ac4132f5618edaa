"""TIFFs and Photoshop's files of every layout: the same picture, or a refusal that says why."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from parecido.indexer.errors import PictureUnreadable
from parecido.indexer.pictures.decode import Limits, Rendered, render
from tests.support.layouts import DEFLATE, LZW, NONE, PACKBITS, Tiff, psd, tiff

WIDTH, HEIGHT = 70, 50


def blobs() -> npt.NDArray[np.uint8]:
    noise = np.random.default_rng(5).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    return np.asarray(image)


RGB = blobs()
GREY = RGB[:, :, :1]


def shown(data: bytes, limits: Limits | None = None) -> Rendered:
    return render(data, lambda width, height: (width, height), limits or Limits())


def assert_shows(data: bytes, expected: npt.NDArray[Any], tolerance: int = 2) -> None:
    found = shown(data)
    assert (found.width, found.height, found.note) == (WIDTH, HEIGHT, "")
    difference = np.abs(np.asarray(found.image).astype(int) - expected.astype(int))
    assert difference.max() <= tolerance


def refusal(data: bytes, limits: Limits | None = None) -> PictureUnreadable:
    with pytest.raises(PictureUnreadable) as caught:
        shown(data, limits)
    return caught.value


DEPTHS = {
    "8": RGB,
    "16": RGB.astype("u2") * 257,
    "32": RGB.astype("u4") * 16843009,
    "64": RGB.astype("u8") * 0x0101010101010101,
    "signed 32": RGB.astype("i4"),
    "half": (RGB / 255).astype("f2"),
    "single": (RGB / 255).astype("f4"),
    "double": (RGB / 255).astype("f8"),
}


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("compression", [NONE, LZW, DEFLATE, PACKBITS])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("tile", [None, (32, 16)])
def test_colours_are_read_in_every_layout(
    depth: str, planes: bool, compression: int, order: str, tile: tuple[int, int] | None
) -> None:
    how = Tiff(planes=planes, compression=compression, order=order, tile=tile)
    assert_shows(tiff(DEPTHS[depth], how), RGB)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("compression", [NONE, DEFLATE])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("photometric", [0, 1])
def test_grey_is_read_in_every_depth(
    depth: str, compression: int, order: str, photometric: int
) -> None:
    values = DEPTHS[depth][:, :, :1]
    if photometric == 0:
        full = {"f": 1, "i": 255}.get(
            values.dtype.kind, np.iinfo("u8").max >> (64 - 8 * values.itemsize)
        )
        values = (full - values).astype(values.dtype)
    how = Tiff(photometric=photometric, compression=compression, order=order)
    assert_shows(tiff(values, how), np.repeat(GREY, 3, axis=2))


@pytest.mark.parametrize("depth", ["8", "16", "32"])
@pytest.mark.parametrize("planes", [False, True])
def test_differences_are_added_up(depth: str, planes: bool) -> None:
    how = Tiff(predictor=2, compression=DEFLATE, planes=planes)
    assert_shows(tiff(DEPTHS[depth], how), RGB)


@pytest.mark.parametrize("bits", [9, 10, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize("compression", [NONE, DEFLATE])
@pytest.mark.parametrize("pixels", [RGB, GREY])
def test_depths_between_eight_and_sixteen_bits_are_scaled_by_their_own_most(
    bits: int, packs: bool, compression: int, pixels: npt.NDArray[np.uint8]
) -> None:
    values = np.rint(pixels * ((2**bits - 1) / 255)).astype("u2")
    photometric = 2 if pixels is RGB else 1
    how = Tiff(bits=bits, packs=packs, compression=compression, photometric=photometric)
    assert_shows(tiff(values, how), np.broadcast_to(pixels, RGB.shape))


def test_a_most_that_is_told_counts() -> None:
    values = np.rint(GREY * (4095 / 255)).astype("u2")
    how = Tiff(photometric=1, tags=((281, (4095,)),))
    assert_shows(tiff(values, how), np.repeat(GREY, 3, axis=2))


@pytest.mark.parametrize("many", [5, 6, 7, 12])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("planes", [False, True])
def test_channels_behind_the_colours_are_left_out(many: int, dtype: str, planes: bool) -> None:
    rest = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, many - 3), dtype=np.uint8)
    pixels: npt.NDArray[Any] = np.concatenate([RGB, rest], axis=2)
    pixels = (pixels / 255).astype("f4") if dtype == "f4" else pixels.astype(dtype)
    pixels = pixels * 257 if dtype == "u2" else pixels
    assert_shows(tiff(pixels, Tiff(extra=(0,) * (many - 3), planes=planes)), RGB)


@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_opacity_is_applied(colours: int, planes: bool, dtype: str) -> None:
    base = RGB[:, :, :colours]
    pixels: npt.NDArray[Any] = np.concatenate([base, np.full_like(GREY, 128)], axis=2)
    pixels = (pixels / 255).astype("f4") if dtype == "f4" else pixels.astype(dtype)
    pixels = pixels * 257 if dtype == "u2" else pixels
    how = Tiff(photometric=2 if colours == 3 else 1, extra=(2,), planes=planes)
    expected = np.broadcast_to(base, RGB.shape) * (128 / 255) + 127
    assert_shows(tiff(pixels, how), expected, 3)


def test_bands_without_a_kind_of_colours_are_shown_as_colours() -> None:
    """So satellites' pictures are written, and so those who look at them see them."""
    pixels = np.concatenate([RGB, GREY], axis=2).astype("u2") * 257
    assert_shows(tiff(pixels, Tiff(photometric=1, extra=(0, 0, 0))), RGB)


@pytest.mark.parametrize("extra", [(), (2,)])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("planes", [False, True])
def test_inks_are_shown_on_paper(extra: tuple[int, ...], dtype: str, planes: bool) -> None:
    parts = [255 - RGB, np.zeros_like(GREY), *[np.full_like(GREY, 255)] * len(extra)]
    pixels = np.concatenate(parts, axis=2).astype(dtype) * (257 if dtype == "u2" else 1)
    assert_shows(tiff(pixels, Tiff(photometric=5, extra=extra, planes=planes)), RGB)


@pytest.mark.parametrize(
    ("values", "shown_as"),
    [
        ([0.0, 0.5, 1.0], [0, 127, 255]),
        ([-2.0, 0.0, 2.0], [0, 127, 255]),
        ([0.0, 500.0, 1000.0], [0, 1, 3]),
        ([0.0, 50_000.0, 100_000.0], [0, 127, 255]),
        ([np.nan, 0.5, np.inf], [0, 127, 255]),
    ],
)
def test_floats_are_shown_by_the_range_they_fit(values: list[float], shown_as: list[int]) -> None:
    row = np.repeat(np.array(values, "f4"), 10)
    pixels = np.broadcast_to(row[None, :, None], (20, len(row), 3))
    found = np.asarray(shown(tiff(pixels, Tiff())).image)[10, [5, 15, 25], 0]
    np.testing.assert_allclose(found.astype(int), shown_as, atol=2)


def test_orientation_and_date_of_such_a_file_are_read() -> None:
    data = tiff(DEPTHS["half"], Tiff(tags=((274, (6,)),)))
    found = shown(data)
    assert (found.width, found.height, found.format) == (HEIGHT, WIDTH, "TIFF")
    upright = np.rot90(RGB, -1).astype(int)
    assert np.abs(np.asarray(found.image).astype(int) - upright).max() <= 2


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("compression", [NONE, DEFLATE, LZW])
def test_one_cut_short_is_shown_as_far_as_it_is_there(planes: bool, compression: int) -> None:
    data = tiff(RGB, Tiff(rows=5, planes=planes, compression=compression))
    whole = shift(data)
    keep = 0.9 if planes else 0.7
    found = shown(whole[: int(len(whole) * keep)])
    assert found.note.startswith("cut short: ")
    assert found.note.endswith(" % of its rows are missing")
    rows = HEIGHT // 4
    np.testing.assert_array_equal(np.asarray(found.image)[:rows], RGB[:rows])


def shift(data: bytes) -> bytes:
    """The same file with its directory in front of its pixels."""
    at = struct.unpack("<I", data[4:8])[0]
    (count,) = struct.unpack_from("<H", data, at)
    fields = [list(struct.unpack_from("<HHII", data, at + 2 + 12 * n)) for n in range(count)]
    values: dict[int, tuple[int, ...]] = {}
    for tag, _, many, value in fields:
        values[tag] = struct.unpack_from(f"<{many}I", data, value) if many > 1 else (value,)
    ends = [a + b for a, b in zip(values[273], values[279], strict=True)]
    pixels = data[8 : max(ends)]
    lists = sum(4 * len(one) for one in values.values() if len(one) > 1)
    front = 2 + 12 * count + 4 + lists
    values[273] = tuple(one + front for one in values[273])
    where, behind, entries = 8 + 2 + 12 * count + 4, b"", b""
    for tag, one in sorted(values.items()):
        value = one[0]
        if len(one) > 1:
            value = where + len(behind)
            behind += struct.pack(f"<{len(one)}I", *one)
        entries += struct.pack("<HHII", tag, 4, len(one), value)
    start = b"II*\0" + struct.pack("<IH", 8, count)
    return start + entries + bytes(4) + behind + pixels


@pytest.mark.parametrize(
    ("number", "name"),
    [(34712, "JPEG 2000"), (50002, "JPEG XL"), (34887, "LERC"), (34661, "JBIG")],
)
def test_a_compression_that_is_not_read_is_called_by_its_name(number: int, name: str) -> None:
    error = refusal(tiff(RGB, Tiff(tags=((259, (number,)),))))
    assert error.kind == "unsupported"
    assert error.reason == f"a TIFF compressed with {name}, which is not read"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"tags": ((339, (6, 6, 6)),)}, "complex"),
        ({"tags": ((258, (8, 16, 8)),)}, "differ in depth"),
        ({"photometric": 32845}, "LogLuv"),
        ({"photometric": 6, "extra": (0,), "planes": True}, "subsampled"),
    ],
)
def test_what_is_not_read_is_told_as_such_and_not_as_damage(
    change: dict[str, Any], word: str
) -> None:
    pixels = np.concatenate([RGB, GREY], axis=2) if "extra" in change else RGB
    error = refusal(tiff(pixels.astype("u2"), replace(Tiff(), **change)))
    assert error.kind == "unsupported"
    assert word in error.reason
    assert error.reason.endswith("which is not read")


def test_what_its_header_promises_is_not_believed_before_the_limits() -> None:
    large = tiff(DEPTHS["16"], Tiff(planes=True, tags=((256, (60_000,)), (257, (60_000,)))))
    assert refusal(large).kind == "too-large"
    channels = tiff(GREY, Tiff(photometric=1, compression=DEFLATE, tags=((277, (60_000,)),)))
    assert refusal(channels).kind in ("too-large", "damaged")
    tile = ((322, (60_000,)), (323, (60_000,)))
    tiles = tiff(DEPTHS["16"], Tiff(compression=DEFLATE, tile=(16, 16), planes=True, tags=tile))
    assert refusal(tiles).kind in ("too-large", "damaged")


# -- Photoshop ---------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", ["8", "16", "single"])
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("packs", [False, True])
@pytest.mark.parametrize("colours", ["grey", "rgb", "alpha", "cmyk"])
def test_photoshops_files_are_read(depth: str, large: bool, packs: bool, colours: str) -> None:
    pixels = DEPTHS[depth]
    full = np.full_like(pixels[:, :, :1], {"8": 255, "16": 65535, "single": 1}[depth])
    chosen = {
        "grey": (1, pixels[:, :, :1]),
        "rgb": (3, pixels),
        "alpha": (3, np.concatenate([pixels, full], axis=2)),
        "cmyk": (4, np.concatenate([pixels, full], axis=2)),
    }
    number, values = chosen[colours]
    data = psd(np.moveaxis(values, 2, 0), number, large=large, packs=packs)
    expected = np.repeat(GREY, 3, axis=2) if colours == "grey" else RGB
    assert_shows(data, expected, 3)
    assert shown(data).format == "PSD"


def test_one_of_photoshops_that_is_not_read_is_told_as_such() -> None:
    error = refusal(psd(np.moveaxis(DEPTHS["16"], 2, 0), 7))
    assert (error.kind, error.reason) == ("unsupported", "a PSD of many inks, which is not read")


def test_one_of_photoshops_that_ends_in_its_header_is_damaged() -> None:
    data = psd(np.moveaxis(DEPTHS["16"], 2, 0), 3, packs=True)
    assert {refusal(data[:size]).kind for size in (26, 30, 37, 39, 60)} == {"damaged"}


def test_one_of_photoshops_that_is_cut_short_is_told() -> None:
    data = psd(np.moveaxis(DEPTHS["16"], 2, 0), 3)
    found = shown(data[: int(len(data) * 0.9)])
    assert found.note.startswith("cut short: 3")
    np.testing.assert_array_equal(np.asarray(found.image)[: HEIGHT // 2], RGB[: HEIGHT // 2])
