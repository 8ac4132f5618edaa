"""Regions: the part of a picture is looked at as if it had been cut out by hand."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from parecido import Library, index
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.errors import InvalidRequest, PictureUnreadable
from parecido.indexer.pictures.decode import Limits, decode
from parecido.indexer.pictures.wanted import ForEncoder, draw
from parecido.indexer.records.regions import Region
from parecido.search.engine import Engine
from tests.support.fakes import fake_spec, save_pictures


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("0,0,10,20", Region(0, 0, 10, 20)),
        (" 1 , 2 , 3.5 , 4 ", Region(1, 2, 3.5, 4)),
        ("10%,20%,30.5%,40%", Region(10, 20, 30.5, 40, in_percent=True)),
        ("0%, 0%, 100%, 100%", Region(0, 0, 100, 100, in_percent=True)),
    ],
)
def test_regions_are_read_as_people_write_them(text: str, region: Region) -> None:
    assert Region.parse(text) == region
    assert Region.parse(str(region)) == region


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1,2,3",
        "1,2,3,4,5",
        "a,b,c,d",
        "-1,0,5,5",
        "1,2,3%,4%",
        "nan,0,1,1",
        "inf,0,1,1",
        "1e3,0,1,1",
    ],
)
def test_what_is_no_region_is_told(text: str) -> None:
    with pytest.raises(InvalidRequest, match="is no region"):
        Region.parse(text)


@pytest.mark.parametrize("text", ["0,0,0,5", "0%,0%,10%,0%"])
def test_an_empty_region_is_told(text: str) -> None:
    with pytest.raises(InvalidRequest, match="is empty"):
        Region.parse(text)


@pytest.mark.parametrize("text", ["0,0,97,10", "96,0,1,1", "0,60,10,10", "50%,0%,51%,10%"])
def test_a_region_outside_the_picture_is_told_with_its_size(text: str) -> None:
    data = encoded(Image.new("RGB", (96, 64)), "PNG")
    with pytest.raises(InvalidRequest, match="outside the picture of 96 × 64"):
        draw(data, ForEncoder(fake_spec(), Region.parse(text)), Limits())


@given(
    width=st.integers(1, 5000),
    height=st.integers(1, 5000),
    corner=st.tuples(st.floats(0, 99), st.floats(0, 99)),
    far=st.tuples(st.floats(0.001, 1), st.floats(0.001, 1)),
)
def test_a_part_in_percent_is_a_box_within_the_picture(
    width: int, height: int, corner: tuple[float, float], far: tuple[float, float]
) -> None:
    x, y = corner
    region = Region(x, y, (100 - x) * far[0], (100 - y) * far[1], in_percent=True)
    left, top, right, bottom = region.box(width, height)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_part_looks_like_the_same_part_cut_out_of_the_upright_picture(
    form: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    rng = np.random.default_rng(1)
    smooth = Image.fromarray(rng.integers(0, 255, (9, 12, 3), np.uint8)).resize((640, 480), 3)
    options = {"quality": 95, "subsampling": 0} if form == "JPEG" else {}
    data = encoded(smooth, form, exif=exif, **options)
    upright = Image.open(io.BytesIO(data))
    whole = decode(data, fake_spec(), Limits())
    from PIL import ImageOps

    turned = ImageOps.exif_transpose(upright)
    box = (100, 50, 340, 410)
    region = Region(box[0], box[1], box[2] - box[0], box[3] - box[1])
    part = draw(data, ForEncoder(fake_spec(), region), Limits())
    by_hand = decode(encoded(turned.crop(box), "PNG"), fake_spec(), Limits())
    left, top, right, bottom = part.box
    assert (right - left, bottom - top) == (240, 360)
    assert part.pixels.shape == by_hand.pixels.shape
    assert abs(part.pixels.astype(int) - by_hand.pixels.astype(int)).mean() < 4
    assert part.pixels.shape != whole.pixels.shape or (part.pixels != whole.pixels).any()


def test_a_damaged_picture_has_no_parts() -> None:
    with pytest.raises(PictureUnreadable):
        draw(b"no picture", ForEncoder(fake_spec(), Region(0, 0, 1, 1)), Limits())


def test_a_part_finds_what_the_whole_does_not(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    files = save_pictures(tmp_path / "p", 12)
    index(library, [tmp_path / "p"], encoder=encoder)
    first, second = (Image.open(file).convert("RGB").resize((96, 96)) for file in files[:2])
    both = Image.new("RGB", (192, 96))
    both.paste(first, (0, 0))
    both.paste(second, (96, 0))
    both.save(tmp_path / "both.png")
    with Engine(library, encoder=encoder) as engine:
        for region, file in (("0,0,96,96", files[0]), ("50%,0%,50%,100%", files[1])):
            hits = engine.search(tmp_path / "both.png", region=Region.parse(region)).hits
            assert hits[0].path == str(file)
            data = (tmp_path / "both.png").read_bytes()
            assert engine.search_bytes(data, region=Region.parse(region)).hits == hits
        # of an indexed picture, a region is no longer the picture itself
        whole = engine.search(files[0], region=Region.parse("0%,0%,100%,100%"), include_self=True)
        assert whole.hits[0].path == str(files[0])
