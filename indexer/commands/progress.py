"""A progress bar for people and a way to stop kindly; only the command line uses this."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from parecido.indexer.errors import ParecidoError
from parecido.indexer.indexing.options import IndexOptions
from parecido.indexer.indexing.plan import Progress
from parecido.indexer.pictures.walking.walk import Walk
from parecido.indexer.records.rules import RootRules
from parecido.indexer.records.runs import IndexReport, PictureCheck
from parecido.indexer.system.paths import absolute

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

__all__ = ["progress_bar", "show_bytes", "show_pictures", "stop_on_signal"]


@contextmanager
def progress_bar(
    paths: Sequence[str],
    options: IndexOptions,
    library: Path,
    kept: Mapping[bytes, RootRules] | None = None,
) -> Iterator[Progress]:
    """A bar on stderr with pictures a second, time left and skips.

    The files are counted beside the run, so that it starts at once and knows its end soon.
    ``kept`` are the patterns of earlier runs' roots.
    """
    bar = _make_bar("speed", "skips")
    task = bar.add_task("indexing", total=None, speed="", skips="")
    ended = threading.Event()

    def count() -> None:
        total = 0
        given = [absolute(path) for path in paths]
        try:
            walk = Walk(
                *(given, options.exclude, options.hidden, library),
                include=options.include,
                kept=kept or {},
            )
            for _ in walk:
                total += 1
                if ended.is_set():
                    return
        except ParecidoError:
            return
        bar.update(task, total=total)

    def show(report: IndexReport) -> None:
        seen = report.added + report.updated + report.unchanged + report.moved
        rate = bar.tasks[0].speed or 0.0
        bar.update(
            task,
            completed=seen + len(report.skipped),
            speed=f"{rate:.0f} pictures/s" if rate else "",
            skips=f"{len(report.skipped):,} skipped" if report.skipped else "",
        )

    threading.Thread(target=count, daemon=True, name="count").start()
    with bar:
        try:
            yield show
        finally:
            ended.set()


def _make_bar(*fields: str, counts_bytes: bool = False) -> Bar:
    """A bar on stderr that goes when it has ended: what is done, how far, time left, fields."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        SpinnerColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    return Bar(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn() if counts_bytes else MofNCompleteColumn(),
        TimeRemainingColumn(),
        *(TextColumn(f"{{task.fields[{field}]}}") for field in fields),
        console=Console(stderr=True),
        transient=True,
    )


@contextmanager
def show_bytes(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar of bytes on stderr, where that is a terminal; Ctrl-C and SIGTERM end the work."""
    with stop_on_signal() as stop:
        if not sys.stderr.isatty():
            yield lambda done, total: _stop_if(stop)
            return
        bar = _make_bar(counts_bytes=True)
        task = bar.add_task(what, total=None)

        def show(done: int, total: int) -> None:
            _stop_if(stop)
            bar.update(task, completed=done, total=total)

        with bar:
            yield show


@contextmanager
def show_pictures() -> Iterator[Callable[[PictureCheck], None]]:
    """A bar on stderr of pictures whose files are read, with what was found; none elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    bar = _make_bar("read", "found")
    task = bar.add_task("reading", total=None, read="", found="")

    def show(check: PictureCheck) -> None:
        found = len(check.changed)
        bar.update(
            task,
            completed=check.looked,
            total=check.wanted,
            read=f"{check.bytes / 1e6:,.0f} MB",
            found=f"{found:,} changed" if found else "",
        )

    with bar:
        yield show


def _stop_if(stop: Callable[[], bool]) -> None:
    if stop():
        raise KeyboardInterrupt


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into a request to stop; the second acts at once.

    So with SIGTERM, and with the SIGHUP of a terminal that is closed.
    """
    asked = threading.Event()

    def ask(number: int, _frame: FrameType | None) -> None:
        asked.set()
        for name, handler in before.items():
            signal.signal(name, handler)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP"):
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
