"""How a library comes to its space: when it learns, and what searches see of it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from parecido import IndexOptions, Library, index, verify
from parecido.indexer.arithmetic import cosines
from parecido.indexer.errors import InvalidRequest
from parecido.indexer.indexing.pipeline import remove
from parecido.indexer.learning.space import AUTO_DIMENSION, Space
from parecido.indexer.library.upkeep import bring_up_to_date
from parecido.search.asking.request import Request
from parecido.search.asking.terms import Terms
from parecido.search.engine import Engine
from tests.learning.test_space import scenes
from tests.support.fakes import fake_encoder, fake_spec, save_pictures
from tests.support.harness import in_child, put
from tests.support.waiting import until

Vectors = npt.NDArray[np.float32]
Answer = list[tuple[int, float]]

LONG = 144  # numbers in a descriptor: more than a space has by default


def dimension_of(library: Library) -> int | None:
    space = library.catalogue.settings.space()
    return space.dimension if space is not None else None


def relearn(library: Library, dimension: int | str) -> None:
    """Ask for another dimension, and learn."""
    with library.writer() as writing:
        writing.catalogue.ask_dimension(str(dimension))
        bring_up_to_date(writing)


def oracle(library: Library, query: Vectors, space: Space | None = None) -> Answer:
    """Ids and cosines of all pictures in a space, best first, ties by id."""
    ids, vectors = library.catalogue.descriptors.of(library.catalogue.descriptors.ids().tolist())
    if space is not None:
        vectors, query = space.apply(vectors), space.apply(query[None])[0]
    order = np.lexsort((ids, -cosines(query, vectors)))
    return list(zip(ids[order].tolist(), cosines(query, vectors)[order].tolist(), strict=True))


def answer(engine: Engine, query: Vectors, *, exact: bool = False) -> Answer:
    """Ten hits without a second thought."""
    terms = Terms(10, exact=exact, expand=False, rerank=False)
    (hits,) = engine.answer([Request((query[None],), terms)])
    return [(hit.id, hit.score) for hit in hits]


def is_same(found: Answer, truth: Answer) -> bool:
    """Whether hits are the first ten of an oracle, but for pictures that are as good as equal."""
    scores = dict(truth)
    return len(found) == 10 and all(
        abs(score - best) < 1e-5 and abs(score - scores[i]) < 1e-5
        for (i, score), (_, best) in zip(found, truth, strict=False)
    )


# -- when ------------------------------------------------------------------------------------------


def test_a_run_ends_with_a_space_where_there_are_pictures_enough(
    library: Library, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    save_pictures(folder, 63)
    index(library, [folder], encoder=fake_encoder())
    assert dimension_of(library) is None
    save_pictures(folder, 1, first=63)
    index(library, [folder], encoder=fake_encoder())
    space = library.catalogue.settings.space()
    assert space is not None
    assert (space.dimension, space.pictures) == (12, 64)
    assert verify(library) == []
    with Engine(library, encoder=fake_encoder()) as engine:
        results = engine.search(folder / "0005.png", include_self=True)
        assert results.hits[0].path == str(folder / "0005.png")
        assert results.hits[0].score == pytest.approx(1, abs=1e-6)
        vector = engine.descriptors([folder / "0005.png"])[0]
        assert is_same([(h.id, h.score) for h in results.hits], oracle(library, vector, space))


def test_a_space_is_learned_anew_at_twice_the_pictures_and_dropped_with_most_of_them(
    library: Library, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    paths = save_pictures(folder, 80)
    index(library, [folder], encoder=fake_encoder())
    first = library.catalogue.settings.space_fingerprint()
    paths += save_pictures(folder, 79, first=80)
    index(library, [folder], encoder=fake_encoder())
    assert library.catalogue.settings.space_fingerprint() == first
    paths += save_pictures(folder, 1, first=159)
    index(library, [folder], encoder=fake_encoder())
    assert library.catalogue.settings.space_fingerprint() not in ("", first)
    remove(library, paths[:110])
    assert dimension_of(library) == 12
    remove(library, paths[110:140])
    assert dimension_of(library) is None
    assert verify(library) == []
    assert [len(path.stem) for path in (library.folder / "vectors").glob("*")] == [12]


def test_the_dimension_is_as_it_was_asked_for_on_an_unchanged_library_too(
    library: Library, tmp_path: Path
) -> None:
    save_pictures(tmp_path / "pictures", 200)
    steps: list[tuple[int | str | None, int | None]] = [
        (None, AUTO_DIMENSION),
        (16, 16),
        (None, 16),
        ("auto", AUTO_DIMENSION),
        ("full", None),
        (None, None),
        ("140", 140),
        (4096, LONG),
        ("auto", AUTO_DIMENSION),
        ("full", None),
        ("auto", AUTO_DIMENSION),
    ]
    encoder = fake_encoder(dimension=LONG)
    for asked, given in steps:
        index(library, [tmp_path / "pictures"], IndexOptions(dimension=asked), encoder=encoder)
        # quadrant colours are 12 numbers, however often they are repeated; the rest is noise
        assert dimension_of(library) == given, asked
        assert verify(library) == []
        with Engine(library, encoder=encoder) as engine:
            query = engine.descriptors([tmp_path / "pictures" / "0007.png"])[0]
            expected = oracle(library, query, library.catalogue.settings.space())
            assert is_same(answer(engine, query), expected)
        assert len(list((library.folder / "vectors").glob("*.faiss"))) == 1


def test_fewer_pictures_than_dimensions_are_learned_from_once(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(library, scenes(1, 70, LONG), spec=fake_spec(dimension=LONG))
    relearn(library, 4096)
    assert dimension_of(library) == 69
    monkeypatch.setattr("parecido.indexer.library.upkeep.learn", None)
    relearn(library, 4096)
    relearn(library, 100)
    assert dimension_of(library) == 69


@pytest.mark.parametrize("asked", [0, 1, 4097, -5, "", "half", "1e2", "٣٢", 12.5])
def test_what_is_no_dimension_is_refused(
    asked: Any, library: Library, tmp_path: Path, encoder: Any
) -> None:
    with pytest.raises(InvalidRequest, match="Expected a dimension from 2 to 4096, auto or full"):
        index(library, [tmp_path], IndexOptions(dimension=asked), encoder=encoder)


def test_an_interrupted_run_leaves_the_space_to_the_next_one(
    library: Library, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    save_pictures(folder, 70)
    seen = []

    def stop() -> bool:
        seen.append(library.catalogue.counts()[0])
        return seen[-1] >= 64

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("parecido.indexer.indexing.run.COMMIT_SECONDS", 0.0)
        report = index(
            library, [folder], IndexOptions(workers=1), encoder=fake_encoder(), stop=stop
        )
    assert report.interrupted
    assert library.catalogue.counts()[0] >= 64
    assert dimension_of(library) is None
    index(library, [folder], encoder=fake_encoder())
    assert dimension_of(library) == 12


def test_a_run_that_finds_nothing_new_still_learns_what_an_interrupted_one_left(
    library: Library, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    save_pictures(folder, 70)
    with pytest.MonkeyPatch.context() as patch:
        real = bring_up_to_date
        patch.setattr(
            "parecido.indexer.indexing.pipeline.bring_up_to_date",
            lambda *given, **_: real(*given, hurry=True),
        )
        index(library, [folder], IndexOptions(think_twice=True), encoder=fake_encoder())
    assert dimension_of(library) is None
    report = index(library, [folder], encoder=fake_encoder())
    assert (report.added, report.unchanged) == (0, 70)
    assert dimension_of(library) == 12
    assert len(list((library.folder / "neighbours").iterdir())) == 1


# -- searches --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["flat", "compressed"])
@pytest.mark.parametrize("asked", ["auto", "full", 24])
def test_a_search_is_the_oracle_in_the_space(
    kind: str, asked: int | str, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "compressed":
        monkeypatch.setattr("parecido.indexer.vectors.local.index._FLAT_BYTES", 100 * 24 * 4)
    put(library, scenes(1, 700, LONG), spec=fake_spec(dimension=LONG))
    relearn(library, asked)
    put(library, scenes(2, 30, LONG), spec=fake_spec(dimension=LONG))  # beside the file
    space = library.catalogue.settings.space()
    assert library.vectors().kind == kind
    with Engine(library) as engine:
        found = 0
        for query in scenes(3, 10, LONG):
            expected = oracle(library, query, space)[:10]
            exact = answer(engine, query, exact=True)
            assert [i for i, _ in exact] == [i for i, _ in expected]
            assert [s for _, s in exact] == pytest.approx([s for _, s in expected], abs=1e-6)
            usual = answer(engine, query)
            scores = dict(oracle(library, query, space))
            assert [s for _, s in usual] == pytest.approx([scores[i] for i, _ in usual], abs=1e-6)
            found += len({i for i, _ in usual} & {i for i, _ in expected})
    assert found == 100 if kind == "flat" else found >= 95


def test_searches_beside_a_change_of_space_are_in_the_old_one_or_the_new(
    library: Library,
) -> None:
    put(library, scenes(1, 400, 48), spec=fake_spec(dimension=48))
    relearn(library, 6)
    query = scenes(2, 1, 48)[0]
    asked = [12, 6, "full", 9, 12, 9]
    oracles = []
    for dimension in (6, 12, "full", 9):
        relearn(library, dimension)
        oracles.append(oracle(library, query, library.catalogue.settings.space()))
    relearn(library, 6)
    over = threading.Event()
    answers: list[list[Answer]] = [[], [], []]

    def ask(engine: Engine, mine: list[Answer]) -> None:
        while not over.is_set():
            mine.append(answer(engine, query))

    with Engine(library) as engine, Engine(library) as other, ThreadPoolExecutor(3) as threads:
        asking = [*map(partial(threads.submit, ask), (engine, engine, other), answers)]

        def each_has(count: int) -> bool:
            return all(
                len(mine) >= count or thread.done()
                for mine, thread in zip(answers, asking, strict=True)
            )

        try:
            for number, dimension in enumerate(asked, 1):
                relearn(library, dimension)
                until(partial(each_has, 2 * number))
                expected = oracle(library, query, library.catalogue.settings.space())
                assert is_same(answer(engine, query), expected)  # from the commit on
        finally:
            over.set()
        for thread in asking:
            thread.result()
    everything = [found for mine in answers for found in mine]
    assert len(everything) > 20
    for found in everything:
        assert any(is_same(found, expected) for expected in oracles)


def _relearn_in_child(folder: Path, dimension: int | str) -> None:
    with Library.open(folder) as library:
        relearn(library, dimension)


def test_an_engine_follows_another_process_to_its_space(library: Library) -> None:
    put(library, scenes(1, 200))
    (query,) = scenes(2, 1)
    with Engine(library) as engine:
        for asked in ("auto", 4, "full", 7):
            before = answer(engine, query)
            in_child(_relearn_in_child, library.folder, asked)
            after = answer(engine, query)
            assert after != before
            assert is_same(after, oracle(library, query, library.catalogue.settings.space()))
