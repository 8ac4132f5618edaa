"""Answers as values and as what a notebook shows of them."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parecido import Engine, Hit, Library, Results
from parecido.search.results import results_html
from tests.support.fakes import fake_encoder, save_picture
from tests.support.places import PYTHONPATH, REPOSITORY

HOSTILE = (
    *('<script>alert(1)<script>".png', "' onerror='alert(1)' x='.png", "&lt;b&gt;.png"),
    *(
        "\x1b[31m.png",
        "a\nb.png",
        os.fsdecode(b"\xff\xfe.png"),
        "\u202egnp.png",
        "a" * 240 + ".png",
    ),
)


class Seen(HTMLParser):
    """What a browser makes of some HTML: its elements with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "|".join(self.texts)

    @property
    def pictures(self) -> list[Image.Image]:
        """The pictures that lie in it."""
        found = []
        for _, attributes in self.named("img"):
            kind, _, data = attributes["src"].partition(",")
            assert kind == "data:image/jpeg;base64"
            found.append(Image.open(io.BytesIO(base64.b64decode(data, validate=True))))
        return found

    def named(self, tag: str) -> list[tuple[str, dict[str, str]]]:
        return [element for element in self.elements if element[0] == tag]

    @property
    def styles(self) -> list[str]:
        return [attributes.get("style", "") for _, attributes in self.elements]


def hit(path: Path | str, rank: int = 1, **more: object) -> Hit:
    return Hit(rank, rank, 0.987654, str(path), 48, 40, (), **more)  # type: ignore[arg-type]


def shown(*hits: Hit, query: str = "query.png") -> Seen:
    text = Results(query, "fake · avg · 12-d", 12.3, hits)._repr_html_()
    text.encode()  # a notebook's file is UTF-8
    return Seen(text)


def test_results_iterate_over_their_hits_and_have_a_length(
    indexed: Library, tmp_path: Path
) -> None:
    with Engine(indexed, encoder=fake_encoder()) as engine:
        results = engine.search(tmp_path / "pictures" / "0003.png", k=7)
    assert len(results) == 7
    assert list(results) == list(results.hits)
    assert [one.rank for one in results] == list(range(1, 8))
    first, *_ = results
    assert first is results.hits[0]
    assert len(Results("none", "fake", 1.0, ())) == 0


def test_a_notebook_gets_a_picture_for_every_hit(indexed: Library, tmp_path: Path) -> None:
    with Engine(indexed, encoder=fake_encoder()) as engine:
        results = engine.search(tmp_path / "pictures" / "0003.png", k=7)
    seen = Seen(results._repr_html_())
    assert results._repr_html_() == results_html(results)
    assert len(seen.named("img")) == 7
    for picture, one in zip(seen.pictures, results, strict=True):
        with Image.open(one.path) as original:
            assert picture.size == original.size
            there, here = (np.asarray(i.convert("RGB"), int) for i in (original, picture))
            assert np.abs(there - here).mean() < 12  # JPEG blurs the quadrants' edges
        assert os.path.basename(one.path) in seen.texts
        assert f"{one.score:.3f}" in seen.texts
    assert [text for text in seen.texts if text.endswith(" · ")] == [
        f"{rank} · " for rank in range(1, 8)
    ]
    assert results.query in seen.texts
    assert results.encoder in seen.text


