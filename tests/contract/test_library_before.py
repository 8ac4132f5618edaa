"""A library that was made before the program's modules moved: it opens, and answers as it did.

``tests/support/library_before.py`` tells how it was made.
"""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from parecido import Ask, Engine, Filter, IndexReport, Library, index, verify
from parecido.indexer.library.library import CATALOGUE
from parecido.indexer.library.summary import summarise
from tests.support.harness import make_outdated
from tests.support.library_before import (
    PREFIX,
    UPLOADED,
    ask_everything,
    list_pictures,
    list_skips,
    picture,
    relocate,
    set_time,
    tell_facts,
    write_files,
)
from tests.support.places import REPOSITORY
from tests.support.serving import labelled_encoder

KEPT = REPOSITORY / "tests" / "contract" / "library_before"
DERIVED = ("neighbours", "regions", "vectors")


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    """What the program told at that commit."""
    told: dict[str, Any] = json.loads((KEPT / "answers.json").read_text("utf-8"))
    return told


@pytest.fixture
def base(tmp_path: Path, recorded: dict[str, Any]) -> Path:
    """A folder with the library and its pictures, as they were."""
    with zipfile.ZipFile(KEPT / "library.zip") as archive:
        archive.extractall(tmp_path)
    write_files(tmp_path)
    uploaded = tmp_path / recorded["upload"]
    uploaded.parent.mkdir(parents=True)
    uploaded.write_bytes(picture(UPLOADED))
    set_time(uploaded, 1000)
    relocate(tmp_path / "library" / CATALOGUE, PREFIX, os.fspath(tmp_path))
    return tmp_path


def assert_answers_alike(base: Path, recorded: dict[str, Any]) -> None:
    """Assert that the library is sound and tells everything that it told: scores to seven digits,
    chances to five.
    """
    with (
        Library.open(base / "library") as library,
        Engine(library, encoder=labelled_encoder()) as engine,
    ):
        assert verify(library) == []
        answers = ask_everything(engine, Ask, Filter, base)
        assert list(answers) == list(recorded["answers"])
        for question, hits in answers.items():
            expected = recorded["answers"][question]
            assert [one["id"] for one in hits] == [one["id"] for one in expected], question
            for hit, before in zip(hits, expected, strict=True):
                numbers = {"score": 1.1e-7, "second": 1.1e-7, "chance": 2e-5 * (hit["chance"] or 0)}
                for name, most in numbers.items():
                    assert is_close(hit.pop(name), before[name], most), (question, name, before)
                assert hit == {name: before[name] for name in hit}, question
        found = list_pictures(library, library.catalogue.descriptors.ids().tolist(), base)
        told = recorded["pictures"][0].keys()
        assert [{name: one[name] for name in told} for one in found] == recorded["pictures"]
        # reasons are in the words of today, once a file was tried again
        kinds = [skip[:2] for skip in list_skips(base / "library", base)]
        assert kinds == [skip[:2] for skip in recorded["skips"]]
        assert tell_facts(summarise(library), base) == recorded["facts"]
        (upload,) = library.catalogue.uploads.list_uploads()
        assert os.path.relpath(os.fsdecode(upload.path), base) == recorded["upload"]
        assert (upload.state, library.catalogue.settings.reranks_by_default()) == ("kept", True)


def is_close(number: float | None, other: float | None, most: float) -> bool:
    """Whether both are missing, or differ by so much at most."""
    if number is None or other is None:
        return number is other
    return abs(number - other) <= most


def derived(base: Path) -> dict[str, bytes]:
    """What can be made again from the catalogue: indexes and neighbours."""
    return {
        os.fspath(path.relative_to(base)): path.read_bytes()
        for name in DERIVED
        for path in (base / "library" / name).iterdir()
    }


def changes(report: IndexReport) -> list[int]:
    """How many pictures were added, updated, moved and removed."""
    return [report.added, report.updated, report.moved, report.removed]


def test_what_is_kept_is_small_and_names_no_folder_of_any_machine(base: Path) -> None:
    assert sum(path.stat().st_size for path in KEPT.iterdir()) < 400_000
    with zipfile.ZipFile(KEPT / "library.zip") as archive:
        held = [archive.read(name) for name in archive.namelist()]
    assert len(held) == 4
    kept = b"".join([*held, (KEPT / "answers.json").read_bytes()])
    assert PREFIX.encode() in kept
    assert [name for name in (b"/tmp", b"/home", b"/root", b"/Users") if name in kept] == []
    assert os.fsencode(base) not in kept


def test_it_is_sound_and_gives_every_answer_that_it_gave(
    base: Path, recorded: dict[str, Any]
) -> None:
    before = derived(base)
    assert len(before) == 3
    assert_answers_alike(base, recorded)
    assert derived(base) == before


def test_indexing_again_encodes_nothing_and_a_new_picture_is_found(
    base: Path, recorded: dict[str, Any]
) -> None:
    encoder = labelled_encoder()
    new = base / "pictures" / "new.ppm"
    with Library.open(base / "library") as library:
        folders = [base / "pictures", base / "library" / "uploads"]
        report = index(library, folders, encoder=encoder)
        assert (changes(report), report.unchanged) == ([0, 0, 0, 0], UPLOADED + 1)
        assert encoder._runtime.pictures == 0  # type: ignore[attr-defined]
        assert_answers_alike(base, recorded)

        new.write_bytes(picture(300))
        report = index(library, [base / "pictures"], encoder=encoder)
        assert (changes(report), report.unchanged) == ([1, 0, 0, 0], UPLOADED)
        assert verify(library) == []
        with Engine(library, encoder=encoder) as engine:
            (best,) = engine.search_bytes(picture(300), k=1).hits
            assert (best.path, best.id) == (os.fspath(new), 99)
            assert best.score == pytest.approx(1, abs=1e-3)


def test_with_the_schema_of_before_uploads_it_is_brought_up_to_date_and_answers_alike(
    base: Path, recorded: dict[str, Any]
) -> None:
    make_outdated(base / "library")
    assert_answers_alike(base, recorded)
