"""What names and the files beside pictures tell comes into the catalogue, and goes with them."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from parecido import IndexOptions, IndexReport, Library, index
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.library.layout import CATALOGUE
from parecido.indexer.pictures.metadata.texts import leave_out_pixels
from parecido.indexer.records.details import NO_DETAILS, Details
from tests.support.harness import seal_anew
from tests.support.metadata import ORIGINAL, exif, plain, png_with, xmp

MOMENT = "2019-07-21T10:11:12"
OWN = {ORIGINAL: "2001:02:03 04:05:06"}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


class Album:
    """A library over one folder."""

    def __init__(self, library: Library, folder: Path, encoder: Encoder) -> None:
        self.library, self.folder, self.encoder = library, folder, encoder

    def index(self, **options: object) -> IndexReport:
        return index(
            self.library,
            [self.folder],
            IndexOptions(**options),  # type: ignore[arg-type]
            encoder=self.encoder,
        )

    def told(self, name: str) -> tuple[str | None, Details]:
        picture = self.library.catalogue.picture_at(str(self.folder / name))
        assert picture is not None
        return picture.taken_at, self.library.catalogue.details.of([picture.id])[picture.id]


@pytest.fixture
def album(library: Library, photos: Path, encoder: Encoder) -> Album:
    return Album(library, photos, encoder)


def takeout(folder: Path, name: str, seconds: int = 1563703872) -> None:
    (folder / name).write_text(json.dumps({"photoTakenTime": {"timestamp": str(seconds)}}))


def test_the_picture_tells_before_its_sidecars_and_these_before_its_name(album: Album) -> None:
    named = album.folder / "IMG_20200131_235958.jpg"
    named.write_bytes(plain())
    album.index()
    assert album.told(named.name) == ("2020-01-31T23:59:58", Details("name"))
    takeout(album.folder, named.name + ".json")
    assert album.index().updated == 1
    at, details = album.told(named.name)
    assert (at, details.taken_from, details.is_utc) == (MOMENT, "takeout", True)
    (album.folder / "IMG_20200131_235958.xmp").write_text(xmp(exif_DateTimeOriginal="2018-01-01"))
    assert album.index().updated == 1
    assert album.told(named.name)[0] == "2018-01-01"
    assert album.told(named.name)[1].taken_from == "sidecar"
    named.write_bytes(plain(exif=exif(OWN)))
    assert album.index().updated == 1
    assert album.told(named.name)[0] == "2001-02-03T04:05:06"
    assert album.told(named.name)[1].taken_from == "exif"


def test_a_sidecar_that_comes_changes_and_goes_is_seen_without_encoding(album: Album) -> None:
    (album.folder / "a.jpg").write_bytes(plain())
    (album.folder / "b.jpg").write_bytes(plain("PNG"))
    album.index()
    beside = album.folder / "a.jpg.xmp"
    beside.write_text(xmp(xmp_Rating="3", xmp_CreateDate=MOMENT))
    report = album.index()
    assert (report.updated, report.unchanged, report.encoded) == (1, 1, 0)
    assert album.told("a.jpg")[1].rating == 3
    assert album.index().updated == 0
    beside.write_text(xmp(xmp_Rating="5"))
    os.utime(beside, ns=(1, 1))
    report = album.index()
    assert (report.updated, report.encoded) == (1, 0)
    assert (album.told("a.jpg")[0], album.told("a.jpg")[1].rating) == (None, 5)
    beside.unlink()
    report = album.index()
    assert (report.updated, report.encoded) == (1, 0)
    assert album.told("a.jpg") == (None, NO_DETAILS)
    assert album.index().updated == 0


def test_what_a_picture_tells_stays_when_its_sidecar_is_read_anew(album: Album) -> None:
    words = "<dc:subject><rdf:Bag><rdf:li>Meer</rdf:li></rdf:Bag></dc:subject>"
    (album.folder / "a.jpg").write_bytes(plain(exif=exif(OWN), xmp=xmp(words).encode()))
    album.index()
    (album.folder / "a.xmp").write_text(
        xmp("<dc:subject><rdf:Bag><rdf:li>Ebbe</rdf:li></rdf:Bag></dc:subject>")
    )
    album.index()
    at, details = album.told("a.jpg")
    assert (at, details.taken_from, details.keywords) == (
        *("2001-02-03T04:05:06", "exif"),
        ("Meer", "Ebbe"),
    )


def test_texts_behind_a_pngs_pixels_are_not_lost_when_its_sidecar_is_read_anew(
    album: Album,
) -> None:
    data = png_with(Creation_Time="2019:07:21 10:11:12")
    start = data.index(b"tEXt") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4])
    text, data = data[start:end], data[:start] + data[end:]
    place = data.index(b"IEND") - 4
    path = album.folder / "a.png"
    path.write_bytes(data[:place] + text + data[place:])
    album.index()
    assert album.told("a.png")[0] == MOMENT
    (album.folder / "a.xmp").write_text(xmp(xmp_Rating="2"))
    assert album.index().updated == 1
    assert (album.told("a.png")[0], album.told("a.png")[1].rating) == (MOMENT, 2)
    with path.open("rb") as file:
        assert len(leave_out_pixels(file).read()) < 200


def test_a_copy_tells_by_its_own_name_and_sidecars(album: Album) -> None:
    first = album.folder / "IMG_20200131_235958.jpg"
    first.write_bytes(plain(xmp=xmp(xmp_Rating="1").encode()))
    (album.folder / "IMG_20200131_235958.xmp").write_text(xmp(xmp_Rating="4"))
    album.index()
    assert album.told(first.name)[1].rating == 4
    shutil.copy(first, album.folder / "holiday.jpg")
    assert album.index().encoded == 0
    assert album.told("holiday.jpg") == (None, Details(rating=1))


def test_copies_that_come_together_tell_by_their_own_names(album: Album) -> None:
    data = plain()
    for name in ("IMG_20200131_235958.jpg", "holiday.jpg", "2019-07-21 10.11.12.jpg"):
        (album.folder / name).write_bytes(data)
    album.index()
    assert album.told("IMG_20200131_235958.jpg")[0] == "2020-01-31T23:59:58"
    assert album.told("2019-07-21 10.11.12.jpg")[0] == MOMENT
    assert album.told("holiday.jpg")[0] is None


def test_a_picture_that_moves_keeps_what_its_name_told_and_leaves_its_sidecar(
    album: Album,
) -> None:
    named = album.folder / "IMG_20200131_235958.jpg"
    named.write_bytes(plain())
    (album.folder / "IMG_20200131_235958.xmp").write_text(xmp(xmp_Rating="4"))
    album.index()
    (album.folder / "x").mkdir()
    shutil.move(named, album.folder / "x")
    shutil.move(album.folder / "IMG_20200131_235958.xmp", album.folder / "x")
    report = album.index()
    assert (report.moved, report.encoded) == (1, 0)
    assert album.told(f"x/{named.name}")[1].rating == 4
    shutil.move(album.folder / "x" / named.name, named)
    report = album.index()
    assert (report.moved, report.encoded) == (1, 0)
    assert album.told(named.name) == ("2020-01-31T23:59:58", Details("name"))
    assert album.index().updated == 0


def test_a_damaged_sidecar_takes_nothing_from_the_picture(album: Album) -> None:
    (album.folder / "a.jpg").write_bytes(plain(exif=exif(OWN)))
    (album.folder / "a.jpg.json").write_bytes(b"[" * 100_000)
    (album.folder / "a.xmp").write_bytes(b"<!DOCTYPE x [<!ENTITY a SYSTEM '/etc/passwd'>]><x>&a;")
    album.index()
    at, details = album.told("a.jpg")
    assert at == "2001-02-03T04:05:06"
    assert details == Details("exif", sidecars=details.sidecars)
    assert len(details.sidecars) == 2
    assert album.index().updated == 0


def test_a_link_that_leads_out_is_no_sidecar_where_links_may_not(
    album: Album, tmp_path: Path
) -> None:
    (album.folder / "a.jpg").write_bytes(plain())
    (tmp_path / "secret").write_text(xmp(xmp_Rating="4"))
    (album.folder / "a.xmp").symlink_to(tmp_path / "secret")
    album.index(inside=[str(album.folder)])
    assert album.told("a.jpg")[1] == NO_DETAILS


@pytest.mark.parametrize("isolate", [True, False])
def test_pictures_of_a_library_of_before_are_asked_once_without_encoding(
    album: Album, isolate: bool
) -> None:
    (album.folder / "a.jpg").write_bytes(plain(xmp=xmp(xmp_CreateDate=MOMENT).encode()))
    (album.folder / "b.jpg").write_bytes(plain(exif=exif(OWN)))
    (album.folder / "c.jpg").write_bytes(plain())
    album.index(isolate=isolate)
    with closing(sqlite3.connect(album.library.folder / CATALOGUE)) as connection, connection:
        connection.execute("DELETE FROM details")
        connection.execute("UPDATE pictures SET taken_at = NULL WHERE path LIKE '%a.jpg'")
    seal_anew(album.library.folder)
    report = album.index(isolate=isolate)
    assert (report.unchanged, report.updated, report.encoded) == (1, 2, 0)
    assert album.told("a.jpg") == (MOMENT, Details("xmp"))
    assert album.told("b.jpg") == ("2001-02-03T04:05:06", Details("exif"))
    assert album.told("c.jpg") == (None, NO_DETAILS)
    assert album.index(isolate=isolate).updated == 0


def test_asking_a_library_of_before_can_be_stopped_and_goes_on_with_the_next_run(
    album: Album, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        (album.folder / f"{number:02}.jpg").write_bytes(plain(exif=exif(OWN)))
    album.index()
    with closing(sqlite3.connect(album.library.folder / CATALOGUE)) as connection, connection:
        connection.execute("DELETE FROM details")
    seal_anew(album.library.folder)
    monkeypatch.setattr("parecido.indexer.indexing.changed_files._PULSE_SECONDS", 0.0)
    looks: list[int] = []

    def stop() -> bool:
        looks.append(1)
        return len(looks) > 8

    report = index(album.library, [album.folder], encoder=album.encoder, stop=stop)
    assert report.interrupted
    left = len(album.library.catalogue.details.find_unknown())
    assert 0 < left < 20
    report = album.index()
    assert (report.updated, report.removed, report.encoded) == (left, 0, 0)


def test_pictures_are_only_read(album: Album) -> None:
    path = album.folder / "a.jpg"
    Image.effect_noise((40, 30), 60).save(path)
    (album.folder / "a.xmp").write_text(xmp(xmp_Rating="4"))
    before = {name: (album.folder / name).read_bytes() for name in ("a.jpg", "a.xmp")}
    album.index()
    assert sorted(os.listdir(album.folder)) == ["a.jpg", "a.xmp"]
    assert {name: (album.folder / name).read_bytes() for name in before} == before
