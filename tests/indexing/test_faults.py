"""Full disks, places that cannot be written, decoders and encoders that fail in mid-run."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sqlite3
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from PIL import ImageFile
from sqlalchemy import event
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.pool import Pool

from parecido import Engine, IndexOptions, Library, index, verify
from parecido.indexer.catalogue.changes import Add
from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.errors import LibraryReadOnly, NoSpace
from tests.support.fakes import FakeRuntime, fake_encoder, fake_spec, save_picture, save_pictures
from tests.support.harness import (
    Row,
    assert_one_line,
    check_sound,
    holdings,
    in_child,
    page_size,
    run_parecido,
    snapshot,
)
from tests.support.waiting import PATIENCE, until

Holdings = dict[bytes, tuple[int, Row]]
Mount = Callable[[str], Path]
NOBODY = 65534
WIDE = 1200  # numbers in a descriptor: they fill a disk soon


def rows(found: Holdings) -> dict[bytes, Row]:
    """Without ids, which depend on when a picture was committed."""
    return {path: row for path, (_, row) in found.items()}


class Told(list[bytes]):
    """The paths of pictures in every ``write`` that came back, and how many such there were."""

    commits = 0


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """Commits follow each other closely, and each is told."""
    committed = Told()
    write = CatalogueWriter.write

    def telling(catalogue: CatalogueWriter, changes: list[Any], **named: Any) -> None:
        write(catalogue, changes, **named)
        added = [change.entry.path for change in changes if isinstance(change, Add)]
        committed.extend(added)
        committed.commits += bool(added)

    monkeypatch.setattr(CatalogueWriter, "write", telling)
    monkeypatch.setattr("parecido.indexer.indexing.run.COMMIT_SECONDS", 0.0)
    monkeypatch.setattr("parecido.indexer.indexing.workers.AHEAD", 4)
    # a batch is full, however long its pictures wait for the last one
    monkeypatch.setattr("parecido.indexer.indexing.run.PATIENCE_SECONDS", PATIENCE)
    return committed


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mounts a RAM disk of a given size; skips the test where that is not allowed."""
    mounted: list[Path] = []

    def tmpfs(size: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"mounting a tmpfs is not allowed here ({error})")
        mounted.append(folder)
        return folder

    yield tmpfs
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


# -- full disks ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    save_pictures(folder, 400)
    return folder


