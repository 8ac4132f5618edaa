"""The file of nearest neighbours: NumPy's sorted inner products are its oracle."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parecido.indexer.catalogue.changes import Remove
from parecido.indexer.library.layout import NEIGHBOURS
from parecido.indexer.library.library import Library
from parecido.indexer.library.upkeep import bring_up_to_date
from parecido.indexer.vectors.neighbours import KEPT, USED, Neighbours, update
from parecido.search.ranking.neighbourhood import NeighbourFinder
from tests.conftest import OWN_FIXTURES
from tests.support.fakes import fake_spec
from tests.support.harness import put

Ids = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]
DIMENSION = 24
HALF = 3e-4  # a cosine below 1 is rounded by at most so much as float16


def groups(seed: int, count: int) -> Vectors:
    """Unit rows in groups about forty centres, as pictures of scenes are."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(40, DIMENSION))
    rows = centres[rng.integers(0, 40, count)] + 0.6 * rng.normal(size=(count, DIMENSION))
    unit: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def add(library: Library, vectors: Vectors, ids: list[int] | None = None) -> None:
    put(library, vectors, ids, fake_spec(dimension=DIMENSION))


def remove(library: Library, ids: list[int]) -> None:
    with library.writer() as writing:
        writing.catalogue.write([Remove(ids)])


def updated(library: Library) -> Neighbours:
    with library.writer() as writing:
        index = writing.vectors()
        return update(library.folder / NEIGHBOURS, index.gallery, index)


def truth(library: Library) -> dict[int, dict[int, float]]:
    """The cosines of every picture with every other one, the nearest first."""
    gallery = library.gallery()
    ids, vectors = gallery.of(library.catalogue.descriptors.ids().tolist())
    cosines = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    found = {}
    for place, own in enumerate(ids.tolist()):
        order = np.argsort(-cosines[place], kind="stable")
        found[own] = {int(ids[i]): float(cosines[place, i]) for i in order if i != place}
    return found


def check(library: Library, kept: Neighbours, *, least: float = 1.0) -> None:
    """Assert that what is told is true, and how much of the true first five is told."""
    expected = truth(library)
    assert kept.ids.tolist() == sorted(expected)
    near, cosines = kept.of(kept.ids)
    found = wanted = 0
    for own, row, values in zip(kept.ids.tolist(), near, cosines, strict=True):
        there = row >= 0
        assert there.tolist() == sorted(there.tolist(), reverse=True)  # blanks come last
        assert (values[~there] == -1).all()
        assert (np.diff(values) <= 0).all()
        told = [expected[own][i] for i in row[there].tolist()]  # no other ids, and not its own
        assert len(set(row[there].tolist())) == there.sum()
        assert values[there] == pytest.approx(told, abs=HALF)
        best = list(expected[own].values())[:USED]
        assert there.sum() >= len(best)
        found += sum(score >= best[-1] - HALF for score in told[: len(best)])
        wanted += len(best)
    assert found >= least * wanted


@pytest.mark.parametrize("count", [1, 2, 3, 9, 300, 1100])
def test_a_new_file_names_exactly_the_nearest(library: Library, count: int) -> None:
    add(library, groups(1, count))
    kept = updated(library)
    check(library, kept)
    near, _ = kept.of(kept.ids)
    assert ((near >= 0).sum(axis=1) == min(KEPT, count - 1)).all()
    (path,) = (library.folder / NEIGHBOURS).iterdir()
    rows = np.load(path)
    assert rows["id"].tolist() == kept.ids.tolist()
    assert rows.dtype.itemsize == 88


def test_it_is_read_as_it_was_written(library: Library) -> None:
    add(library, groups(1, 200))
    with library.writer() as writing:
        writing.catalogue.rerank_by_default(True)
        bring_up_to_date(writing)
    gallery = library.gallery()
    assert gallery.space is not None
    kept = Neighbours.open(library.folder / NEIGHBOURS, gallery)
    assert kept is not None
    assert kept.generation == library.catalogue.generation()
    check(library, kept)


def test_pictures_without_a_row_have_no_neighbours(library: Library) -> None:
    add(library, groups(1, 20))
    kept = updated(library)
    near, cosines = kept.of(np.array([99, 3, 0, -1]))
    assert (near[1] >= 0).all()
    assert (near[[0, 2, 3]] == -1).all()
    assert (cosines[[0, 2, 3]] == -1).all()


def test_additions_removals_and_replacements_are_followed(library: Library) -> None:
    add(library, groups(1, 500))
    updated(library)
    for step in range(2, 6):
        ids = library.catalogue.descriptors.ids().tolist()
        drawn = np.random.default_rng(step).permutation(ids).tolist()
        remove(library, drawn[:30])
        add(library, groups(step, 25), drawn[30:55])
        add(library, groups(10 * step, 40))
        check(library, updated(library), least=0.99)


