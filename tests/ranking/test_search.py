"""Search: NumPy's sorted inner products are the oracle of every answer."""

from __future__ import annotations

import io
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from parecido.indexer.catalogue.changes import Remove
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.errors import (
    EncoderMismatch,
    InvalidRequest,
    LibraryNotFound,
    PathNotFound,
    PictureUnreadable,
)
from parecido.indexer.indexing.pipeline import index, remove
from parecido.indexer.library.library import Library
from parecido.search.asking.request import Request
from parecido.search.asking.terms import Terms
from parecido.search.engine import Engine, similarity_table
from tests.conftest import OWN_FIXTURES
from tests.support.fakes import DIMENSION, fake_encoder, quadrants, save_picture
from tests.support.harness import put

Vectors = npt.NDArray[np.float32]


def oracle(
    library: Library, query: Vectors, leave_out: int | None = None
) -> list[tuple[int, float]]:
    """Ids and cosines of all pictures, best first, ties by id; straight from the catalogue."""
    ids, vectors = library.catalogue.descriptors.of(library.catalogue.descriptors.ids().tolist())
    scores = (vectors.astype(np.float64) @ query.astype(np.float64)).astype(np.float32)
    order = sorted(zip(ids.tolist(), scores.tolist(), strict=True), key=lambda p: (-p[1], p[0]))
    return [pair for pair in order if pair[0] != leave_out]


def drawn(seed: int, count: int) -> Vectors:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, DIMENSION)).astype(np.float32)


def test_hits_are_numpys_sorted_inner_products(library: Library) -> None:
    put(library, drawn(1, 500))
    with Engine(library) as engine:
        for query in drawn(2, 25):
            hits = engine.search_vector(query, k=20)
            expected = oracle(library, query / np.linalg.norm(query))[:20]
            assert [hit.id for hit in hits] == [i for i, _ in expected]
            assert [hit.score for hit in hits] == pytest.approx([s for _, s in expected], abs=1e-6)
            assert [hit.rank for hit in hits] == list(range(1, 21))


def test_equal_scores_are_ordered_by_id_also_across_the_last_place(library: Library) -> None:
    one, other = drawn(3, 2)
    # 300 twins: far more than k and its margin, half of them added later
    put(library, np.stack([one] * 150 + [other] * 5))
    library.vectors().save()
    put(library, np.stack([one] * 150))
    with Engine(library) as engine:
        hits = engine.search_vector(one, k=40)
        assert [hit.id for hit in hits] == list(range(1, 41))
        assert len({hit.score for hit in hits}) == 1
        without = engine.search_vector(one, k=3, leave_out=2)
        assert [hit.id for hit in without] == [1, 3, 4]


