"""The command line where a library has learned: chance, a second thought, several pictures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from parecido.indexer.indexing.options import IndexOptions
from parecido.indexer.indexing.pipeline import index
from parecido.indexer.library.library import Library
from tests.commands.test_cli import one_line, run
from tests.support.fakes import fake_encoder, save_pictures


@pytest.fixture(scope="module")
def eighty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 80 pictures and a library of them, which has a space of its own."""
    folder = tmp_path_factory.mktemp("eighty")
    save_pictures(folder / "pictures", 80)
    with Library.create(folder / "library") as library:
        index(library, [folder / "pictures"], encoder=fake_encoder())
        assert library.catalogue.settings.space() is not None
    return folder


# Worked out apart from the program, with NumPy and the slow reference of
# tests/ranking/test_rerank.py: 0.8183, 0.6647, 0.5609, 0.5300; cosines 0.8189, 0.5250, 0.3500,
# 0.5043; of 80 pictures 0.160, 1.77, 10.1 and 2.07 are expected to reach these by chance.
TABLE_OF_A_SECOND_THOUGHT = """\
PICTURES/0064.png · N ms
    again  score  chance   size  labels  path
 1  0.818  0.819     0.2  48×40          PICTURES/0051.png
 2  0.665  0.525     1.8  48×40          PICTURES/0023.png
 3  0.561  0.350      10  48×40          PICTURES/0077.png
 4  0.530  0.504     2.1  48×40          PICTURES/0062.png

"""


def test_the_table_tells_of_chance_and_of_a_second_thought(eighty: Path) -> None:
    def shown(*options: object) -> str:
        query = eighty / "pictures" / "0064.png"
        done = run("search", query, "-k", 4, *options, "--library", eighty / "library")
        assert done.stderr == ""
        out = done.stdout.replace(str(eighty / "pictures"), "PICTURES")
        return re.sub(r"\d+ ms", "N ms", out)

    assert shown("--rerank") == TABLE_OF_A_SECOND_THOUGHT
    once = shown("--no-expand").splitlines()
    assert once[1] == "    score  chance   size  labels  path"
    assert once[2] == " 1  0.819     0.2  48×40          PICTURES/0051.png"
    assert [line.rpartition("/")[2] for line in once[3:5]] == ["0023.png", "0062.png"]


def test_the_json_of_a_second_thought_has_its_keys(eighty: Path) -> None:
    query = eighty / "pictures" / "0064.png"
    options = ("--json", "--library", eighty / "library")
    keys = {"rank", "id", "score", "path", "width", "height", "labels", "chance", "same"}
    for more, expected in (((), keys), (("--expand",), keys | {"second"})):
        (line,) = run("search", query, *more, *options).stdout.splitlines()
        hits = json.loads(line)["hits"]
        assert len(hits) == 10
        assert all(set(hit) == expected for hit in hits)


@pytest.mark.parametrize(
    ("word", "most"), [("thing", 0.3), ("kind", 3.0), ("2.1", 2.1), ("1e9", 1e9)]
)
def test_a_maximum_of_chance_is_a_word_or_a_number(word: str, most: float, eighty: Path) -> None:
    def hits(*options: object) -> list[dict[str, float]]:
        query = eighty / "pictures" / "0064.png"
        arguments = ("search", query, "-k", 20, "--json", *options, "--library", eighty / "library")
        found: list[dict[str, float]] = json.loads(run(*arguments).stdout)["hits"]
        return found

    everything = hits()
    assert hits("--max-chance", word) == [hit for hit in everything if hit["chance"] <= most]
    assert any(hit["chance"] > 3 for hit in everything)


def test_the_word_picture_leaves_what_shows_the_same_and_nothing_else(eighty: Path) -> None:
    query = eighty / "pictures" / "0064.png"
    arguments = ("search", query, "-k", 20, "--json", "--library", eighty / "library")
    everything = json.loads(run(*arguments, "--include-self").stdout)["hits"]
    same = json.loads(run(*arguments, "--include-self", "--max-chance", "picture").stdout)["hits"]
    assert everything[0]["path"] == str(query)
    assert everything[0]["same"] is True
    assert 0 < len(same) < 20
    assert [hit["id"] for hit in same] == [hit["id"] for hit in everything if hit["same"]]
    assert [hit["rank"] for hit in same] == list(range(1, len(same) + 1))


@pytest.mark.parametrize("bad", ["0", "-1", "nan", "", "Thing", "often", "1,5"])
def test_another_maximum_of_chance_is_wrong_usage(bad: str, tmp_path: Path) -> None:
    said = run("search", tmp_path / "x.png", f"--max-chance={bad}", code=2).stderr
    assert f"{bad!r} is neither picture, thing, kind nor a number above 0." in said


