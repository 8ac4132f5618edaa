"""The command line with the fake encoder in place of every other, as a program to run.

Where ``FAKE_GATE`` names a path, the encoder makes the file ``PATH.reached`` with its first batch
and goes on when a file lies at the path itself.  ``FAKE_DIMENSION`` is how long the descriptors of
new libraries are, 12 by default.  A server waits for uploads, and when it stops, as long
as a test does; with ``FAKE_HURRY`` it stops as fast as any.  ``FAKE_MOUNT`` names a kind of file
system that libraries lie on, where every lock is to be had (not SQLite's with ``FAKE_LOCKS``, which
a process needs for its own connections); ``FAKE_SYSTEM`` the running system, and
``FAKE_SILENCE`` the seconds of silence.
"""

from __future__ import annotations

import functools
import math
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import filelock
import numpy as np
import numpy.typing as npt

import parecido.indexer.catalogue.sqlite.opening
import parecido.indexer.indexing.encoder_choice
import parecido.indexer.indexing.pipeline
import parecido.indexer.indexing.workers
import parecido.indexer.library.holding
import parecido.indexer.library.library
import parecido.indexer.library.lock
import parecido.indexer.library.summary
import parecido.indexer.pictures.decoding.allowance
import parecido.search.cli
import parecido.search.commands.serve
import parecido.search.engine
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.system.filesystems import FileSystem
from tests.support.fakes import DIMENSION, FakeRuntime, fake_spec
from tests.support.waiting import PATIENCE


class GatedRuntime(FakeRuntime):
    """The fake runtime, which can be made to wait."""

    def run(
        self, batch: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
        gate = os.environ.get("FAKE_GATE")
        if gate:
            Path(f"{gate}.reached").touch()
            while not os.path.exists(gate):
                time.sleep(0.01)
        return super().run(batch)


def use_fakes() -> None:
    """New libraries get the fake encoder, and whoever opens an encoder gets it too."""
    dimension = int(os.environ.get("FAKE_DIMENSION", DIMENSION))
    parecido.indexer.indexing.encoder_choice.resolve = lambda *_, **__: fake_spec(
        dimension=dimension
    )
    for module in (parecido.indexer.indexing.workers, parecido.search.engine):
        module.open_encoder = _open_encoder
    if "FAKE_HURRY" not in os.environ:
        parecido.search.commands.serve._GRACE_SECONDS = math.ceil(PATIENCE)
    if seconds := os.environ.get("FAKE_WALL_SECONDS"):
        parecido.indexer.pictures.decoding.allowance._WALL_SECONDS = float(seconds)
        parecido.indexer.pictures.decoding.allowance._WALL_A_CPU_SECOND = 0.0
    if kind := os.environ.get("FAKE_MOUNT"):
        use_mount(kind)


class NoLock:
    """A lock that everybody gets at once, as on a mount that keeps locks to itself."""

    is_locked = False

    def __init__(self, _: object) -> None:
        pass

    def acquire(self, **_: object) -> None:
        self.is_locked = True

    def release(self) -> None:
        self.is_locked = False


def _connect(connect: Callable[..., Any], path: str | Path, **given: Any) -> Any:
    """A connection whose locks nobody else sees, where the system has SQLite without any."""
    is_seen = "FAKE_LOCKS" in os.environ or not FileSystem(os.environ["FAKE_MOUNT"]).is_shared
    if os.name == "nt" or is_seen:
        return connect(path, **given)
    uri = str(path) if given.pop("uri", False) else f"file:{quote(os.fsencode(path))}"
    return connect(f"{uri}{'&' if '?' in uri else '?'}vfs=unix-none", uri=True, **given)


def use_mount(kind: str) -> None:
    """Let all libraries lie on a file system of that kind, with locks that nobody else sees."""
    filelock.FileLock = NoLock
    sqlite3.connect = functools.partial(_connect, sqlite3.connect)
    for module in (
        parecido.indexer.catalogue.sqlite.opening,
        parecido.indexer.library.library,
        parecido.indexer.library.lock,
        parecido.indexer.library.summary,
    ):
        module.filesystem_of = lambda _: FileSystem(kind)
    holding = parecido.indexer.library.holding
    system = os.environ.get("FAKE_SYSTEM") or holding.system_here()
    holding.system_here = lambda: system
    holding.SILENCE_SECONDS = float(os.environ.get("FAKE_SILENCE", holding.SILENCE_SECONDS))
    holding.BEAT_SECONDS = min(holding.BEAT_SECONDS, holding.SILENCE_SECONDS / 6)


def _open_encoder(spec: EncoderSpec, **_: object) -> Encoder:
    return Encoder(spec, GatedRuntime(dimension=spec.dimension))


if __name__ == "__main__":
    # a shell's background jobs ignore Ctrl-C, and what they start inherits that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    use_fakes()
    if "serve" in sys.argv:
        import parecido.search.web.routes.pictures

        parecido.search.web.routes.pictures._PATIENCE = PATIENCE
    parecido.search.cli.main()
