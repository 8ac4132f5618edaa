"""Backups while a library is written and its writers are killed; disks that refuse."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from parecido import Engine, Library, backup, index, restore, verify
from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.errors import InvalidRequest, NoSpace
from parecido.indexer.system.files import content_hash
from tests.indexing.test_kill import _arm, _run_child
from tests.library.test_backup import add_uploads, answers
from tests.support.fakes import fake_encoder, save_picture, save_pictures
from tests.support.harness import CHILDREN, check_sound, holdings
from tests.support.live import started
from tests.support.places import REPOSITORY
from tests.support.serving import picture_bytes
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")

ROUNDS = int(os.environ.get("PARECIDO_BACKUP_ROUNDS", "3"))
"""Of the campaign: more of them find more."""


# -- runs that are killed --------------------------------------------------------------------------


def state(catalogue: Catalogue) -> str:
    """A digest of a library's pictures: ids, paths, contents and descriptors."""
    digest = hashlib.sha256()
    for row in catalogue._rows(
        "SELECT id, path, content_hash, vector FROM pictures JOIN descriptors ON picture_id = id"
        " ORDER BY id"
    ):
        digest.update(repr(row).encode())
    return digest.hexdigest()


def _change_for_ever(folder: Path, pictures: Path, told: Path, seed: int) -> None:
    """Index what comes, changes and goes; tell the state of each commit before the next."""
    import parecido.indexer.indexing.run
    from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter

    parecido.indexer.indexing.run.COMMIT_SECONDS = 0.0
    write = CatalogueWriter.write

    def telling(catalogue: CatalogueWriter, *given: object, **named: object) -> None:
        write(catalogue, *given, **named)  # type: ignore[arg-type]
        with told.open("a") as file:
            file.write(f"{catalogue.generation()} {state(catalogue)}\n")

    CatalogueWriter.write = telling  # type: ignore[assignment,method-assign]
    chance = random.Random(seed)
    with Library.open(folder) as library:
        for first in range(1000 * seed, 1000 * seed + 1000, 6):
            save_pictures(pictures, 6, first=first)
            there = sorted(pictures.iterdir())
            for path in chance.sample(there, min(3, len(there) // 8)):
                path.unlink()
            save_picture(chance.choice(sorted(pictures.iterdir())), chance.randrange(1 << 20))
            index(library, [pictures], encoder=fake_encoder())


def _wait_for(told: Path, commits: int, writer: BaseProcess) -> None:
    until(lambda: len(_told(told)) >= commits or not writer.is_alive())
    assert writer.is_alive()


def _told(told: Path) -> dict[int, str]:
    """The states of all commits so far, by generation."""
    lines = told.read_text().splitlines() if told.exists() else []
    return {int(line.split()[0]): line.split()[1] for line in lines if len(line.split()) == 2}


def test_backups_during_runs_and_kills_are_of_committed_states(
    indexed: Library, tmp_path: Path
) -> None:
    """Counts are printed: ``pytest -s``, with ``PARECIDO_BACKUP_ROUNDS=50`` for a campaign."""
    folder, told = indexed.folder, tmp_path / "told"
    indexed.close()
    counts: Counter[str] = Counter()
    for number in range(1, ROUNDS + 1):
        chance = random.Random(number)
        writer = CHILDREN.Process(
            target=_change_for_ever, args=(folder, tmp_path / "pictures", told, number)
        )
        before = len(_told(told))
        writer.start()
        made = []
        try:
            for _ in range(chance.randint(1, 3)):
                more = len(_told(told)) + chance.randint(1, 4)
                _wait_for(told, more, writer)
                with Library.open(folder) as library:
                    file = tmp_path / f"{number}-{len(made)}.zip"
                    made.append((file, backup(library, file).generation))
        finally:
            assert writer.pid is not None
            os.kill(writer.pid, signal.SIGKILL)
            writer.join()
        counts["commits"] += len(_told(told)) - before
        states = _told(told)
        with Library.open(folder) as library:  # the last commit may have been told of no more
            states[library.catalogue.generation()] = state(library.catalogue)
            file = tmp_path / f"{number}-last.zip"
            made.append((file, backup(library, file).generation))
        for file, generation in made:
            _check(file, tmp_path / "restored", states[generation])
            counts["backups"] += 1
        counts["rounds"] += 1
    print(f"\nbackups during runs and kills: {dict(counts)}")
    assert counts["rounds"] == ROUNDS
    assert counts["backups"] >= 2 * ROUNDS


def _check(file: Path, folder: Path, wanted: str) -> None:
    """Assert that a backup is a library, of that state, whose answers are right."""
    restore(file, folder)
    check_sound(folder)
    with Library.open(folder) as library:
        assert state(library.catalogue) == wanted
        rows = library.catalogue.descriptors
        _, vectors = rows.of(rows.ids().tolist()[::7])
        with Engine(library, encoder=fake_encoder()) as engine:
            for vector in vectors:
                found = engine.search_vector(vector, k=5)
                assert found == engine.search_vector(vector, k=5, exact=True)
    shutil.rmtree(folder)
    file.unlink()


# -- a backup, or a restoration, that is killed ----------------------------------------------------


def _backup_until_killed(place: str, after: bool, strike: int, folder: Path, file: Path) -> None:
    _arm(place, after, strike)
    with Library.open(folder) as library:
        backup(library, file)


def _restore_until_killed(place: str, after: bool, strike: int, file: Path, folder: Path) -> None:
    _arm(place, after, strike)
    restore(file, folder)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("place", ["link", "unlink", "mkdir", "fsync", "replace"])
def test_a_backup_that_is_killed_leaves_no_half_file(
    indexed: Library, tmp_path: Path, place: str, *, after: bool
) -> None:
    add_uploads(indexed, 2)
    there = holdings(indexed)
    for strike in range(1, 100):
        file = tmp_path / "backup.zip"
        file.unlink(missing_ok=True)
        code = _run_child(_backup_until_killed, place, after, strike, indexed.folder, file)
        if file.exists():
            restore(file, tmp_path / "new")
            assert len(check_sound(tmp_path / "new")) == len(there)
            shutil.rmtree(tmp_path / "new")
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert file.exists()
    assert check_sound(indexed.folder) == there


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "place",
    ["link", "unlink", "mkdir", "fsync", "replace", "statement", "commit", "write_index"],
)
def test_a_restoration_that_is_killed_leaves_nothing_or_a_whole_library(
    indexed: Library, tmp_path: Path, place: str, *, after: bool
) -> None:
    add_uploads(indexed, 2)
    pictures = len(holdings(indexed))
    backup(indexed, tmp_path / "backup.zip")
    whole = 0
    for strike in range(1, 300):
        new = tmp_path / "new"
        code = _run_child(_restore_until_killed, place, after, strike, tmp_path / "backup.zip", new)
        if new.exists():
            whole += 1
            assert len(check_sound(new)) == pictures
            with Library.open(new) as library:
                for upload in library.catalogue.uploads.list_uploads():
                    path = Path(os.fsdecode(upload.path))
                    assert path.is_relative_to(new)
                    assert upload.holds(content_hash(path.read_bytes()))
            shutil.rmtree(new)
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert whole >= 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_backup_and_leaves_nothing(
    indexed: Library, tmp_path: Path, number: signal.Signals
) -> None:
    script = (
        "import os, sys, signal\n"
        "from parecido.indexer.library.backup import container\n"
        "add = container.Writing.add\n"
        "def slow(self, *given):\n"
        f"    os.kill(os.getpid(), {int(number)})\n"
        "    return add(self, *given)\n"
        "container.Writing.add = slow\n"
        "from parecido.search.cli import main\n"
        "main()\n"
    )
    there = sorted(os.listdir(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", script, "backup", tmp_path / "a.zip", "--library", indexed.folder],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (130, ""), done.stderr
    assert done.stderr == "parecido: Interrupted.\n"
    assert sorted(os.listdir(tmp_path)) == there


# -- disks -----------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A RAM disk of 1 MB; the test is skipped where none may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"mounting a tmpfs is not allowed here ({error})")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_fills_up_meanwhile_is_told_and_nothing_is_left(
    indexed: Library, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup(indexed, tmp_path / "backup.zip")
    monkeypatch.setattr("parecido.indexer.library.backup.errors.free_bytes", lambda _: 1 << 40)
    for filler in (1000 << 10, 800 << 10, 600 << 10):
        (disk / "filler").write_bytes(bytes(filler))
        with pytest.raises(NoSpace, match="no backup was made"):
            backup(indexed, disk / "backup.zip")
        assert os.listdir(disk) == ["filler"]
        if filler > 700 << 10:
            with pytest.raises(NoSpace, match="nothing was restored"):
                restore(tmp_path / "backup.zip", disk / "new")
            assert os.listdir(disk) == ["filler"]


def test_a_library_on_a_read_only_medium_is_backed_up(
    indexed: Library, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_uploads(indexed, 1)
    indexed.close()
    shutil.rmtree(indexed.folder / "vectors")
    shutil.copytree(indexed.folder, disk / "library")
    there = answers(disk / "library")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    monkeypatch.setattr("parecido.indexer.library.backup.errors.free_bytes", lambda _: 1 << 40)
    with Library.open(disk / "library") as library:
        (path,) = library.catalogue.uploads.list_uploads()
        made = backup(library, tmp_path / "backup.zip")
        assert (made.pictures, made.uploads) == (21, 1)
        assert os.fsdecode(path.path).startswith(str(indexed.folder))  # where it lay and lies
        with pytest.raises(InvalidRequest, match="cannot be written"):
            backup(library, disk / "backup.zip")
    with pytest.raises(InvalidRequest, match="cannot be written"):
        restore(tmp_path / "backup.zip", disk / "new")
    restore(tmp_path / "backup.zip", tmp_path / "new")
    check_sound(tmp_path / "new")
    assert answers(tmp_path / "new") == there


# -- a server --------------------------------------------------------------------------------------


def _wait_for_more(library: Library, count: int, sender: threading.Thread) -> None:
    until(lambda: library.catalogue.counts()[0] > count or not sender.is_alive())
    assert sender.is_alive()


def test_backups_of_a_server_that_takes_uploads_hold_each_with_its_row(
    tmp_path: Path, indexed: Library
) -> None:
    indexed.close()
    ended = threading.Event()
    made: list[Path] = []
    with started(tmp_path) as server:

        def send() -> None:
            number = 100
            while not ended.is_set():
                number += 1
                sent = server.ask("POST", "/v1/pictures", picture_bytes(number))
                assert sent.status in (200, 201, 202), sent
                if number % 3 == 0:
                    found = server.ask("GET", "/v1/pictures?order=added&limit=1")
                    picture = json.loads(found.body)["pictures"][0]["id"]
                    body = picture_bytes(number + 5000)
                    server.ask("PUT", f"/v1/pictures/{picture}", body)
                if number % 5 == 0:
                    server.ask("DELETE", f"/v1/pictures/{picture}")

        sender = threading.Thread(target=send)
        sender.start()
        try:
            with Library.open(tmp_path / "library") as library:
                for number in range(6):
                    count = library.catalogue.counts()[0]
                    _wait_for_more(library, count, sender)
                    file = tmp_path / f"{number}.zip"
                    assert backup(library, file).missing == ()
                    made.append(file)
        finally:
            ended.set()
            sender.join()
    for file in made:
        told = restore(file, tmp_path / "new")
        assert told.uploads > 0
        with Library.open(tmp_path / "new") as library:
            assert verify(library) == []
            rows = library.catalogue.uploads.list_uploads()
            found = 0
            for upload in rows:
                path = Path(os.fsdecode(upload.path))
                if path.exists():
                    found += 1
                    assert path.is_relative_to(tmp_path / "new" / "uploads")
                    assert upload.holds(content_hash(path.read_bytes()))
            assert found == told.uploads
        shutil.rmtree(tmp_path / "new")
