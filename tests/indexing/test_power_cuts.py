"""After a power cut at any moment the library holds what was committed, and nothing else.

A run of ``parecido index`` is recorded call by call; then the disk is put together as a cut at some
moment may leave it (``tests/support/power.py``).  ``PARECIDO_POWER_CUTS`` is how many there are, 24
by default; ``PARECIDO_FAULTS_SEED`` which.  Where the machine lets a file be mounted, a real ext4
is cut off, too: ``PARECIDO_EXT4_CUTS`` times, 4 by default.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from parecido import Library, index
from parecido.indexer.library.layout import CATALOGUE
from tests.support.fakes import fake_encoder
from tests.support.harness import check_sound, snapshot
from tests.support.power import SYNCS, Disk
from tests.support.records import digest_rows
from tests.support.scenes import SCENES, Scene, check_complete, check_nothing_lost, check_told
from tests.support.system_calls import Call, Fault, build_shim, run_index

CUTS = int(os.environ.get("PARECIDO_POWER_CUTS", "24"))
EXT4_CUTS = int(os.environ.get("PARECIDO_EXT4_CUTS", "4"))
SEED = int(os.environ.get("PARECIDO_FAULTS_SEED", "1"))


class Recorded(NamedTuple):
    """A run, and what the catalogue held after each of its commits."""

    scene: Scene
    library: Path
    calls: list[Call]
    states: list[str]


@pytest.fixture(scope="module", params=SCENES)
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A first run, one after changes of every kind, and one that derives everything."""
    folder = tmp_path_factory.mktemp("recorded")
    shim, scene = build_shim(folder), SCENES[request.param](folder)
    library = folder / "library"
    states = [digest_of(scene.before) if scene.before is not None else ""]
    done = run_index(shim, scene, library, data=True)
    assert (done.exit_code, done.said) == (0, "")
    check_complete(scene, {}, check_sound(library))
    states += [told["digest"] for told in done.told]
    assert digest_of(library) == states[-1]
    return Recorded(scene, library, done.calls, states)


def digest_of(library: Path) -> str:
    """A digest of every row; nothing where there is no catalogue."""
    if not (library / CATALOGUE).exists():
        return ""
    with closing(sqlite3.connect(library / CATALOGUE)) as connection:
        return digest_rows(connection)


