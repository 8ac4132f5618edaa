"""After ``kill -9`` at any moment the library opens, is whole, and keeps what was committed."""

from __future__ import annotations

import itertools
import math
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from parecido import Library, index
from parecido.indexer.catalogue.changes import Add
from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter
from parecido.indexer.checkup.repair import repair
from parecido.indexer.library.layout import CATALOGUE
from tests.support.fakes import fake_encoder
from tests.support.harness import CHILDREN, Row, check_sound, cosine
from tests.support.places import REPOSITORY
from tests.support.scenes import Scene, check_complete, check_nothing_lost, scene_changed, scene_new

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")

# -- a written schedule: before and after the n-th call of what changes the disk -------------------


def _places() -> dict[str, tuple[Any, ...]]:
    """Everything through which an indexing run changes the disk: owners with names of theirs."""
    import faiss
    from sqlalchemy.engine.default import DefaultDialect

    return {
        "statement": (DefaultDialect, "do_execute", "do_executemany"),
        "commit": (DefaultDialect, "do_commit"),
        "replace": (os, "replace"),
        "link": (os, "link"),
        "unlink": (os, "unlink"),
        "mkdir": (os, "mkdir"),
        "fsync": (os, "fsync"),
        "write_index": (faiss, "write_index"),
    }


def _arm(place: str, after: bool, strike: int) -> None:
    """Let this process die before or after the n-th call at a place."""
    owner, *names = _places()[place]
    calls = itertools.count(1)

    def fatal(real: Callable[..., Any], *given: Any, **named: Any) -> Any:
        if place == "statement" and str(given[2]).startswith(("SELECT", "PRAGMA")):
            return real(*given, **named)  # reading changes nothing
        last = next(calls) == strike
        if last and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return real(*given, **named)
        finally:
            if last:
                os.kill(os.getpid(), signal.SIGKILL)

    for name in names:
        real = getattr(owner, name)
        setattr(owner, name, lambda *given, _real=real, **named: fatal(_real, *given, **named))


def _index_until_killed(
    place: str, after: bool, strike: int, library: Path, pictures: Path, told: Path
) -> None:
    """Index with a commit for each batch; tell what was committed; die at the written moment."""
    import parecido.indexer.indexing.run
    import parecido.indexer.indexing.workers
    import parecido.indexer.vectors.local.index

    parecido.indexer.indexing.run.COMMIT_SECONDS = 0.0
    parecido.indexer.indexing.workers.AHEAD = 1
    parecido.indexer.vectors.local.index._SAVE_ROWS = (
        parecido.indexer.vectors.local.index._SAVE_SHARE
    ) = 0  # write the vector index each time
    write = CatalogueWriter.write

    def telling(catalogue: CatalogueWriter, changes: list[Any], **named: Any) -> None:
        write(catalogue, changes, **named)
        with told.open("ab") as file:
            file.writelines(
                change.entry.path + b"\n" for change in changes if isinstance(change, Add)
            )

    CatalogueWriter.write = telling  # type: ignore[assignment,method-assign]
    _arm(place, after, strike)
    with Library.create(library) as opened:
        index(opened, [pictures], encoder=fake_encoder())


def _repair_until_killed(place: str, after: bool, strike: int, library: Path) -> None:
    _arm(place, after, strike)
    repair(library)


def _run_child(work: Callable[..., None], *arguments: object) -> int:
    child = CHILDREN.Process(target=work, args=arguments)
    child.start()
    child.join()
    assert child.exitcode is not None
    return child.exitcode


