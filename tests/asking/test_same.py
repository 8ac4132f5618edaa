"""Whether hits show the same picture as the one that was asked about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parecido import Engine, InvalidRequest, Library, Region, index
from tests.indexing.test_looks import forget_looks
from tests.sameness.test_verdict import captioned, scene
from tests.support.fakes import fake_encoder


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(4):
        scene(seed).save(folder / f"{seed}.png")
    scene(1).resize((150, 110)).save(folder / "half.png")
    captioned(scene(1), "NOT AGAIN", 0.1).save(folder / "meme.png")
    with Library.create(tmp_path / "library") as library:
        index(library, [folder], encoder=fake_encoder())
    return tmp_path / "library"


def verdicts(engine: Engine, query: object, **more: object) -> dict[str, bool | None]:
    hits = engine.search(query, **more).hits  # type: ignore[arg-type]
    return {Path(hit.path).stem: hit.same for hit in hits}


def test_hits_tell_copies_of_what_was_asked_about(library: Path) -> None:
    pictures = library.parent / "pictures"
    expected = {"0": False, "2": False, "3": False, "meme": False, "half": True}
    with Library.open(library) as opened, Engine(opened, encoder=fake_encoder()) as engine:
        assert verdicts(engine, pictures / "1.png") == expected  # from what is stored
        assert verdicts(engine, scene(1)) == {**expected, "1": True}
        assert verdicts(engine, (pictures / "1.png").read_bytes()) == {**expected, "1": True}
        assert verdicts(engine, scene(1), same=True) == {"1": True, "half": True}
        assert verdicts(engine, scene(1).rotate(90, expand=True), any_orientation=True) == {
            **expected,
            "1": True,
        }


def test_a_part_is_compared_as_a_picture_of_its_own(library: Path) -> None:
    with Library.open(library) as opened, Engine(opened, encoder=fake_encoder()) as engine:
        whole = verdicts(engine, scene(1), region=Region.parse("2%,2%,96%,96%"))
        part = verdicts(engine, scene(1), region=Region.parse("0%,0%,40%,40%"))
    assert whole["1"] is True
    assert not any(part.values())


def test_without_a_picture_nothing_is_told_and_nothing_can_be_asked(library: Path) -> None:
    with Library.open(library) as opened, Engine(opened, encoder=fake_encoder()) as engine:
        vector = engine.descriptors([scene(1)])[0]
        assert {hit.same for hit in engine.search_vector(vector)} == {None}
        with pytest.raises(InvalidRequest, match="none was given"):
            engine.search_vector(np.asarray(vector), same=True)


def test_pictures_of_before_are_told_by_their_bytes_alone(library: Path) -> None:
    pictures = library.parent / "pictures"
    forget_looks(library)
    with Library.open(library) as opened, Engine(opened, encoder=fake_encoder()) as engine:
        asked = verdicts(engine, (pictures / "1.png").read_bytes())
        assert asked == {**dict.fromkeys(("0", "2", "3", "meme", "half")), "1": True}
        with Image.open(pictures / "1.png") as picture:
            assert set(verdicts(engine, picture).values()) == {None}
