"""Libraries from ten thousand to a million descriptors: what the index takes and how it answers.

The descriptors are those of :mod:`benchmarks.material.synthetic`; the queries are others of the
same scenes. A query is timed as a program asks it, ``Engine.search_vector`` for ten hits:
candidates from the index, exact scores from the catalogue, records of the pictures; without the
encoding.
"""

from __future__ import annotations

import shutil
from itertools import islice

import numpy as np
import numpy.typing as npt

from benchmarks.children import ask
from benchmarks.figures import Comparison, Figure, median
from benchmarks.material.synthetic import stream
from benchmarks.plan import Plan, say

__all__ = ["measure", "queries"]

_COUNTS, _QUICK_COUNTS = (10_000, 100_000, 1_000_000), (2_000,)
_DIMENSIONS = (1280, 2048)
_QUERIES = 400
_MEGABYTES, _MEDIAN_MS, _P95_MS, _RECALL, _BUILD_SECONDS, _OPEN_SECONDS = 400, 5, 15, 0.99, 900, 0.5


def queries(count: int, library: int, dimension: int) -> npt.NDArray[np.float32]:
    """New pictures of scenes that a library of that size holds.

    ``(count, dimension)`` float32 unit rows, at most 400, each of another scene as a rule.
    """
    pieces = islice(stream(library, dimension, seed=1, shot=1), 2)
    return np.concatenate(list(pieces))[::20][:count]


def measure(plan: Plan) -> list[Figure]:
    """Figures for each size and dimension; targets at a million."""
    figures: list[Figure] = []
    for dimension in _DIMENSIONS:
        for count in _QUICK_COUNTS if plan.quick else _COUNTS:
            case = f"{count:,} × {dimension}"
            if plan.wants(case):
                figures += _case(plan, case, count, dimension)
    return figures


def _case(plan: Plan, case: str, count: int, dimension: int) -> list[Figure]:
    folder = plan.folder("million") / f"{count}-{dimension}"
    shutil.rmtree(folder, ignore_errors=True)
    say(f"million: filling a library with {case}")
    work = {"folder": str(folder), "count": count, "dimension": dimension}
    built = ask("speed.large", {"do": "build", **work})
    asked = [
        ask("speed.large", {"do": "ask", "queries": 50 if plan.quick else _QUERIES, **work})
        for _ in range(plan.rounds)
    ]
    shutil.rmtree(folder)
    series = {name: [one[name] for one in asked] for name in asked[0]}
    promised = count == max(_COUNTS)

    def figure(
        name: str,
        values: list[float],
        unit: str,
        target: float,
        *,
        floor: bool = False,
        note: str = "",
    ) -> Figure:
        goal = Comparison.of(
            "target", values, [target] * len(values), 1.0 if promised else None, at_least=floor
        )
        return Figure("million", f"{case}: {name}", median(values), unit, goal, note=note)

    kind = f"{built['kind']}, {built['nprobe']} lists, {built['candidates']} candidates"
    per_pass = Comparison.of("one pass over float32", series["median_ms"], series["pass_ms"])
    query = figure("query, median", series["median_ms"], "ms", _MEDIAN_MS, note=kind)
    return [
        Figure(**{**vars(query), "limit": per_pass}),
        figure("query, 95th percentile", series["p95_ms"], "ms", _P95_MS),
        figure("recall@10", series["recall"], "", _RECALL, floor=True),
        figure("recall@10 by its own sample", [built["own_recall"]], "", _RECALL, floor=True),
        figure("index file", [built["index_bytes"] / 1e6], "MB", _MEGABYTES),
        figure("opening and first query", series["open_seconds"], "s", _OPEN_SECONDS),
        figure("building", [built["build_seconds"]], "s", _BUILD_SECONDS),
        Figure("million", f"{case}: peak memory of building", built["peak_bytes"] / 1e6, "MB"),
    ]
