"""What may go wrong while a library learns its space: kills, full disks, files left behind."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from parecido import Library, verify
from parecido.indexer.catalogue.changes import Remove
from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter
from parecido.indexer.library.upkeep import bring_up_to_date
from parecido.indexer.vectors.local.index import VectorIndex
from parecido.search.engine import Engine
from tests.indexing.test_kill import _arm
from tests.learning.test_space import scenes
from tests.library.test_upkeep import answer, dimension_of, is_same, oracle
from tests.support.harness import CHILDREN, check_sound, put


def _settle_until_killed(place: str, after: bool, strike: int, folder: Path) -> None:
    _arm(place, after, strike)
    with Library.open(folder) as library, library.writer() as writing:
        bring_up_to_date(writing)


PLACES = [(place, after) for place in ("replace", "commit", "fsync") for after in (False, True)]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(("place", "after"), [*PLACES, ("unlink", False), ("write_index", True)])
def test_a_kill_while_a_library_learns_leaves_the_old_space_or_the_new(
    place: str, after: bool, tmp_path: Path
) -> None:
    before = tmp_path / "before"
    with Library.create(before) as library:
        put(library, scenes(1, 80))
        with library.writer() as writing:
            bring_up_to_date(writing)
            writing.catalogue.rerank_by_default(True)
        put(library, scenes(2, 80))
        known = library.catalogue.settings.space_fingerprint()
    struck = 0
    for strike in itertools.count(1):
        folder = tmp_path / f"library{strike}"
        shutil.copytree(before, folder)
        child = CHILDREN.Process(target=_settle_until_killed, args=(place, after, strike, folder))
        child.start()
        child.join()
        _check_usable(folder, known)
        if child.exitcode == 0:
            break
        assert child.exitcode == -signal.SIGKILL
        struck += 1
        with Library.open(folder) as library:
            with library.writer() as writing:
                bring_up_to_date(writing)
            space = library.catalogue.settings.space()
            assert space is not None
            assert space.pictures == 160
            names = [path.name for path in (folder / "vectors").iterdir()]
            assert len(names) == 1
            assert space.fingerprint in names[0]
            assert len(list((folder / "neighbours").iterdir())) == 1
    assert struck >= 1


def _check_usable(folder: Path, known: str) -> None:
    assert len(check_sound(folder)) == 160
    with Library.open(folder) as library, Engine(library) as engine:
        space = library.catalogue.settings.space()
        assert space is not None
        assert (space.fingerprint == known) == (space.pictures == 80)
        (query,) = scenes(3, 1)
        assert is_same(answer(engine, query), oracle(library, query, space))


def test_the_file_of_a_space_that_was_never_committed_is_not_used_and_goes(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(library, scenes(1, 100))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CatalogueWriter, "use_space", killed)
        with pytest.raises(KeyboardInterrupt), library.writer() as writing:
            bring_up_to_date(writing)
    (orphan,) = (library.folder / "vectors").iterdir()
    assert "-" in orphan.stem
    (query,) = scenes(2, 1)
    with Engine(library) as engine:
        assert is_same(answer(engine, query), oracle(library, query))
    assert verify(library) == []
    with library.writer() as writing:
        writing.catalogue.write([Remove(list(range(1, 60)))])  # too few for a space now
        bring_up_to_date(writing)
    assert not orphan.exists()
    assert len(list((library.folder / "vectors").iterdir())) == 1


@pytest.mark.parametrize("what", ["index", "neighbours"])
def test_a_disk_that_refuses_a_cache_is_told_and_nothing_else_is_missing(
    what: str,
    library: Library,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    put(library, scenes(1, 100))
    place = {
        "index": "parecido.indexer.vectors.local.file.write",
        "neighbours": "parecido.indexer.vectors.neighbours.np.lib.format.write_array",
    }
    with monkeypatch.context() as patch:
        patch.setattr(place[what], refuse)
        with library.writer() as writing:
            writing.catalogue.rerank_by_default(True)
            bring_up_to_date(writing)
    assert "could not be cached" in caplog.text
    assert dimension_of(library) == 12
    assert not list((library.folder / {"index": "vectors"}.get(what, what)).iterdir())
    (query,) = scenes(2, 1)
    with Engine(library) as engine:
        space = library.catalogue.settings.space()
        assert is_same(answer(engine, query), oracle(library, query, space))


def test_a_large_library_is_indexed_once_in_its_new_space(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parecido.indexer.vectors.local.index._FLAT_BYTES", 100 * 12 * 4)
    saved: list[Sequence[object]] = []
    save: Callable[[VectorIndex], None] = VectorIndex.save

    def counting(index: VectorIndex) -> None:
        saved.append((index.gallery.fingerprint, index.generation))
        save(index)

    monkeypatch.setattr(VectorIndex, "save", counting)
    put(library, scenes(1, 500))
    with library.writer() as writing:
        bring_up_to_date(writing)
    assert len(saved) == 1