def test_a_library_too_small_for_chance_says_so_in_one_line(
    indexed: Library, tmp_path: Path
) -> None:
    query = tmp_path / "pictures" / "0003.png"
    said = one_line(
        run("search", query, "--max-chance", "kind", "--library", indexed.folder, code=1)
    )
    assert "too small to tell what is chance" in said
    assert "From 64 pictures on" in said


def test_what_cannot_be_asked_together_is_one_line_or_wrong_usage(eighty: Path) -> None:
    picture, other = (eighty / "pictures" / f"{name}.png" for name in ("0003", "0004"))
    none = eighty / "pictures" / "none.png"
    library = ("--library", eighty / "library")

    def failed(*arguments: object) -> str:
        return one_line(run("search", *arguments, *library, code=1))

    def misused(*arguments: object) -> str:
        done = run("search", *arguments, *library, code=2)
        assert done.stdout == ""
        return done.stderr

    # one query of several pictures fails as a whole
    for arguments in ((picture, none, "--together", "mean"), (picture, "--like", none)):
        assert f"{none} is not there" in failed(*arguments)
    assert f"{none} is not there" in failed(picture, "--unlike", none)
    assert "none that they should be like" in failed("--unlike", picture)
    assert "Missing argument" in misused("--together", "any")
    assert "'most' is not one of 'mean', 'any'" in misused(picture, "--together", "most")

    region = ("--region", "0,0,10,10")
    assert "2 were given" in failed(picture, other, "--together", "any", *region)
    assert "'1,2,3' is no region" in failed(picture, "--region", "1,2,3")
    assert "'' is no region" in failed(picture, "--region", "")
    assert "reaches outside the picture of 48 × 40" in failed(picture, "--region", "40,0,20,20")

    assert "Near it are: tiger," in failed(picture, "--label", "tigr")
    assert "--label is empty" in failed("--label", " ")
    for arguments in ((picture, "--label", "dog"), ("--label", "dog")):
        assert "has no ImageNet classifier" in failed(*arguments)
    for option in (
        *(("--region", "0,0,5,5"), ("--together", "any"), ("--rerank",), ("--expand",)),
        *(("--max-chance", "thing"), ("--min-score", 0.5), ("--any-orientation",), ("--exact",)),
        *(("--within",), ("--include-self",)),
    ):
        said = misused("--label", "dog", *option)
        assert f"{option[0]} needs a picture to compare with." in said
    assert "nothing to draw" in misused("--label", "dog", "--sheet", "x.png")


def test_several_pictures_are_one_query_or_several(eighty: Path) -> None:
    given = [eighty / "pictures" / f"{name}.png" for name in ("0003", "0004")]
    one, other = given

    def asked(*arguments: object) -> list[dict[str, object]]:
        out = run("search", *arguments, "--json", "--library", eighty / "library").stdout
        return [json.loads(line) for line in out.splitlines()]

    assert [found["query"] for found in asked(one, other)] == [str(one), str(other)]
    (mean,) = asked(one, other, "--together", "mean")
    (liked,) = asked(one, "--like", other)
    assert mean["query"] == liked["query"] == f"{one} + {other}"
    assert mean["hits"] == liked["hits"]
    (either,) = asked(one, other, "--together", "any")
    assert either["query"] == f"{one} | {other}"
    assert either["hits"] != mean["hits"]
    (without,) = asked(one, "--unlike", other)
    assert without["query"] == f"{one} - {other}"
    for found in (mean, either, without):
        paths = {hit["path"] for hit in found["hits"]}  # type: ignore[attr-defined]
        assert len(paths) == 10
        assert not paths & {str(one), str(other)}


def test_info_tells_of_a_librarys_own_space(eighty: Path, tmp_path: Path) -> None:
    facts = json.loads(run("info", "--json", "--library", eighty / "library").stdout)
    assert (facts["dimension"], facts["space_dimension"], facts["space_learned_from"]) == (
        *(12, 12, 80),
    )
    assert facts["space_kept"] == 1.0  # all twelve directions are kept
    assert (facts["same_class"], facts["same_class_before"]) == (None, None)  # no classes
    with Library.create(tmp_path / "library") as library:
        options = IndexOptions(dimension="5", think_twice=True)
        index(library, [eighty / "pictures"], options, encoder=fake_encoder())
    facts = json.loads(run("info", "--json", "--library", tmp_path / "library").stdout)
    assert (facts["dimension"], facts["space_dimension"]) == (12, 5)
    assert 0.3 < facts["space_kept"] < 1
    assert facts["think_twice"] is True