def test_thumbnails_are_small_upright_and_keep_their_shape(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.new("RGB", (1200, 400), "red").save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGBA", (3000, 20), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    turned, clear = shown(hit(tmp_path / "turned.jpg"), hit(tmp_path / "clear.png")).pictures
    assert turned.size == (53, 160)
    assert clear.size == (160, 1)
    assert clear.convert("RGB").getpixel((80, 0)) == (255, 255, 255)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_is_taken_for_anything_but_text(name: str, tmp_path: Path) -> None:
    try:
        save_picture(tmp_path / "plain.png", 1).rename(tmp_path / name)
    except OSError:
        pytest.skip("the file system does not take that name")
    path = str(tmp_path / name)
    missing = hit(f"{tmp_path}/{name}/../<script>{name}", 2)
    seen = shown(hit(path), missing, query=f"{name} + <script>")
    harmless = shown(hit(save_picture(tmp_path / "plain.png", 1)), hit(tmp_path / "no.png", 2))
    assert [tag for tag, _ in seen.elements] == [tag for tag, _ in harmless.elements]
    assert [set(attributes) for _, attributes in seen.elements] == [
        set(attributes) for _, attributes in harmless.elements
    ]
    assert seen.text.isprintable()
    if name.isprintable():
        assert name in seen.texts
        assert seen.named("img")[0][1]["alt"] == name


def test_a_file_that_is_gone_or_is_no_picture_is_told_of_in_its_place(tmp_path: Path) -> None:
    there = save_picture(tmp_path / "there.png", 1)
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.png").write_bytes(there.read_bytes()[:60])
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    names = ("gone.png", "empty.png", "text.png", "cut.png", "folder.png", "pipe.png", "nul\0.png")
    seen = shown(*(hit(tmp_path / name, n) for n, name in enumerate(names, 1)), hit(there, 8))
    assert len(seen.named("figure")) == 8
    assert len(seen.named("img")) == 1
    for reason in (
        *("the file is not there any more", "the file is empty (zero bytes)"),
        *("not a picture in a format that is read", "not a regular file", "embedded null byte"),
    ):
        assert reason in seen.texts
    assert "damaged" in seen.text


def test_whatever_goes_wrong_with_one_picture_the_others_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, _: object) -> bytes:
        if path.name == "bad.png":
            raise MemoryError
        return path.read_bytes()

    monkeypatch.setattr("parecido.indexer.pictures.read.probe", fail)
    seen = shown(
        hit(save_picture(tmp_path / "bad.png", 1)), hit(save_picture(tmp_path / "b.png", 2))
    )
    assert len(seen.named("img")) == 1
    assert "MemoryError" in seen.texts


def test_a_part_that_was_found_is_framed(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png", 1)
    seen = shown(hit(path, box=(0.25, 0.0, 0.5, 1 / 3)), hit(path, 2))
    (frame,) = [style for style in seen.styles if "position:absolute" in style]
    assert frame.startswith("position:absolute;left:25.00%;top:0.00%;width:50.00%;height:33.33%;")
    titles = [attributes["title"] for _, attributes in seen.elements if "title" in attributes]
    assert titles == [f"{path}  at 25%,0%,50%,33%", str(path)]


def test_chance_and_second_scores_are_told_where_they_are_known(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png", 1)
    plain = shown(hit(path))
    assert "chance" not in plain.text
    assert "again" not in plain.text
    seen = shown(hit(path, chance=0.00003, second=0.912))
    assert "chance 3e-05" in seen.texts
    assert " · again 0.912" in seen.texts


def test_there_is_no_script_and_nothing_is_fetched(tmp_path: Path) -> None:
    seen = shown(hit(save_picture(tmp_path / "a.png", 1)), hit(tmp_path / "no.png", 2))
    assert {tag for tag, _ in seen.elements} == {"b", "div", "figcaption", "figure", "img", "span"}
    assert {name for _, attributes in seen.elements for name in attributes} == {
        *("alt", "src", "style", "title"),
    }
    assert [style for style in seen.styles if "url(" in style] == []
    assert [style for style in seen.styles if style.startswith("color")] == []


def test_nothing_found_is_said_and_a_long_list_is_cut(tmp_path: Path) -> None:
    assert "nothing found" in shown().texts
    path = save_picture(tmp_path / "a.png", 1)
    seen = shown(*(hit(path, rank) for rank in range(1, 1103)))
    assert len(seen.named("img")) == 100
    assert "and 1,002 more" in seen.texts
    assert "more" not in shown(*(hit(path, rank) for rank in range(1, 101))).text


def test_values_and_text_cost_no_imports_that_only_pictures_need(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom parecido.search.results import *\n"
        "results = Results('q', 'e', 1.0, (Hit(1, 1, 0.5, '/a.png', 1, 1, ()),))\n"
        "len(results), list(results), repr(results), results_text(results), results_dict(results)\n"
        "print(sorted({'PIL', 'base64', 'IPython', 'faiss', 'sqlalchemy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
