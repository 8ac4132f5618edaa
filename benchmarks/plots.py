"""``python -m benchmarks.plots RESULTS.json``: draw how a library's index grows.

Writes ``docs/images/growth.svg`` from the figures of ``--only million``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.plan import ROOT

__all__ = ["draw"]

_PANELS = (
    ("query, median", "query, median (ms)", 5.0),
    ("query, 95th percentile", "query, 95th percentile (ms)", 15.0),
    ("index file", "index (MB)", 400.0),
    ("building", "building (s)", 900.0),
    ("opening and first query", "opening and first query (s)", 0.5),
    ("recall@10", "recall@10", 0.99),
)
_COLOURS = {1280: "#1f6feb", 2048: "#d2691e"}


def draw(results: Path, out: Path) -> None:
    """Six panels over the number of descriptors; a dashed line is the target at a million."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "parecido"  # the same figures give the same file
    from matplotlib import pyplot

    series = _series(json.loads(results.read_text("utf-8"))["figures"])
    sheet, panels = pyplot.subplots(2, 3, figsize=(11, 6), layout="constrained")
    for panel, (name, title, target) in zip(panels.flat, _PANELS, strict=True):
        for dimension, colour in _COLOURS.items():
            points = sorted(series.get((name, dimension), {}).items())
            if points:
                counts, values = zip(*points, strict=True)
                panel.plot(counts, values, "o-", color=colour, label=f"{dimension} numbers")
        panel.axhline(target, color="#888888", linestyle="--", linewidth=1)
        panel.set_xscale("log")
        if name != "recall@10":
            panel.set_yscale("log")
        else:
            panel.set_ylim(0.98, 1.001)
        panel.set_title(title, fontsize=10)
        panel.grid(alpha=0.3)
    panels.flat[0].legend(fontsize=9)
    for panel in panels[1]:
        panel.set_xlabel("descriptors in the library")
    sheet.savefig(out, metadata={"Date": None})


def _series(figures: list[dict[str, Any]]) -> dict[tuple[str, int], dict[int, float]]:
    """Name and dimension → number of descriptors → value."""
    found: dict[tuple[str, int], dict[int, float]] = {}
    for figure in figures:
        if figure["benchmark"] == "million":
            size, _, name = figure["name"].partition(": ")
            count, _, dimension = size.partition(" × ")
            key = (name, int(dimension))
            found.setdefault(key, {})[int(count.replace(",", ""))] = figure["value"]
    return found


if __name__ == "__main__":
    draw(Path(sys.argv[1]), ROOT / "docs" / "images" / "growth.svg")
