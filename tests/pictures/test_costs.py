"""Pictures that cost more than their size tells: refused before they do."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parecido import Limits, PictureUnreadable
from parecido.indexer.pictures import costs
from parecido.indexer.pictures.decode import render
from tests.support.fakes import save_picture


def as_it_is(width: int, height: int) -> tuple[int, int]:
    return width, height


def saved(picture: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


@pytest.fixture
def picture(tmp_path: Path) -> Image.Image:
    return Image.open(save_picture(tmp_path / "a.png", 1, (300, 200))).convert("RGB")


def with_scans(data: bytes, count: int) -> bytes:
    """A progressive JPEG with so many scans more, which say nothing."""
    scan = b"\xff\xda" + struct.pack(">H", 8) + b"\x01\x01\x00" + b"\x01\x05\x01" + b"\x7f\xa0"
    assert data.endswith(b"\xff\xd9")
    return data[:-2] + scan * count + data[-2:]


def refused(data: bytes) -> PictureUnreadable:
    with pytest.raises(PictureUnreadable) as caught:
        render(data, as_it_is, Limits())
    return caught.value


def test_a_jpeg_of_thousands_of_scans_is_refused(
    picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(costs, "_SCANNED_PIXELS", 100 * 300 * 200)
    plain = saved(picture, "JPEG", progressive=True)
    assert render(with_scans(plain, 80), as_it_is, Limits()).width == 300
    error = refused(with_scans(plain, 20_000))
    assert (error.kind, "scans" in error.reason) == ("too-large", True)


def test_scans_behind_the_only_one_of_a_sequential_jpeg_cost_nothing(
    picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its decoder reads no further, which it calls an error; so nobody need count them."""
    monkeypatch.setattr(costs, "_SCANNED_PIXELS", 100 * 300 * 200)
    plain = saved(picture, "JPEG")
    first = plain.index(b"\xff\xda")
    assert refused(plain[:-2] + plain[first:-2] * 200 + plain[-2:]).kind == "damaged"
    # but one whose first scan has not all components has more, and so has a progressive one
    frame = plain.index(b"\xff\xc0")
    scan = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0"
    in_three = plain[:first] + scan * 20_000 + plain[-2:]
    assert refused(in_three).kind == "too-large"
    progressive = plain[:frame] + b"\xff\xc2" + plain[frame + 2 : first] + scan * 20_000
    assert refused(progressive).kind == "too-large"


def test_what_stands_in_metadata_or_behind_a_jpeg_is_no_scan(
    picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(costs, "_SCANNED_PIXELS", 20 * 300 * 200)
    film = b"\xff\xda\0\x08" * 5000  # as by chance, in what a motion photograph has behind it
    for data in (
        saved(picture, "JPEG", comment=film[:60_000]),
        saved(picture, "JPEG") + film,
        saved(picture, "JPEG", restart_marker_blocks=1) + film,
    ):
        assert render(data, as_it_is, Limits()).width == 300


def test_a_tile_that_is_larger_than_any_picture_may_be_is_refused(picture: Image.Image) -> None:
    data = saved(picture.resize((16, 16)), "TIFF", compression="tiff_adobe_deflate")
    count = struct.unpack_from("<H", data, offset := struct.unpack_from("<I", data, 4)[0])[0]
    entries = data[offset + 2 : offset + 2 + 12 * count]
    tiles = struct.pack("<HHIIHHII", 322, 4, 1, 46_000, 323, 4, 1, 46_000)
    behind = struct.pack("<H", count + 2) + entries + tiles + b"\0\0\0\0"
    whole = data[:4] + struct.pack("<I", len(data)) + data[8:] + behind
    error = refused(whole)
    assert (error.kind, "46000" in error.reason) == ("too-large", True)


@pytest.mark.parametrize("magic", ["P1", "P2", "P3"])
def test_numbers_as_text_are_read_up_to_two_megapixels(magic: str) -> None:
    most = {"P1": "1", "P2": "255\n7", "P3": "255\n7 8 9"}[magic].split("\n")
    head = "\n".join([magic, "{}", *most[:-1]])
    small = f"{head}\n".format("20 10") + f"{most[-1]} " * 200
    assert render(small.encode(), as_it_is, Limits()).width == 20
    large = f"{head}\n".format("2000 1001") + f"{most[-1]} " * 10
    assert refused(large.encode()).kind == "too-large"


@pytest.mark.parametrize("channels", [3, 4])
def test_a_qoi_picture_is_decoded_as_pillow_does(channels: int) -> None:
    import qoi

    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (40, 60, channels), dtype=np.uint8)
    pixels[10:20] = pixels[10]  # runs
    data = qoi.encode(pixels)
    found = render(data, as_it_is, Limits())
    expected = Image.open(io.BytesIO(data))
    expected.load()
    white = Image.new("RGBA", expected.size, "white")
    expected = Image.alpha_composite(white, expected.convert("RGBA")).convert("RGB")
    assert (found.format, found.width, found.height) == ("QOI", 60, 40)
    assert np.array_equal(np.asarray(found.image), np.asarray(expected))
    for end in (5, 14, 40, len(data) // 2):
        assert refused(data[:end]).kind in ("damaged", "not-a-picture")


def test_a_qoi_picture_of_millions_of_pixels_is_no_matter(tmp_path: Path) -> None:
    """Pillow's own decoder takes 3 seconds for each."""
    size = struct.pack(">IIBB", 4000, 3000, 3, 0)
    data = b"qoif" + size + bytes([0x80 | 33, 0x88]) * 12_000_000 + b"\0" * 7 + b"\1"
    found = render(data, lambda *_: (40, 30), Limits())
    assert (found.width, found.height) == (4000, 3000)