@settings(max_examples=12, suppress_health_check=OWN_FIXTURES)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["add", "remove", "replace", "file"]), st.integers(0, 2**16)),
        min_size=1,
        max_size=10,
    )
)
def test_after_any_history_what_is_told_is_true(
    steps: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Library.create(tmp_path_factory.mktemp("history") / "library") as library:
        add(library, groups(0, 40))
        updated(library)
        for what, seed in steps:
            ids = library.catalogue.descriptors.ids().tolist()
            chosen = [i for i in ids if np.random.default_rng([seed, i]).random() < 0.15]
            if what == "add":
                add(library, groups(seed, 1 + seed % 6))
            elif what == "remove" and len(chosen) < len(ids):
                remove(library, chosen)
            elif what == "replace" and chosen:
                add(library, groups(seed, len(chosen)), chosen)
            else:
                updated(library)
        # 64 of a newcomer's nearest are looked at, which here are nearly all
        check(library, updated(library), least=0.99)


def test_lists_that_lose_a_few_with_each_change_are_filled_again(library: Library) -> None:
    vectors = np.repeat(groups(1, 1), 60, axis=0) + 0.01 * groups(2, 60)
    add(library, np.concatenate([vectors, groups(3, 400)]))
    kept = updated(library)
    for _ in range(6):  # the nearest of picture 1, time and again
        near, _cosines = kept.of(np.array([1]))
        remove(library, near[0, :3].tolist())
        kept = updated(library)
        check(library, kept, least=0.999)


def test_a_newcomer_enters_only_where_nobody_unknown_may_be_nearer(library: Library) -> None:
    # about picture 1, at growing angles: its list holds the first eight
    angles = np.linspace(0, 0.6, 31)
    circle = np.zeros((31, DIMENSION), np.float32)
    circle[:, 0], circle[:, 1] = np.cos(angles), np.sin(angles)
    add(library, np.concatenate([circle, groups(3, 100)]))
    updated(library)
    remove(library, [2, 3])  # six are left of the list; the ninth is not told by it
    late = np.zeros((1, DIMENSION), np.float32)
    late[0, :2] = np.cos(0.31), np.sin(0.31)  # farther than the ninth to the fifteenth
    add(library, late)
    near, _ = updated(library).of(np.array([1]))
    assert near[0].tolist() == [4, 5, 6, 7, 8, 9, -1, -1]
    late[0, :2] = np.cos(0.15), np.sin(0.15)  # between the eighth and the ninth picture
    add(library, late)
    near, _ = updated(library).of(np.array([1]))
    assert near[0].tolist() == [4, 5, 6, 7, 8, 133, 9, -1]


def test_what_did_not_change_is_not_looked_for(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(library, groups(1, 400))
    updated(library)
    looked = []
    from parecido.indexer.vectors import neighbours

    real = neighbours.nearest

    def counting(index: object, ids: Ids, *given: object) -> object:
        looked.extend(ids.tolist())
        return real(index, ids, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(neighbours, "nearest", counting)
    updated(library)
    assert looked == []
    add(library, groups(2, 5))
    updated(library)
    assert looked == list(range(401, 406))
    add(library, groups(3, 200))  # much: all anew
    looked.clear()
    updated(library)
    assert looked == library.catalogue.descriptors.ids().tolist()


@pytest.mark.parametrize(
    "damage",
    ["missing", "empty", "cut", "header", "other", "text", "newer", "name", "folder", "zip"],
)
def test_a_file_that_cannot_be_used_is_no_file(library: Library, damage: str) -> None:
    add(library, groups(1, 100))
    updated(library)
    (path,) = (library.folder / NEIGHBOURS).iterdir()
    good = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "newer":
        path.rename(path.with_name("000000009999.npy"))
    elif damage == "name":
        path.rename(path.with_name("of nothing.npy"))
    elif damage == "folder":
        path.unlink()
        path.mkdir()
        path.joinpath("file").touch()
    elif damage == "other":
        np.save(path, np.zeros((3, 4)))
    else:
        broken = {"empty": b"", "cut": good[:-50], "text": b"no file of mine", "zip": b"PK\3\4xy"}
        path.write_bytes(broken.get(damage, good[:10] + b"\xff" * 20 + good[30:]))
    assert Neighbours.open(library.folder / NEIGHBOURS, library.gallery()) is None
    around = NeighbourFinder(library, library.vectors()).of(np.array([1, 50]), frozenset())
    assert around.cosines.shape == (2, 5)
    check(library, updated(library))


@settings(max_examples=150, suppress_health_check=OWN_FIXTURES)
@given(place=st.floats(0, 1), byte=st.integers(0, 255), head=st.booleans())
def test_a_flipped_byte_breaks_no_search(
    place: float, byte: int, head: bool, flipped: tuple[Library, Path, bytes]
) -> None:
    library, path, good = flipped
    data = bytearray(good)
    data[int(place * ((256 if head else len(data)) - 1))] = byte
    path.write_bytes(data)
    around = NeighbourFinder(library, library.vectors()).of(np.arange(1, 31), frozenset([7]))
    # whatever is named, its cosine is its own
    _, own = library.gallery().of(list(range(1, 31)))
    told = np.einsum("nm,nkm->nk", own, around.vectors)
    assert around.cosines == pytest.approx(np.where(around.cosines > -1, told, -1), abs=1e-6)
    assert (around.cosines > -1).sum() >= 29 * 5


@pytest.fixture
def flipped(library: Library) -> tuple[Library, Path, bytes]:
    """A library with a file of neighbours, and what is in it."""
    add(library, groups(1, 30))
    updated(library)
    (path,) = (library.folder / NEIGHBOURS).iterdir()
    return library, path, path.read_bytes()


def test_an_older_file_is_completed_by_what_came_and_left_since(library: Library) -> None:
    add(library, groups(1, 300))
    updated(library)
    remove(library, list(range(5, 40)))
    add(library, groups(2, 60))
    add(library, groups(3, 20), list(range(100, 120)))
    shortlist = np.array([1, 50, 105, 110, 290, 301, 330])
    expected = truth(library)
    for leave_out in (frozenset[int](), frozenset([50, 301])):
        around = NeighbourFinder(library, library.vectors()).of(shortlist, leave_out)
        for own, cosines in zip(shortlist.tolist(), around.cosines, strict=True):
            best = [score for i, score in expected[own].items() if i not in leave_out]
            assert cosines == pytest.approx(best[:5], abs=1e-6)


def test_the_file_of_the_last_run_is_used_by_who_was_there_before(library: Library) -> None:
    add(library, groups(1, 100))
    around = NeighbourFinder(library, library.vectors())
    shortlist = np.array([3, 4])
    before = around.of(shortlist, frozenset())
    assert around._kept is None
    updated(library)
    after = around.of(shortlist, frozenset())
    assert around._kept is not None
    assert after.cosines == pytest.approx(before.cosines, abs=1e-6)
    assert after.vectors == pytest.approx(before.vectors, abs=1e-6)


def test_another_space_has_a_file_of_its_own(library: Library) -> None:
    add(library, groups(1, 200))
    names = []
    for dimension in ("full", "8", "12", "full"):
        with library.writer() as writing:
            writing.catalogue.rerank_by_default(True)
            writing.catalogue.ask_dimension(dimension)
            bring_up_to_date(writing)
        (path,) = (library.folder / NEIGHBOURS).iterdir()
        names.append(path.name)
        kept = Neighbours.open(library.folder / NEIGHBOURS, library.gallery())
        assert kept is not None
        check(library, kept)
    assert len(set(names)) == 3
    assert names[0] == names[3]


def test_of_a_compressed_index_nearly_all_are_found(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parecido.indexer.vectors.local.index._FLAT_BYTES", 100 * DIMENSION * 4)
    add(library, groups(1, 900))
    kept = updated(library)
    assert library.vectors().kind == "compressed"
    expected = truth(library)
    near, _ = kept.of(kept.ids)
    found = sum(
        len(set(row[:5].tolist()) & set(list(expected[own])[:5]))
        for own, row in zip(kept.ids.tolist(), near, strict=True)
    )
    assert found >= 0.95 * 5 * 900
    around = NeighbourFinder(library, library.vectors()).of(kept.ids[:20], frozenset())
    for own, cosines in zip(kept.ids[:20].tolist(), around.cosines.tolist(), strict=True):
        true = np.array(list(expected[own].values()))
        assert np.abs(true[:, None] - cosines).min(axis=0) == pytest.approx(0, abs=1e-6)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_place_that_cannot_be_written_is_told_once(
    library: Library, caplog: pytest.LogCaptureFixture
) -> None:
    add(library, groups(1, 50))
    (library.folder / NEIGHBOURS).write_text("a file in the folder's place")
    with caplog.at_level(logging.WARNING):
        kept = updated(library)
    assert [record.getMessage()[:35] for record in caplog.records] == [
        "The neighbours could not be cached "
    ]
    check(library, kept)


def test_temporary_files_of_a_killed_run_go(library: Library) -> None:
    add(library, groups(1, 50))
    folder: Path = library.folder / NEIGHBOURS
    updated(library)
    (kept,) = folder.iterdir()
    (folder / "000000000001.npy.4711.tmp").write_bytes(kept.read_bytes()[:1000])
    add(library, groups(1, 50))
    updated(library)
    assert [path.suffix for path in folder.iterdir()] == [".npy"]
