"""Files that end too early: what is there is shown, and what is missing is told."""

from __future__ import annotations

import io
import json
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from parecido import Library, index
from parecido.indexer.errors import PictureUnreadable
from parecido.indexer.library.summary import report_dict
from parecido.indexer.pictures.decode import Limits, Rendered, render
from parecido.indexer.pictures.decoding.orders import Order
from parecido.indexer.pictures.decoding.processes import DecoderProcesses
from parecido.indexer.pictures.formats.cut import MISSING
from parecido.indexer.pictures.wanted import Fitting
from tests.support.fakes import fake_encoder

SIZE = (240, 160)
NOISE = np.random.default_rng(3).integers(0, 256, (160, 240, 3), dtype=np.uint8)


def blobs(mode: str = "RGB") -> Image.Image:
    """Soft blobs, none of them grey for long."""
    noise = np.random.default_rng(5).integers(0, 256, (10, 15, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(SIZE, Image.Resampling.BICUBIC).convert(mode)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def shown(data: bytes) -> Rendered:
    return render(data, lambda width, height: (width, height), Limits())


def grey_rows(image: Image.Image) -> list[int]:
    pixels = np.asarray(image).astype(int)
    return [int(y) for y in np.flatnonzero(np.abs(pixels - MISSING).max(axis=(1, 2)) <= 1)]


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("cut", [1, 2, 40])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_without_its_last_bytes_is_shown(mode: str, cut: int, progressive: bool) -> None:
    data = saved(blobs(mode), "JPEG", quality=90, progressive=progressive)
    found, whole = shown(data[:-cut]), shown(data)
    assert found.note == "cut short: its last bytes are missing"
    assert whole.note == ""
    ours, theirs = np.asarray(found.image).astype(int), np.asarray(whole.image).astype(int)
    np.testing.assert_allclose(ours[:-16], theirs[:-16], atol=40)
    assert np.abs(ours[:-16] - theirs[:-16]).mean() < 1


@pytest.mark.parametrize(
    ("form", "options"),
    [("JPEG", {}), ("PNG", {}), ("TIFF", {}), ("PPM", {}), ("PCX", {})],
)
def test_rows_that_are_missing_are_grey_and_told(form: str, options: dict[str, Any]) -> None:
    data = saved(Image.fromarray(NOISE), form, **options)
    found = shown(data[: len(data) * 2 // 3])
    rows = grey_rows(found.image)
    told = re.fullmatch(r"cut short: (\d+) % of its rows are missing", found.note)
    assert told is not None
    assert 28 <= int(told[1]) <= 34
    assert rows == list(range(160 - len(rows), 160))
    assert len(rows) / 1.6 == pytest.approx(int(told[1]), abs=1)
    assert (found.width, found.height, found.format) == (*SIZE, form)


def test_a_picture_that_is_stored_from_below_lacks_its_upper_rows() -> None:
    data = saved(Image.fromarray(NOISE), "BMP")
    found = shown(data[: len(data) * 3 // 4])
    rows = grey_rows(found.image)
    assert rows == list(range(len(rows)))
    assert found.note == "cut short: 26 % of its rows are missing"
    np.testing.assert_array_equal(np.asarray(found.image)[42:], NOISE[42:])


def test_rows_between_others_are_filled_as_viewers_do() -> None:
    data = saved(blobs("P"), "GIF", interlace=True)
    found = shown(data[: len(data) * 3 // 4])
    assert np.abs(np.asarray(found.image).astype(int) - np.asarray(blobs())).mean() < 25
    assert found.note.startswith("cut short")


def adam7(pixels: Any) -> bytes:
    """A PNG in passes, by the book (PNG 3, clause 8.1)."""
    import struct
    import zlib

    height, width, _ = pixels.shape
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4))
    passes += ((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    rows = [
        b"\0" + row.tobytes() for x, y, across, down in passes for row in pixels[y::down, x::across]
    ]

    def chunk(name: bytes, data: bytes) -> bytes:
        checked = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checked

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    body = zlib.compress(b"".join(rows), 0)
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize("part", [0.95, 0.6, 0.3, 0.1])
def test_a_png_in_passes_is_shown_as_fine_as_it_is_there(part: float) -> None:
    data = adam7(np.asarray(blobs()))
    np.testing.assert_array_equal(np.asarray(shown(data).image), np.asarray(blobs()))
    found = shown(data[: int(len(data) * part)])
    assert found.note == "cut short: its fine detail is missing"
    assert (found.width, found.height) == SIZE
    assert np.abs(np.asarray(found.image).astype(int) - np.asarray(blobs())).mean() < 20


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "BMP", "GIF"])
def test_what_lacks_nearly_all_its_rows_is_damaged(form: str) -> None:
    options = {"interlace": False} if form == "GIF" else {}
    data = saved(Image.fromarray(NOISE), form, **options)
    start = {"GIF": 1200, "JPEG": data.index(b"\xff\xda")}.get(form, 400)
    with pytest.raises(PictureUnreadable) as caught:
        shown(data[: start + 100])
    assert caught.value.kind == "damaged"


def test_pillows_switch_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is all threads' at once: another program in this process may look at it."""
    seen = set()
    prepare = ImageFile.ImageFile.load_prepare

    def look(image: Any) -> None:
        seen.add(ImageFile.LOAD_TRUNCATED_IMAGES)
        prepare(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load_prepare", look)
    data = saved(blobs(), "JPEG")
    threads = [threading.Thread(target=shown, args=[data[:-30]]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {False}


def test_a_process_that_decodes_tells_it_too() -> None:
    drawn = DecoderProcesses().decode(Order(Fitting(64), Limits()), saved(blobs(), "JPEG")[:-2])
    assert drawn is not None
    assert drawn.note == "cut short: its last bytes are missing"


def test_a_run_tells_of_pictures_that_are_not_whole(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "whole.jpg").write_bytes(saved(blobs(), "JPEG"))
    for name in ("cut.jpg", "copy.jpg"):
        (pictures / name).write_bytes(saved(blobs(), "JPEG")[:-2])
    with Library.create(tmp_path / "library") as library:
        report = index(library, [pictures], encoder=fake_encoder())
        again = index(library, [pictures], encoder=fake_encoder())
    told = json.loads(json.dumps(report_dict(report)))["notes"]
    note = "cut short: its last bytes are missing"
    assert sorted(one["path"] for one in told) == [
        str(pictures / name) for name in ("copy.jpg", "cut.jpg")
    ]
    assert {one["note"] for one in told} == {note}
    assert (report.added, report.skipped) == (3, [])
    assert again.notes == []
