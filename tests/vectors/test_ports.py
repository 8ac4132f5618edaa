"""What every index of nearest neighbours must do, and every source that it reads.

Run on the local index, on its compressed form, on one of regions' kind of ids, and on a plain one
of NumPy's: another engine adds itself to ``ENGINES``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from parecido import Encoder, Engine, Filter, IndexOptions, Library, index
from parecido.indexer.arrays import Ids, Vectors
from parecido.indexer.learning.space import learn
from parecido.indexer.regional.source import RegionalSource
from parecido.indexer.vectors.gallery import Gallery
from parecido.indexer.vectors.local.index import VectorIndex
from parecido.indexer.vectors.nearest import NearestIndex
from parecido.indexer.vectors.source import DescriptorSource
from tests.support.fakes import save_pictures
from tests.support.plain_index import PlainIndex
from tests.vectors.test_compressed import scenes

DIMENSION = 48
COUNT = 2000


class Rows:
    """A source in memory, whose generations are made by hand."""

    def __init__(self) -> None:
        self._generation = 0
        self._rows: dict[int, tuple[int, Vectors]] = {}
        self._gone: dict[int, int] = {}

    def write(self, ids: Sequence[int], vectors: Vectors, removed: Sequence[int] = ()) -> None:
        self._generation += 1
        for one, vector in zip(ids, vectors, strict=True):
            self._rows[one] = (self._generation, vector)
        for one in removed:
            del self._rows[one]
            self._gone[one] = self._generation

    def generation(self) -> int:
        return self._generation

    def count(self) -> int:
        return len(self._rows)

    def ids(self, before: int | None = None) -> Ids:
        return np.array(
            [i for i, (g, _) in sorted(self._rows.items()) if before is None or g <= before],
            np.int64,
        )

    def list_removals_after(self, generation: int) -> Ids:
        return np.array([i for i, g in sorted(self._gone.items()) if g > generation], np.int64)

    def of(self, ids: Sequence[int]) -> tuple[Ids, Vectors]:
        there = sorted(set(ids) & set(self._rows))
        rows = [self._rows[one][1] for one in there]
        return np.array(there, np.int64), np.stack(rows) if rows else np.empty((0, 0), np.float32)

    def read_after(self, generation: int) -> Iterator[tuple[Ids, Vectors]]:
        newer = [i for i, (g, _) in sorted(self._rows.items()) if g > generation]
        for start in range(0, len(newer), 700):
            yield self.of(newer[start : start + 700])


def _local(folder: Path, gallery: Gallery, dimension: int) -> NearestIndex:
    return VectorIndex(folder, gallery, dimension, is_writer=True)


def _plain(folder: Path, gallery: Gallery, dimension: int) -> NearestIndex:
    return PlainIndex(gallery)


ENGINES: dict[str, Callable[[Path, Gallery, int], NearestIndex]] = {
    "flat": _local,
    "compressed": _local,
    "NumPy": _plain,
}


@pytest.fixture(params=ENGINES)
def engine(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Gallery, int], NearestIndex]:
    if request.param == "compressed":
        monkeypatch.setattr("parecido.indexer.vectors.local.index._FLAT_BYTES", 1000)
    return lambda gallery, dimension: ENGINES[request.param](tmp_path, gallery, dimension)


@pytest.fixture
def rows() -> Rows:
    """Descriptors under ids with gaps, as after removals, or of a picture's regions."""
    found = Rows()
    found.write(range(0, 3 * COUNT, 3), scenes(1, COUNT))
    return found


def nearest(gallery: Gallery, query: Vectors, k: int, allowed: Ids | None = None) -> list[int]:
    """The oracle: NumPy's sorted inner products, ties by id."""
    ids, vectors = gallery.of(gallery.source.ids().tolist())
    if allowed is not None:
        keep = np.isin(ids, allowed)
        ids, vectors = ids[keep], vectors[keep]
    scores = vectors.astype(np.float64) @ query.astype(np.float64)
    found: list[int] = ids[np.lexsort((ids, -scores))][:k].tolist()
    return found


def assert_finds(made: NearestIndex, gallery: Gallery, k: int, allowed: Ids | None = None) -> None:
    """Assert that candidates hold the nearest, as far as the bound promises it."""
    queries = gallery.project(scenes(2, 8))
    ids, scores, bound = made.search(queries, k, allowed)
    assert ids.shape == scores.shape
    assert (ids.dtype, scores.dtype) == (np.dtype(np.int64), np.dtype(np.float32))
    hits = wanted = 0
    for row, query in enumerate(queries):
        found = ids[row][ids[row] >= 0].tolist()
        assert len(found) == len(set(found))
        assert set(found) <= set((gallery.source.ids() if allowed is None else allowed).tolist())
        best = nearest(gallery, query, k, allowed)
        hits += len(set(best) & set(found))
        wanted += len(best)
        if bound is None:
            continue
        _, left_out = gallery.of(sorted(set(gallery.source.ids().tolist()) - set(found)))
        if allowed is not None:
            _, left_out = gallery.of(sorted(set(allowed.tolist()) - set(found)))
        if len(left_out):
            assert (left_out @ query).max() <= bound[row]
        if len(found) >= len(nearest(gallery, query, 10**6, allowed)):
            assert bound[row] == -np.inf
    assert bound is None or hits == wanted
    assert hits >= 0.9 * wanted or allowed is not None  # one that knows no bound misses few


