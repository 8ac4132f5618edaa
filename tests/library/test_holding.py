"""Who writes a library where locks prove nothing: mounts that keep them, other machines."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from parecido import Library, index
from parecido.indexer.errors import LibraryBusy
from parecido.indexer.library import holding
from parecido.indexer.library.layout import CATALOGUE
from parecido.indexer.library.lock import hold_lock
from parecido.indexer.system import filesystems
from parecido.indexer.system.filesystems import FileSystem, filesystem_of
from parecido.indexer.system.processes import is_gone, processes_here, started_at, system_here
from tests.support.fakes import fake_encoder, save_pictures
from tests.support.harness import check_sound, in_child
from tests.support.many_commits import COMMITS, EACH, keep_encoder
from tests.support.places import REPOSITORY
from tests.support.waiting import until

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
TRIALS = int(os.environ.get("PARECIDO_LOCKLESS_TRIALS", "4"))
SILENCE = 3.0
"""Seconds of silence in these tests; a beat comes six times in them."""


class Writers:
    """Programs that index on a mount where every lock is to be had; killed at the end."""

    def __init__(self, folder: Path, library: Path) -> None:
        self.folder, self.library = folder, library
        self.started: list[subprocess.Popen[str]] = []

    def start(
        self, pictures: Path, *options: str, gate: str = "", system: str = "", silence: float = 30
    ) -> subprocess.Popen[str]:
        """``parecido index`` that waits in its encoder for a file of that name, if any."""
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.support.fake_cli", "index", str(pictures)),
                *("--library", str(self.library), *options),
            ],
            cwd=REPOSITORY,
            env={
                **os.environ,
                "FAKE_MOUNT": "nfs4",
                "FAKE_SYSTEM": system,
                "FAKE_SILENCE": str(silence),
                **({"FAKE_GATE": str(self.folder / gate)} if gate else {}),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        if gate:
            reached = self.folder / f"{gate}.reached"
            until(lambda: reached.exists() or process.poll() is not None)
        return process

    def go_on(self, gate: str) -> None:
        (self.folder / gate).touch()


def leave_wal(library: Path) -> None:
    """Give a catalogue the journal that SQLite without locks can read."""
    with closing(sqlite3.connect(library / CATALOGUE)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")


@pytest.fixture
def writers(tmp_path: Path, library: Library) -> Iterator[Writers]:
    """Writers of an empty library."""
    library.close()
    leave_wal(library.folder)
    writers = Writers(tmp_path, library.folder)
    yield writers
    for process in writers.started:
        with suppress(OSError):
            process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate()


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders of eight pictures."""
    save_pictures(tmp_path / "one", 8)
    save_pictures(tmp_path / "two", 8, first=100)
    return tmp_path / "one", tmp_path / "two"


@pytest.mark.parametrize("system", ["", "another machine"])
def test_a_second_writer_through_a_mount_without_locks_is_refused(
    system: str, writers: Writers, two: tuple[Path, Path]
) -> None:
    first = writers.start(two[0], gate="gate", silence=SILENCE)
    second = writers.start(two[1], system=system)
    said = second.communicate()[1].splitlines()
    assert second.returncode == 1, said
    assert said[0].startswith(f"parecido: Waiting for a sign of life from process {first.pid} on ")
    assert f"is being written by process {first.pid} on " in said[1]
    assert "add --wait; 30 seconds without a sign of life free the library." in said[1]
    assert len(said) == 2
    writers.go_on("gate")
    assert (first.communicate()[1], first.returncode) == ("", 0)
    assert len(check_sound(writers.library)) == 8
    assert not (writers.library / "writer.json").exists()


def test_a_second_writer_that_waits_comes_after_the_first(
    writers: Writers, two: tuple[Path, Path]
) -> None:
    first = writers.start(two[0], gate="gate", silence=SILENCE)
    second = writers.start(two[1], "--wait", system="another machine")
    assert second.stderr is not None
    assert "Waiting for a sign of life" in second.stderr.readline()
    assert f"Waiting for process {first.pid} on " in second.stderr.readline()
    writers.go_on("gate")
    said = [process.communicate()[1] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), said
    assert len(check_sound(writers.library)) == 16


@posix
def test_a_killed_writers_successor_on_the_same_system_starts_at_once(
    writers: Writers, two: tuple[Path, Path]
) -> None:
    first = writers.start(two[0], gate="gate", silence=SILENCE)
    first.kill()
    first.wait()
    assert (writers.library / "writer.json").exists()
    second = writers.start(two[1])
    assert (second.communicate()[1], second.returncode) == ("", 0)
    assert len(check_sound(writers.library)) == 8


