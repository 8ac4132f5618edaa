"""System calls that fail, kill or are recorded: ``parecido index`` with ``system_calls.c`` before
libc.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import struct
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from parecido.indexer.system.files import sync_tree
from tests.support.places import PYTHONPATH, REPOSITORY
from tests.support.scenes import Scene

__all__ = ["Call", "Done", "Fault", "Kind", "build_shim", "read_calls", "run_index"]

_HEAD = struct.Struct("<IIIIqQQ")
_NOTES = ("record.calls", "record.told")


class Kind(IntEnum):
    """The calls that change a disk, as the shim numbers them."""

    WRITE = 0
    PWRITE = 1
    FSYNC = 2
    FDATASYNC = 3
    FTRUNCATE = 4
    CREATE = 5
    """``open`` that makes a file."""
    EMPTY = 6
    """``open`` that empties one."""
    RENAME = 7
    LINK = 8
    UNLINK = 9
    MKDIR = 10
    RMDIR = 11


class Call(NamedTuple):
    """One call that was made."""

    kind: Kind
    failed: int
    path: str
    other: str
    where: int
    """The offset of a write, or the length that a file was cut to."""
    length: int
    data: bytes


@dataclass(frozen=True)
class Fault:
    """What the n-th call of a kind meets."""

    kind: Kind
    at: int
    order: str
    """``kill``, ``torn`` (killed in the middle of a write, or after another call), an error's name,
    or ``cut``: ext4 below the library gives up with all that is not on the disk.
    """
    lasts: bool = False
    """Whether later calls that need the disk fail, too."""

    def __str__(self) -> str:
        lasting = ", and from then on" if self.lasts else ""
        return f"{self.order} at {self.kind.name.lower()} {self.at}{lasting}"

    def environment(self) -> dict[str, str]:
        """The order as the shim takes it."""
        order = str(getattr(errno, self.order, self.order))
        given = {"FAULT_CALL": str(int(self.kind)), "FAULT_AT": str(self.at), "FAULT_DO": order}
        return given | ({"FAULT_LASTS": "1"} if self.lasts else {})


@dataclass(frozen=True)
class Done:
    """A run that ended, and what it told of its commits while it could."""

    exit_code: int
    said: str
    told: list[dict[str, Any]]
    calls: list[Call]

    def counts(self) -> Counter[Kind]:
        """How many calls of each kind there were in the library's folder."""
        return Counter(call.kind for call in self.calls if call.path)


def build_shim(folder: Path) -> Path:
    """The library for ``LD_PRELOAD``, compiled; the test is skipped where that cannot be done."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not sys.platform.startswith("linux"):
        pytest.skip("calls are met by glibc's LD_PRELOAD on Linux")
    if compiler is None:
        pytest.skip("no C compiler is on this machine, to make what meets system calls")
    made, source = folder / "system_calls.so", Path(__file__).with_name("system_calls.c")
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(source), "-ldl"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode:
        pytest.skip(f"what meets system calls cannot be compiled: {built.stderr[-300:]}")
    return made


def run_index(
    shim: Path,
    scene: Scene,
    library: Path,
    fault: Fault | None = None,
    *,
    data: bool = False,
    notes: Path | None = None,
) -> Done:
    """``parecido index`` in a process of its own, with what its calls met.

    The record lies beside the library, or in the folder ``notes``.
    """
    if scene.before is not None:
        shutil.copytree(scene.before, library)
        sync_tree(library)
    library = Path(os.path.realpath(library))
    log, told = (Path(os.path.realpath(notes or library.parent)) / end for end in _NOTES)
    for path in (log, told):
        path.unlink(missing_ok=True)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.support.telling_cli", "index", str(scene.pictures)),
            *("--library", str(library)),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": PYTHONPATH,
            "LD_PRELOAD": str(shim),
            "FAULT_UNDER": str(library),
            "FAULT_ALSO": str(told),
            "FAULT_LOG": str(log),
            "FAKE_TOLD": str(told),
            **({"FAULT_DATA": "1"} if data else {}),
            **({"FAKE_MOUNT": scene.mount, "FAKE_LOCKS": "kept"} if scene.mount else {}),
            **(fault.environment() if fault else {}),
        },
    )
    lines = told.read_bytes().splitlines() if told.exists() else []
    calls = read_calls(log)
    return Done(done.returncode, done.stderr, [json.loads(line) for line in lines], calls)


def read_calls(log: Path) -> list[Call]:
    """The record that the shim wrote."""
    data, at, calls = log.read_bytes(), 0, []
    while at < len(data):
        kind, failed, path, other, where, length, kept = _HEAD.unpack_from(data, at)
        parts = []
        at += _HEAD.size
        for size in (path, other, kept):
            parts.append(data[at : at + size])
            at += size
        names = [os.fsdecode(part) for part in parts[:2]]
        calls.append(Call(Kind(kind), failed, names[0], names[1], where, length, parts[2]))
    return calls
