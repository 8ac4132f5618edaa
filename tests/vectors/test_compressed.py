"""The index of large libraries, made small here: recall, growth, deletions, damage."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from parecido.indexer.catalogue.changes import Remove
from parecido.indexer.checkup.repair import repair
from parecido.indexer.checkup.verify import verify
from parecido.indexer.library.library import Library
from parecido.indexer.records.filters import Filter
from parecido.indexer.system.kinds import INDEXES
from parecido.indexer.system.own_files import remove_own
from parecido.indexer.vectors.local import compressed
from parecido.indexer.vectors.local import file as vectorfile
from parecido.indexer.vectors.local.index import VectorIndex
from parecido.indexer.vectors.scan import Nearest
from parecido.search.asking.request import Request
from parecido.search.asking.terms import Terms
from parecido.search.engine import Engine
from tests.ranking.test_search import Vectors, oracle
from tests.support.fakes import fake_spec
from tests.support.harness import put, run_parecido

DIMENSION = 48
COUNT = 3000


def scenes(seed: int, count: int) -> Vectors:
    """Unit rows in groups of ten about a centre, as pictures of scenes are."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(400, DIMENSION))
    rows = centres[rng.integers(0, 400, count)] + 0.7 * rng.normal(size=(count, DIMENSION))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)


def add(library: Library, vectors: Vectors, ids: list[int] | None = None) -> None:
    put(library, vectors, ids, fake_spec(dimension=DIMENSION))


def remove(library: Library, ids: list[int]) -> None:
    with library.writer() as writing:
        writing.catalogue.write([Remove(ids)])


@pytest.fixture
def large(library: Library, monkeypatch: pytest.MonkeyPatch) -> Library:
    """A library of 3000 descriptors, taken for too large to be searched exhaustively."""
    monkeypatch.setattr("parecido.indexer.vectors.local.index._FLAT_BYTES", 100 * DIMENSION * 4)
    add(library, scenes(1, COUNT))
    return library


def recall(library: Library, queries: Vectors, k: int = 10) -> float:
    found = 0
    with Engine(library) as engine:
        for query in queries:
            best = {i for i, _ in oracle(library, query)[:k]}
            found += len(best & {hit.id for hit in engine.search_vector(query, k=k)})
    return found / (k * len(queries))