@posix
def test_silence_frees_a_library_that_another_machine_held(
    writers: Writers, two: tuple[Path, Path]
) -> None:
    first = writers.start(two[0], gate="gate", silence=SILENCE)
    first.kill()
    first.wait()
    second = writers.start(two[1], system="another machine", silence=SILENCE)
    said = second.communicate()[1].splitlines()
    assert second.returncode == 0, said
    assert len(said) == 1
    assert said[0].startswith("parecido: Waiting for a sign of life from process ")
    assert said[0].endswith("), 3 seconds at most.")
    assert len(check_sound(writers.library)) == 8


@posix
@pytest.mark.parametrize("ends", [True, False])
def test_a_writer_that_was_suspended_while_another_took_over_writes_nothing_more(
    ends: bool, writers: Writers, two: tuple[Path, Path]
) -> None:
    first = writers.start(two[0], gate="first", silence=SILENCE)
    first.send_signal(signal.SIGSTOP)
    second = writers.start(two[1], gate="second", system="another machine", silence=SILENCE)
    if ends:
        writers.go_on("second")
        second.wait()
    writers.go_on("first")
    first.send_signal(signal.SIGCONT)
    said = first.communicate()[1].splitlines()
    assert first.returncode == 1, said
    assert len(said) == 1
    by = "another process" if ends else f"process {second.pid} on "
    assert f"was taken over by {by}" in said[0]
    writers.go_on("second")
    assert (second.wait(), second.communicate()[1].count("\n")) == (0, 1)
    paths = {os.fsdecode(path) for path in check_sound(writers.library)}
    assert paths == {str(path) for path in two[1].iterdir()}


