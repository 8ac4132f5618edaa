"""Files with several pictures: the one to show, and RAW files told as what they are."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from parecido.indexer.errors import PictureUnreadable
from parecido.indexer.pictures.decode import Limits, Rendered, render

RED, BLUE, GREEN = (200, 0, 0), (0, 0, 200), (0, 200, 0)


def shown(data: bytes) -> Rendered:
    return render(data, lambda width, height: (width, height), Limits())


def colour(found: Rendered) -> tuple[int, ...]:
    middle = np.asarray(found.image)[found.height // 2, found.width // 2]
    return tuple(int(value) for value in middle)


def refusal(data: bytes) -> PictureUnreadable:
    with pytest.raises(PictureUnreadable) as caught:
        shown(data)
    return caught.value


Tags = dict[int, int | bytes]
Page = tuple[tuple[int, int], tuple[int, int, int], Tags]


def tiff(pages: list[Page], inside: list[Page] | None = None, order: str = "<") -> bytes:
    """A TIFF of plain pages; those ``inside`` are sub-pages of the first."""
    data = bytearray(8)
    data[:4] = b"II*\0" if order == "<" else b"MM\0*"
    places: list[int] = []

    def write(page: Page, links: list[int]) -> int:
        size, ink, more = page
        raw = np.full((size[1], size[0], 3), ink, np.uint8).tobytes()
        start = len(data)
        data.extend(raw)
        tags: dict[int, int | bytes] = {256: size[0], 257: size[1], 258: 8, 259: 1, 262: 2}
        tags |= {273: start, 277: 3, 278: size[1], 279: len(raw), **more}
        fields: list[tuple[int, int, int, bytes]] = []
        for tag, value in sorted([*tags.items(), *([(330, links[0])] if links else [])]):
            if isinstance(value, bytes):
                where = len(data)
                data.extend(value)
                fields.append((tag, 2, len(value), struct.pack(order + "I", where)))
            else:
                fields.append((tag, 4, 1, struct.pack(order + "I", value)))
        if len(data) % 2:
            data.append(0)
        at = len(data)
        data.extend(struct.pack(order + "H", len(fields)))
        for tag, kind, count, packed in fields:
            data.extend(struct.pack(order + "HHI", tag, kind, count) + packed)
        data.extend(bytes(4))
        return at

    links = [write(page, []) for page in inside or []]
    for number, page in enumerate(pages):
        at = write(page, links if number == 0 else [])
        struct.pack_into(order + "I", data, places[-1] if places else 4, at)
        places.append(len(data) - 4)
    return bytes(data)


SMALL: Page = ((40, 30), RED, {254: 1})


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_first_page_is_the_picture(order: str) -> None:
    data = tiff([((40, 30), RED, {}), ((80, 60), BLUE, {})], order=order)
    assert colour(shown(data)) == RED


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_reduced_copy_in_front_is_passed_over(order: str) -> None:
    data = tiff([SMALL, ((80, 60), BLUE, {}), ((60, 50), GREEN, {})], order=order)
    found = shown(data)
    assert (colour(found), found.width, found.height) == (BLUE, 80, 60)


def test_the_picture_behind_a_reduced_copy_may_lie_inside_it() -> None:
    found = shown(tiff([SMALL], inside=[((90, 70), GREEN, {254: 0})]))
    assert (colour(found), found.width, found.format) == (GREEN, 90, "TIFF")


def test_an_old_mark_of_a_reduced_copy_counts_and_a_mask_is_no_picture() -> None:
    pages: list[Page] = [
        ((40, 30), RED, {255: 2}),
        ((80, 60), BLUE, {}),
        ((99, 99), GREEN, {254: 4}),
    ]
    assert colour(shown(tiff(pages))) == BLUE


def test_a_reduced_copy_that_is_alone_is_shown() -> None:
    assert colour(shown(tiff([SMALL]))) == RED


def test_pages_that_point_at_each_other_come_to_an_end() -> None:
    data = bytearray(tiff([SMALL, SMALL]))
    first = struct.unpack_from("<I", data, 4)[0]
    data[-4:] = struct.pack("<I", first)
    assert colour(shown(bytes(data))) == RED


RAW = {
    "a DNG": tiff([((40, 30), RED, {254: 1, 271: b"Acme\0", 50706: 0x0401})]),
    "a mosaic inside": tiff(
        [(*SMALL[:2], {254: 1, 271: b"NIKON CORPORATION\0"})],
        inside=[((80, 60), BLUE, {254: 0, 262: 32803, 259: 34713})],
    ),
    "a mosaic in front": tiff([((80, 60), BLUE, {262: 32803, 271: b"PENTAX\0"})]),
    "linear": tiff([SMALL], inside=[((80, 60), BLUE, {262: 34892})]),
    "CR2": b"II*\0\x10\0\0\0CR\2\0" + bytes(100),
    "CR3": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(100),
    "RAF": b"FUJIFILMCCD-RAW 0201" + bytes(200) + b"\xff\xd8\xff\xe0",
    "ORF": b"IIRO\x08\0\0\0" + bytes(100),
    "RW2": b"IIU\0\x18\0\0\0" + bytes(100),
}


@pytest.mark.parametrize("what", RAW)
def test_a_raw_file_is_told_as_such(what: str) -> None:
    error = refusal(RAW[what])
    assert error.kind == "unsupported"
    assert error.reason.startswith("a RAW file of ")
    assert error.reason.endswith(", which is not read yet")


def test_the_maker_of_a_raw_file_is_told() -> None:
    assert refusal(RAW["a DNG"]).reason == "a RAW file of Acme (DNG), which is not read yet"
    assert "NIKON CORPORATION" in refusal(RAW["a mosaic inside"]).reason


def test_a_photograph_by_a_camera_that_writes_tiff_is_read() -> None:
    assert colour(shown(tiff([((40, 30), RED, {271: b"NIKON CORPORATION\0"})]))) == RED


def test_an_icon_is_shown_at_its_largest() -> None:
    file = io.BytesIO()
    Image.new("RGB", (128, 128), RED).save(file, "ICO", sizes=[(16, 16), (128, 128), (48, 48)])
    assert shown(file.getvalue()).width == 128
