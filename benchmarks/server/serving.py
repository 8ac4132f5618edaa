"""A server under load, with clients on the same cores; and how soon it is ready after a kill.

The library holds 100,000 descriptors.  Clients on 32 connections ask for the neighbours of pictures
by id, or upload pictures of 320 pixels.  The limit for uploads is what the encoder does when it has
the machine for itself, decoding included: see :mod:`benchmarks.baselines.bare`.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from benchmarks.children import ask
from benchmarks.figures import Comparison, Figure, median
from benchmarks.material.encoders import MODELS, exported_model, model
from benchmarks.material.pictures import SETS
from benchmarks.plan import ROOT, Plan, alternate, say
from benchmarks.speed.coldstart import filled_library

__all__ = ["measure", "server"]

_COUNT, _QUICK_COUNT = 100_000, 2_000
_CONNECTIONS = 32
_SECONDS = 10.0
_ROUNDS = 3
_WARMING = (
    8.0  # the network is compiled for each of the pictures' shapes once, in the first seconds
)
_ANSWERS = 300.0  # a second
_P99 = 0.1
_OF_ENCODER = 0.85
_READY = 3.0


def measure(plan: Plan) -> list[Figure]:
    """Answers a second, waiting times, seconds to readiness."""
    count = _QUICK_COUNT if plan.quick else _COUNT
    seconds, rounds = (1.0, 1) if plan.quick else (_SECONDS, _ROUNDS)
    common = {"connections": _CONNECTIONS, "seconds": seconds}
    library, _ = filled_library(plan, model(MODELS[0], plan), count)
    waits: list[float] = []

    def by_id() -> float:
        with server(library) as (port, _, _):
            found = _checked(ask("server.clients", {**common, "port": port, "ids": count}))
        waits.append(found["p99"])
        return found["per_second"]

    def ready() -> float:
        with server(library) as (_, took, _):
            return took

    say(f"serving: {count:,} descriptors, {_CONNECTIONS} connections")
    ids = alternate("by id", {"parecido": by_id}, rounds)["parecido"]
    uploads = [_uploads(plan, name, count, common, rounds) for name in MODELS]
    started = alternate("ready", {"parecido": ready}, rounds)["parecido"]
    return [
        Figure(
            "serving",
            "answers by id",
            median(ids),
            "/s",
            Comparison.of("target", ids, [_ANSWERS] * len(ids), 1.0),
            rounds={"parecido": ids},
        ),
        Figure(
            "serving",
            "answers by id, 99th percentile",
            median(waits) * 1000,
            "ms",
            Comparison.of("target", waits, [_P99] * len(waits), 1.0, at_least=False),
            rounds={"parecido": waits},
        ),
        *uploads,
        Figure(
            "serving",
            "ready after a kill",
            median(started),
            "s",
            Comparison.of("target", started, [_READY] * len(started), 1.0, at_least=False),
            rounds={"parecido": started},
        ),
    ]


def _uploads(plan: Plan, name: str, count: int, common: Mapping[str, float], rounds: int) -> Figure:
    """How many pictures a second can be asked about by sending them, with one encoder."""
    network = model(name, plan)
    library, _ = filled_library(plan, network, count)
    files = [str(path) for path in SETS[0].files(plan.folder("pictures"), 64)]
    bare = {
        "spec": network.spec().to_json(),
        "network": str(exported_model(network.spec())),
        "files": files,
    }
    warming = 0.5 if plan.quick else _WARMING

    def uploads() -> float:
        with server(library) as (port, _, _):
            request = {**common, "port": port, "files": files, "warming": warming}
            return _checked(ask("server.clients", request))["per_second"]

    def encoder() -> float:
        return float(ask("baselines.bare", bare)["pictures_per_second"])

    found = alternate(f"uploads, {name}", {"parecido": uploads, "encoder": encoder}, rounds)
    ours = found["parecido"]
    return Figure(
        "serving",
        f"uploads of 320 px, {name}",
        median(ours),
        "/s",
        limit=Comparison.of("decode + network", ours, found["encoder"], _OF_ENCODER),
        rounds=found,
    )


def _checked(found: dict[str, float]) -> dict[str, float]:
    if found["wrong"]:
        raise RuntimeError(f"Expected every answer to be 200, got {found['wrong']}")
    return found


@contextmanager
def server(
    library: Path, options: Sequence[str] = ()
) -> Iterator[tuple[int, float, subprocess.Popen[bytes]]]:
    """The port of a server, how many seconds it took to be ready, and its process.

    Killed at the end.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "parecido.search.cli", "serve", "--port", str(port)]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*words, "--library", str(library), *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / ".package")])},
        stderr=subprocess.DEVNULL,
    )
    try:
        while not _is_ready(port):
            if process.poll() is not None:
                raise RuntimeError(f"The server ended with {process.returncode}")
            time.sleep(0.01)
        yield port, time.perf_counter() - began, process
    finally:
        process.kill()
        process.wait()


def _is_ready(port: int) -> bool:
    url = f"http://127.0.0.1:{port}/readyz"
    with suppress(URLError, ConnectionError, TimeoutError), urlopen(url, timeout=5) as answer:
        return bool(answer.status == 200)
    return False
