"""Any system call of an indexing run may fail or be its last: nothing is lost, nothing is wrong.

``parecido index`` runs in a process of its own, over a new library, over one after changes of every
kind, and over one with everything that is derived.  ``PARECIDO_SYSCALL_FAULTS`` is how many faults
there are, 24 by default; ``PARECIDO_FAULTS_SEED`` which.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from parecido import Library, index
from tests.support.fakes import fake_encoder
from tests.support.harness import Row, check_sound, snapshot
from tests.support.scenes import (
    Scene,
    check_complete,
    check_nothing_lost,
    scene_changed,
    scene_grown,
    scene_new,
)
from tests.support.system_calls import Done, Fault, Kind, build_shim, run_index

FAULTS = int(os.environ.get("PARECIDO_SYSCALL_FAULTS", "24"))
SEED = int(os.environ.get("PARECIDO_FAULTS_SEED", "1"))
MAKERS = {"new": scene_new, "changed": scene_changed, "grown": scene_grown}
ENDS = ("kill", "torn")
ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EROFS")


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What meets the calls."""
    return build_shim(tmp_path_factory.mktemp("shim"))


def draw(rng: random.Random, counts: Counter[Kind], number: int) -> Fault:
    """A fault somewhere in a run that makes so many calls of each kind."""
    # half of them by kind, and half as the calls come, of which most are writes
    kinds = sorted(counts)
    kind = rng.choice(kinds) if number % 2 else rng.choices(kinds, [counts[k] for k in kinds])[0]
    order = rng.choice(ENDS if number // 2 % 2 else ERRORS)
    lasts = order in ERRORS and rng.random() < 0.5
    return Fault(kind, rng.randint(1, counts[kind]), order, lasts)


def meet(
    shim: Path, scene: Scene, library: Path, fault: Fault
) -> tuple[str, dict[bytes, tuple[int, Row]]]:
    """What became of a run with a fault, and what the library holds then; the rest is asserted."""
    if scene.before is not None:
        shutil.copytree(scene.before, library)
    done = run_index(shim, scene.pictures, library, fault)
    is_met = any(call.failed for call in done.calls)
    found = check_sound(library)
    check_nothing_lost(scene, found, [])
    check_told(scene, found, done)
    if done.exit_code == -signal.SIGKILL:
        assert is_met
        return "killed", found
    lines = done.said.splitlines()
    assert all(line.startswith("parecido: ") for line in lines), done.said
    assert "defect" not in done.said
    if done.exit_code == 0:
        check_complete(scene, {}, found)
        return "done all the same" if is_met else "not met", found
    assert is_met
    assert done.exit_code == 1
    assert lines
    return "told and ended", found


def check_told(scene: Scene, found: dict[bytes, tuple[int, Row]], done: Done) -> None:
    """What was told as committed is there, but for what a later commit changed."""
    if not done.told:
        return
    for name, (picture_id, content) in done.told[-1]["pictures"].items():
        path = os.fsencode(name)
        if path not in scene.rows_after:
            continue
        assert found[path][0] == picture_id
        if content == scene.rows_after[path][1].content_hash.hex():
            assert found[path][1] == scene.rows_after[path][1]


@pytest.mark.parametrize("name", MAKERS)
def test_a_call_that_fails_or_is_the_last_loses_nothing_that_was_committed(
    name: str, shim: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    scene = MAKERS[name](tmp_path)
    pictures = snapshot(scene.pictures)
    undisturbed = tmp_path / "counted"
    if scene.before is not None:
        shutil.copytree(scene.before, undisturbed)
    counted = run_index(shim, scene.pictures, undisturbed)
    assert (counted.exit_code, counted.said) == (0, "")
    check_complete(scene, {}, check_sound(undisturbed))
    counts = Counter(call.kind for call in counted.calls if call.path.startswith(str(undisturbed)))
    met: Counter[str] = Counter()
    wrong: list[str] = []
    share = list(MAKERS).index(name)
    for number in range(share, FAULTS, len(MAKERS)):
        fault = draw(random.Random(f"{SEED} {number}"), counts, number // len(MAKERS))
        library = tmp_path / f"library{number}"
        try:
            became, found = meet(shim, scene, library, fault)
            with Library.create(library) as opened:
                index(opened, [scene.pictures], encoder=fake_encoder())
            check_complete(scene, found, check_sound(library))
            assert snapshot(scene.pictures) == pictures
            assert names_of(library) == names_of(undisturbed)
        except Exception:
            wrong.append(f"fault {number} of the seed {SEED}: {fault}\n{traceback.format_exc()}")
            became = "wrong"
        met[f"{fault.order} at {fault.kind.name.lower()}: {became}"] += 1
        shutil.rmtree(library, ignore_errors=True)
    print(f"{met.total()} faults in {counts.total()} calls over a {name} library:")
    for what, count in sorted(met.items()):
        print(f"  {count} {what}")
    record_property("faults", dict(met))
    assert not wrong, "\n".join(wrong)


def names_of(library: Path) -> list[str]:
    """Which files lie in a library, whatever generation and space they are of."""
    found = (path.relative_to(library) for path in library.rglob("*") if path.is_file())
    return sorted(re.sub("[0-9a-f]{12,}", "N", str(path)) for path in found)
