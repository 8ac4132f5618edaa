"""The filters as options of a command: what is typed, and which pictures that lets through."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from parecido.indexer.encoders.imagenet.words import classes_of
from parecido.indexer.errors import InvalidRequest
from parecido.indexer.indexing.pipeline import index
from parecido.indexer.library.library import Library
from parecido.indexer.pictures import opening
from parecido.indexer.records.choices import FORMATS
from parecido.indexer.records.filters import Filter
from parecido.search.commands import filters as options
from parecido.search.commands.filters import filter_of, filter_options
from tests.support.fakes import fake_encoder, save_picture
from tests.support.harness import run_parecido
from tests.support.places import REPOSITORY


@click.command()
@click.argument("images", nargs=-1)
@click.option("-k", type=int)
@filter_options
def command(images: tuple[str, ...], k: int | None, **given: Any) -> None:
    """A command as it would be written."""
    wanted = filter_of(given)
    assert given == {}
    click.echo(repr(wanted))


def typed(*words: str | Path) -> Filter:
    """The filter that comes of a command line."""
    done = CliRunner().invoke(command, [str(word) for word in words])
    if done.exception is not None:
        raise done.exception
    wanted: Filter = eval(done.stdout, {"Filter": Filter})  # a dataclass writes itself so
    return wanted


def refused(*words: str) -> str:
    """What is wrong with a command line."""
    done = CliRunner().invoke(command, words)
    assert isinstance(done.exception, InvalidRequest), done.output
    return str(done.exception)


def test_without_options_all_pass() -> None:
    assert typed() == typed("photo.jpg", "-k", "3") == Filter()
    assert typed().passes_all


def test_every_option_has_its_place_in_the_filter() -> None:
    sizes = ("--min-width", "1", "--max-width", "2", "--min-height", "3", "--max-height", "4")
    dates = ("--taken-from", "2023", "--taken-to", "2024-05", "--added-since", "2024-05-01")
    told = ("--near", "-33.86,151.2,5", "--keyword", "Meer", "--min-rating", "3")
    what = ("--label", "tiger", "--path", "/p/q", "--camera", "Leica", "--format", "PNG")
    assert typed(*sizes, *dates, *told, *what) == Filter(
        path="/p/q",
        format="PNG",
        camera="Leica",
        min_width=1,
        max_width=2,
        min_height=3,
        max_height=4,
        taken_from="2023",
        taken_to="2024-05",
        added_since="2024-05-01",
        near=(-33.86, 151.2, 5.0),
        keyword="Meer",
        min_rating=3,
        classes=(292,),
    )


def test_each_option_explains_itself_in_the_help_in_this_order() -> None:
    shown = CliRunner().invoke(command, ["--help"]).stdout
    names = (
        *("--label", "--path", "--taken-from", "--taken-to", "--added-since", "--near"),
        *("--keyword", "--min-rating", "--camera", "--format"),
        *("--min-width", "--max-width", "--min-height", "--max-height"),
    )
    places = [shown.index(f"{name} ") for name in names]
    assert places == sorted(places)
    assert shown.count("Only ") == len(names)


def test_a_label_stands_for_synonyms_and_broader_words() -> None:
    assert typed("--label", "Dogs").classes == tuple(range(151, 269))
    assert typed("--label", "cell-phone").classes == (487,)
    assert set(typed("--label", "crane").classes or ()) == classes_of("crane") == {134, 517}


def test_what_cannot_be_meant_is_told() -> None:
    assert "tiger" in refused("--label", "tigr")
    assert "no date" in refused("--taken-from", "yesterday")
    assert "no date" in refused("--added-since", "2024-02-30")
    for place in ("Paris", "48.8,2.3", "91,2,5", "48,181,5", "48,2,0", "48,2,inf", "nan,2,5"):
        assert "no place" in refused("--near", place)
    assert "no file format" in refused("--format", "docx")
    assert "8 stars" in refused("--path", "*a" * 9)
    assert "above the upper" in refused("--min-width", "9", "--max-width", "8")
    assert "above the upper" in refused("--taken-from", "2024", "--taken-to", "2023")
    for name in ("--label", "--path", "--camera", "--format", "--taken-to", "--near", "--keyword"):
        assert refused(name, "") == f"{name} is empty. Give it a value, or leave it out."


def test_a_side_is_a_positive_number() -> None:
    for value in ("0", "-3", "wide"):
        done = CliRunner().invoke(command, ["--min-height", value])
        assert done.exit_code == 2
        assert "--min-height" in done.stderr


# -- formats ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        *(("jpg", "JPEG"), (".JPG", "JPEG"), ("jpeg", "JPEG"), ("tif", "TIFF"), ("WebP", "WEBP")),
        *(("heic", "HEIF"), ("jp2", "JPEG2000"), ("JPEG 2000", "JPEG2000"), ("png", "PNG")),
    ],
)
def test_formats_go_by_the_names_that_people_use(name: str, meant: str) -> None:
    assert typed("--format", name).format == meant


def test_the_formats_are_those_that_are_read() -> None:
    read = {*opening._readable(heif=False), *opening._readable(heif=True)}
    assert set(FORMATS) == {*read, "MPO"}  # which Pillow opens as JPEG, and tells apart then
    assert set(options._ALSO.values()) <= set(FORMATS)


# -- paths -----------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a bracket in its name."""
    folder = tmp_path / "my [old] photos"
    for name in ("a/1.png", "a/2.jpg", "trip [1]/3.png", "what?.png"):
        save_picture(folder / name, len(name))
    monkeypatch.chdir(folder)
    return folder


