"""Which files beside a picture belong to it, and what they tell."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from parecido.indexer.pictures.metadata.sidecars import Sidecars, read_takeout
from tests.support.metadata import xmp

LONG = "a picture with a name that is quite long, really.jpg"


@pytest.mark.parametrize(
    ("picture", "beside"),
    [
        ("IMG.jpg", "IMG.xmp"),
        ("IMG.jpg", "IMG.jpg.xmp"),
        ("IMG.JPG", "IMG.XMP"),
        ("IMG.jpg", "IMG.jpg.json"),
        ("IMG.jpg", "IMG.jpg.supplemental-metadata.json"),
        ("IMG.jpg", "IMG.jpg.supplemental-meta.json"),
        ("IMG.jpg", "IMG.jpg.s.json"),
        ("IMG(1).jpg", "IMG.jpg(1).json"),
        ("IMG(1).jpg", "IMG.jpg.supplemental-metadata(1).json"),
        ("IMG(1).jpg", "IMG(1).jpg.json"),
        (LONG, LONG[:46] + ".json"),
        ("Küste 🌊.jpg", "Küste 🌊.jpg.json"),
    ],
)
def test_a_file_that_belongs_to_a_picture_is_found(
    tmp_path: Path, picture: str, beside: str
) -> None:
    (tmp_path / beside).write_bytes(b"{}")
    (tmp_path / "other.json").write_bytes(b"{}")
    (stamp,) = Sidecars().find(os.fsencode(tmp_path / picture))
    assert stamp == (beside, 2, (tmp_path / beside).stat().st_mtime_ns)


@pytest.mark.parametrize(
    ("picture", "beside"),
    [
        ("IMG.jpg", "IMG2.xmp"),
        ("IMG.jpg", "IMG.jpg(1).json"),
        ("IMG_12.jpg", "IMG_1.json"),
        ("IMG.jpg", "metadata.json"),
        ("IMG.jpg", "IMG.jpg.supplemental-metadata-of-others.json"),
        ("IMG.jpg", "IMG.jpg.txt"),
    ],
)
def test_one_of_another_picture_is_not(tmp_path: Path, picture: str, beside: str) -> None:
    (tmp_path / beside).write_bytes(b"{}")
    assert Sidecars().find(os.fsencode(tmp_path / picture)) == ()


def test_xmp_tells_before_takeout(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path / "IMG.jpg")
    (tmp_path / "IMG.jpg.json").write_text(json.dumps({"photoTakenTime": {"timestamp": "1"}}))
    (tmp_path / "IMG.xmp").write_text(xmp(exif_DateTimeOriginal="2019-07-21", xmp_Rating="3"))
    sidecars = Sidecars()
    told = sidecars.read(path, sidecars.find(path))
    assert [name for name, _ in told] == ["sidecar", "takeout"]
    assert told[0][1].made == ("2019-07-21", False)
    assert told[0][1].rating == 3


def test_takeout_tells_the_moment_by_greenwich_and_the_place() -> None:
    given = {
        "title": "IMG.jpg",
        "photoTakenTime": {"timestamp": "1563703872", "formatted": "21.07.2019, 10:11:12 UTC"},
        "geoData": {"latitude": 0.0, "longitude": 0.0},
        "geoDataExif": {"latitude": 48.858333, "longitude": 2.294444},
    }
    told = read_takeout(json.dumps(given).encode())
    assert told.made == ("2019-07-21T10:11:12", True)
    assert told.position == (48.858333, 2.294444)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"photoTakenTime": 3}', '{"geoData": [1]}', "[" * 100_000, "\0" * 9]
)
def test_damaged_files_tell_nothing_and_disturb_nothing(tmp_path: Path, text: str) -> None:
    path = os.fsencode(tmp_path / "IMG.jpg")
    (tmp_path / "IMG.jpg.json").write_text(text)
    (tmp_path / "IMG.xmp").write_text(text)
    sidecars = Sidecars()
    for _, told in sidecars.read(path, sidecars.find(path)):
        assert not any(told)


def test_folders_pipes_and_where_asked_links_are_no_sidecars(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path / "IMG.jpg")
    (tmp_path / "IMG.jpg.xmp").mkdir()
    os.mkfifo(tmp_path / "IMG.jpg.json")
    (tmp_path / "elsewhere").write_text(xmp(xmp_Rating="3"))
    (tmp_path / "IMG.xmp").symlink_to(tmp_path / "elsewhere")
    followed = Sidecars()
    (stamp,) = followed.find(path)
    assert followed.read(path, (stamp,))[0][1].rating == 3
    kept_in = Sidecars(follows_links=False)
    assert kept_in.find(path) == ()
    assert kept_in.read(path, (stamp,))[0][1].rating is None
    assert followed.read(path, (stamp._replace(name="IMG.jpg.json"),))[0][1].rating is None


def test_a_folder_is_listed_once_for_all_its_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[object] = []
    original = os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: listed.append(folder) or original(folder))
    sidecars = Sidecars()
    for number in range(50):
        assert sidecars.find(os.fsencode(tmp_path / f"{number}.jpg")) == ()
    assert listed == [os.fsencode(tmp_path) + b"/"]