@pytest.mark.parametrize("trial", range(TRIALS))
def test_two_that_commit_at_once_through_mounts_without_locks_lose_nothing(
    trial: int, library: Library, record_property: Callable[[str, object], None]
) -> None:
    """Without signs of life one of the two failed, and pictures were lost, in 4 of 4 trials."""
    keep_encoder(library)
    library.close()
    leave_wal(library.folder)
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.many_commits", str(library.folder)],
            cwd=REPOSITORY,
            env={**os.environ, "FAKE_MOUNT": "nfs4", "FAKE_SYSTEM": f"machine {n} of {trial}"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(2)
    ]
    said = [process.communicate()[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert len(check_sound(library.folder)) == 2 * COMMITS * EACH
    record_property("counts", f"{2 * COMMITS} commits of two without locks, none lost")


def sign(folder: Path, **others: Any) -> None:
    """Sign as somebody else who holds a library."""
    told = {"pid": 1, "host": "nas", "command": "index", "since": "2026-01-01 00:00:00"}
    told |= {"system": system_here(), "processes": processes_here(), "started": "1", "token": "t"}
    (folder / "writer.json").write_text(json.dumps({**told, **others}))


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a sign of life fails."""

    def refuse(*_: object) -> None:
        raise AssertionError("it waited")

    monkeypatch.setattr(holding.Holding, "_outlast", refuse)
    monkeypatch.setattr(holding.time, "sleep", refuse)


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize(
    "others",
    [{}, {"processes": "pid:[1]"}, {"pid": os.getppid(), "started": started_at(os.getppid())}],
    ids=["gone", "of another container", "still there"],
)
def test_on_a_disk_of_this_machine_the_lock_alone_decides(
    others: dict[str, Any], library: Library
) -> None:
    sign(library.folder, **others)
    with hold_lock(library.folder):
        pass
    assert not (library.folder / "writer.json").exists()


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"pid": "x"}', '{"pid": ' + "9" * 5000 + "}", '{"pid": 1}', "[" * 9999]
)
def test_a_sign_that_tells_nothing_keeps_nobody_from_a_lock_that_works(
    text: str, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parecido.indexer.library.lock.check_own", lambda _: None)
    (library.folder / "writer.json").write_text(text)
    with hold_lock(library.folder):
        pass


def test_what_another_machine_signed_on_a_shared_disk_is_heeded(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign(library.folder, system="elsewhere", beat=1)
    beats = iter(range(2, 100))
    monkeypatch.setattr(
        holding.time,
        "sleep",
        lambda _: sign(library.folder, system="elsewhere", beat=next(beats)),
    )
    with pytest.raises(LibraryBusy, match="is being written by process 1 on nas since 2026"):
        index(library, [library.folder.parent], encoder=fake_encoder())
    assert (library.folder / "writer.json").exists()


def test_nothing_of_a_batch_is_written_once_another_has_taken_over(
    indexed: Library, tmp_path: Path
) -> None:
    save_pictures(tmp_path / "more", 3, first=500)
    generation = indexed.catalogue.generation()
    with indexed.writer() as writing:
        sign(indexed.folder, system="elsewhere")
        with pytest.raises(LibraryBusy, match="was taken over by process 1 on nas"):
            writing.catalogue.keep_exact_index(True)
        with pytest.raises(LibraryBusy, match="was taken over by process 1 on nas"):
            writing.catalogue.write([])
    assert indexed.catalogue.generation() == generation
    assert not indexed.catalogue.settings.keeps_exact_index()
    # what the other one signed is its own
    assert json.loads((indexed.folder / "writer.json").read_text())["system"] == "elsewhere"


def test_a_holder_gives_signs_of_life(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "BEAT_SECONDS", 0.01)

    def beat() -> int:
        found = holding.read_holder(library.folder)
        assert found is not None
        return found.beat

    with hold_lock(library.folder):
        first = beat()
        until(lambda: beat() > first + 2)
    assert not (library.folder / "writer.json").exists()


# -- a catalogue on a network's file system --------------------------------------------------------


def journal_mode(library: Path) -> str:
    with closing(sqlite3.connect(library / CATALOGUE)) as connection:
        mode: str = connection.execute("PRAGMA journal_mode").fetchone()[0]
        return mode


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catalogues lie on a network's file system."""
    for module in ("catalogue.sqlite.opening", "library.library"):
        monkeypatch.setattr(
            f"parecido.indexer.{module}.filesystem_of", lambda _: FileSystem("nfs4")
        )


def test_a_catalogue_has_no_wal_journal_where_machines_share_it(
    indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexed.close()
    assert journal_mode(indexed.folder) == "wal"
    with monkeypatch.context() as patch:
        for module in ("catalogue.sqlite.opening", "library.library"):
            patch.setattr(f"parecido.indexer.{module}.filesystem_of", lambda _: FileSystem("cifs"))
        with indexed.writer() as writing:
            writing.catalogue.keep_exact_index(True)
    assert journal_mode(indexed.folder) == "delete"
    assert len(check_sound(indexed.folder)) == 20
    with indexed.writer():  # it was moved to a disk of this machine
        pass
    assert journal_mode(indexed.folder) == "wal"


@pytest.mark.usefixtures("shared")
def test_who_reads_a_catalogue_keeps_it_from_changing_its_journal_but_not_from_growing(
    indexed: Library,
) -> None:
    with Library.open(indexed.folder) as reader:
        assert reader.catalogue.counts() == (20, 0)
        with indexed.writer() as writing:
            writing.catalogue.keep_exact_index(True)
        assert reader.catalogue.settings.keeps_exact_index()


def _die_in_a_transaction(library: Path) -> None:
    with closing(sqlite3.connect(library / CATALOGUE, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size = 1")  # so that it spills into the file
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE pictures SET labels = hex(zeroblob(50000))")
        os.kill(os.getpid(), signal.SIGKILL)


@posix
@pytest.mark.usefixtures("shared")
def test_a_reader_sees_what_was_committed_before_a_writer_was_killed(indexed: Library) -> None:
    with indexed.writer():
        pass
    indexed.close()
    assert journal_mode(indexed.folder) == "delete"
    with pytest.raises(BrokenProcessPool):
        in_child(_die_in_a_transaction, indexed.folder)
    assert (indexed.folder / f"{CATALOGUE}-journal").stat().st_size > 0
    with Library.open(indexed.folder) as reader:
        assert len(reader.catalogue.pictures(range(1, 21))) == 20
        assert reader.catalogue.pictures([1])[0].labels == ()
    with indexed.writer():
        pass
    assert len(check_sound(indexed.folder)) == 20


@pytest.mark.parametrize("kind", ["nfs4", "overlay", "ext4"])
def test_what_a_library_lies_on_is_said_when_it_is_made_and_when_somebody_asks(
    kind: str, tmp_path: Path, two: tuple[Path, Path]
) -> None:
    writers = Writers(tmp_path, tmp_path / "new")
    words = ("-m", "tests.support.fake_cli")
    said = []
    for command in (("index", str(two[0])), ("index", str(two[1])), ("info", "--json"), ("info",)):
        done = subprocess.run(
            [sys.executable, *words, *command, "--library", str(writers.library)],
            cwd=REPOSITORY,
            env={**os.environ, "FAKE_MOUNT": kind},
            capture_output=True,
            text=True,
            check=True,
        )
        said.append((done.stdout, done.stderr))
    line = f"parecido: The new library {writers.library} lies on a {kind} file system, "
    assert said[0][1].startswith(line) if kind != "ext4" else said[0][1] == ""
    assert said[1][1] == ""
    told = json.loads(said[2][0])
    assert told["file_system"] == kind
    assert (told["file_system_note"] is None) == (kind == "ext4")
    assert f"file_system         {kind}" in said[3][0]


# -- what a folder lies on, and who is there -------------------------------------------------------

MOUNTS = rb"""22 28 0:21 / /proc rw - proc proc rw
28 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 28 0:30 / /nas rw - nfs4 nas:/export rw,vers=4.2
41 40 8:2 / /nas/disk rw master:3 - xfs /dev/sdb rw
42 28 0:31 / /with\040space rw - fuse.sshfs host:/ rw
43 28 0:32 / /two rw - ext4 /dev/sdc rw
44 28 0:33 / /two rw - cifs //host/share rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        *(("/", "ext4"), ("/nas", "nfs4"), ("/nas/a/b", "nfs4"), ("/nas/disk/a", "xfs")),
        *(("/nasty", "ext4"), ("/with space/a", "fuse.sshfs"), ("/two/a", "cifs")),
    ],
)
def test_the_nearest_mount_above_a_folder_is_its_file_system(path: str, kind: str) -> None:
    assert filesystems._find_mount(path.encode(), MOUNTS) == kind


@pytest.mark.parametrize(
    ("kind", "is_shared", "is_union"),
    [
        *(("nfs4", True, False), ("fuse.sshfs", True, False), ("virtiofs", True, False)),
        *(("9p", True, False), ("fuse.rclone", True, False), ("remote", True, False)),
        *(("overlay", False, True), ("fuse.fuse-overlayfs", False, True)),
        *(("ext4", False, False), ("fuseblk", False, False), ("", False, False)),
    ],
)
def test_network_and_union_file_systems_are_recognised(
    kind: str, is_shared: bool, is_union: bool
) -> None:
    found = FileSystem(kind)
    assert (found.is_shared, found.is_union) == (is_shared, is_union)
    assert (found.told != "") == (is_shared or is_union)


@pytest.mark.skipif(sys.platform != "linux", reason="as Linux tells it")
def test_a_folder_that_is_not_there_yet_lies_where_it_will(tmp_path: Path) -> None:
    assert filesystem_of(tmp_path / "a" / "b") == filesystem_of(tmp_path)
    assert filesystem_of("/proc").kind == "proc"


@posix
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing tells when one started")
def test_a_process_is_gone_when_it_has_ended_or_its_number_is_anothers() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = started_at(process.pid)
    assert not is_gone(process.pid, started)
    assert is_gone(process.pid, f"{started}1")
    process.kill()
    until(lambda: is_gone(process.pid, started))  # before anybody has collected it
    process.communicate()
    assert is_gone(process.pid, started)
    for unknown in ((process.pid, ""), (0, "1"), (-1, "1"), (1 << 70, "1")):
        assert not is_gone(*unknown)


# -- what a killed holder leaves for a moment ------------------------------------------------------


@posix
def test_a_lock_that_a_killed_holders_child_still_has_for_a_moment_is_no_writers(
    library: Library, tmp_path: Path
) -> None:
    """As between the fork and the exec of a process that it was starting."""
    script = (
        "import os, signal, sys, time\n"
        "from pathlib import Path\n"
        "from parecido.indexer.library.lock import hold_lock\n"
        "with hold_lock(Path(sys.argv[1])):\n"
        "    if os.fork() == 0:\n"
        "        time.sleep(0.3)\n"
        "        os._exit(0)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    holder = subprocess.run(
        [sys.executable, "-c", script, library.folder],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=False,
    )
    assert holder.returncode == -signal.SIGKILL
    save_pictures(tmp_path / "p", 2)
    assert index(library, [tmp_path / "p"], encoder=fake_encoder()).added == 2