@pytest.mark.parametrize("k", [1, 10, 100])
def test_candidates_hold_the_nearest_and_the_bound_what_was_left_out(
    engine: Callable[[Gallery, int], NearestIndex], rows: Rows, k: int
) -> None:
    gallery = Gallery(rows, None)
    made = engine(gallery, DIMENSION)
    assert (made.count, made.generation) == (COUNT, 1)
    assert np.array_equal(made.ids(), rows.ids())
    assert_finds(made, gallery, k)


@pytest.mark.parametrize("allowed", [[3], list(range(0, 300, 3)), list(range(1, 300, 3)), []])
def test_only_what_is_allowed_is_found(
    engine: Callable[[Gallery, int], NearestIndex], rows: Rows, allowed: list[int]
) -> None:
    gallery = Gallery(rows, None)
    made = engine(gallery, DIMENSION)
    ids = made.search(gallery.project(scenes(3, 4)), 10, np.array(allowed, np.int64))[0]
    assert set(ids[ids >= 0].tolist()) <= set(allowed)


def test_what_comes_changes_and_goes_is_followed(
    engine: Callable[[Gallery, int], NearestIndex], rows: Rows
) -> None:
    gallery = Gallery(rows, None)
    made = engine(gallery, DIMENSION)
    fresh = scenes(4, 30)
    rows.write([6001, *range(0, 87, 3)], fresh, removed=range(300, 600, 3))
    assert made.generation == 1
    made.refresh()
    assert (made.generation, made.count) == (2, COUNT + 1 - 100)
    assert np.array_equal(made.ids(), rows.ids())
    found = made.search(fresh, 1)[0][:, 0]
    assert found.tolist() == [6001, *range(0, 87, 3)]
    assert_finds(made, gallery, 10)
    rows.write([], fresh[:0], removed=rows.ids().tolist())
    made.refresh()
    assert made.count == 0
    assert (made.search(fresh, 3)[0] == -1).all()


def test_descriptors_come_back_for_what_is_there(
    engine: Callable[[Gallery, int], NearestIndex], rows: Rows
) -> None:
    gallery = Gallery(rows, None)
    made = engine(gallery, DIMENSION)
    rows.write([9], scenes(5, 1), removed=[12])
    made.refresh()
    for exact in (False, True):
        ids, vectors = made.vectors_of(np.array([1, 9, 12, 15, 10**9]), exact=exact)
        assert ids.tolist() == [9, 15]
        assert np.array_equal(vectors, gallery.of([9, 15])[1])


def test_a_space_is_searched_as_the_encoders_own(
    engine: Callable[[Gallery, int], NearestIndex], rows: Rows
) -> None:
    space = learn([scenes(1, COUNT)], 24, COUNT)
    gallery = Gallery(rows, space)
    made = engine(gallery, space.dimension)
    assert_finds(made, gallery, 10)


def test_a_catalogue_and_its_regions_are_sources(
    library: Library, encoder: Encoder, tmp_path: Path
) -> None:
    """The source's promises, on the real ones; the tests of regions have it with removals."""
    save_pictures(tmp_path / "pictures", 20)
    index(library, [tmp_path / "pictures"], IndexOptions(within=True), encoder=encoder)
    sources: list[DescriptorSource] = [
        library.catalogue.descriptors,
        RegionalSource(library.catalogue),
        _copy(library.catalogue.descriptors),
    ]
    for source in sources:
        ids = source.ids()
        assert np.array_equal(ids, np.unique(ids))
        found, vectors = source.of([*ids[::-1].tolist(), 10**12])
        assert np.array_equal(found, ids)
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
        pages = list(source.read_after(-1))
        assert np.array_equal(np.concatenate([page for page, _ in pages]), ids)
        assert np.array_equal(np.concatenate([page for _, page in pages]), vectors)
        assert list(source.read_after(source.generation())) == []
        assert len(source.list_removals_after(0)) == 0
        assert len(source.ids(before=0)) == 0
        assert np.array_equal(source.ids(before=source.generation()), ids)


def _copy(source: DescriptorSource) -> Rows:
    rows = Rows()
    ids = source.ids()
    rows.write(ids.tolist(), source.of(ids.tolist())[1])
    return rows


def test_an_engine_asks_any_index_and_answers_alike(
    indexed: Library, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search with the plain index in the local one's place: the same hits, to the last bit."""
    (first,) = indexed.catalogue.list_pictures(Filter(), "path", 1)
    query = first.path
    with Engine(indexed, encoder=encoder) as engine:
        expected = engine.search(query, k=20, expand=True, rerank=True).hits
    opened: list[PlainIndex] = []

    def plain(_: object, fingerprint: str) -> PlainIndex:
        if not opened:
            opened.append(PlainIndex(indexed.gallery()))
        opened[0].refresh()
        return opened[0]

    monkeypatch.setattr("parecido.search.ranking.open_index.OpenIndex.refresh", plain)
    with Engine(indexed, encoder=encoder) as engine:
        assert engine.search(query, k=20, expand=True, rerank=True).hits == expected
    assert len(opened) == 1