@pytest.fixture(scope="module")
def wide_library(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of them, with long descriptors."""
    folder = tmp_path_factory.mktemp("wide") / "library"
    with Library.create(folder) as library:
        index(library, [pictures], RAW, encoder=fake_encoder(dimension=WIDE))
    return folder


@pytest.fixture(scope="module")
def wide(wide_library: Path) -> dict[bytes, Row]:
    """What an undisturbed run with long descriptors gives."""
    return rows(check_sound(wide_library))


class Sizes(NamedTuple):
    """What a catalogue takes on the disk, in bytes."""

    page: int
    empty: int
    """A catalogue without pictures."""
    full: int
    """One of 400 pictures with long descriptors."""


SHARED = 32 << 10  # the file that readers and writers of a journal share
# For what strikes at a certain size: the matrix of a space takes room in the catalogue, too.
RAW = IndexOptions(dimension="full")
FOLDED_AT = 400  # pages of journal; SQLite's own 1000 would take a thousand pictures


@pytest.fixture(scope="module")
def sizes(wide_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Sizes:
    """From these follows where the scenarios below strike, whatever size a page has."""
    empty = tmp_path_factory.mktemp("empty") / "library"
    Library.create(empty).close()
    files = [folder / "catalogue.sqlite" for folder in (empty, wide_library)]
    return Sizes(page_size(files[0]), *(path.stat().st_size for path in files))


def leave_free(disk: Path, size: int) -> Path:
    """A file that fills a disk but for so many bytes."""
    ballast = disk / "ballast"
    status = os.statvfs(disk)
    ballast.write_bytes(bytes(status.f_bavail * status.f_frsize - size))
    return ballast


# how many times an empty catalogue, how many pages more, and whether the shared file as well
@pytest.mark.parametrize(
    ("empty", "pages", "shared", "filled_by"),
    [
        (0, 0, 0, "the writer's sign"),
        (0.5, 0, 0, "the schema"),
        (1.5, 0, 1, "the journal of the new catalogue, folded"),
        (2, 1, 1, "the second batch"),
        (1, 100, 1, "a batch in the middle"),
        (1, FOLDED_AT + 18, 1, "the journal while it is folded"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_disk_that_fills_up_keeps_what_was_committed_and_goes_on_when_freed(
    empty: float,
    pages: int,
    shared: int,
    filled_by: str,
    mount: Mount,
    pictures: Path,
    wide: dict[bytes, Row],
    told: Told,
    sizes: Sizes,
) -> None:
    disk = mount("32m")
    ballast = leave_free(disk, int(empty * sizes.empty) + pages * sizes.page + shared * SHARED)
    with (
        pytest.raises(NoSpace) as caught,
        on_each_connection(f"PRAGMA wal_autocheckpoint = {FOLDED_AT}"),
        Library.create(disk / "library") as library,
    ):
        index(library, [pictures], RAW, encoder=fake_encoder(dimension=WIDE))
    assert _where_it_struck(disk / "library", told, sizes) == filled_by
    assert str(disk / "library") in caught.value.message
    assert caught.value.remedy.startswith("Free some space")
    found = rows(check_sound(disk / "library"))
    assert found == {path: wide[path] for path in told}
    ballast.unlink()
    with Library.create(disk / "library") as library:
        index(library, [pictures], RAW, encoder=fake_encoder(dimension=WIDE))
    assert rows(check_sound(disk / "library")) == wide
    assert [path for path in (disk / "library").iterdir() if ".new" in path.name] == []


def _where_it_struck(library: Path, told: Told, sizes: Sizes) -> str:
    """What was being written when the disk was full, as the files tell that were left."""
    catalogue, fresh = library / "catalogue.sqlite", library / "catalogue.sqlite.new"
    if not catalogue.exists():
        if not fresh.exists():
            return "the writer's sign"
        one_page = fresh.stat().st_size <= sizes.page
        return "the schema" if one_page else "the journal of the new catalogue, folded"
    if catalogue.stat().st_size > sizes.empty:
        return "the journal while it is folded"
    return {0: "the first batch", 1: "the second batch"}.get(told.commits, "a batch in the middle")


@contextmanager
def on_each_connection(statement: str) -> Iterator[None]:
    """Say something to SQLite on every connection that writes."""

    def say(connection: Any, _record: object) -> None:
        connection.execute(statement)

    event.listen(Pool, "connect", say)
    try:
        yield
    finally:
        event.remove(Pool, "connect", say)


def test_a_disk_too_full_for_the_vector_index_does_without_it(
    mount: Mount,
    pictures: Path,
    wide: dict[bytes, Row],
    told: Told,
    sizes: Sizes,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("parecido.indexer.indexing.run.COMMIT_SECONDS", 1e9)
    disk = mount("32m")
    vectors = len(wide) * WIDE * 4
    # beside the catalogue lies its journal, and that leaves too little for the index, but enough
    # to fold the journal
    ballast = leave_free(disk, sizes.empty + SHARED + sizes.full + vectors * 4 // 5)
    with Library.create(disk / "library") as library:
        report = index(library, [pictures], RAW, encoder=fake_encoder(dimension=WIDE))
        assert report.added == len(told) == len(wide)
        assert "vector index could not be cached" in caplog.text
        assert "No space left" in caplog.text
        assert list((disk / "library" / "vectors").iterdir()) == []
        assert rows(check_sound(disk / "library")) == wide
        ballast.unlink()
        index(library, [pictures], RAW, encoder=fake_encoder(dimension=WIDE))
        assert len(list((disk / "library" / "vectors").glob("*.faiss"))) == 1


@pytest.mark.parametrize(
    ("place", "told_of"),
    [
        ("parecido.indexer.vectors.local.file.write", "The vector index could not be cached"),
        (
            "parecido.indexer.catalogue.sqlite.writing.writer.CatalogueWriter.use_space",
            "The library's own space could not be kept",
        ),
        (
            "parecido.indexer.catalogue.sqlite.writing.writer.CatalogueWriter.learn_chance",
            "What chance gives could not be kept",
        ),
        (
            "parecido.indexer.vectors.neighbours.np.lib.format.write_array",
            "The neighbours could not be cached",
        ),
    ],
    ids=["the index in the space", "the space", "what chance gives", "the neighbours"],
)
def test_a_disk_that_is_full_when_a_library_learns_loses_nothing_and_the_next_run_learns_it(
    place: str,
    told_of: str,
    mount: Mount,
    pictures: Path,
    wide: dict[bytes, Row],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = mount("32m")
    learning = IndexOptions(think_twice=True)
    module, _, name = place.rpartition(".")
    write = resolve_name(place)
    struck = []

    def fill_up_and_write(*given: Any, **named: Any) -> Any:
        if not struck:
            struck.append(leave_free(disk, 0))
        return write(*given, **named)

    with monkeypatch.context() as filling:
        filling.setattr(resolve_name(module), name, fill_up_and_write)
        with Library.create(disk / "library") as library:
            report = index(library, [pictures], learning, encoder=fake_encoder(dimension=WIDE))
            assert (report.added, report.interrupted) == (len(wide), False)
    assert len(struck) == 1
    assert told_of in caplog.text
    assert any(word in caplog.text for word in ("No space left", "is full"))
    assert rows(check_sound(disk / "library")) == wide
    assert [path for path in (disk / "library").rglob("*") if path.suffix == ".tmp"] == []
    _find(disk / "library", pictures)

    struck[0].unlink()
    with Library.open(disk / "library") as library:
        index(library, [pictures], learning, encoder=fake_encoder(dimension=WIDE))
        space, chance = library.catalogue.settings.space(), library.catalogue.settings.chance()
        assert space is not None
        assert chance is not None
        assert chance.space == space.fingerprint
        for cache in ("vectors", "neighbours"):
            (file,) = (disk / "library" / cache).iterdir()
            assert space.fingerprint in file.name
    assert rows(check_sound(disk / "library")) == wide
    _find(disk / "library", pictures)


def _find(library: Path, pictures: Path) -> None:
    """Assert that a picture finds itself, with and without a second thought."""
    query = pictures / "0007.png"
    with (
        Library.open(library) as opened,
        Engine(opened, encoder=fake_encoder(dimension=WIDE)) as engine,
    ):
        for twice in (False, True):
            best = engine.search(query, include_self=True, expand=twice, rerank=twice).hits[0]
            assert (best.path, best.score) == (str(query), pytest.approx(1, abs=1e-6))


def test_a_disk_too_full_to_fold_the_journal_keeps_it_and_every_picture(
    mount: Mount,
    pictures: Path,
    wide: dict[bytes, Row],
    sizes: Sizes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = mount("32m")
    library, journal = disk / "library", disk / "library" / "catalogue.sqlite-wal"
    close = CatalogueWriter.close

    def fill_up_and_close(writer: CatalogueWriter) -> None:
        if writer.counts()[0] == len(wide):
            leave_free(disk, 2 * sizes.page)
        close(writer)

    with monkeypatch.context() as filling:
        filling.setattr(CatalogueWriter, "close", fill_up_and_close)
        with Library.create(library) as opened:
            index(opened, [pictures], RAW, encoder=fake_encoder(dimension=WIDE))
    assert journal.stat().st_size > sizes.full // 2
    assert rows(check_sound(library)) == wide
    (disk / "ballast").unlink()
    with Library.open(library) as opened:
        index(opened, [pictures], RAW, encoder=fake_encoder(dimension=WIDE))
    assert not journal.exists() or journal.stat().st_size == 0
    assert rows(check_sound(library)) == wide


def test_a_small_vector_index_on_a_full_disk_is_not_left_cut_short(
    mount: Mount, indexed: Library, tmp_path: Path
) -> None:
    disk = mount("1m")
    shutil.copytree(indexed.folder, disk / "library")
    shutil.rmtree(disk / "library" / "vectors")
    (disk / "library" / "vectors").mkdir()
    leave_free(disk, 0)
    with Library.open(disk / "library") as library:
        library.vectors().save()  # 20 descriptors: FAISS would notice only when it closes the file
    assert list((disk / "library" / "vectors").iterdir()) == []


def test_the_command_line_tells_of_a_full_disk_in_one_line(
    mount: Mount, pictures: Path, sizes: Sizes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_DIMENSION", str(WIDE))
    disk = mount("16m")
    # enough to make a catalogue, which takes its own size again for the journal, but not to fill it
    ballast = leave_free(disk, 2 * sizes.empty + 3 * sizes.page + SHARED)
    library = disk / "library"
    failed = run_parecido("index", pictures, "--library", library)
    assert_one_line(failed, str(library), "is full", "Free some space and run the command again.")
    assert run_parecido("verify", "--library", library).returncode == 0
    ballast.unlink()
    done = run_parecido("index", pictures, "--library", library)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(check_sound(library)) == 400


@pytest.fixture
def few(tmp_path: Path) -> tuple[Path, dict[bytes, Row]]:
    """30 pictures, and what an undisturbed run gives."""
    save_pictures(tmp_path / "few", 30)
    with Library.create(tmp_path / "undisturbed") as library:
        index(library, [tmp_path / "few"], encoder=fake_encoder())
        return tmp_path / "few", rows(holdings(library))


@pytest.mark.parametrize(
    ("call", "nth"),
    [("statement", n) for n in (1, 2, 3, 5, 8, 13, 21)] + [("commit", n) for n in (1, 2, 3, 5)],
)
def test_a_write_that_finds_the_disk_full_loses_its_batch_alone(
    call: str,
    nth: int,
    few: tuple[Path, dict[bytes, Row]],
    library: Library,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, undisturbed = few
    calls = itertools.count(1)

    def full(real: Callable[..., Any], *given: Any, **named: Any) -> Any:
        if call == "statement" and str(given[2]).startswith(("SELECT", "PRAGMA")):
            return real(*given, **named)
        if call == "commit" and not given[1].dbapi_connection.in_transaction:
            return real(*given, **named)
        if next(calls) == nth:
            raise sqlite3.OperationalError("database or disk is full")
        return real(*given, **named)

    with monkeypatch.context() as failing:
        for name in ("do_commit",) if call == "commit" else ("do_execute", "do_executemany"):
            real = getattr(DefaultDialect, name)
            instead = lambda *given, _real=real, **named: full(_real, *given, **named)  # noqa: E731
            failing.setattr(DefaultDialect, name, instead)
        with pytest.raises(NoSpace, match="everything committed is kept"):
            # one worker and batches of one: at most five pictures in a commit
            index(library, [folder], IndexOptions(workers=1), encoder=fake_encoder(batch_size=1))
    assert rows(check_sound(library.folder)) == {path: undisturbed[path] for path in told}
    index(library, [folder], encoder=fake_encoder())
    assert rows(check_sound(library.folder)) == undisturbed


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
def test_a_catalogue_that_may_not_grow_is_a_full_disk(
    share: float,
    pictures: Path,
    wide: dict[bytes, Row],
    library: Library,
    told: Told,
    sizes: Sizes,
) -> None:
    pages = int(sizes.empty + share * (sizes.full - sizes.empty)) // sizes.page
    encoder = fake_encoder(dimension=WIDE)
    with on_each_connection(f"PRAGMA max_page_count = {pages}"), pytest.raises(NoSpace):
        index(library, [pictures], RAW, encoder=encoder)
    assert share - 0.1 < len(told) / len(wide) < share + 0.1
    assert rows(check_sound(library.folder)) == {path: wide[path] for path in told}
    index(library, [pictures], RAW, encoder=encoder)
    assert rows(check_sound(library.folder)) == wide


# -- places that cannot be written -----------------------------------------------------------------


def _use(library: Path, picture: Path, query: Path) -> dict[str, Any]:
    """Everything that can be asked of a library, of an indexed picture and of another one."""
    with Library.open(library) as opened, Engine(opened, encoder=fake_encoder()) as engine:
        return {
            "pictures": opened.catalogue.counts()[0],
            "problems": verify(opened),
            "of an indexed picture": [hit.path for hit in engine.search(picture).hits],
            "of another": [(hit.path, hit.score) for hit in engine.search(query).hits],
        }


def _try_to_index(library: Path, pictures: Path) -> None:
    with Library.create(library) as opened:
        index(opened, [pictures], encoder=fake_encoder())


@pytest.fixture
def query(tmp_path: Path) -> Path:
    """A picture in no library."""
    return save_picture(tmp_path / "query.png", 4711)


# beside a catalogue may lie nothing, the files that a reader leaves, a killed writer's journal
@pytest.mark.parametrize("beside", ["nothing", "a reader's files", "a killed writer's journal"])
@pytest.mark.parametrize("with_vectors", [True, False], ids=["vectors", "no vectors"])
def test_a_library_on_a_read_only_disk_answers_and_refuses_to_change(
    beside: str, with_vectors: bool, mount: Mount, indexed: Library, tmp_path: Path, query: Path
) -> None:
    disk = mount("2m")
    library, pictures = disk / "library", tmp_path / "pictures"
    _copy(indexed.folder, library, beside, with_vectors)
    expected = _use(indexed.folder, pictures / "0003.png", query)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    before = snapshot(library)
    assert _use(library, pictures / "0003.png", query) == expected
    assert (expected["pictures"], expected["problems"]) == (20, [])
    save_pictures(pictures, 3, first=100)
    with pytest.raises(LibraryReadOnly, match="cannot be written; nothing was changed"):
        _try_to_index(library, pictures)
    assert snapshot(library) == before


def _copy(source: Path, library: Path, beside: str, with_vectors: bool) -> None:
    shutil.copytree(source, library)
    if not with_vectors:
        shutil.rmtree(library / "vectors")
    for suffix in ("-wal", "-shm"):
        (library / f"catalogue.sqlite{suffix}").unlink(missing_ok=True)
    if beside == "a reader's files":
        Library.open(library).close()
    if beside == "a killed writer's journal":
        with pytest.raises(BrokenProcessPool):
            in_child(_die_writing, library)
    journal = library / "catalogue.sqlite-wal"
    # the journal's head, and two changed pages with a head each
    changed = 32 + 2 * (24 + page_size(library / "catalogue.sqlite"))
    sizes = {"nothing": None, "a reader's files": 0, "a killed writer's journal": changed}
    assert (journal.stat().st_size if journal.exists() else None) == sizes[beside]


def _die_writing(library: Path) -> None:
    connection = sqlite3.connect(library / "catalogue.sqlite")
    # the same in another place
    again = "SELECT key, value FROM facts WHERE key = 'generation'"
    connection.execute(f"INSERT OR REPLACE INTO facts {again}")
    connection.commit()
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_command_line_tells_of_a_read_only_disk_in_one_line(
    mount: Mount, indexed: Library, tmp_path: Path, query: Path
) -> None:
    disk = mount("2m")
    library, pictures = disk / "library", tmp_path / "pictures"
    shutil.copytree(indexed.folder, library)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    where = ("--library", library)
    for refused in (["index", pictures], ["remove", pictures], ["verify", "--repair"]):
        assert_one_line(
            run_parecido(*refused, *where),
            *(str(library), "cannot be written", "Check its permissions"),
        )
    for answered in (["search", query], ["info"], ["verify"]):
        done = run_parecido(*answered, *where)
        assert (done.returncode, done.stderr) == (0, "")


def _as_nobody(own: Path, query: Path, function: Callable[..., Any], *arguments: object) -> Any:
    # imports everything, in case nobody may read our Python
    _use(own, query, query)
    with Library.open(own) as opened, opened.writer():
        pass
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    return function(*arguments)


@pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can become another user"
)
@pytest.mark.parametrize("sealed", ["the folder", "the files"])
def test_another_users_library_answers_and_refuses_to_change(
    sealed: str, indexed: Library, tmp_path: Path, query: Path
) -> None:
    pictures = tmp_path / "pictures"
    expected = _use(indexed.folder, pictures / "0003.png", query)
    # outside pytest's folders, which nobody else may enter
    with tempfile.TemporaryDirectory(prefix="parecido-test-") as open_to_all:
        place = Path(open_to_all)
        place.chmod(0o755)
        shutil.copy(query, place / "query.png")
        library = place / "library"
        _copy(indexed.folder, library, "nothing", True)
        library.chmod(0o555 if sealed == "the folder" else 0o777)
        before = snapshot(library)
        own = (indexed.folder, query)
        asked = (library, pictures / "0003.png", place / "query.png")
        assert in_child(_as_nobody, *own, _use, *asked) == expected
        with pytest.raises(LibraryReadOnly, match="cannot be written; nothing was changed"):
            in_child(_as_nobody, *own, _try_to_index, library, place)
        after = snapshot(library)
        assert {name: after[name] for name in before} == before
        if sealed == "the folder":
            assert after.keys() == before.keys()


def test_a_new_library_in_a_place_that_cannot_be_written_is_refused(
    mount: Mount, tmp_path: Path
) -> None:
    disk = mount("1m")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(LibraryReadOnly):
        Library.create(disk / "library")


# -- what fails in mid-run -------------------------------------------------------------------------

_ODD = (44, 36)


@pytest.mark.parametrize(
    "error",
    [
        OSError("broken data stream"),
        SyntaxError("not this format after all"),
        ValueError("tile cannot extend outside image"),
        struct.error("unpack requires a buffer"),
        MemoryError(),
        RecursionError("too deep"),
        AssertionError(),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("position", [0, 7, 29])
def test_a_decoder_that_fails_on_one_file_changes_nothing_for_its_neighbours(
    position: int,
    error: Exception,
    few: tuple[Path, dict[bytes, Row]],
    library: Library,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, undisturbed = few
    bad = save_picture(folder / f"{position:04d}.png", 99, size=_ODD)
    load = ImageFile.ImageFile.load

    def failing(image: ImageFile.ImageFile) -> Any:
        if image.size == _ODD:
            raise error
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", failing)
    report = index(library, [folder], IndexOptions(isolate=False), encoder=fake_encoder())
    assert [skip.path for skip in report.skipped] == [str(bad)]
    assert report.skipped[0].reason
    assert report.added == 29
    del undisturbed[os.fsencode(bad)]
    assert rows(check_sound(library.folder)) == undisturbed


class FailingRuntime(FakeRuntime):
    """Fails at its n-th batch, as a driver or a card may, when ``ready`` says so."""

    def __init__(self, fails_at: int, ready: Callable[[], bool] = lambda: True) -> None:
        super().__init__()
        self._batches = itertools.count(1)
        self._fails_at = fails_at
        self._ready = ready

    def run(
        self, batch: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
        if next(self._batches) == self._fails_at:
            until(self._ready)
            raise RuntimeError("the device went away")
        return super().run(batch)


@pytest.mark.parametrize("fails_at", [1, 2, 4, 5])
def test_an_encoder_that_fails_in_mid_run_keeps_what_was_committed(
    fails_at: int, few: tuple[Path, dict[bytes, Row]], library: Library, told: Told
) -> None:
    folder, undisturbed = few
    before = 4 * (fails_at - 1)
    # one worker: no other batch overtakes the one that fails, and those before it are committed
    runtime = FailingRuntime(fails_at, lambda: len(told) >= before)
    with pytest.raises(RuntimeError, match="the device went away"):
        index(library, [folder], IndexOptions(workers=1), encoder=Encoder(fake_spec(), runtime))
    assert len(told) == before
    assert rows(check_sound(library.folder)) == {path: undisturbed[path] for path in told}
    index(library, [folder], encoder=fake_encoder())
    assert rows(check_sound(library.folder)) == undisturbed


@pytest.mark.parametrize("fails_at", [1, 2, 4, 7])
def test_an_encoder_that_fails_on_one_of_many_workers_ends_them_all(
    fails_at: int, few: tuple[Path, dict[bytes, Row]], library: Library, told: Told
) -> None:
    folder, undisturbed = few
    threads = set(threading.enumerate())
    encoder = Encoder(fake_spec(), FailingRuntime(fails_at))
    with pytest.raises(RuntimeError, match="the device went away"):
        index(library, [folder], IndexOptions(workers=4), encoder=encoder)
    assert set(threading.enumerate()) <= threads
    assert rows(check_sound(library.folder)) == {path: undisturbed[path] for path in told}
    index(library, [folder], encoder=fake_encoder())
    assert rows(check_sound(library.folder)) == undisturbed
