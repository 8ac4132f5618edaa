"""``python -m benchmarks``: measure, print a table, keep the figures."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import click
from rich.console import Console

from benchmarks.children import ChildFailed
from benchmarks.figures import Figure
from benchmarks.machine import host
from benchmarks.plan import HERE, Plan, say
from benchmarks.report import print_table, write
from benchmarks.server import serving, soak
from benchmarks.speed import coldstart, gpu, indexing, million, profile, unchanged

BENCHMARKS: dict[str, Callable[[Plan], list[Figure]]] = {
    "indexing": indexing.measure,
    "profile": profile.measure,
    "unchanged": unchanged.measure,
    "coldstart": coldstart.measure,
    "million": million.measure,
    "serving": serving.measure,
    "soak": soak.measure,
    "gpu": gpu.measure,
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--only",
    metavar="NAME",
    multiple=True,
    help=f"One of {', '.join(BENCHMARKS)}; repeatable.  NAME:PART takes only the cases in whose "
    "names PART occurs, as in indexing:resnet50.",
)
@click.option("--quick", is_flag=True, help="Small sizes, one round: a smoke test.")
@click.option(
    "--pictures",
    metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Index JPEG files of your own instead of generated ones; they are copied.",
)
@click.option(
    "--json",
    "out",
    metavar="OUT",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Merge the figures into this file.  [default: results/HOST.json beside the benchmarks; "
    "none with --quick]",
)
def main(only: tuple[str, ...], quick: bool, pictures: Path | None, out: Path | None) -> None:
    """Measure how fast parecido is, beside a plain recipe and beside what the machine allows.

    Close what else runs: ratios stand some noise, but not much.  The first full run makes some
    3 GB of scratch data in benchmarks/work.
    """
    # as installed: where bytecode is not kept, a search compiles its modules for 60 ms each time
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    wanted: dict[str, tuple[str, ...]] = {}
    for word in only or BENCHMARKS:
        name, _, part = word.partition(":")
        if name not in BENCHMARKS:
            raise click.BadParameter(f"{name!r} is none of {', '.join(BENCHMARKS)}.")
        wanted[name] = (*wanted.get(name, ()), *([part] if part else []))
    date = datetime.now().astimezone().isoformat(timespec="seconds")
    if out is None and not quick:
        out = HERE / "results" / f"{host()}.json"
    figures: list[Figure] = []
    for name, parts in wanted.items():
        started = time.monotonic()
        say(f"{name} …")
        try:
            found = BENCHMARKS[name](Plan(quick=quick, pictures=pictures, parts=parts))
        except (ChildFailed, FileNotFoundError) as error:
            sys.exit(f"benchmarks: {name}: {error}")
        figures += found
        if out is not None:  # after each, so that what is measured survives what fails later
            write(found, out, date)
        say(f"{name} took {time.monotonic() - started:.0f} s")
    print_table(figures, Console())
    if out is not None:
        say(f"{len(figures)} figures are in {out}")


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
