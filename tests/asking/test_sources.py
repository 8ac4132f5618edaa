"""What a picture may be given as: a path, bytes, an open file, a picture of PIL's, an array."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from parecido import Ask, Encoder, Engine, InvalidRequest, Library, PictureUnreadable, Region, index
from parecido.search.asking.terms import Terms, TermsGiven
from tests.support.fakes import save_picture

KINDS: dict[str, Callable[[Path], Any]] = {
    "text": str,
    "bytes": Path.read_bytes,
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "open file": lambda path: path.open("rb"),
    "BytesIO": lambda path: io.BytesIO(path.read_bytes()),
    "PIL": Image.open,
    "PIL, loaded": lambda path: Image.open(path).copy(),
    "RGB": lambda path: np.asarray(Image.open(path)),
    "RGB of another order": lambda path: np.asfortranarray(np.asarray(Image.open(path))),
    "RGBA": lambda path: np.asarray(Image.open(path).convert("RGBA")),
    "float32": lambda path: (np.asarray(Image.open(path)) / 255).astype(np.float32),
    "float64": lambda path: np.asarray(Image.open(path)) / 255,
    "float16": lambda path: (np.asarray(Image.open(path)) / 255).astype(np.float16),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_in_memory_finds_what_its_file_finds(
    kind: str, indexed: Library, tmp_path: Path, encoder: Encoder
) -> None:
    path = save_picture(tmp_path / "query.png", 4711)
    with Engine(indexed, encoder=encoder) as engine:
        expected = engine.search(path, k=20)
        found = engine.search(KINDS[kind](path), k=20)
        both = Ask((KINDS[kind](path), path), unlike=(KINDS[kind](path),), together="any")
        assert engine.ask(both, k=20).hits == engine.ask(Ask((path,), (path,)), k=20).hits
        part = Region(10, 10, 50, 50, in_percent=True)
        assert engine.search(KINDS[kind](path), region=part).hits == (
            engine.search(path, region=part).hits
        )
        assert np.array_equal(engine.descriptors(KINDS[kind](path)), engine.descriptors(path))
    assert found.hits == expected.hits
    assert (found.query, expected.query) == (str(path) if kind == "text" else "-", str(path))


def test_grey_pictures_are_taken_with_and_without_a_channel(
    indexed: Library, tmp_path: Path, encoder: Encoder
) -> None:
    grey = Image.open(save_picture(tmp_path / "p.png", 4712)).convert("L")
    grey.save(tmp_path / "grey.png")
    rows = np.asarray(grey)
    with Engine(indexed, encoder=encoder) as engine:
        expected = engine.descriptors([tmp_path / "grey.png"])
        found = engine.descriptors([rows, rows[:, :, None], rows / 255, grey])
    assert np.array_equal(found, np.repeat(expected, 4, axis=0))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_picture_of_pils_is_applied_and_the_picture_left_as_it_was(
    orientation: int, indexed: Library, tmp_path: Path, encoder: Encoder
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(save_picture(tmp_path / "p.png", 4713)).save(tmp_path / "turned.png", exif=exif)
    with Engine(indexed, encoder=encoder) as engine, Image.open(tmp_path / "turned.png") as image:
        before = (image.size, image.mode, dict(image.getexif()))
        assert engine.search(image).hits == engine.search(tmp_path / "turned.png").hits
        assert (image.size, image.mode, dict(image.getexif())) == before


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((4, 4, 3), np.int64), r"got int64.*astype\('uint8'\)"),
        (np.zeros((4, 4, 3), bool), "got bool"),
        (np.zeros((4, 4, 5), np.uint8), r"got \(4, 4, 5\).*channels last"),
        (np.zeros((3, 4, 4, 3), np.uint8), r"got \(3, 4, 4, 3\).*One picture at a time"),
        (np.zeros(16, np.uint8), r"got \(16,\)"),
        (np.zeros((0, 4, 3), np.uint8), r"empty: its shape is \(0, 4, 3\)"),
        (np.full((4, 4), 255.0), "from 0 to 1"),
        (np.full((4, 4), -0.1), "from 0 to 1"),
        (np.full((4, 4), np.nan), "from 0 to 1"),
        (io.StringIO("text"), 'Expected a binary file, got one that gives str.*"rb"'),
        (7, "Expected a picture, got int"),
        (None, "Expected a picture, got NoneType"),
        ([1, 2], "Expected a picture, got list"),
    ],
)
def test_what_is_no_picture_is_refused_with_what_was_expected(
    given: Any, said: str, indexed: Library, encoder: Encoder
) -> None:
    with Engine(indexed, encoder=encoder) as engine, pytest.raises(InvalidRequest) as caught:
        engine.search(given)
    assert re.search(said, str(caught.value), re.S), caught.value


def test_an_open_file_that_holds_no_picture_is_unreadable(
    indexed: Library, encoder: Encoder
) -> None:
    with Engine(indexed, encoder=encoder) as engine:
        for data, kind in ((b"", "empty"), (b"no picture", "not-a-picture")):
            with pytest.raises(PictureUnreadable) as caught:
                engine.search(io.BytesIO(data))
            assert caught.value.kind == kind


@pytest.mark.parametrize(
    "given", [np.zeros((4, 4), np.uint8), Image.new("L", (4, 4)), io.BytesIO(b"x")]
)
def test_an_index_takes_files_alone_and_says_the_way(
    given: Any, library: Library, encoder: Encoder
) -> None:
    for paths in (given, [given]):
        with pytest.raises(InvalidRequest, match=r"file with a path.*Save it"):
            index(library, paths, encoder=encoder)
    assert library.catalogue.counts() == (0, 0)


def test_the_keywords_of_a_search_are_the_fields_of_its_terms() -> None:
    fields = {name: field.type for name, field in Terms.__dataclass_fields__.items()}
    given = {name: hint.__forward_arg__ for name, hint in TermsGiven.__annotations__.items()}
    assert given == fields


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_an_encoder_describes_every_kind_as_it_describes_the_file(
    tmp_path: Path, encoder: Encoder
) -> None:
    path = save_picture(tmp_path / "query.png", 4714)
    expected = encoder.encode_files(path)
    found = encoder.encode_files(KINDS[kind](path) for kind in KINDS)
    assert np.array_equal(found.descriptors, np.repeat(expected.descriptors, len(KINDS), axis=0))
    assert found.labels == expected.labels * len(KINDS)
    assert np.array_equal(encoder.encode_files(Image.open(path)).descriptors, expected.descriptors)
    with pytest.raises(InvalidRequest, match="Expected a picture, got int"):
        encoder.encode_files([7])  # type: ignore[list-item]
