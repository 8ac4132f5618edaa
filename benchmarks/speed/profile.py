"""Where the core-seconds of an indexing run go, stage by stage.

What a stage takes in the run stands beside what it takes when it runs alone, for the two that the
limit is made of.  The rest is what the run loses: threads that wait, SQLite, glue.
"""

from __future__ import annotations

from typing import Any

from benchmarks.figures import Comparison, Figure
from benchmarks.plan import Plan, say
from benchmarks.speed.indexing import Case, cases, index_once
from benchmarks.speed.stages import NETWORK

__all__ = ["measure"]


def measure(plan: Plan) -> list[Figure]:
    """Milliseconds of a core for each picture, by stage, for each case."""
    figures = []
    for case in cases(plan):
        figures += _measure(case, plan)
    return figures


def _measure(case: Case, plan: Plan) -> list[Figure]:
    folders, bare = case.folders(plan), case.bare()
    say(f"{case.name}: watching a run")
    run = index_once(case, folders, watch=True)
    if run["missing"]:
        say(f"not found, so counted as glue: {', '.join(run['missing'])}")
    paid = run["wall"] * run["cores"]
    spent = dict(sorted(run["stages"].items(), key=lambda stage: -stage[1]))
    spent["idle"] = paid - run["cpu"]
    alone = {"decode": bare["decode"]["cpu"], NETWORK: bare["forward"]["cpu"]}
    figures = [_figure(case, run, stage, s, s / paid, alone) for stage, s in spent.items()]
    whole = _figure(case, run, "all", paid, 1.0, {"all": sum(alone.values())})
    return [whole, *figures]


def _figure(
    case: Case,
    run: dict[str, Any],
    stage: str,
    seconds: float,
    share: float,
    alone: dict[str, float],
) -> Figure:
    value = seconds / run["pictures"] * 1e3
    limit = None
    if stage in alone:
        limit = Comparison.of("alone", [value], [alone[stage] * 1e3])
    return Figure(
        "profile", f"{case.name}: {stage}", value, "ms", limit=limit, note=f"{share:.1%} of the run"
    )