@settings(max_examples=25, suppress_health_check=OWN_FIXTURES)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["add", "remove", "change", "save"]), st.integers(0, 2**16)),
        min_size=1,
        max_size=12,
    ),
    few=st.sampled_from([0, 2, 256]),
)
def test_after_any_history_search_equals_the_oracle(
    steps: list[tuple[str, int]], few: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("history") / "library"
    # how many that have left are asked for in excess, instead of passed over with a selector
    with (
        patch("parecido.indexer.vectors.local.index._FEW_DROPPED", few),
        Library.create(folder) as library,
    ):
        put(library, drawn(0, 5))
        index_kept_open = library.vectors()
        for what, seed in steps:
            ids = library.catalogue.descriptors.ids().tolist()
            chosen = [i for n, i in enumerate(ids) if (seed >> n % 16) & 1]
            if what == "add":
                put(library, drawn(seed, 1 + seed % 7))
            elif what == "remove" and len(chosen) < len(ids):
                with library.writer() as writing:
                    writing.catalogue.write([Remove(chosen)])
            elif what == "change" and chosen:
                put(library, drawn(seed, len(chosen)), list(chosen))
            elif what == "save":
                library.vectors().save()
        queries = drawn(99, 6)
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        expected = [[i for i, _ in oracle(library, query)] for query in queries]
        with Engine(library) as engine:
            alone = [engine.search_vector(query) for query in queries]
            assert [[hit.id for hit in hits] for hits in alone] == [ids[:10] for ids in expected]
            # four and more go through the index as a matrix product
            together = engine.answer([Request((query[None],), Terms()) for query in queries])
            assert [[hit.id for hit in hits] for hits in together] == [ids[:10] for ids in expected]
        index_kept_open.refresh()
        assert index_kept_open.count == len(expected[0]) == len(library.catalogue.descriptors.ids())
        assert index_kept_open.ids().tolist() == library.catalogue.descriptors.ids().tolist()


def test_half_precision_storage_answers_the_same(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parecido.indexer.vectors.local.index.memory", lambda: 0)
    monkeypatch.setattr("parecido.indexer.vectors.local.index._FLAT_BYTES", 0)
    with library.writer() as writing:
        writing.catalogue.keep_exact_index(True)
    put(library, drawn(5, 300))
    vectors = library.vectors()
    vectors.save()
    assert vectors.kind == "flat16"
    with Engine(library) as engine:
        for query in drawn(6, 10):
            expected = oracle(library, query / np.linalg.norm(query))[:10]
            hits = engine.search_vector(query)
            assert [hit.id for hit in hits] == [i for i, _ in expected]


def test_a_picture_from_outside_is_encoded_and_found(
    indexed: Library, tmp_path: Path, encoder: Encoder
) -> None:
    query = tmp_path / "elsewhere.png"
    shutil.copyfile(tmp_path / "pictures" / "0007.png", query)
    with Engine(indexed, encoder=encoder) as engine:
        results = engine.search(query, k=3)
    assert results.hits[0].path == str(tmp_path / "pictures" / "0007.png")
    assert results.hits[0].score >= 0.999
    expected = oracle(indexed, quadrants(np.asarray(_at_size(query, encoder))[None])[0])[:3]
    assert [hit.id for hit in results.hits] == [i for i, _ in expected]


def _at_size(path: Path, encoder: Encoder) -> npt.NDArray[np.uint8]:
    from parecido.indexer.pictures.decode import Limits
    from parecido.indexer.pictures.read import decode_file

    return decode_file(path, encoder.spec, Limits()).pixels


def test_an_indexed_path_is_answered_without_encoding_and_without_itself(
    indexed: Library, tmp_path: Path
) -> None:
    encoder = fake_encoder()
    path = tmp_path / "pictures" / "0004.png"
    with Engine(indexed, encoder=encoder) as engine:
        hits = engine.search(path, k=5).hits
        assert str(path) not in [hit.path for hit in hits]
        assert len(hits) == 5
        itself = engine.search(path, k=5, include_self=True).hits
        assert itself[0].path == str(path)
        assert itself[0].score >= 0.999
        assert [hit.id for hit in itself[1:]] == [hit.id for hit in hits[:4]]
    assert encoder._runtime.pictures == 0  # type: ignore[attr-defined]


def test_every_picture_finds_itself_or_its_twin_first(
    indexed: Library, tmp_path: Path, encoder: Encoder
) -> None:
    with Engine(indexed, encoder=encoder) as engine:
        for file in (tmp_path / "pictures").iterdir():
            best = engine.search(file, k=1, include_self=True).hits[0]
            assert best.path == str(file)
            assert best.score >= 0.999


def test_an_indexed_file_that_changed_since_is_encoded_anew(
    indexed: Library, tmp_path: Path, encoder: Encoder
) -> None:
    path = tmp_path / "pictures" / "0004.png"
    save_picture(path, seed=9)  # now it looks like 0009.png
    with Engine(indexed, encoder=encoder) as engine:
        assert engine.search(path, k=1).hits[0].path == str(tmp_path / "pictures" / "0009.png")


def test_a_touched_query_is_still_left_out_of_its_own_hits(
    indexed: Library, tmp_path: Path, encoder: Encoder
) -> None:
    path = tmp_path / "pictures" / "0004.png"
    os.utime(path, ns=(7, 7))
    with Engine(indexed, encoder=encoder) as engine:
        assert str(path) not in [hit.path for hit in engine.search(path).hits]
        assert engine.search(path, k=1, include_self=True).hits[0].path == str(path)


def test_an_engine_never_mixes_encoders(indexed: Library, tmp_path: Path, encoder: Encoder) -> None:
    query = save_picture(tmp_path / "q.png", 50)
    other = fake_encoder(pooling="max")
    mismatch = pytest.raises(EncoderMismatch, match=r"fake · avg.*fake · max")
    with Engine(indexed, encoder=other) as engine, mismatch:
        engine.search(query)
    with Engine(indexed, encoder=encoder) as engine:
        assert engine.search(query).hits
        remove(indexed, [tmp_path / "pictures"])
        index(indexed, [tmp_path / "pictures"], encoder=other)
        with pytest.raises(EncoderMismatch):
            engine.search(query)


def test_descriptors_are_those_that_a_search_uses(
    indexed: Library, tmp_path: Path, encoder: Encoder
) -> None:
    inside = tmp_path / "pictures" / "0003.png"
    outside = save_picture(tmp_path / "q.png", 50)
    with Engine(indexed, encoder=encoder) as engine:
        rows = engine.descriptors([inside, outside])
        hits = engine.search(outside, k=20).hits
        assert engine.search_vector(rows[1], k=20) == tuple(replace(h, same=None) for h in hits)
        itself = indexed.catalogue.picture_at(str(inside))
        assert itself is not None
        hits = engine.search_vector(rows[0] * 1e25, k=19, leave_out=itself.id)
        assert [hit.id for hit in hits] == [hit.id for hit in engine.search(inside, k=19).hits]
        with pytest.raises(PathNotFound):
            engine.descriptors([tmp_path / "gone.png"])
        assert engine.descriptors([]).shape == (0, DIMENSION)


def test_threads_that_search_leave_pillows_own_limit_as_it_was(
    indexed: Library, tmp_path: Path, encoder: Encoder
) -> None:
    before = Image.MAX_IMAGE_PIXELS
    data = save_picture(tmp_path / "q.png", 50).read_bytes()
    with Engine(indexed, encoder=encoder) as engine, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: engine.search_bytes(data, k=3).hits, range(40)))
    assert answers == [answers[0]] * 40
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_picture_of_an_unplugged_disk_can_still_be_asked_about(
    indexed: Library, tmp_path: Path
) -> None:
    path = tmp_path / "pictures" / "0004.png"
    with Engine(indexed) as engine:
        before = [hit.id for hit in engine.search(path).hits]
        (tmp_path / "pictures").rename(tmp_path / "away")
        assert [hit.id for hit in engine.search(path).hits] == before


