"""When and with what a picture was taken, from its EXIF data into the catalogue."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from parecido import Library, index
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.pictures.decode import Limits, decode
from parecido.indexer.pictures.metadata.reading import read_metadata
from parecido.indexer.records.pictures import UNKNOWN, Taken
from tests.support.fakes import fake_spec, save_picture

ORIGINAL, DIGITISED, CHANGED, MAKE, MODEL, PHOTO = 0x9003, 0x9004, 0x0132, 0x010F, 0x0110, 0x8769


def photo(form: str = "JPEG", own: dict[int, Any] | None = None, **tags: Any) -> bytes:
    """A small picture with these tags in its EXIF data, ``own`` in the camera's own directory."""
    exif = Image.Exif()
    for name, value in tags.items():
        exif[{"make": MAKE, "model": MODEL, "changed": CHANGED}[name]] = value
    exif.get_ifd(PHOTO).update(own or {})
    stream = io.BytesIO()
    Image.effect_noise((40, 30), 60).convert("RGB").save(stream, form, exif=exif)
    return stream.getvalue()


def found(data: bytes) -> Taken:
    return decode(data, fake_spec(), Limits()).taken


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_the_moment_and_the_camera_come_from_exif(form: str) -> None:
    data = photo(form, {ORIGINAL: "2024:05:01 12:30:59"}, make="Canon", model="EOS 5D")
    assert found(data) == Taken("2024-05-01T12:30:59", "Canon EOS 5D")


def test_a_tiff_tells_them_in_its_own_directory() -> None:
    data = photo("TIFF", changed="2024:05:01 12:30:59", make="Canon", model="EOS 5D")
    assert found(data) == Taken("2024-05-01T12:30:59", "Canon EOS 5D")


def test_the_original_moment_counts_before_scanning_and_changing() -> None:
    dates = {ORIGINAL: "1999:01:02 03:04:05", DIGITISED: "2001:01:01 00:00:00"}
    assert found(photo(own=dates, changed="2020:01:01 00:00:00")).at == "1999-01-02T03:04:05"
    assert found(photo(own={DIGITISED: dates[DIGITISED]})).at == "2001-01-01T00:00:00"
    assert found(photo(changed="2020:02:03 04:05:06")).at == "2020-02-03T04:05:06"


@pytest.mark.parametrize(
    "text", ["0000:00:00 00:00:00", "    :  :     :  :  ", "yesterday", "2024:13:01 00:00:00", ""]
)
def test_a_clock_that_was_never_set_tells_no_moment(text: str) -> None:
    assert found(photo(own={ORIGINAL: text})).at is None


def test_a_maker_is_not_named_twice() -> None:
    assert found(photo(make="Canon", model="Canon EOS 5D")).camera == "Canon EOS 5D"
    assert found(photo(make="NIKON CORPORATION", model="NIKON D70")).camera == "NIKON D70"
    assert found(photo(make="Apple")).camera == "Apple"


def test_a_cameras_name_is_one_short_line_whatever_the_file_says() -> None:
    assert found(photo(model="A\x1b[31mB\nC" + "x" * 500)).camera.startswith("A[31mBCxxx")
    assert len(found(photo(model="x" * 500)).camera) == 80


def test_a_picture_without_exif_tells_nothing(tmp_path: Path) -> None:
    assert found(save_picture(tmp_path / "a.png", 1).read_bytes()) == UNKNOWN


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_exif_is_no_reason_to_leave_a_picture_out() -> None:
    data = photo(own={ORIGINAL: "2024:05:01 12:30:59"}, make="Canon")
    start = data.index(b"Exif") + 6
    for place in range(start, start + 60):
        broken = data[:place] + b"\xff" + data[place + 1 :]
        decoded = decode(broken, fake_spec(), Limits())
        assert decoded.pixels.shape[2] == 3
        assert isinstance(decoded.taken.camera, str)


def test_whatever_fails_while_exif_is_read_nothing_is_told() -> None:
    class Broken:
        def getexif(self) -> None:
            raise SyntaxError("a decoder's own")

    assert read_metadata(Broken()).taken == UNKNOWN  # type: ignore[arg-type]


def test_moment_and_camera_go_into_the_catalogue_and_along_with_copies(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    (tmp_path / "p").mkdir()
    first = tmp_path / "p" / "a.jpg"
    first.write_bytes(photo(own={ORIGINAL: "2024:05:01 12:30:59"}, make="Canon", model="EOS"))
    index(library, [tmp_path / "p"], encoder=encoder)
    shutil.copy(first, tmp_path / "p" / "b.jpg")
    index(library, [tmp_path / "p"], encoder=encoder)
    for name in ("a.jpg", "b.jpg"):
        picture = library.catalogue.picture_at(str(tmp_path / "p" / name))
        assert picture is not None
        assert (picture.taken_at, picture.camera) == ("2024-05-01T12:30:59", "Canon EOS")
    first.write_bytes(photo(own={ORIGINAL: "2025:01:01 00:00:00"}))
    index(library, [tmp_path / "p"], encoder=encoder)
    picture = library.catalogue.picture_at(str(first))
    assert picture is not None
    assert (picture.taken_at, picture.camera) == ("2025-01-01T00:00:00", "")
