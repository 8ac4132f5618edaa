"""Two checkouts in turn: is this one as quick to start, to search and to index as that one?

``python -m benchmarks.speed.versions OTHER`` runs the program of this checkout, that of OTHER, and
that of OTHER once more, one after the other, round by round, and prints the medians' ratios to
OTHER's first.  The second of OTHER's own says how far apart two runs of the same program lie here.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from benchmarks.figures import median
from benchmarks.material.pictures import SETS
from benchmarks.plan import ROOT, alternate, say

__all__ = ["main"]

_ROUNDS = {"start": 21, "search": 21, "index": 7}


def _program(checkout: Path) -> tuple[list[str], dict[str, str]]:
    """The program of a checkout, and the environment in which Python finds it."""
    package = checkout / ".package"
    if package.is_dir():
        return [sys.executable, "-P", "-m", "parecido.search.cli"], {"PYTHONPATH": str(package)}
    return [sys.executable, "-P", "-m", "search.cli"], {"PYTHONPATH": str(checkout)}


def _run(checkout: Path, *arguments: str) -> tuple[float, float]:
    """Wall and processor seconds of a command."""
    words, own = _program(checkout)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(
        [*words, *arguments], env={**os.environ, **own}, capture_output=True, check=False
    )
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise click.ClickException(done.stderr.decode("utf-8", "replace")[-2000:])
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _compare(what: str, tasks: dict[str, Callable[[], tuple[float, float]]]) -> None:
    """Print medians and their ratios to those of the other checkout."""
    processor: dict[str, list[float]] = {name: [] for name in tasks}

    def timed(name: str) -> float:
        wall, used = tasks[name]()
        processor[name].append(used)
        return wall

    measures = {name: partial(timed, name) for name in tasks}
    walls = alternate(what, measures, _ROUNDS[what])
    for kind, series in (("wall", walls), ("processor", processor)):
        middle = {name: median(values) for name, values in series.items()}
        base = middle["other"]
        ratios = ", ".join(f"{name} {value / base:.3f}" for name, value in middle.items())
        print(f"{what:<7}{kind:<10}{base * 1000:8.0f} ms   {ratios}", flush=True)


@click.command()
@click.argument("other", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--pictures", type=int, default=800, show_default=True, help="To index.")
def main(other: Path, pictures: int) -> None:
    """Compare this checkout with another one."""
    checkouts = {"this": ROOT, "other": other.resolve(), "other again": other.resolve()}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        SETS[0].files(folder / "pictures", pictures)
        query = str(SETS[1].files(folder / "query", 1)[0])
        for name, checkout in checkouts.items():  # encoders are built, files are in the page cache
            library = str(folder / name / "library")
            _run(checkout, "index", str(folder / "pictures"), "--library", library)
        say(f"{pictures} pictures")

        def index(name: str) -> tuple[float, float]:
            library = folder / name / "again"
            shutil.rmtree(library, ignore_errors=True)
            return _run(
                checkouts[name], "index", str(folder / "pictures"), "--library", str(library)
            )

        def search(name: str) -> tuple[float, float]:
            return _run(
                checkouts[name], "search", query, "--library", str(folder / name / "library")
            )

        def start(name: str) -> tuple[float, float]:
            return _run(checkouts[name], "--help")

        for what, task in (("start", start), ("search", search), ("index", index)):
            _compare(what, {name: partial(task, name) for name in checkouts})


if __name__ == "__main__":
    main()
