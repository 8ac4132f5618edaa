"""One writer at a time; readers beside it see committed states and nothing else."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from parecido import Engine, IndexOptions, Library, index, verify
from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter
from parecido.indexer.errors import LibraryBusy
from parecido.indexer.indexing.pipeline import remove
from parecido.indexer.library.layout import CATALOGUE
from parecido.indexer.library.lock import hold_lock
from parecido.indexer.library.summary import summarise
from tests.support.fakes import DIMENSION, fake_encoder, save_picture, save_pictures
from tests.support.harness import (
    CHILDREN,
    assert_one_line,
    check_sound,
    holdings,
    in_child,
    make_outdated,
    run_parecido,
    snapshot,
)
from tests.support.places import REPOSITORY
from tests.support.waiting import PATIENCE, until

# -- two writers -----------------------------------------------------------------------------------


def start_index(*arguments: str | Path, gate: Path | None = None) -> subprocess.Popen[str]:
    """``parecido index`` with the fake encoder, beside the test; see ``tests.support.fake_cli``."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.fake_cli", "index", *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, **({"FAKE_GATE": str(gate)} if gate else {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@dataclass
class First:
    """A ``parecido index`` that holds the lock and waits in its encoder."""

    process: subprocess.Popen[str]
    gate: Path

    def go_on(self) -> None:
        self.gate.touch()


@pytest.fixture
def first(library: Library, many: Path, tmp_path: Path) -> Iterator[First]:
    """The first of two writers."""
    gate = tmp_path / "gate"
    process = start_index(many, "--library", library.folder, gate=gate)
    while not Path(f"{gate}.reached").exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    yield First(process, gate)
    process.kill()
    process.communicate()


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """40 pictures."""
    save_pictures(tmp_path / "many", 40)
    return tmp_path / "many"


def test_a_second_writer_is_refused_and_told_who_is_first(
    first: First, library: Library, many: Path
) -> None:
    before = _kept(library.folder)
    with pytest.raises(LibraryBusy) as caught:
        index(library, [many], encoder=fake_encoder())
    told = (f"process {first.process.pid} on {socket.gethostname()} since 20", f"index {many}")
    assert [part for part in told if part not in caught.value.message] == []
    assert caught.value.remedy == "Wait for it to end, or add --wait."
    with pytest.raises(LibraryBusy):
        remove(library, [many])
    for command in (["index", many], ["verify", "--repair"]):
        second = run_parecido(*command, "--library", library.folder)
        assert_one_line(second, *told, "Wait for it to end, or add --wait.")
    assert _kept(library.folder) == before


def _kept(library: Path) -> dict[str, tuple[int, bytes]]:
    """All files but those that SQLite's readers share."""
    return {n: data for n, data in snapshot(library).items() if not n.endswith(("-shm", "-wal"))}


def assert_waits_for(first: First, second: subprocess.Popen[str]) -> None:
    """Assert that a writer finds the lock held, says so, and does not end."""
    assert second.stderr is not None
    said = second.stderr.readline()
    assert said.startswith(f"parecido: Waiting for process {first.process.pid} on ")
    assert (first.process.poll(), second.poll()) == (None, None)


def test_a_second_writer_that_waits_goes_on_when_the_first_has_ended(
    first: First, library: Library, tmp_path: Path
) -> None:
    save_pictures(tmp_path / "others", 5, first=1000)
    second = start_index(tmp_path / "others", "--wait", "--library", library.folder)
    assert_waits_for(first, second)
    assert library.catalogue.counts() == (0, 0)
    first.go_on()
    said = [process.communicate()[1] for process in (first.process, second)]
    assert (first.process.returncode, second.returncode) == (0, 0), said
    assert said[0] == ""
    assert len(check_sound(library.folder)) == 45


def test_the_lock_dies_with_a_killed_writer(first: First, library: Library, many: Path) -> None:
    first.process.kill()
    first.process.communicate()
    assert json.loads((library.folder / "writer.json").read_text())["pid"] == first.process.pid
    assert index(library, [many], encoder=fake_encoder()).added == 40
    assert not (library.folder / "writer.json").exists()
    assert len(check_sound(library.folder)) == 40


def test_a_waiting_writer_goes_on_when_the_first_is_killed(
    first: First, library: Library, many: Path
) -> None:
    second = start_index(many, "--wait", "--library", library.folder)
    assert_waits_for(first, second)
    first.process.kill()
    _, said = second.communicate()
    assert second.returncode == 0, said
    assert len(check_sound(library.folder)) == 40


def test_a_busy_library_whose_writer_has_not_signed_yet_is_refused_too(
    library: Library, tmp_path: Path
) -> None:
    save_pictures(tmp_path / "p", 2)
    with library.writer():
        for sign in ("", '{"pid": ', '{"pid": []}', '{"pid": 1}'):
            (library.folder / "writer.json").write_text(sign)
            # unless the child takes so long that the holder has signed again
            with pytest.raises(LibraryBusy, match=r"is being written by (another )?process"):
                in_child(_index, library.folder, tmp_path / "p")
        (library.folder / "writer.json").unlink()
        with pytest.raises(LibraryBusy, match=r"is being written by (another )?process"):
            in_child(_index, library.folder, tmp_path / "p")


def _index(library: Path, pictures: Path, wait: bool = False) -> int:
    with Library.create(library) as opened:
        options = IndexOptions(wait=wait)
        return index(opened, [pictures], options, encoder=fake_encoder()).added


def test_threads_of_one_process_write_one_after_the_other_too(
    library: Library, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "parecido")
    for name, first in (("a", 0), ("b", 100)):
        save_pictures(tmp_path / name, 20, first=first)
    with ThreadPoolExecutor(2) as pool:
        with library.writer():
            refused = pool.submit(_index, library.folder, tmp_path / "a")
            with pytest.raises(LibraryBusy, match=f"process {os.getpid()} on"):
                refused.result()
            waiting = [
                pool.submit(_index, library.folder, tmp_path / name, True) for name in ("a", "b")
            ]
            until(lambda: caplog.text.count(f"Waiting for process {os.getpid()} on") == 2)
            assert [future.done() for future in waiting] == [False, False]
        assert [future.result() for future in waiting] == [20, 20]
    assert len(check_sound(library.folder)) == 40


def test_processes_that_make_one_library_at_once_all_find_it(tmp_path: Path) -> None:
    for number in range(4):
        save_pictures(tmp_path / f"p{number}", 6, first=100 * number)
    children = [
        CHILDREN.Process(target=_index, args=(tmp_path / "new", tmp_path / f"p{number}", True))
        for number in range(4)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0, 0, 0]
    assert len(check_sound(tmp_path / "new")) == 24


# -- readers beside a writer -----------------------------------------------------------------------


class Answer(NamedTuple):
    """What a search gave, and how many pictures were committed before and after it."""

    query: int
    before: int
    after: int
    hits: list[tuple[int, float]]


def _queries() -> npt.NDArray[np.float32]:
    rows = np.random.default_rng(11).random((7, DIMENSION)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _ask(
    engine: Engine, count: Callable[[], int], ended: Callable[[], bool], told: Event
) -> list[Answer]:
    """Search until the writer has ended, and once more; each round is told."""
    answers, queries = [], _queries()
    while True:
        last = ended()
        for number, query in enumerate(queries):
            before = count()
            hits = engine.search_vector(query)
            answers.append(Answer(number, before, count(), [(h.id, h.score) for h in hits]))
        told.set()
        if last:
            return answers


def _ask_in_child(library: Path, started: Event, ended: Event, told: Event) -> list[Answer]:
    with Library.open(library) as opened, Engine(opened, encoder=fake_encoder()) as engine:
        engine.search_vector(_queries()[0])
        started.set()
        return _ask(engine, lambda: opened.catalogue.counts()[0], ended.is_set, told)


class Commits(list[int]):
    """How many pictures there were after each commit, which each of the readers lets pass."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[tuple[Event, Future[Any]]] = []
        """What each sets whenever it has read something, and what it gives in the end."""

    def add(self, count: int) -> None:
        """Note a commit, and wait until every reader has had its turn."""
        self.append(count)
        for told, _ in self.readers:
            told.clear()
        until(lambda: all(told.is_set() or end.done() for told, end in self.readers))


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> Commits:
    """A commit for each batch, with a turn for the readers after each."""
    counts = Commits()
    write = CatalogueWriter.write

    def telling(catalogue: CatalogueWriter, changes: list[Any], **named: Any) -> None:
        write(catalogue, changes, **named)
        counts.add(catalogue.counts()[0])

    monkeypatch.setattr(CatalogueWriter, "write", telling)
    monkeypatch.setattr("parecido.indexer.indexing.run.COMMIT_SECONDS", 0.0)
    monkeypatch.setattr("parecido.indexer.indexing.workers.AHEAD", 4)
    return counts


def test_searches_during_indexing_answer_from_a_committed_state(
    indexed: Library, tmp_path: Path, commits: Commits
) -> None:
    save_pictures(tmp_path / "pictures", 200, first=100)
    with CHILDREN.Manager() as manager, ThreadPoolExecutor(3) as threads:
        started, ended = manager.Event(), manager.Event()
        over = threading.Event()
        told = [threading.Event(), threading.Event(), manager.Event()]
        child = threads.submit(in_child, _ask_in_child, indexed.folder, started, ended, told[2])
        assert started.wait(PATIENCE)
        with Engine(indexed, encoder=fake_encoder()) as engine:
            count = lambda: indexed.catalogue.counts()[0]  # noqa: E731
            asking = [threads.submit(_ask, engine, count, over.is_set, one) for one in told[:2]]
            commits.readers = list(zip(told, (*asking, child), strict=True))
            try:
                # one worker: each batch is committed before the next one is full
                # and descriptors as they are stored, for what is expected is computed from them
                one = IndexOptions(workers=1, dimension="full")
                index(indexed, [tmp_path / "pictures"], one, encoder=fake_encoder())
            finally:
                commits.readers = []
                over.set()
                ended.set()
            answered = [future.result() for future in (*asking, child)]
    assert commits[-1] == 220
    assert len(set(commits)) >= 10
    ids, vectors = indexed.catalogue.descriptors.of(indexed.catalogue.descriptors.ids().tolist())
    scores = (vectors.astype(np.float64) @ _queries().T.astype(np.float64)).astype(np.float32)
    # ids rise with the commits, so a committed state is the first so many ids
    states = {
        (query, count): _best(ids[:count], scores[:count, query])
        for count in {20, *commits}
        for query in range(7)
    }
    for answers in answered:
        seen = {_state_of(answer, states) for answer in answers}
        assert len(seen) >= 5  # readers did see the library grow
        assert 220 in seen


def _best(ids: npt.NDArray[np.int64], scores: npt.NDArray[np.float32]) -> list[tuple[int, float]]:
    order = np.lexsort((ids, -scores))[:10]
    return list(zip(ids[order].tolist(), scores[order].tolist(), strict=True))


def _state_of(answer: Answer, states: dict[tuple[int, int], list[tuple[int, float]]]) -> int:
    """The committed state that an answer tells of, which lies between its begin and end."""
    for count in range(answer.before, answer.after + 1):
        best = states.get((answer.query, count), [])
        same_ids = [i for i, _ in best] == [i for i, _ in answer.hits]
        if same_ids and np.allclose(
            [s for _, s in best], [s for _, s in answer.hits], rtol=0, atol=1e-6
        ):
            return count
    raise AssertionError(f"no state from {answer.before} to {answer.after} pictures gives {answer}")


def test_searches_during_changes_give_scores_of_what_was_there(
    indexed: Library, tmp_path: Path, commits: Commits
) -> None:
    folder = tmp_path / "pictures"
    save_pictures(folder, 60, first=20)
    index(indexed, [folder], IndexOptions(dimension="full"), encoder=fake_encoder())
    versions: dict[int, list[npt.NDArray[np.float64]]] = {}
    over = threading.Event()
    with ThreadPoolExecutor(2) as threads, Engine(indexed, encoder=fake_encoder()) as engine:
        count = lambda: indexed.catalogue.counts()[0]  # noqa: E731
        told = [threading.Event(), threading.Event()]
        asking = [threads.submit(_ask, engine, count, over.is_set, one) for one in told]
        commits.readers = list(zip(told, asking, strict=True))
        try:
            for round_number in range(3):
                _note(indexed, versions)
                _change(folder, round_number)
                index(indexed, [folder], encoder=fake_encoder())
        finally:
            over.set()
            commits.readers = []
        _note(indexed, versions)
        answers = [answer for future in asking for answer in future.result()]
    assert len(answers) > 50
    queries = _queries().astype(np.float64)
    for answer in answers:
        assert [s for _, s in answer.hits] == sorted((s for _, s in answer.hits), reverse=True)
        assert len({i for i, _ in answer.hits}) == len(answer.hits)
        for picture_id, score in answer.hits:
            possible = [float(row @ queries[answer.query]) for row in versions[picture_id]]
            assert min(abs(score - s) for s in possible) < 1e-6
    assert verify(indexed) == []


def _change(folder: Path, round_number: int) -> None:
    """Remove every fifth picture, and put others in the place of every seventh."""
    for path in sorted(folder.iterdir())[round_number::5]:
        path.unlink()
    for number in range(round_number, 80, 7):
        save_picture(folder / f"{number:04d}.png", 1000 * (round_number + 1) + number)


def _note(library: Library, versions: dict[int, list[npt.NDArray[np.float64]]]) -> None:
    ids, vectors = library.catalogue.descriptors.of(library.catalogue.descriptors.ids().tolist())
    for picture_id, vector in zip(ids.tolist(), vectors, strict=True):
        versions.setdefault(picture_id, []).append(vector.astype(np.float64))


def test_many_threads_search_through_one_engine_while_pictures_come_change_and_go(
    indexed: Library, tmp_path: Path, commits: Commits
) -> None:
    folder = tmp_path / "pictures"
    save_pictures(folder, 40, first=20)
    steady = [folder / f"{number:04d}.png" for number in (3, 20, 41)]  # these are left alone
    index(indexed, [folder], encoder=fake_encoder())
    query = save_picture(tmp_path / "query.png", 4711)
    over, told = threading.Event(), [threading.Event() for _ in range(8)]

    def search(number: int, engine: Engine) -> int:
        times = 0
        while not over.is_set() or not times:
            path = steady[number % 3]
            best = engine.search(path, k=5, include_self=True).hits[0]
            assert (best.path, round(best.score, 3)) == (str(path), 1)
            other = engine.search(query, k=10) if number % 2 else engine.search_bytes(data, k=10)
            scores = [hit.score for hit in other.hits]
            assert scores == sorted(scores, reverse=True)
            assert len({hit.id for hit in other.hits}) == len(scores) == 10
            times += 1
            told[number].set()
        return times

    data = query.read_bytes()
    with ThreadPoolExecutor(8) as threads, Engine(indexed, encoder=fake_encoder()) as engine:
        searching = [threads.submit(search, number, engine) for number in range(8)]
        commits.readers = list(zip(told, searching, strict=True))
        try:
            for round_number in range(4):
                for path in sorted(folder.iterdir())[round_number::9]:
                    if path not in steady:
                        path.unlink()
                for number in range(5 + round_number, 60, 8):
                    if folder / f"{number:04d}.png" not in steady:
                        save_picture(folder / f"{number:04d}.png", 100 * round_number + number)
                index(indexed, [folder], encoder=fake_encoder())
        finally:
            over.set()
            commits.readers = []
        assert min(future.result() for future in searching) >= 1
        hits = engine.search(query, k=indexed.catalogue.counts()[0]).hits
    assert len(commits) >= 4
    assert {hit.path for hit in hits} == set(map(str, folder.iterdir()))
    assert len(check_sound(indexed.folder)) == len(hits)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_a_crowd_of_readers_leaves_few_connections_and_a_closed_library_none(
    indexed: Library,
) -> None:
    def descriptors_on_it() -> int:
        catalogue = str(indexed.folder / "catalogue.sqlite")
        links = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.exists()]
        return len([target for target in links if target.startswith(catalogue)])

    together = threading.Barrier(24)

    def ask() -> int:
        together.wait()
        return len(indexed.catalogue.pictures(range(1, 21)))

    with ThreadPoolExecutor(24) as threads:
        answers = [threads.submit(ask) for _ in range(24)]
        assert {future.result() for future in answers} == {20}
    # each connection has the file and its journal; SQLite may close the file a little later
    assert descriptors_on_it() < 24 * 2
    indexed.close()
    assert descriptors_on_it() == 0
    assert indexed.catalogue.counts() == (20, 0)  # it opens again when it is asked


# -- the journal -----------------------------------------------------------------------------------


def journal_of(library: Path) -> int:
    """How many bytes of a library lie in its journal."""
    journal = library / "catalogue.sqlite-wal"
    return journal.stat().st_size if journal.exists() else 0


def _write_and_die(library: Path, pictures: Path) -> None:
    with Library.open(library) as opened:
        index(opened, [pictures], encoder=fake_encoder())
        with opened.writer() as writing:
            writing.catalogue.keep_exact_index(True)
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("asked", [False, True], ids=["just opened", "asked before"])
def test_a_killed_writers_journal_is_folded_by_a_run_that_finds_nothing_new(
    asked: bool, indexed: Library, tmp_path: Path
) -> None:
    child = CHILDREN.Process(target=_write_and_die, args=(indexed.folder, tmp_path / "pictures"))
    child.start()
    child.join()
    assert journal_of(indexed.folder) > 0
    with Library.open(indexed.folder) as library:
        if asked:
            assert library.catalogue.settings.keeps_exact_index()
        assert index(library, [tmp_path / "pictures"], encoder=fake_encoder()).unchanged == 20
        assert journal_of(indexed.folder) == 0
        assert library.catalogue.settings.keeps_exact_index()


def test_the_journal_is_folded_after_each_run_although_the_library_stays_open(
    indexed: Library, tmp_path: Path
) -> None:
    with Engine(indexed, encoder=fake_encoder()) as engine:
        for number in range(3):
            save_picture(tmp_path / "pictures" / f"new{number}.png", 500 + number)
            assert index(indexed, [tmp_path / "pictures"], encoder=fake_encoder()).added == 1
            assert journal_of(indexed.folder) == 0
            # what lies in the one file is everything
            shutil.copy(indexed.folder / "catalogue.sqlite", tmp_path / f"copy{number}.sqlite")
            with Catalogue(tmp_path / f"copy{number}.sqlite") as copy:
                assert copy.counts() == indexed.catalogue.counts() == (21 + number, 0)
            assert len(engine.search_vector(_queries()[0], k=21 + number)) == 21 + number
    assert remove(indexed, [tmp_path / "pictures"]) == 23
    assert journal_of(indexed.folder) == 0


def _stay_open(library: Path, opened: Event, ended: Event) -> tuple[int, int]:
    """Ask, keep the library open, ask again: how many pictures there were."""
    with Library.open(library) as reader:
        before = reader.catalogue.counts()[0]
        opened.set()
        ended.wait()
        return before, reader.catalogue.counts()[0]


def test_the_journal_is_folded_after_each_run_although_another_process_has_the_library_open(
    indexed: Library, tmp_path: Path
) -> None:
    with CHILDREN.Manager() as manager, ThreadPoolExecutor(1) as threads:
        opened, ended = manager.Event(), manager.Event()
        reading = threads.submit(in_child, _stay_open, indexed.folder, opened, ended)
        opened.wait()
        try:
            save_picture(tmp_path / "pictures" / "new.png", 500)
            assert index(indexed, [tmp_path / "pictures"], encoder=fake_encoder()).added == 1
            left = journal_of(indexed.folder)
        finally:
            ended.set()
        assert reading.result() == (20, 21)
    assert left == 0


# -- readers while writers come and go -------------------------------------------------------------

RUNS = 50


def _read(library: Path, what: str, ended: Event, told: Event) -> tuple[int, list[str]]:
    """Open the library and read it, again and again; how often, and what was wrong."""
    times, wrong, last = 0, [], 0
    while not ended.is_set():
        with Library.open(library) as opened:
            if what == "verify":
                wrong += [problem.what for problem in verify(opened)]
            elif what == "info":
                facts = summarise(opened)
                match = re.search(r"(\d+) descriptors", facts["index"])
                if not match or int(match[1]) < facts["pictures"]:
                    wrong.append(str(facts))
            else:
                rows = holdings(opened)
                if len(rows) < last:
                    wrong.append(f"{len(rows)} pictures after {last}")
                last = len(rows)
        times += 1
        told.set()
    return times, wrong


def test_readers_open_and_find_all_well_while_writers_come_and_go(
    indexed: Library, tmp_path: Path, commits: Commits
) -> None:
    folder, kinds = tmp_path / "pictures", ("verify", "info", "holdings")
    with CHILDREN.Manager() as manager, ThreadPoolExecutor(3) as threads:
        ended, told = manager.Event(), [manager.Event() for _ in kinds]
        reading = [
            threads.submit(in_child, _read, indexed.folder, what, ended, one)
            for what, one in zip(kinds, told, strict=True)
        ]
        commits.readers = list(zip(told, reading, strict=True))
        try:
            for first in range(100, 100 + 8 * RUNS, 8):
                save_pictures(folder, 8, first=first)
                _index(indexed.folder, folder)  # opens and closes: the journal comes and goes
        finally:
            commits.readers = []
            ended.set()
        found = [future.result() for future in reading]
    assert len(commits) > 10
    assert [wrong for _, wrong in found] == [[], [], []]
    assert min(times for times, _ in found) >= 5
    assert len(check_sound(indexed.folder)) == 20 + 8 * RUNS


# -- libraries of an earlier version ---------------------------------------------------------------


def test_a_catalogue_of_an_earlier_version_is_not_written_when_it_is_read(indexed: Library) -> None:
    indexed.close()
    make_outdated(indexed.folder)
    before = _kept(indexed.folder)
    with Catalogue(indexed.folder / CATALOGUE) as catalogue:
        assert catalogue.is_outdated
        assert catalogue.counts() == (20, 0)
    assert _kept(indexed.folder) == before


def test_an_earlier_version_is_brought_up_to_date_behind_the_lock(
    indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexed.close()
    make_outdated(indexed.folder)
    before = _kept(indexed.folder)
    monkeypatch.setattr("parecido.indexer.library.library.BUSY_SECONDS", 0)
    with (
        hold_lock(indexed.folder),
        pytest.raises(LibraryBusy, match=f"is being written by process {os.getpid()}"),
    ):
        Library.open(indexed.folder)
    before.pop("writer.json", None)
    assert _kept(indexed.folder) == before
    with Library.open(indexed.folder) as opened:
        assert not opened.catalogue.is_outdated
        assert opened.catalogue.uploads.list_uploads() == []
