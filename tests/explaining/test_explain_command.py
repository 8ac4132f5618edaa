"""The command that explains, and its pictures: with the fake encoder, whose places are known."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from parecido.indexer.errors import InvalidRequest
from parecido.indexer.indexing.pipeline import index
from parecido.indexer.learning.space import Space
from parecido.indexer.library.library import Library
from parecido.search.commands.explain import explain_command
from parecido.search.engine import Engine
from parecido.search.explaining.contributions import Side, Why
from parecido.search.explaining.explanation import Explanation, GivenPicture, View, explain
from parecido.search.explaining.heat import draw_heat
from parecido.search.explaining.sheet import draw_pair, write_reasons
from parecido.search.sheets.canvas import check_target, save
from tests.support.fakes import fake_encoder, save_picture, save_pictures

Array = npt.NDArray[np.float64]


@pytest.fixture
def place(tmp_path: Path, fakes: None) -> Path:
    """A folder with pictures, and a library of them."""
    save_pictures(tmp_path / "pictures", 6)
    with Library.create(tmp_path / "library") as library:
        index(library, [tmp_path / "pictures"], encoder=fake_encoder())
    return tmp_path


def run(place: Path, *words: str | Path, data: bytes | None = None) -> Result:
    given = [os.fspath(word) for word in words]
    return CliRunner().invoke(
        explain_command, [*given, "--library", str(place / "library")], input=data
    )


def done(result: Result) -> str:
    assert result.exit_code == 0, result.output or result.exception
    return result.stdout


def wrong(result: Result) -> InvalidRequest:
    """The error of a command that refuses; the root command says it in one line."""
    assert isinstance(result.exception, InvalidRequest), result.exception
    return result.exception


# -- the command ----------------------------------------------------------------------------------


def test_json_tells_score_sums_residuals_and_the_box_of_each_place(place: Path) -> None:
    one, other = place / "pictures" / "0001.png", place / "pictures" / "0004.png"
    told = json.loads(done(run(place, one, other, "--json")))
    with Library.open(place / "library") as library, Engine(library) as engine:
        (hit,) = [hit for hit in engine.search(one, k=5).hits if hit.path == str(other)]
    assert told["score"] == pytest.approx(hit.score, abs=1e-6)
    assert (told["query"], told["hit"]) == (str(one), str(other))
    assert told["encoder"].startswith("fake · avg · 12-d")
    for side in told["maps"].values():
        values = np.array(side["values"])
        assert list(values.shape) == side["shape"] == [2, 2]
        assert values.sum() == pytest.approx(side["sum"], abs=1e-6)
        assert side["sum"] + side["residual"] == pytest.approx(told["score"], abs=1e-6)
        assert abs(side["residual"]) <= abs(told["residual"]) < 1e-3
        assert side["box"] == [0, 0, 48, 40]
        assert side["boxes"] == [
            [[0, 0, 24, 20], [24, 0, 24, 20]],
            [[0, 20, 24, 20], [24, 20, 24, 20]],
        ]


def test_a_part_of_the_query_has_its_boxes_where_it_lies(place: Path) -> None:
    one, other = place / "pictures" / "0001.png", place / "pictures" / "0004.png"
    told = json.loads(done(run(place, one, other, "--json", "--region", "24,0,24,20")))
    assert told["maps"]["query"]["box"] == [24, 0, 24, 20]
    assert told["maps"]["query"]["boxes"][1][1] == [36, 10, 12, 10]
    assert told["maps"]["hit"]["box"] == [0, 0, 48, 40]
    refused = wrong(run(place, one, other, "--json", "--region", "40,0,24,20"))
    assert "outside" in refused.message


def test_standard_input_and_pictures_that_are_not_indexed_are_explained(place: Path) -> None:
    one = save_picture(place / "new.png", 50)
    other = save_picture(place / "newer.png", 51)
    told = json.loads(done(run(place, "-", other, "--json", data=one.read_bytes())))
    same = json.loads(done(run(place, one, other, "--json")))
    assert told["query"] == "-"
    assert {**told, "query": str(one)} == same


def test_a_file_that_changed_since_it_was_indexed_is_seen_as_it_is_now(place: Path) -> None:
    one, other = place / "pictures" / "0001.png", place / "pictures" / "0004.png"
    before = json.loads(done(run(place, one, other, "--json")))
    save_picture(other, 1)
    after = json.loads(done(run(place, one, other, "--json")))
    assert before["score"] < 0.999
    assert after["score"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("suffix", "form"), [(".png", "PNG"), (".jpg", "JPEG"), (".JPEG", "JPEG"), (".webp", "WEBP")]
)
def test_the_picture_is_written_as_its_name_says_and_may_be_written_again(
    place: Path, suffix: str, form: str
) -> None:
    one, other = place / "pictures" / "0001.png", place / "pictures" / "0004.png"
    target = place / f"why{suffix}"
    for _ in range(2):
        told = run(place, one, other, "-o", target)
        assert done(told).endswith(f"{one}  {other}\n")
        assert f"picture written to {target}" in told.stderr
        with Image.open(target) as image:
            assert image.format == form
            assert image.width > 2 * 620
    assert sorted(path.name for path in place.iterdir()) == sorted(
        ["library", "pictures", target.name]
    )


def test_nothing_else_is_overwritten_and_nothing_is_done_in_vain(place: Path) -> None:
    one, other = place / "pictures" / "0001.png", place / "pictures" / "0004.png"
    bytes_before = other.read_bytes()
    for target, said in (
        (other, "did not draw it"),
        (place / "why.gif", "PNG or JPEG or WEBP"),
        (place / "nowhere" / "why.png", "folder"),
    ):
        assert said in wrong(run(place, one, other, "-o", target)).message
    assert other.read_bytes() == bytes_before
    (place / "text.png").write_text("mine")
    with pytest.raises(InvalidRequest, match="did not draw it"):
        check_target(str(place / "text.png"))
    nothing = run(place, one, other)
    assert nothing.exit_code == 2
    assert "-o OUT.png" in nothing.stderr


def test_what_is_not_there_or_no_picture_is_named(place: Path) -> None:
    one = place / "pictures" / "0001.png"
    (place / "text.jpg").write_text("no picture")
    for given in (place / "nothing.png", place / "text.jpg"):
        for words in ((one, given), (given, one)):
            assert str(given) in str(run(place, *words, "--json").exception)


def test_pictures_are_compared_in_the_librarys_own_space_where_it_has_one(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    space = Space(rng.random(12, np.float32) / 8, rng.normal(size=(5, 12)).astype(np.float32))
    monkeypatch.setattr(Engine, "space", space)
    paths = [str(place / "pictures" / f"{n:04d}.png") for n in (1, 4)]
    with Library.open(place / "library") as library, Engine(library) as engine:
        one, other = space.apply(engine.descriptors(paths))
        found = explain(engine, *map(GivenPicture, paths)).why
    assert found.score == pytest.approx(float(one @ other), abs=1e-5)
    for cells in (found.query, found.hit):
        assert cells.sum == pytest.approx(found.score, abs=1e-3)
        assert cells.sum + cells.residual == pytest.approx(found.score, abs=1e-12)


# -- the pictures ---------------------------------------------------------------------------------


def side(*rows: tuple[float, ...]) -> Side:
    return Side(np.array(rows), 0.0)


def png(image: Image.Image, path: Path) -> bytes:
    image.save(path)
    return path.read_bytes()


def grey_of(image: Image.Image) -> Array:
    return np.asarray(image.convert("L"), np.float64)


def test_what_adds_most_is_as_it_was_and_what_adds_nothing_is_dark_and_grey(tmp_path: Path) -> None:
    data = png(Image.new("RGB", (90, 60), (200, 120, 40)), tmp_path / "plain.png")
    view = View("plain.png", 90, 60, (0, 0, 90, 60))
    shown = draw_heat(data, view, side((0, 0, 1), (0, 0, 1)), 620)
    assert shown.size == (620, 413)
    pixels = np.asarray(shown).astype(int)
    assert np.abs(pixels[200, 610] - (200, 120, 40)).max() <= 2
    dark = pixels[200, 10]
    assert dark.max() < 50
    assert np.ptp(dark) <= 2
    # on the way from dark to bright two lines are crossed, white between black
    row = grey_of(shown)[200]
    white = np.flatnonzero(row > 210)
    assert len(np.split(white, np.flatnonzero(np.diff(white) > 1) + 1)) == 2
    for x in white:
        assert row[x - 6 : x].min() < 0.7 * row[x]
        assert row[x + 1 : x + 7].min() < 0.7 * row[x]
    # brightness alone tells: in grey the order is the same
    assert row[610] > 3 * row[10]


def test_what_speaks_against_a_match_is_as_dark_as_what_adds_nothing(tmp_path: Path) -> None:
    data = png(Image.new("RGB", (60, 60), "white"), tmp_path / "plain.png")
    view = View("plain.png", 60, 60, (0, 0, 60, 60))
    against = draw_heat(data, view, side((-5, 1)), 200)
    nothing = draw_heat(data, view, side((0, 1)), 200)
    assert np.array_equal(np.asarray(against), np.asarray(nothing))
    nowhere = draw_heat(data, view, side((-1, -2)), 200)
    assert np.asarray(nowhere).max() < 80


def test_pictures_are_upright_and_only_their_part_is_lit(tmp_path: Path) -> None:
    stored = Image.new("RGB", (80, 40), "white")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    stored.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    data = (tmp_path / "turned.jpg").read_bytes()
    view = View("turned.jpg", 40, 80, (20, 0, 40, 20))
    shown = draw_heat(data, view, side((1.0, 1.0)), 400)
    assert shown.size == (200, 400)
    grey = grey_of(shown)
    assert grey[50, 150] > 250
    assert grey[50, 50] < 80
    assert grey[300, 150] < 80


@pytest.mark.parametrize("size", [(400, 1), (1, 400), (1, 1), (3, 500)])
def test_any_shape_can_be_drawn(size: tuple[int, int], tmp_path: Path) -> None:
    data = png(Image.new("RGB", size, "red"), tmp_path / "odd.png")
    view = View("odd.png", *size, (0, 0, *size))
    cells = side((0.1, 0.3), (0.2, 0.0))
    found = Explanation(view, view, Why(0.6, cells, cells), "an encoder")
    assert draw_pair(data, data, found).width > 600


def test_names_and_residuals_do_not_spoil_the_picture(tmp_path: Path) -> None:
    data = png(Image.new("RGB", (60, 40), "red"), tmp_path / "plain.png")
    plain = View("a.png", 60, 40, (0, 0, 60, 40))
    odd = View("/x/" + "\x1b[31m\udcff\n" * 60, 60, 40, (0, 0, 60, 40))
    one, left = side((0.3, 0.3)), Side(np.array([[0.3, 0.25]]), 0.05)
    sheets = [
        draw_pair(data, data, Explanation(plain, plain, Why(0.6, one, one), "fake")),
        draw_pair(data, data, Explanation(plain, plain, Why(0.6, one, left), "fake")),
        draw_pair(data, data, Explanation(odd, odd, Why(0.6, one, one), "fake")),
    ]
    assert len({sheet.size for sheet in sheets}) == 1
    # the last line tells of what the places do not explain
    lines = [grey_of(sheet)[-50:] for sheet in sheets[:2]]
    assert (lines[1] < 200).sum() > 1.2 * (lines[0] < 200).sum()


def test_a_sheet_has_a_band_for_each_query_and_survives_a_hit_that_went(
    place: Path,
) -> None:
    queries = [place / "pictures" / f"{n:04d}.png" for n in (0, 1)]
    target = str(place / "why.png")
    with Library.open(place / "library") as library, Engine(library) as engine:
        answered = [(engine.search(query, k=4), os.fspath(query)) for query in queries]
        Path(answered[0][0].hits[1].path).unlink()
        gone = answered[0][0].hits[1].path
        answered = [pair for pair in answered if pair[1] != gone]
        write_reasons(
            engine, [*answered, (answered[0][0], queries[0].read_bytes())], target, most=3
        )
        with Image.open(target) as sheet:
            assert sheet.width == 4 * 232 + 36
            assert (sheet.height - 12) // (2 * 220 + 48 + 24) == len(answered) + 1
        found = explain(engine, GivenPicture(str(queries[0])), GivenPicture(str(queries[0])))
        assert found.why.score == pytest.approx(1, abs=1e-3)
        with pytest.raises(InvalidRequest, match="did not draw"):
            write_reasons(engine, answered, str(queries[0]))


def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(InvalidRequest, match="No space left"):
        save(Image.new("RGB", (4, 4)), str(tmp_path / "why.png"))
    assert list(tmp_path.iterdir()) == []
