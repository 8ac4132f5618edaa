"""A vector index's file that is lost: searches make do without, and the next writer makes it."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from parecido.indexer.checkup.repair import repair
from parecido.indexer.errors import LibraryDamaged
from parecido.indexer.library.library import Library
from parecido.indexer.library.upkeep import bring_up_to_date, is_up_to_date
from parecido.indexer.system.kinds import INDEXES
from parecido.indexer.system.own_files import own_files
from parecido.indexer.vectors.local.index import VectorIndex
from parecido.search.engine import Engine
from parecido.web import Settings
from tests.support.fakes import fake_spec, save_pictures
from tests.support.harness import put, run_parecido
from tests.support.serving import picture_bytes, serving, use_fakes
from tests.support.waiting import until

DIMENSION = 48
COUNT = 3000


def rows(seed: int, count: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Unit descriptors of nothing."""
    found = np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found


def written(folder: Path) -> dict[str, bytes]:
    """A library's files, but those by which SQLite's readers tell each other of themselves."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    paths = [path for path in paths if not path.name.endswith("-shm") and path.stat().st_size]
    return {str(path): path.read_bytes() for path in paths}


def files(library: Library) -> list[str]:
    """Of the vector index."""
    return [path.name for path in own_files(library.folder / "vectors", INDEXES)]


@pytest.fixture(params=["exhaustive", "compressed"])
def lost(
    request: pytest.FixtureRequest, library: Library, monkeypatch: pytest.MonkeyPatch
) -> Library:
    """A library of 3000 descriptors whose vector index was deleted."""
    if request.param == "compressed":
        monkeypatch.setattr("parecido.indexer.vectors.local.index._FLAT_BYTES", 100 * DIMENSION * 4)
    put(library, rows(1, COUNT), spec=fake_spec(dimension=DIMENSION))
    with library.writer() as writing:
        bring_up_to_date(writing)
    assert len(files(library)) == 1
    shutil.rmtree(library.folder / "vectors")
    return library


def check_search(engine: Engine, seed: int) -> None:
    """Assert that ten hits are those of a look at every descriptor."""
    for query in rows(seed, 5):
        hits = [(hit.id, hit.score) for hit in engine.search_vector(query)]
        assert hits == [(hit.id, hit.score) for hit in engine.search_vector(query, exact=True)]


def test_a_search_writes_nothing_finds_everything_and_tells_what_would_help(
    lost: Library, caplog: pytest.LogCaptureFixture
) -> None:
    there = written(lost.folder)
    with Engine(lost) as engine:
        check_search(engine, 2)
        check_search(engine, 3)
    assert written(lost.folder) == there
    (told,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "parecido index" in told.getMessage()  # once, not with every question
    assert str(lost.folder / "vectors") in told.getMessage()


def test_what_comes_while_an_index_is_held_in_memory_is_found(lost: Library) -> None:
    with Engine(lost) as engine:
        check_search(engine, 2)
        put(lost, rows(4, 40), spec=fake_spec(dimension=DIMENSION))
        check_search(engine, 4)
    assert files(lost) == []


def test_a_search_takes_up_the_file_that_a_writer_makes(lost: Library) -> None:
    index = lost.vectors()
    with lost.writer() as writing:
        assert not is_up_to_date(writing)
        bring_up_to_date(writing)
        assert is_up_to_date(writing)
    index.refresh()
    fresh = lost.vectors()
    assert index.ids().tolist() == fresh.ids().tolist()
    if not fresh.is_exhaustive:  # a small one serves as well from memory
        assert (index.kind, index.file_bytes) == ("compressed", fresh.file_bytes)


def test_a_file_that_cannot_be_read_is_looked_at_once(
    lost: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = lost.vectors()
    (lost.folder / "vectors").mkdir()
    name = lost.gallery().file_name(lost.catalogue.generation())
    (lost.folder / "vectors" / f"{name}.faiss").write_bytes(bytes(5000))
    opened: list[Path] = []

    def read(path: Path) -> None:
        opened.append(path)
        raise RuntimeError("it is damaged")

    monkeypatch.setattr("parecido.indexer.vectors.local.file.read", read)
    for _ in range(3):
        index.refresh()
    assert len(opened) <= 1
    assert index.ids().tolist() == lost.catalogue.descriptors.ids().tolist()


def test_repair_makes_it(lost: Library) -> None:
    repair(lost.folder)
    assert len(files(lost)) == 1


def test_memory_that_is_short_holds_a_compressed_one(
    lost: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parecido.indexer.vectors.local.index.memory", lambda: 1000)
    index = lost.vectors()
    assert isinstance(index, VectorIndex)
    assert index.count == COUNT
    assert files(lost) == []


@pytest.mark.parametrize("read_only", [False, True])
def test_a_server_that_may_write_makes_it_when_it_starts(
    indexed: Library, monkeypatch: pytest.MonkeyPatch, *, read_only: bool
) -> None:
    use_fakes(monkeypatch)
    monkeypatch.setattr("parecido.indexer.library.indexes._MANY", 10)
    shutil.rmtree(indexed.folder / "vectors")
    with serving(indexed.folder, Settings(read_only=read_only)) as client:
        if read_only:
            assert client.get("/v1/pictures").status_code == 200
            assert files(indexed) == []
        else:
            until(lambda: len(files(indexed)) == 1)


@pytest.mark.parametrize("error", [LibraryDamaged("The space is damaged."), RuntimeError("FAISS")])
def test_a_server_whose_index_cannot_be_made_goes_on_with_its_jobs(
    indexed: Library, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    use_fakes(monkeypatch)
    monkeypatch.setattr("parecido.search.web.jobs.misses_vectors", fail)
    with serving(indexed.folder) as client:
        assert client.send("/v1/pictures", picture_bytes(100)).status_code == 201


def test_a_search_from_the_shell_tells_of_it_beside_its_answer(tmp_path: Path) -> None:
    save_pictures(tmp_path / "pictures", 12)
    folder = tmp_path / "library"
    assert run_parecido("index", tmp_path / "pictures", "--library", folder).returncode == 0
    shutil.rmtree(folder / "vectors")
    there = written(folder)
    query = tmp_path / "pictures" / "0003.png"
    query = query if query.exists() else next((tmp_path / "pictures").iterdir())
    done = run_parecido("search", query, "--library", folder)
    assert done.returncode == 0, done.stderr
    assert "no index" not in done.stderr  # twelve descriptors are read in no time
    assert written(folder) == there
    assert run_parecido("index", tmp_path / "pictures", "--library", folder).returncode == 0
    assert len(list((folder / "vectors").iterdir())) == 1
