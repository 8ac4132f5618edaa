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
from tests.support.scenes import SCENES, Scene, check_complete, check_nothing_lost, check_told
from tests.support.system_calls import Fault, Kind, build_shim, run_index

FAULTS = int(os.environ.get("PARECIDO_SYSCALL_FAULTS", "24"))
SEED = int(os.environ.get("PARECIDO_FAULTS_SEED", "1"))
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
    done = run_index(shim, scene, library, fault)
    is_met = any(call.failed for call in done.calls)
    found = check_sound(library)
    check_nothing_lost(scene, found, [])
    check_told(scene, found, done.told)
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


@pytest.mark.parametrize("name", SCENES)
def test_a_call_that_fails_or_is_the_last_loses_nothing_that_was_committed(
    name: str, shim: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    scene = SCENES[name](tmp_path)
    pictures = snapshot(scene.pictures)
    undisturbed = tmp_path / "counted"
    counted = run_index(shim, scene, undisturbed)
    assert (counted.exit_code, counted.said) == (0, "")
    check_complete(scene, {}, check_sound(undisturbed))
    counts = Counter(call.kind for call in counted.calls if call.path.startswith(str(undisturbed)))
    met: Counter[str] = Counter()
    wrong: list[str] = []
    share = list(SCENES).index(name)
    for number in range(share, FAULTS, len(SCENES)):
        fault = draw(random.Random(f"{SEED} {number}"), counts, number // len(SCENES))
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
    summary = ", ".join(f"{count} {what}" for what, count in sorted(met.items()))
    record_property("counts", f"{met.total()} faults in {counts.total()} calls: {summary}")
    assert not wrong, "\n".join(wrong)


def names_of(library: Path) -> set[str]:
    """Which files lie in a library, whatever generation and space they are of.

    An older index or table of neighbours may lie beside the one in use until the next is written,
    and what SQLite leaves beside the catalogue.
    """
    files = (path for path in library.rglob("*") if path.is_file())
    beside = ("-wal", "-shm", "-journal")
    found = (path.relative_to(library) for path in files if not path.name.endswith(beside))
    return {re.sub("[0-9a-f]{12,}(-[0-9a-f]{16})?", "N", str(path)) for path in found}
