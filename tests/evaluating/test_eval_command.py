"""``parecido eval``: its table, its JSON, its sheet, and what it says of bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from parecido.search.cli import COMMANDS, cli
from tests.evaluating.test_evaluation import save_classes
from tests.support.fakes import fake_spec


@pytest.fixture
def parecido_eval(fakes: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """``parecido eval`` in this process, with the fake encoder; checks the exit code."""
    monkeypatch.setitem(COMMANDS, "eval", ("parecido.search.commands.evaluate:eval_command", ""))

    def run(*arguments: object, code: int = 0) -> Result:
        result = CliRunner().invoke(cli, ["eval", *map(str, arguments)])
        assert result.exit_code == code, result.output
        return result

    return run


def test_the_command_shows_a_row_for_each_recipe(
    parecido_eval: Callable[..., Result], tmp_path: Path
) -> None:
    folder = save_classes(tmp_path / "set", {"a": 4, "b": 4, "c": 4})
    result = parecido_eval(
        folder, "--recipe", "default", "--recipe", "slow: workers=1", "-k", 3, "--keep", tmp_path
    )
    lines = result.stdout.splitlines()
    assert lines[0].split() == (
        ["recipe", "encoder", "dim", "mAP", "R@1", "R@5", "R@10", "P@3", "N-S", "pictures/s"]
    )
    assert [line.split()[0] for line in lines[1:3]] == ["default", "slow"]
    for line in lines[1:3]:
        assert fake_spec().title in line
    assert lines[4] == "12 pictures in 3 groups: the smallest has 4, the median 4, the largest 4"
    assert result.stderr == ""
    # a second time nothing is encoded, and no speed is told
    again = parecido_eval(folder, "-k", 3, "--keep", tmp_path).stdout.splitlines()
    assert again[1].endswith(" -")
    assert again[1].split()[:-1] == lines[1].split()[:-1]


def test_the_figures_of_the_table_are_those_of_the_json(
    parecido_eval: Callable[..., Result], tmp_path: Path
) -> None:
    folder = save_classes(tmp_path / "set", {"a": 4, "b": 3, "c": 6}, spread=90)
    arguments = (folder, "--keep", tmp_path / "kept")
    document = json.loads(parecido_eval(*arguments, "--json", "--worst", 2).stdout)
    assert (document["collection"], document["k"]) == (str(folder), 10)
    assert document["interval"] == {"level": 0.95, "resamples": 2000, "seed": 0}
    (recipe,) = document["recipes"]
    assert (recipe["name"], recipe["index"], recipe["search"]) == ("default", {}, {})
    assert (recipe["pictures"], recipe["groups"], recipe["dimension"]) == (13, 3, 12)
    assert recipe["group_sizes"] == {"smallest": 3, "median": 4, "largest": 6}
    assert recipe["indexing"]["encoded"] == 13
    assert recipe["fingerprint"] == fake_spec().fingerprint
    assert list(recipe["measures"]) == ["mAP", "R@1", "R@5", "R@10", "P@10"]
    assert [len(query["found"]) for query in recipe["worst"]] == [8, 8]
    assert 0 < recipe["measures"]["mAP"]["value"] < 1

    table = parecido_eval(*arguments).stdout.splitlines()
    mean, low, high = (100 * recipe["measures"]["mAP"][end] for end in ("value", "low", "high"))
    assert f" {mean:.1f} ({low:.1f}–{high:.1f}) " in table[1]
    for name in ("R@1", "R@5", "R@10", "P@10"):
        assert f" {100 * recipe['measures'][name]['value']:.1f} " in table[1]


def test_distractors_of_a_csv_are_in_the_gallery_and_in_no_count(
    parecido_eval: Callable[..., Result], tmp_path: Path
) -> None:
    folder = save_classes(tmp_path / "set", {"a": 4, "b": 4, "c": 4}, spread=90)
    lines = [
        f"{path.relative_to(folder)},{path.parent.name if path.parent.name != 'c' else ''}"
        for path in sorted(folder.rglob("*.png"))
    ]
    (folder / "groups.csv").write_text("\n".join(["path,group", *lines]))
    arguments = (folder / "groups.csv", "--keep", tmp_path / "kept")
    (recipe,) = json.loads(parecido_eval(*arguments, "--json").stdout)["recipes"]
    assert (recipe["pictures"], recipe["groups"]) == (8, 2)
    assert recipe["indexing"]["encoded"] == 12
    assert recipe["group_sizes"] == {"smallest": 4, "median": 4, "largest": 4}
    shown = {found["path"] for query in recipe["worst"] for found in query["found"]}
    assert any(path.startswith(str(folder / "c")) for path in shown)
    assert not any(query["path"].startswith(str(folder / "c")) for query in recipe["worst"])
    told = parecido_eval(*arguments, "--sheet", tmp_path / "sheet.png")
    assert "8 pictures in 2 groups" in told.stdout


def test_two_runs_print_the_same(parecido_eval: Callable[..., Result], tmp_path: Path) -> None:
    arguments = (save_classes(tmp_path / "set", {"a": 4, "b": 5}), "--keep", tmp_path / "kept")
    parecido_eval(*arguments)
    assert parecido_eval(*arguments).stdout == parecido_eval(*arguments).stdout


def test_nothing_is_left_behind_without_keep(
    parecido_eval: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    parecido_eval(save_classes(tmp_path / "set", {"a": 2, "b": 3}))
    assert list((tmp_path / "tmp").iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"set", "tmp"}


def test_what_is_left_out_is_said_aloud_once(
    parecido_eval: Callable[..., Result], tmp_path: Path
) -> None:
    folder = save_classes(tmp_path / "set", {"a": 4, "b": 4, "c": 8})
    for number in range(6):
        (folder / "c" / f"{number}.png").write_bytes(b"no picture")
    (folder / "b" / "0.png").write_bytes(b"")
    for name in ("1", "2"):
        (folder / "b" / f"{name}.png").write_bytes(b"no picture")
    result = parecido_eval(folder, "--recipe", "default", "--recipe", "slow: workers=1")
    lines = result.stderr.splitlines()
    assert lines[0] == "parecido: 9 pictures cannot be read and are left out:"
    assert lines[1].startswith(f"  {folder}/b/0.png: ")
    assert lines[6] == "  … and 4 more; --json lists all"
    assert lines[7].endswith("1 group left out, with fewer than two pictures that can be read: b.")
    assert len(lines) == 8
    assert "6 pictures in 2 groups: the smallest has 2, the median 3, the largest 4" in (
        result.stdout
    )


def test_bad_input_is_one_line(parecido_eval: Callable[..., Result], tmp_path: Path) -> None:
    def said(*arguments: object, code: int = 1) -> str:
        result = parecido_eval(*arguments, code=code)
        assert result.stdout == ""
        return result.stderr

    folder = save_classes(tmp_path / "set", {"a": 2, "b": 2})
    (tmp_path / "groups.csv").write_text("path,group\nset/a/0.png,1\nset/a/7.png,1\n")
    for text in (
        said(tmp_path / "groups.csv"),
        said(tmp_path / "none"),
        said(folder, "--recipe", "x: poling=avg"),
        said(folder, "--recipe", "x"),
        said(folder, "--recipe", "x: space=off"),
        said(folder, "--sheet", "x.jpg"),
        said(folder, "--keep", folder / "kept"),
    ):
        assert text.startswith("parecido: ")
        assert text.count("\n") == 1
    assert "lies in the collection" in said(folder, "--keep", folder / "kept")
    assert "1 of the 2 pictures" in said(tmp_path / "groups.csv")
    assert "Two recipes are named 'x'" in said(
        folder, "--recipe", "x:", "--recipe", "x: workers=1", code=2
    )
    assert "-k" in said(folder, "-k", 0, code=2)


GREEN, RED = (0, 125, 90), (201, 79, 0)


def test_the_sheet_tells_right_from_wrong_by_colour_and_by_sign(
    parecido_eval: Callable[..., Result], tmp_path: Path
) -> None:
    folder = save_classes(tmp_path / "set", {"a": 3, "b": 3}, spread=90)
    sheet = tmp_path / "sheet.png"
    arguments = (folder, "--keep", tmp_path / "kept", "--worst", 4)
    document = json.loads(parecido_eval(*arguments, "--json").stdout)
    result = parecido_eval(*arguments, "--sheet", sheet)
    assert result.stderr == f"sheet written to {sheet}\n"
    worst = document["recipes"][0]["worst"]
    with Image.open(sheet) as image:
        assert image.info["Software"] == "parecido"
        pixels = np.asarray(image.convert("RGB")).astype(int)
    # four rows under a title, each of a query and the five others
    assert pixels.shape == (12 + 40 + 4 * (220 + 44 + 12), 6 * (220 + 12) + 36, 3)
    signs: dict[bool, list[np.ndarray]] = {True: [], False: []}
    for row, query in enumerate(worst):
        for column, found in enumerate(query["found"], 1):
            top, left = 52 + row * 276, 36 + column * 232
            colour = GREEN if found["right"] else RED
            assert tuple(pixels[top - 3, left + 100]) == colour  # the frame
            assert tuple(pixels[top + 1, left + 1]) == colour  # the badge
            badge = pixels[top : top + 30, left : left + 30]
            signs[found["right"]].append((badge == 255).all(axis=2))
    assert signs[True]
    assert signs[False]
    for same in signs.values():
        assert all(np.array_equal(sign, same[0]) for sign in same)
    assert (signs[True][0] != signs[False][0]).sum() > 50  # without colour, another shape


def test_a_sheet_has_the_worst_queries_of_each_recipe(
    parecido_eval: Callable[..., Result], tmp_path: Path
) -> None:
    folder = save_classes(tmp_path / "set", {"a": 3, "b": 3})
    sheet = tmp_path / "sheet.png"
    recipes = ("--recipe", "default", "--recipe", "slow: workers=1")
    parecido_eval(folder, *recipes, "--worst", 2, "--sheet", sheet)
    with Image.open(sheet) as image:
        assert image.height == 12 + 2 * (40 + 2 * 276)