def test_a_relative_path_and_a_link_name_the_same_picture(
    indexed: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.png").symlink_to(tmp_path / "pictures" / "0004.png")
    with Engine(indexed) as engine:
        direct = engine.search(tmp_path / "pictures" / "0004.png").hits
        assert engine.search("pictures/../pictures/0004.png").hits == direct
        assert engine.search("link.png").hits == direct


def test_bytes_are_searched_like_a_file(indexed: Library, tmp_path: Path, encoder: Encoder) -> None:
    stream = io.BytesIO()
    Image.open(tmp_path / "pictures" / "0002.png").save(stream, "BMP")
    with Engine(indexed, encoder=encoder) as engine:
        results = engine.search_bytes(stream.getvalue(), k=1)
    assert results.query == "-"
    assert results.hits[0].path.endswith("0002.png")


def test_a_minimum_score_leaves_out_what_is_below_it(indexed: Library, tmp_path: Path) -> None:
    with Engine(indexed) as engine:
        everything = engine.search(tmp_path / "pictures" / "0000.png", k=19).hits
        limit = everything[7].score
        some = engine.search(tmp_path / "pictures" / "0000.png", k=19, min_score=limit).hits
    assert list(some) == [hit for hit in everything if hit.score >= limit]


@pytest.mark.parametrize(("k", "message"), [(0, "1 or more"), (-3, "1 or more"), (21, "20 pict")])
def test_a_k_out_of_range_is_refused(
    k: int, message: str, indexed: Library, tmp_path: Path
) -> None:
    with Engine(indexed) as engine, pytest.raises(InvalidRequest, match=message):
        engine.search(tmp_path / "pictures" / "0000.png", k=k)


def test_without_a_k_a_small_library_gives_what_it_has(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    save_picture(tmp_path / "p" / "a.png", 1)
    index(library, [tmp_path / "p"], encoder=encoder)
    save_picture(tmp_path / "q.png", 2)
    with Engine(library, encoder=encoder) as engine:
        assert len(engine.search(tmp_path / "q.png").hits) == 1
        assert engine.search(tmp_path / "p" / "a.png").hits == ()


def test_bad_queries_get_clear_errors(indexed: Library, tmp_path: Path, encoder: Encoder) -> None:
    (tmp_path / "text.jpg").write_text("this is no picture")
    with Engine(indexed, encoder=encoder) as engine:
        with pytest.raises(PathNotFound, match="gone"):
            engine.search(tmp_path / "gone.jpg")
        with pytest.raises(PictureUnreadable, match="not a picture"):
            engine.search(tmp_path / "text.jpg")
        with pytest.raises(PictureUnreadable, match="directory"):
            engine.search(tmp_path)
        with pytest.raises(PictureUnreadable, match="empty"):
            engine.search_bytes(b"")
        with pytest.raises(InvalidRequest, match="12 numbers"):
            engine.search_vector(np.ones(5, np.float32))
        for bad in (np.zeros(DIMENSION), np.full(DIMENSION, np.nan)):
            with pytest.raises(InvalidRequest, match="finite, nonzero"):
                engine.search_vector(bad.astype(np.float32))
        with pytest.raises(InvalidRequest, match="from -1 to 1"):
            engine.search(tmp_path / "pictures" / "0000.png", min_score=2)


def test_an_empty_library_says_so(library: Library, tmp_path: Path, encoder: Encoder) -> None:
    save_picture(tmp_path / "q.png", 1)
    with (
        Engine(library, encoder=encoder) as engine,
        pytest.raises(LibraryNotFound, match="no pictures yet"),
    ):
        engine.search(tmp_path / "q.png")


def test_a_missing_library_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(LibraryNotFound, match="parecido index"):
        Library.open(tmp_path / "nothing")


def test_an_open_engine_sees_what_is_committed_and_what_is_gone(
    indexed: Library, tmp_path: Path, encoder: Encoder
) -> None:
    new = save_picture(tmp_path / "q.png", 500)
    with Engine(indexed, encoder=encoder) as engine:
        first = engine.search(new, k=1).hits[0]
        shutil.copyfile(new, tmp_path / "pictures" / "new.png")
        index(indexed, [tmp_path / "pictures"], encoder=encoder)
        assert engine.search(new, k=1).hits[0].path == str(tmp_path / "pictures" / "new.png")
        (tmp_path / "pictures" / "new.png").unlink()
        index(indexed, [tmp_path / "pictures"], encoder=encoder)
        assert engine.search(new, k=1).hits[0] == first


def test_the_table_of_cosines_is_symmetric_with_ones(encoder: Encoder) -> None:
    rows = encoder.encode([np.full((8, 8, 3), v, np.uint8) for v in (0, 90, 255)]).descriptors
    table = similarity_table(rows)
    assert np.allclose(table, table.T)
    assert np.allclose(np.diag(table), 1)
    assert table.shape == (3, 3)
