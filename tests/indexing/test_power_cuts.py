"""After a power cut at any moment the library holds what was committed, and nothing else.

A run of ``parecido index`` is recorded call by call; then the disk is put together as a cut at some
moment may leave it (``tests/support/power.py``).  ``PARECIDO_POWER_CUTS`` is how many there are, 24
by default; ``PARECIDO_FAULTS_SEED`` which.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from parecido import Library, index
from parecido.indexer.library.layout import CATALOGUE
from tests.support.fakes import fake_encoder
from tests.support.harness import check_sound, snapshot
from tests.support.power import Disk
from tests.support.records import digest_rows
from tests.support.scenes import (
    Scene,
    check_complete,
    check_nothing_lost,
    scene_changed,
    scene_grown,
    scene_new,
)
from tests.support.system_calls import Call, build_shim, run_index

CUTS = int(os.environ.get("PARECIDO_POWER_CUTS", "24"))
SEED = int(os.environ.get("PARECIDO_FAULTS_SEED", "1"))
MAKERS = {"new": scene_new, "changed": scene_changed, "grown": scene_grown}


class Recorded(NamedTuple):
    """A run, and what the catalogue held after each of its commits."""

    scene: Scene
    library: Path
    calls: list[Call]
    states: list[str]


@pytest.fixture(scope="module", params=MAKERS)
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A first run, one after changes of every kind, and one that derives everything."""
    folder = tmp_path_factory.mktemp("recorded")
    shim, scene = build_shim(folder), MAKERS[request.param](folder)
    library = folder / "library"
    states = [""]
    if scene.before is not None:
        shutil.copytree(scene.before, library)
        states = [digest_of(library)]
    done = run_index(shim, scene.pictures, library, data=True)
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
    for number in range(CUTS // len(MAKERS)):
        rng = random.Random(f"{SEED} {number}")
        moment = rng.randrange(len(calls) + 1)
        disk, library = Disk(recorded.library, scene.before), tmp_path / f"library{number}"
        for call in calls[:moment]:
            if not call.path.endswith(".told"):
                disk.apply(call)
        lost = disk.cut(rng, library)
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
    print(f"{became.total()} power cuts in {len(calls)} calls with {len(told_at)} commits:")
    for what, count in sorted(became.items()):
        print(f"  {count} {what}")
    record_property("cuts", dict(became))
    assert not wrong, "\n".join(wrong)


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


def told_line(call: Call, library: Path) -> str:
    """A call in a line."""
    told: dict[str, Any] = call._asdict()
    return json.dumps({**told, "data": len(call.data), "path": os.path.relpath(call.path, library)})