def test_a_power_cut_loses_nothing_that_was_committed(
    recorded: Recorded, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    scene, calls, states = recorded.scene, recorded.calls, recorded.states
    told_at = [at for at, call in enumerate(calls) if call.path.endswith(".told") and call.data]
    pictures = snapshot(scene.pictures)
    became: Counter[str] = Counter()
    wrong: list[str] = []
    for number in range(CUTS // len(SCENES)):
        rng = random.Random(f"{SEED} {number}")
        moment = rng.randrange(len(calls) + 1)
        library = tmp_path / f"library{number}"
        lost = cut(recorded, calls[:moment], rng, library)
        committed = sum(at < moment for at in told_at)
        try:
            became[check(scene, library, states, committed)] += 1
            assert snapshot(scene.pictures) == pictures
        except Exception:
            last = "\n".join(told_line(call, recorded.library) for call in calls[:moment][-8:])
            where = f"cut {number} of the seed {SEED}, after call {moment} of {len(calls)}: {lost}"
            wrong.append(f"{where}\n{last}\n{traceback.format_exc()}")
            became["wrong"] += 1
        shutil.rmtree(library)
    summary = ", ".join(f"{count} {what}" for what, count in sorted(became.items()))
    record_property("counts", f"{became.total()} power cuts in {len(calls)} calls: {summary}")
    assert not wrong, "\n".join(wrong)


def cut(recorded: Recorded, calls: list[Call], rng: random.Random, target: Path) -> str:
    """Make what the disk may hold after these calls; in words what was lost."""
    disk = Disk(recorded.library, recorded.scene.before)
    for call in calls:
        if not call.path.endswith(".told"):
            disk.apply(call)
    return disk.cut(rng, target)


def test_without_syncs_power_cuts_would_lose_commits(recorded: Recorded, tmp_path: Path) -> None:
    unsynced = [call for call in recorded.calls if call.kind not in SYNCS]
    # the last commit is told, and a journal is not folded yet
    (last,) = [at for at, call in enumerate(unsynced) if call.path.endswith(".told")][-1:]
    lost = 0
    for number in range(8):
        library = tmp_path / f"library{number}"
        cut(recorded, unsynced[: last + 1], random.Random(number), library)
        try:
            lost += digest_of(library) != recorded.states[-1]
        except sqlite3.Error:
            lost += 1
    assert lost > 0


def check(scene: Scene, library: Path, states: list[str], committed: int) -> str:
    """What became of the library after a cut; all that must be is asserted."""
    found = check_sound(library)
    check_nothing_lost(scene, found, [])
    state = digest_of(library)
    # the commit that was under way may be there, too
    allowed = states[committed : committed + 2]
    if scene.before is None and committed <= 1:
        allowed.append("")  # a new catalogue gets its place after its first commit
    assert state in allowed
    with Library.create(library) as opened:
        index(opened, [scene.pictures], encoder=fake_encoder())
    check_complete(scene, found, check_sound(library))
    if not state:
        return "before there was a catalogue"
    if state == states[-1]:
        return "after the last commit"
    return "the last commit and the one under way" if state != states[committed] else "between"


# -- a real one -----------------------------------------------------------------------------------


class Ext4:
    """A file with an ext4 in it, mounted."""

    def __init__(self, folder: Path) -> None:
        self.image, self.mounted = folder / "image", folder / "mounted"
        self.mounted.mkdir()
        with self.image.open("wb") as file:
            file.truncate(48 << 20)
        try:
            subprocess.run(["mkfs.ext4", "-q", "-F", self.image], check=True, capture_output=True)
            self.mount()
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"mounting an ext4 that lies in a file is not allowed here ({error})")

    def mount(self) -> None:
        """Mount it, which makes it whole again after a cut."""
        command = ["mount", "-o", "loop", self.image, self.mounted]
        subprocess.run(command, check=True, capture_output=True)

    def unmount(self) -> None:
        """Unmount it."""
        subprocess.run(["umount", self.mounted], check=True)


@pytest.fixture
def ext4(tmp_path: Path) -> Iterator[Ext4]:
    """An empty ext4; the test is skipped where none can be mounted."""
    made = Ext4(tmp_path)
    yield made
    made.unmount()


@pytest.mark.parametrize("name", SCENES)
def test_a_cut_of_a_real_ext4_loses_nothing_that_was_committed(
    name: str, ext4: Ext4, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    shim, scene, library = build_shim(tmp_path), SCENES[name](tmp_path), ext4.mounted / "library"
    counted = run_index(shim, scene, library, notes=tmp_path)
    assert (counted.exit_code, counted.said) == (0, "")
    counts = Counter(call.kind for call in counted.calls if call.path.startswith(str(library)))
    became: Counter[str] = Counter()
    wrong: list[str] = []
    for number in range(list(SCENES).index(name), EXT4_CUTS, len(SCENES)):
        rng = random.Random(f"{SEED} {number}")
        kind = rng.choice(sorted(counts))
        fault = Fault(kind, rng.randint(1, counts[kind]), "cut")
        shutil.rmtree(library, ignore_errors=True)
        try:
            became[cut_ext4(ext4, shim, scene, fault, tmp_path)] += 1
        except Exception:
            wrong.append(f"cut {number} of the seed {SEED}: {fault}\n{traceback.format_exc()}")
            became["wrong"] += 1
    summary = ", ".join(f"{count} {what}" for what, count in sorted(became.items()))
    record_property("counts", f"{became.total()} cuts of an ext4: {summary}")
    assert not wrong, "\n".join(wrong)


def cut_ext4(ext4: Ext4, shim: Path, scene: Scene, fault: Fault, notes: Path) -> str:
    """What became of a library on a disk that was cut off; all that must be is asserted."""
    library = ext4.mounted / "library"
    done = run_index(shim, scene, library, fault, notes=notes)
    assert done.exit_code in (0, -signal.SIGKILL), done.said
    is_cut = any(call.failed for call in done.calls)
    ext4.unmount()
    ext4.mount()
    found, state = check_sound(library), digest_of(library)
    check_nothing_lost(scene, found, [])
    check_told(scene, found, done.told)
    states = [told["digest"] for told in done.told]
    if scene.before is not None:
        states.insert(0, digest_of(scene.before))
    with Library.create(library) as opened:
        index(opened, [scene.pictures], encoder=fake_encoder())
    check_complete(scene, found, check_sound(library))
    if not is_cut:
        assert state == states[-1]
        return "not cut"
    if not state:
        assert scene.before is None
        assert len(states) <= 1
        return "before there was a catalogue"
    assert state not in states[:-1]
    return "as told" if state in states else "the last commit and the one under way"


def told_line(call: Call, library: Path) -> str:
    """A call in a line."""
    told: dict[str, Any] = call._asdict()
    return json.dumps({**told, "data": len(call.data), "path": os.path.relpath(call.path, library)})