def test_a_library_gets_the_index_that_suits_its_size(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(library, scenes(1, 500))
    library.vectors().save()
    assert library.vectors().kind == "flat"
    monkeypatch.setattr("parecido.indexer.vectors.local.index._FLAT_BYTES", 100 * DIMENSION * 4)
    index = library.vectors()
    assert index.kind == "flat"  # the file as it was: a search does not wait for another
    index.save_if_worthwhile()
    assert (index.kind, index.count) == ("compressed", 500)
    assert library.vectors().kind == "compressed"


def test_ten_neighbours_of_new_pictures_are_found(large: Library) -> None:
    assert recall(large, scenes(7, 60)) >= 0.99


@pytest.mark.parametrize("k", [1, 50, 400])
def test_any_number_of_neighbours_is_found(large: Library, k: int) -> None:
    assert recall(large, scenes(8, 10), k) >= 0.98


def test_all_pictures_come_when_all_are_asked_for(large: Library) -> None:
    (query,) = scenes(9, 1)
    with Engine(large) as engine:
        hits = engine.search_vector(query, k=COUNT)
    assert [hit.id for hit in hits] == [i for i, _ in oracle(large, query)]


def test_scores_are_exact_however_rough_the_candidates(large: Library) -> None:
    (query,) = scenes(10, 1)
    truth = dict(oracle(large, query))
    with Engine(large) as engine:
        hits = engine.search_vector(query, k=20)
    assert [hit.score for hit in hits] == pytest.approx([truth[h.id] for h in hits], abs=1e-6)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_an_exact_search_is_the_oracles(large: Library) -> None:
    with Engine(large) as engine:
        for query in scenes(11, 5):
            hits = engine.search_vector(query, k=30, exact=True)
            assert [hit.id for hit in hits] == [i for i, _ in oracle(large, query)[:30]]


def test_a_library_that_asked_for_it_stays_exhaustive(large: Library) -> None:
    with large.writer() as writing:
        writing.catalogue.keep_exact_index(True)
        index = writing.vectors()
        index.save_if_worthwhile()
        assert index.is_exhaustive
        writing.catalogue.keep_exact_index(False)
        index.save_if_worthwhile()
        assert not index.is_exhaustive


def test_what_is_removed_replaced_and_added_is_seen_at_once(large: Library) -> None:
    large.vectors().save()
    index = large.vectors()
    remove(large, list(range(1, 200)))
    add(large, scenes(2, 50))
    add(large, scenes(3, 30), list(range(500, 530)))
    index.refresh()
    assert index.kind == "compressed"
    assert index.ids().tolist() == large.catalogue.descriptors.ids().tolist()
    assert index.count == COUNT - 199 + 50
    # what is new is found by itself, and what is gone never
    ids, vectors = large.catalogue.descriptors.of([510, COUNT + 7])
    found, scores, _ = index.search(vectors, 5)
    assert found[:, 0].tolist() == ids.tolist()
    assert scores[:, 0] == pytest.approx(1, abs=2e-3)
    assert not np.isin(found, np.arange(1, 200)).any()
    assert recall(large, scenes(12, 30)) >= 0.99


def test_a_file_grows_with_the_library_and_forgets_what_left(
    large: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    large.vectors().save_if_worthwhile()
    monkeypatch.setattr("parecido.indexer.vectors.local.index._SAVE_ROWS_COMPRESSED", 100)
    remove(large, list(range(1, 300)))
    add(large, scenes(4, 400))
    monkeypatch.setattr(compressed, "build", None)  # extended, not made anew
    index = large.vectors()
    index.save_if_worthwhile()
    assert index.facts is not None
    assert (index.facts.count, index.facts.trained_on) == (COUNT - 299 + 400, COUNT)
    assert verify(large) == []
    assert recall(large, scenes(13, 30)) >= 0.99


def test_an_index_is_trained_anew_when_the_library_has_outgrown_it(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parecido.indexer.vectors.local.index._FLAT_BYTES", 100 * DIMENSION * 4)
    add(library, scenes(1, 400))
    library.vectors().save_if_worthwhile()
    add(library, scenes(2, 700))
    index = library.vectors()
    index.save_if_worthwhile(hurry=True)
    assert index.facts is not None
    assert index.facts.trained_on == 400
    assert index.count == 1100
    add(library, scenes(3, 200))
    index.save_if_worthwhile(hurry=True)  # an interrupted run does not stop for it
    assert index.facts.trained_on == 400
    index.save_if_worthwhile()
    assert index.facts.trained_on == 1300


def test_equal_pictures_do_not_mislead_the_choice_of_how_far_to_look(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parecido.indexer.vectors.local.index._FLAT_BYTES", 100 * DIMENSION * 4)
    add(library, np.repeat(scenes(1, 40), 50, axis=0))
    facts = library.vectors().facts
    assert facts is not None
    assert facts.recall >= 0.99


def test_a_reader_uses_the_longer_file_that_a_writer_saved(
    large: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parecido.indexer.vectors.local.index._SAVE_ROWS_COMPRESSED", 100)
    reader = large.vectors()
    add(large, scenes(5, 150))
    reader.refresh()
    assert reader.facts is not None
    assert reader.facts.count == COUNT
    large.vectors().save_if_worthwhile()
    add(large, scenes(6, 1))
    reader.refresh()
    assert reader.facts.count == COUNT + 150
    assert reader.count == COUNT + 151


def test_verify_finds_a_compressed_descriptor_that_is_anothers(large: Library) -> None:
    index = large.vectors()
    assert verify(large) == []
    ids, vectors = large.catalogue.descriptors.of(list(range(1, 101)))
    assert index.find_differing(ids, vectors).tolist() == []
    swapped = vectors.copy()
    swapped[[3, 7]] = vectors[[7, 3]]
    assert index.find_differing(ids, swapped).tolist() == [4, 8]


@pytest.mark.parametrize("place", ["middle", "end", "cut", "empty"])
def test_a_damaged_file_is_noticed_and_made_again(large: Library, place: str) -> None:
    large.vectors().save_if_worthwhile()
    (path,) = (large.folder / "vectors").glob("*.faiss")
    data = bytearray(path.read_bytes())
    at = {"middle": len(data) // 2, "end": len(data) - 60}.get(place)
    if at is not None:
        data[at] ^= 0x40
    path.write_bytes(bytes({"cut": data[:-1000], "empty": b""}.get(place, data)))
    with pytest.raises((RuntimeError, ValueError)):
        vectorfile.read(path)
    assert large.vectors().count == COUNT
    assert recall(large, scenes(14, 10)) >= 0.99
    # a reader leaves the file as it is
    assert [problem.what for problem in verify(large)] == [
        "the file of the vector index is damaged"
    ]
    repair(large.folder)
    assert verify(large) == []
    (path,) = (large.folder / "vectors").glob("*.faiss")
    vectorfile.read(path)


def test_of_a_very_large_file_what_could_mislead_is_digested(
    large: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectorfile, "_WHOLE_BYTES", 1000)
    large.vectors().save()
    (path,) = (large.folder / "vectors").glob("*.faiss")
    good = path.read_bytes()
    _, facts = vectorfile.read(path)
    assert facts.count == COUNT
    path.write_bytes(good[:2000] + bytes([good[2000] ^ 1]) + good[2001:])  # in the projection
    with pytest.raises(RuntimeError, match="damaged"):
        vectorfile.read(path)


def test_a_disk_without_room_for_the_file_is_answered_from_memory(
    large: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(vectorfile, "write", refuse)
    with large.writer() as writing:
        index = writing.vectors()
    assert (index.kind, index.count, index.file_bytes) == ("compressed", COUNT, 0)
    add(large, scenes(2, 5))
    index.refresh()
    assert index.count == COUNT + 5


def test_a_search_goes_further_for_more_hits_and_never_beyond_the_lists() -> None:
    facts = vectorfile.Facts("compressed", 8, 1_000_000, 1_000_000, nprobe=32, candidates=96)
    near, wide = (
        compressed.search_effort(facts, 2000, 10),
        compressed.search_effort(facts, 2000, 1000),
    )
    assert near == (32, 96)
    assert wide.nprobe > near.nprobe
    assert wide.candidates >= 2000
    assert compressed.search_effort(replace(facts, count=50), 64, 50).nprobe == 64


def test_the_nearest_among_what_passes_by_are_those_of_all_at_once() -> None:
    rows, queries = scenes(1, 1000), scenes(2, 7)
    nearest = Nearest(queries, 12)
    for start in range(0, 1000, 190):
        nearest.see(np.arange(start, min(1000, start + 190)), rows[start : start + 190])
    scores, ids = nearest.best()
    assert ids.tolist() == np.argsort(-(queries @ rows.T), axis=1)[:, :12].tolist()
    assert scores == pytest.approx(np.take_along_axis(queries @ rows.T, ids, 1), abs=1e-6)


def test_fewer_passed_by_than_were_asked_for() -> None:
    nearest = Nearest(scenes(1, 2), 9)
    nearest.see(np.arange(4), scenes(3, 4))
    assert nearest.best()[0].shape == (2, 4)


def test_a_removed_index_comes_back_with_the_next_writer(large: Library) -> None:
    large.vectors().save()
    remove_own(large.folder / "vectors", INDEXES)
    with large.writer() as writing:
        assert writing.vectors().kind == "compressed"
    assert large.vectors().kind == "compressed"
    assert len(list((large.folder / "vectors").glob("*.faiss"))) == 1


def test_repair_makes_a_missing_index(large: Library) -> None:
    remove_own(large.folder / "vectors", INDEXES)
    repair(large.folder)
    assert isinstance(large.vectors(), VectorIndex)
    assert verify(large) == []


def test_info_tells_the_index_its_size_and_its_recall(large: Library) -> None:
    large.vectors().save()
    done = run_parecido("info", "--library", large.folder, "--json")
    facts = json.loads(done.stdout)
    assert facts["index"] == "compressed, trained on 3,000, 3,000 descriptors"
    assert facts["recall"] >= 0.99
    assert facts["index_bytes"] == next((large.folder / "vectors").glob("*.faiss")).stat().st_size


@pytest.mark.parametrize("pattern", ["/v/*", "/v/0*", "/v/0[0-7]*", "/v/000*"])
def test_with_a_filter_k_hits_come_back_when_k_exist(
    large: Library, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Filter(path=pattern)
    passing = set(large.catalogue.find_matches(wanted).tolist())
    with Engine(large) as engine:
        for query in scenes(9, 5):
            nearest = [pair for pair in oracle(large, query) if pair[0] in passing][:10]
            monkeypatch.setattr("parecido.search.ranking.candidates._FEW", 4096)
            hits = engine.search_vector(query, k=10, wanted=wanted)
            assert [hit.id for hit in hits] == [i for i, _ in nearest]
            # past the size up to which they are compared one by one
            monkeypatch.setattr("parecido.search.ranking.candidates._FEW", 0)
            hits = engine.search_vector(query, k=10, wanted=wanted)
            assert len(hits) == len(nearest)
            assert {hit.id for hit in hits} <= passing
            assert all(a.score >= b.score for a, b in pairwise(hits))
            exact = engine.search_vector(query, k=10, wanted=wanted, exact=True)
            assert [hit.id for hit in exact] == [i for i, _ in nearest]


def test_questions_asked_together_are_answered_as_if_alone(large: Library) -> None:
    rows = scenes(11, 12)
    filters = [Filter(), Filter(path="/v/0*"), Filter(path="/nowhere")]
    asked = [
        Request(
            (row[None],),
            Terms(k, offset, exact=bool(n % 4 == 0), wanted=filters[n % 3]),
            frozenset([n + 1]),
        )
        for n, (row, k, offset) in enumerate(
            zip(rows, (1, 10, 50) * 4, (0, 3, 7, 0) * 3, strict=True)
        )
    ]
    with Engine(large) as engine:
        together = engine.answer(asked)
        for query, hits in zip(asked, together, strict=True):
            (alone,) = engine.answer([query])
            assert len(hits) == len(alone)
            # a compressed index may look a little further for a neighbour that asks for more
            assert all(a.score >= b.score for a, b in zip(hits, alone, strict=True))
