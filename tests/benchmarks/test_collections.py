"""The collections on which retrieval is measured: their groups, their files, and their chance."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.collections import documents, drawings, gatherings, textures
from benchmarks.collections import writing as collections
from benchmarks.collections.alterations import chance, on_white, turned_window
from benchmarks.collections.gatherings import Item


def rows(groups_csv: Path) -> list[dict[str, str]]:
    with groups_csv.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def colours(content: bytes, side: int = 8) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB").resize((side, side)), np.float32)


def sizes(items: Iterable[Item]) -> Counter[str]:
    return Counter(item.group for item in items)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collection ``two`` of two groups of one picture each, and a distractor."""

    def items(sets: Path, seed: int, pool: object) -> Iterable[Item]:
        del sets, pool
        for group in ("a", "b", ""):
            yield Item(group, (group or "none").encode().upper)

    monkeypatch.setattr(collections, "COLLECTIONS", {"two": items})


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Sets as the shared ones are laid out, with all of their classes, in tiny pictures."""
    home = tmp_path / "sets"
    kin = [name for group in gatherings.KIN.values() for name in group]
    alone = ["accordion", "dollar_bill", "stop_sign", "panda", "anchor", "barrel", "brain"]
    classes = dict.fromkeys([*kin, *alone, *(f"class{i}" for i in range(20))], 12)
    objects = {f"{number:03d}": 4 for number in range(40)}
    shade = 0
    for name, groups in (("caltech101-mini", classes), ("ukbench-mini", objects)):
        (home / name / "images").mkdir(parents=True)
        lines = ["path,group"]
        for group, count in groups.items():
            for number in range(count):
                shade += 1
                path = f"images/{group}-{number}.jpg"
                colour = (shade % 256, shade // 256 * 40, 90)
                Image.new("RGB", (24, 16), colour).save(home / name / path)
                with (home / name / path).open("ab") as file:
                    file.write(path.encode())  # equal colours must not make equal files
                lines.append(f"{path},{group}")
        (home / name / "groups.csv").write_text("\n".join(lines) + "\n")
    imagenet = home / "imagenet-mini" / "images"
    imagenet.mkdir(parents=True)
    for name in ("n01882714_koala", "n02007558_flamingo"):
        Image.new("RGB", (24, 16), (250, 250, 10)).save(imagenet / f"{name}.jpg")
    return home


# -- what is written -------------------------------------------------------------------------------


@pytest.mark.usefixtures("made")
def test_a_collection_is_a_csv_beside_its_pictures_and_a_distractor_has_no_group(
    tmp_path: Path,
) -> None:
    written = collections.write("two", tmp_path, sets=tmp_path, processes=1)
    found = rows(written)
    assert [row["group"] for row in found] == ["a", "b", ""]
    contents = [(written.parent / row["path"]).read_bytes() for row in found]
    assert contents == [b"A", b"B", b"NONE"]
    assert os.listdir(tmp_path) == ["two"], "nothing unfinished is left"


@pytest.mark.usefixtures("made")
def test_a_collection_that_cannot_be_made_leaves_the_older_one_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = collections.write("two", tmp_path, sets=tmp_path, processes=1).read_text()

    def missing(sets: Path, seed: int, pool: object) -> Iterable[Item]:
        raise FileNotFoundError("There is no drawing here: install openclipart-png.")

    monkeypatch.setattr(collections, "COLLECTIONS", {"two": missing})
    assert collections.main([str(tmp_path), "two"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "two was skipped" in said.err
    assert "openclipart-png" in said.err
    assert (tmp_path / "two" / "groups.csv").read_text() == before


def test_a_name_means_itself_or_all_that_go_on_from_it() -> None:
    assert collections.chosen(["small-10"]) == [f"small-10-{draw}" for draw in "abcde"]
    assert collections.chosen(["textures", "textures"]) == ["textures"]
    assert collections.chosen([]) == list(collections.COLLECTIONS)
    with pytest.raises(ValueError, match="There is no collection nothing; there are uneven"):
        collections.chosen(["nothing"])


def test_shared_sets_are_named_and_nothing_is_written_for_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert collections.main([str(tmp_path / "out"), "--sets", "/s", "ukbench"]) == 0
    assert capsys.readouterr().out == "ukbench\t/s/ukbench-mini/groups.csv\n"
    assert not (tmp_path / "out").exists()


# -- out of photographs ----------------------------------------------------------------------------


def test_uneven_groups_have_2_to_60_pictures_and_share_none(photographs: Path) -> None:
    items = list(gatherings.uneven(photographs, 0))
    found = sizes(items)
    assert min(found.values()) >= 2
    assert max(found.values()) == 60
    assert found["grazing-mammals"] == 60
    assert found["panda+altered"] == 60
    assert len(set(found.values())) > 8, "sizes vary"
    assert not set(found) & {name for kin in gatherings.KIN.values() for name in kin}
    kept = [item.content() for item in items if not item.group.endswith("+altered")]
    assert len(set(kept)) == len(kept)


def test_a_small_library_has_its_count_and_its_distractors_have_no_group_there(
    photographs: Path,
) -> None:
    for count in (10, 30):
        items = list(gatherings.small(photographs, 0, count, "a"))
        found = sizes(items)
        distractors = found.pop("", 0)
        assert sum(found.values()) + distractors == count
        assert all(2 <= size <= (3 if count == 10 else 6) for size in found.values())
        assert len({item.content() for item in items}) == count, "no picture twice"
    assert distractors >= 6


def test_draws_of_a_small_library_differ(photographs: Path) -> None:
    a, b = (sizes(gatherings.small(photographs, 0, 30, draw)) for draw in "ab")
    assert a != b


def test_a_large_library_keeps_every_group_and_fills_up_with_distractors(
    photographs: Path, tmp_path: Path
) -> None:
    clipart = tmp_path / "clipart"
    (clipart / "shapes").mkdir(parents=True)
    for name in ("stop", "square"):
        drawing = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
        drawing.paste((200, 0, 0, 255), (16, 16, 48, 48))
        drawing.save(clipart / "shapes" / f"{name}.png")
    items = list(gatherings.large(photographs, 0, 1000, clipart))
    found = sizes(items)
    assert len(items) == 1000
    assert set(found.values()) == {12, found[""]}
    names = [item.content.args[0].name for item in items if not item.group]  # type: ignore[attr-defined]
    assert names.count("square.png") == 1
    assert "stop.png" not in names
    assert "n01882714_koala.jpg" in names
    assert "n02007558_flamingo.jpg" not in names, "a class of caltech101-mini is no distractor"
    with Image.open(io.BytesIO(items[-1].content())) as last:
        assert max(last.size) == 300


@pytest.mark.sets
def test_the_shared_photographs_give_the_counts_of_the_collections(
    sets: Callable[[str], Path],
) -> None:
    home = sets("caltech101-mini").parent
    found = sizes(gatherings.uneven(home, 0))
    assert len(found) == 101 - sum(len(kin) - 1 for kin in gatherings.KIN.values())
    for count in (10, 30, 100, 300):
        assert sizes(gatherings.small(home, 0, count, "c")).total() == count


# -- textures, documents, drawings -----------------------------------------------------------------


@pytest.mark.parametrize("group", ["sand", "honeycomb-fine", "cloth-twill", "slates"])
def test_members_of_a_texture_differ_and_come_again_from_the_same_seed(group: str) -> None:
    first = textures.members(group, 0, 3)
    assert first == textures.members(group, 0, 3)
    assert first != textures.members(group, 1, 3)
    assert len(set(first)) == 3
    with Image.open(io.BytesIO(first[0])) as picture:
        assert (picture.format, picture.size, picture.mode) == ("JPEG", (320, 320), "RGB")
        assert np.asarray(picture.convert("L")).std() > 8, "a pattern is to be seen"


def test_a_turned_window_lies_inside_the_picture() -> None:
    red = Image.new("RGB", (100, 100), (200, 10, 10))
    for draw in range(20):
        window = turned_window(red, chance(0, draw), 75, 15, 40)
        assert np.asarray(window).reshape(-1, 3).min(0).tolist() == [200, 10, 10]
    with pytest.raises(ValueError, match="does not fit"):
        turned_window(red, chance(0), 101, 0, 40)


@pytest.mark.parametrize("kind", documents.LAYOUTS)
def test_pages_of_a_template_differ_in_words_and_come_again_from_the_same_seed(kind: str) -> None:
    first = documents.members(f"{kind}-1", 0, 2)
    assert first == documents.members(f"{kind}-1", 0, 2)
    assert first[0] != first[1]
    with Image.open(io.BytesIO(first[0])) as page:
        assert max(page.size) == 640


def test_there_are_about_60_textures_and_60_templates() -> None:
    assert (len(textures.GROUPS), len(documents.GROUPS)) == (60, 60)


def test_slides_of_one_template_are_nearer_than_those_of_another() -> None:
    pages = {group: documents.members(group, 0, 3) for group in ("slide-1", "slide-2", "slide-3")}
    views = {group: [colours(page) for page in files] for group, files in pages.items()}

    def apart(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.abs(a - b).mean())

    within = [apart(a, b) for files in views.values() for a, b in combinations(files, 2)]
    between = [apart(a, b) for g, h in combinations(views, 2) for a in views[g] for b in views[h]]
    assert np.mean(within) < np.mean(between) / 2


def test_a_drawing_counts_for_its_first_group_and_only_once(tmp_path: Path) -> None:
    for path in (
        "animals/bugs/bee",
        "animals/bugs/bee2",
        "animals/fish/dolphin",
        "animals/mammals/dolphin",
        "animals/fish/orca",
        "animals/bugs/fly",
    ):
        target = tmp_path / f"{path}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGBA", (30, 40), (0, 0, 200, 255)).save(target)
    found = drawings.choose(0, tmp_path)
    assert {group: [path.name for path in paths] for group, paths in found.items()} == {
        "ants-and-bees": ["bee.png", "bee2.png"],
        "dolphins-and-whales": ["dolphin.png", "orca.png"],
    }


def test_drawings_that_are_not_installed_are_missed_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="install openclipart-png"):
        list(drawings.drawings(0, tmp_path))


def test_a_drawing_lies_on_white_without_the_empty_paper_around_it(tmp_path: Path) -> None:
    drawing = Image.new("RGBA", (400, 800), (0, 0, 0, 0))
    drawing.paste((0, 0, 200, 255), (100, 100, 200, 140))
    drawing.save(tmp_path / "small.png")
    picture = on_white(tmp_path / "small.png", 512)
    assert picture.size == (110, 50)  # 100 × 40 and a twentieth of 100 on every side
    assert picture.getpixel((0, 0)) == (255, 255, 255)
    assert picture.getpixel((55, 25)) == (0, 0, 200)


@pytest.mark.skipif(not drawings.OPENCLIPART.is_dir(), reason="openclipart-png is not installed")
def test_every_group_of_drawings_has_2_to_40_pictures() -> None:
    found = drawings.choose(0)
    assert set(found) == set(drawings.GROUPS)
    assert all(2 <= len(paths) <= 40 for paths in found.values())
    every = [path for paths in found.values() for path in paths]
    assert len(set(every)) == len(every)