@pytest.fixture(scope="module", params=[scene_new, scene_changed], ids=["new", "changed"])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A first run into no library; a second run after changes of every kind."""
    made: Scene = request.param(tmp_path_factory.mktemp("scene"))
    return made


@pytest.mark.parametrize(
    ("place", "after"),
    # after a statement is before the next one
    [
        (place, after)
        for place in _places()
        for after in (False, True)
        if place != "link" and (place, after) != ("statement", True)
    ],
)
def test_a_kill_at_every_call_that_changes_the_disk_loses_nothing_committed(
    scene: Scene, place: str, after: bool, tmp_path: Path
) -> None:
    struck = 0
    # there are some sixty statements: each third
    for strike in itertools.count(1, 3 if place == "statement" else 1):
        library, told = tmp_path / f"library{strike}", tmp_path / f"told{strike}"
        if scene.before is not None:
            shutil.copytree(scene.before, library)
        given = (place, after, strike, library, scene.pictures, told)
        exit_code = _run_child(_index_until_killed, *given)
        found = check_sound(library)
        check_nothing_lost(scene, found, told.read_bytes().split(b"\n") if told.exists() else [])
        if exit_code == 0:
            break
        assert exit_code == -signal.SIGKILL
        struck += 1
        with Library.create(library) as opened:
            index(opened, [scene.pictures], encoder=fake_encoder())
        check_complete(scene, found, check_sound(library))
    assert struck >= 1


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("place", ["commit", "link", "unlink", "replace", "fsync"])
def test_a_kill_during_a_repair_leaves_a_catalogue_that_can_be_repaired(
    place: str, after: bool, indexed: Library, tmp_path: Path
) -> None:
    shutil.rmtree(indexed.folder / "vectors")
    with sqlite3.connect(indexed.folder / CATALOGUE) as connection:
        connection.execute("DELETE FROM descriptors WHERE picture_id = 7")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("DELETE FROM sqlite_master WHERE name = 'ix_pictures_content_hash'")
    connection.close()
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(indexed.folder, undisturbed)
    assert any(line.startswith("copied 20 readable pictures") for line in repair(undisturbed))
    wanted = check_sound(undisturbed)
    assert len(wanted) == 19
    struck = 0
    for strike in itertools.count(1):
        library = tmp_path / f"library{strike}"
        shutil.copytree(indexed.folder, library)
        exit_code = _run_child(_repair_until_killed, place, after, strike, library)
        assert (library / CATALOGUE).is_file()
        if exit_code == 0:
            break
        assert exit_code == -signal.SIGKILL
        struck += 1
        repair(library)
        assert check_sound(library) == wanted
    assert struck >= 1
    assert check_sound(library) == wanted


# -- the real network through the real command line ------------------------------------------------

PICTURES = 150
KILLS = 50


# The command line, committing ten times as often: a machine that indexes all pictures within one
# second would commit once, and no kill would strike between commits.
OFTEN = """
import parecido.indexer.indexing.run
from parecido.search.cli import main
parecido.indexer.indexing.run.COMMIT_SECONDS = 0.1
main()
"""


def _parecido_index(library: Path, pictures: Path, program: str = OFTEN) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", program, "index", str(pictures)]
    return subprocess.Popen(
        [*command, "--model", "efficientnet-lite0", "--library", str(library)],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def _spent(process: subprocess.Popen[bytes]) -> float:
    """The time that a process had of the processors so far, which no load beside it adds to."""
    spent = psutil.Process(process.pid).cpu_times()
    return float(spent.user + spent.system)


def _ended_well(process: subprocess.Popen[bytes]) -> bool:
    _, said = process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), said.decode()
    return process.returncode == 0


@dataclass
class Undisturbed:
    """A run that nobody disturbed."""

    pictures: Path
    seconds: float
    """What it had of the processors."""
    rows: dict[bytes, tuple[int, Row]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """150 pictures, indexed once with EfficientNet-Lite0 in a warm encoder cache."""
    folder = tmp_path_factory.mktemp("real")
    pictures = folder / "pictures"
    pictures.mkdir()
    for seed in range(PICTURES):
        colours = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
        soft = Image.fromarray(colours).resize((560, 420), Image.Resampling.BICUBIC)
        soft.save(pictures / f"{seed:03d}.jpg", quality=85)
    assert _ended_well(_parecido_index(folder / "warm", pictures))
    before = os.times()
    assert _ended_well(_parecido_index(folder / "library", pictures))
    after = os.times()
    seconds = sum(after[2:4]) - sum(before[2:4])  # of children that have ended
    rows = check_sound(folder / "library")
    assert len(rows) == PICTURES
    return Undisturbed(pictures, seconds, rows)


@dataclass
class Struck:
    """A library that runs into kills, one after the other."""

    folder: Path
    undisturbed: Undisturbed
    rows: dict[bytes, tuple[int, Row]] = field(default_factory=dict)
    tally: Counter[str] = field(default_factory=Counter)
    libraries: int = 1

    @property
    def library(self) -> Path:
        return self.folder / f"library{self.libraries}"

    def run(self, seconds: float = math.inf, program: str = OFTEN) -> None:
        """Index, kill after so much time of the processors, and check what is left."""
        process = _parecido_index(self.library, self.undisturbed.pictures, program)
        while process.poll() is None and _spent(process) < seconds:
            time.sleep(0.0002)
        process.kill()
        ended = _ended_well(process)
        rows = check_sound(self.library)
        assert {p: i for p, (i, _) in self.rows.items()}.items() <= {
            p: i for p, (i, _) in rows.items()
        }.items()
        if ended:
            self.tally["after the end"] += 1
        elif len(rows) == PICTURES:
            self.tally["after the last picture's commit"] += 1
        elif rows:
            self.tally["between commits"] += 1
        else:
            self.tally["before the first commit"] += 1
        self.rows = rows

    def start_anew(self) -> None:
        """Leave a completed library and begin an empty one."""
        self.rows = {}
        self.libraries += 1

    def complete(self) -> dict[bytes, tuple[int, Row]]:
        """What the next undisturbed run makes of it."""
        assert _ended_well(_parecido_index(self.library, self.undisturbed.pictures))
        return check_sound(self.library)


def _check_same(rows: dict[bytes, tuple[int, Row]], wanted: dict[bytes, tuple[int, Row]]) -> None:
    assert rows.keys() == wanted.keys()
    for path, (_, row) in rows.items():
        other = wanted[path][1]
        assert row._replace(descriptor=b"", labels=()) == other._replace(descriptor=b"", labels=())
        assert [(n, i) for n, _, i in row.labels] == [(n, i) for n, _, i in other.labels]
        probabilities = [p for _, p, _ in other.labels]
        assert [p for _, p, _ in row.labels] == pytest.approx(probabilities, rel=1e-3, abs=1e-5)
        assert cosine(row.descriptor, other.descriptor) >= 0.99999


@pytest.fixture
def struck(tmp_path: Path, undisturbed: Undisturbed) -> Iterator[Struck]:
    """An empty library, and the undisturbed one to compare with; tells where the kills struck."""
    made = Struck(tmp_path, undisturbed)
    yield made
    where = ", ".join(f"{count} {name}" for name, count in sorted(made.tally.items()))
    print(f"{made.tally.total()} kills ({undisturbed.seconds:.1f} s undisturbed): {where}")


@pytest.mark.network
def test_fifty_kills_over_the_whole_run_lose_nothing_committed(struck: Struck) -> None:
    rng = np.random.default_rng(20240607)
    # one moment in each fiftieth of an undisturbed run, start-up included, in mixed order
    moments = (rng.permutation(KILLS) + rng.random(KILLS)) / KILLS * struck.undisturbed.seconds
    for moment in moments.tolist():
        if len(struck.rows) == PICTURES:
            struck.start_anew()
        struck.run(moment)
    assert struck.tally.total() == KILLS
    assert struck.tally["before the first commit"] > 0
    assert struck.tally["after the end"] < KILLS / 2
    _check_same(struck.complete(), struck.undisturbed.rows)


# What a process looks for after each of its writes, and dies of.  In the order of a run, so that
# each strikes a library which the one before has left behind.
SIGHTS: dict[str, Callable[[Path], bool]] = {
    "the journal of the new catalogue": lambda p: _size(p / f"{CATALOGUE}.new-wal") > 0,
    "the first commit's journal": lambda p: _size(p / f"{CATALOGUE}-wal") > 0,
    "a later commit's journal": lambda p: _pages(p / f"{CATALOGUE}-wal") > 40,
    "the vector index half written": lambda p: any((p / "vectors").glob("*.tmp")),
    "the vector index in its place": lambda p: any((p / "vectors").glob("*.faiss")),
}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _pages(journal: Path) -> float:
    """How many pages there are in a journal, which tells their size at its begin."""
    try:
        with journal.open("rb") as file:
            head = file.read(12)
    except FileNotFoundError:
        return 0
    return _size(journal) / int.from_bytes(head[8:], "big") if len(head) == 12 else 0


def die_at_the_sight_of(name: str) -> None:
    """Let this process die after the first write that leaves a sight; half of an index counts."""
    library, seen = Path(sys.argv[sys.argv.index("--library") + 1]), SIGHTS[name]

    def watched(real: Callable[..., Any], *given: Any, **named: Any) -> Any:
        found = real(*given, **named)
        if seen(library):
            for half in (library / "vectors").glob("*.tmp"):
                os.truncate(half, _size(half) // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    for owner, *names in _places().values():
        for each in names:
            real = getattr(owner, each)
            setattr(
                owner, each, lambda *given, _real=real, **named: watched(_real, *given, **named)
            )


@pytest.mark.network
def test_kills_at_the_sight_of_each_kind_of_write_lose_nothing_committed(struck: Struck) -> None:
    counts = []
    for sight in SIGHTS:
        dying = (
            "from tests.indexing.test_kill import die_at_the_sight_of as die\n"
            f"die({sight!r})\n{OFTEN}"
        )
        struck.run(program=dying)
        counts.append(len(struck.rows))
    assert struck.tally["after the end"] == 0
    # how much a commit holds, and so where the second and third strike, depends on the machine
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert counts[3:] == [PICTURES, PICTURES]
    _check_same(struck.complete(), struck.undisturbed.rows)
