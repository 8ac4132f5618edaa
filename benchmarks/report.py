"""Figures as a table for people and as a file for comparison."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.figures import Comparison, Figure
from benchmarks.machine import host, machine, versions

__all__ = ["merged", "number", "print_table", "write"]

_BRIEF = 20  # characters of a note that stands in the table's row, as all its neighbours' do


def print_table(figures: Sequence[Figure], console: Console) -> None:
    """A table for each benchmark: a value, and how often it is its reference and its limit."""
    groups: dict[str, list[Figure]] = {}
    for figure in figures:
        title = ": ".join([figure.benchmark, *figure.name.split(": ")[:-1]])
        groups.setdefault(title, []).append(figure)
    for title, group in groups.items():
        brief = max(len(figure.note) for figure in group) <= _BRIEF
        table = Table(title=title, title_justify="left", title_style="bold", box=None)
        table.add_column()
        for column in ("measured", "of reference", "of limit", ""):
            table.add_column(column, justify="right")
        for figure in group:
            table.add_row(
                Text(figure.name.split(": ")[-1]),
                Text(f"{number(figure.value)} {figure.unit}"),
                _compared(figure.reference),
                _compared(figure.limit),
                Text(figure.note if brief else ""),
            )
        console.print(table)
        for word, comparisons in (
            ("reference", [figure.reference for figure in group]),
            ("limit", [figure.limit for figure in group]),
        ):
            names = dict.fromkeys(comparison.name for comparison in comparisons if comparison)
            if names:
                console.print(Text(f"  {word}: {'; '.join(names)}", "dim"), soft_wrap=True)
        for figure in () if brief else group:
            if figure.note:
                line = f"  {figure.name.split(': ')[-1]}: {figure.note}"
                console.print(Text(line, "dim"), soft_wrap=True)
        console.print()
    checked = [figure.met for figure in figures if figure.met is not None]
    if checked:
        console.print(f"{sum(checked)} of {len(checked)} figures meet their targets")


def _compared(comparison: Comparison | None) -> Text:
    """``2.61 × 41.2 ✓ ≥ 2.5``."""
    if comparison is None:
        return Text("")
    text = Text(f"{comparison.ratio:.2f} × {number(comparison.value)}")
    if comparison.target is not None:
        bound = f"{'≥' if comparison.at_least else '≤'} {comparison.target:.3g}"
        mark, colour = ("✓", "green") if comparison.met else ("✗", "red")
        text.append(f" {mark} {bound}", colour)
    return text


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write(figures: Sequence[Figure], path: Path, date: str) -> None:
    """Merge figures into a results file, made where it is missing.

    ``date`` is the run's, in ISO 8601.  A file that is no results file is an error, not replaced.
    """
    before = json.loads(path.read_text("utf-8")) if path.exists() else {}
    run = {"machine": machine(), "versions": versions()}
    data = merged(before, [figure.to_json() for figure in figures], date, run)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", "utf-8")
    temporary.replace(path)


def merged(
    before: Mapping[str, Any],
    figures: Sequence[Mapping[str, Any]],
    date: str,
    run: Mapping[str, object],
) -> dict[str, Any]:
    """The results with these figures in place of older ones of the same benchmark and name.

    Every figure names its run by date; a run tells the machine and the versions, and is kept while
    a figure of it is left.  Of a run that is not told there (results merged by hand) nothing is:
    no hour of measuring is lost for that.
    """
    kept = {(f["benchmark"], f["name"]): f for f in before.get("figures", [])}
    for figure in figures:
        kept[figure["benchmark"], figure["name"]] = {**figure, "run": date}
    runs = {**before.get("runs", {}), date: dict(run)}
    used = {figure["run"] for figure in kept.values()}
    return {
        "host": host(),
        "runs": {name: runs[name] for name in sorted(used) if name in runs},
        "figures": [kept[key] for key in sorted(kept)],
    }