def passing(folder: Path, path: str) -> list[str]:
    """Which pictures of the folder a path lets through, relative to it."""
    with Library.create(folder.parent / "library") as library:
        index(library, [folder], encoder=fake_encoder())
        found = library.catalogue.list_pictures(typed("--path", path), "path", 100)
    return [str(Path(picture.path).relative_to(folder)) for picture in found]


ALL = ["a/1.png", "a/2.jpg", "trip [1]/3.png", "what?.png"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        *((".", ALL), ("a", ALL[:2]), ("a/", ALL[:2]), ("./a/../a/2.jpg", [ALL[1]])),
        *(("*.png", [ALL[0], ALL[2], ALL[3]]), ("a/*.png", [ALL[0]]), ("[ab]/?.jpg", [ALL[1]])),
        *(("trip [1]", [ALL[2]]), ("trip [1]/3.png", [ALL[2]]), ("what?.png", [ALL[3]])),
        *(("../*/a/*", ALL[:2]), ("*/trip*", [ALL[2]]), ("b/*", []), ("nowhere", [])),
    ],
)
def test_paths_are_meant_from_the_current_folder_and_as_they_lie_there(
    folder: Path, path: str, expected: list[str]
) -> None:
    assert passing(folder, path) == expected


def test_the_folder_itself_is_found_by_its_absolute_name(folder: Path) -> None:
    assert passing(folder, str(folder)) == ALL


def test_a_folder_that_is_gone_from_the_disk_is_still_found(folder: Path) -> None:
    assert passing(folder, "a") == ALL[:2]
    (folder / "a").rename(folder / "b")
    with Library.open(folder.parent / "library") as library:
        assert len(library.catalogue.list_pictures(typed("--path", "a"), "path", 9)) == 2


def test_a_tilde_is_the_home_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ana")
    assert typed("--path", "~/Photos").path == "/home/ana/Photos"
    assert typed("--path", "~/Photos/*.jpg").path == "/home/ana/Photos/*.jpg"


def test_the_options_cost_nothing_before_they_are_given() -> None:
    code = (
        "import sys, parecido.search.commands.filters\n"
        "rooms = {'records.filters', 'pictures.walking.walk', 'encoders.encoder'}\n"
        "heavy = {'numpy', 'PIL', *('parecido.indexer.' + room for room in rooms)}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout == "[]\n"


def test_a_path_that_no_picture_has_is_told(tmp_path: Path) -> None:
    save_picture(tmp_path / "p" / "a.png", 1)
    place = ("--library", tmp_path / "library")
    assert run_parecido("index", tmp_path / "p", *place).returncode == 0
    asked = ("search", tmp_path / "p" / "a.png", *place, "--path")
    note = f"No picture has a path like {tmp_path / 'q'}."
    done = run_parecido(*asked, tmp_path / "q")
    assert (done.returncode, done.stderr) == (0, f"parecido: {note}\n")
    told = json.loads(run_parecido(*asked, tmp_path / "q", "--json").stdout)
    assert (told["hits"], told["note"]) == ([], note)
    # the picture itself is left out of its own hits; that is no slip
    done = run_parecido(*asked, tmp_path / "p", "--json")
    assert (done.stderr, json.loads(done.stdout).get("note")) == ("", None)
