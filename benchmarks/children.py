"""Work done in processes of their own: a request in, an answer out, both JSON.

What is measured must not share threads, memory or imported modules with what it is compared with.
A child is a module of this package with a ``main`` that calls :func:`serve`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.plan import ROOT

__all__ = ["ChildFailed", "ask", "cores", "peak_bytes", "serve", "timed"]


class ChildFailed(RuntimeError):
    """A child ended badly; the message holds the end of what it said."""


def ask(module: str, request: Mapping[str, object], *, gpu: bool = False) -> dict[str, Any]:
    """Let a module, ``ROOM.NAME``, answer a request in a fresh interpreter, which may see a GPU."""
    words = [sys.executable, "-m", f"benchmarks.{module}", json.dumps(request)]
    answer: dict[str, Any] = json.loads(_run(words, gpu=gpu).splitlines()[-1])
    return answer


def timed(words: list[str]) -> float:
    """Wall seconds from starting a program to its end, as one waits for it at the shell."""
    started = time.perf_counter()
    _run(words)
    return time.perf_counter() - started


def serve(answer: Callable[[dict[str, Any]], Mapping[str, object]]) -> None:
    """Answer the request on the command line; the last line of stdout is the answer."""
    result = answer(json.loads(sys.argv[1]))
    print(json.dumps(result), flush=True)


def cores() -> int:
    """The cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


def peak_bytes() -> int:
    """The most memory that this process has held so far.

    Linux tells it since the program was started.  ``getrusage`` would count the parent's memory
    from before that too.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            line = next(line for line in file if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    except OSError:
        import resource

        scale = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def _run(words: list[str], *, gpu: bool = False) -> str:
    done = subprocess.run(
        words, cwd=ROOT, env=_environment(gpu), capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-12:])
        raise ChildFailed(f"{' '.join(words[:5])[:300]} … ended with {done.returncode}:\n{tail}")
    return done.stdout


def _environment(gpu: bool) -> dict[str, str]:
    """The caller's; without a GPU where everything is about the CPU."""
    hidden = {} if gpu else {"CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, **hidden, "TF_CPP_MIN_LOG_LEVEL": "3"}
