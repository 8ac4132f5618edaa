"""Which recipe finds what: the tables of ``docs/quality.md``.

``python -m benchmarks.quality FOLDER [NAME...]`` evaluates recipes on the collections that
``python -m benchmarks.collections FOLDER`` wrote, and on the shared sets where these lie beside the
checkout.  Every picture of a group queries all others.  Libraries are kept in ``FOLDER/libraries``,
so a second run ranks only.  The figures go to ``benchmarks/results/quality.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.collections.writing import SHARED
from benchmarks.plan import ROOT
from parecido.search.evaluating.evaluation import Evaluation, evaluate
from parecido.search.evaluating.labelled_pictures import load_collection
from parecido.search.evaluating.recipe import Recipe, parse_recipe

__all__ = ["RECIPES", "main", "table"]

_SETS = ROOT.parent / "shared" / "sets"
_RESULTS = ROOT / "benchmarks" / "results" / "quality.json"

_LITE0 = "model=efficientnet-lite0"
MAIN = (
    "plain",
    f"average: {_LITE0} pooling=avg size=224 dimension=full",
    f"regional: {_LITE0} size=256 dimension=full",
    "fast: quality=fast",
    "balanced: quality=balanced",
    "balanced, expanded: quality=balanced expand=on rerank=off",
    "balanced, re-ranked: quality=balanced expand=off rerank=on",
    "balanced, both: quality=balanced expand=on rerank=on",
    "best: quality=best",
)
"""On every collection."""
SHAPES = tuple(
    f"Lite{number} {pooling} {size} {resample}: model=efficientnet-lite{number} "
    f"pooling={pooling} size={size} resample={resample}"
    for number, pooling, size, resample in (
        *((0, pooling, "224", "bicubic") for pooling in ("avg", "max", "gem", "rgem")),
        *((0, pooling, "256", "bicubic") for pooling in ("avg", "gem", "rgem")),
        *((0, "rgem", "256", resample) for resample in ("nearest", "bilinear", "lanczos")),
        (0, "rgem", "256x256", "bicubic"),
        (0, "rgem", "288", "bicubic"),
        (1, "rgem", "256", "bicubic"),
        (2, "avg", "256", "bicubic"),
        (2, "rgem", "256", "bicubic"),
        (2, "rgem", "288", "bicubic"),
    )
)
"""On the two sets of photographs: size, shape, filter, pooling and encoder."""
RECIPES = {"main": MAIN, "shapes": SHAPES}


def measured(
    csv: Path, recipes: Sequence[Recipe], folder: Path
) -> Iterator[tuple[str, dict[str, Any]]]:
    """For each recipe its name and figures on one collection."""
    for one in evaluate(load_collection(csv), recipes, folder):
        yield one.recipe.name, _figures(one)


def _figures(one: Evaluation) -> dict[str, Any]:
    measures = {
        name: [round(value, 5) for value in estimate] for name, estimate in one.measures.items()
    }
    return {
        "encoder": one.encoder,
        "dimension": one.dimension,
        "queries": one.queries,
        "pictures_per_second": round(one.pictures_per_second, 1) if one.indexed else None,
        **measures,
    }


def table(results: dict[str, dict[str, Any]], measure: str) -> str:
    """A Markdown table: a row for each recipe, a column for each collection."""
    recipes = list(dict.fromkeys(name for found in results.values() for name in found))
    lines = ["| | " + " | ".join(results) + " |", "|---" * (len(results) + 1) + "|"]
    for recipe in recipes:
        cells = []
        for found in results.values():
            value = found.get(recipe, {}).get(measure)
            shown = "" if value is None else f"{value[0]:.3f}" if measure == "N-S" else ""
            cells.append(shown or ("" if value is None else f"{100 * value[0]:.1f}"))
        lines.append(f"| {recipe} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _csv(folder: Path, name: str) -> Path:
    return (_SETS / SHARED[name] if name in SHARED else folder / name) / "groups.csv"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="collections; all that are there by default")
    parser.add_argument("--recipes", choices=RECIPES, default="main")
    given = parser.parse_args()
    recipes = [parse_recipe(text) for text in RECIPES[given.recipes]]
    written = sorted(path.parent.name for path in given.folder.glob("*/groups.csv"))
    names = given.names or [*SHARED, *written]
    kept = json.loads(_RESULTS.read_text("utf-8")) if _RESULTS.exists() else {}
    results: dict[str, dict[str, Any]] = kept.setdefault(given.recipes, {})
    for name in names:
        csv = _csv(given.folder, name)
        if not csv.exists():
            print(f"{name} is not there; left out", file=sys.stderr)
            continue
        before = results.get(name, {})
        results[name] = {}
        for recipe, figures in measured(csv, recipes, given.folder / "libraries" / name):
            if figures["pictures_per_second"] is None and recipe in before:
                figures["pictures_per_second"] = before[recipe]["pictures_per_second"]
            results[name][recipe] = figures
            print(name, recipe, f"mAP {100 * figures['mAP'][0]:.1f}", file=sys.stderr, flush=True)
        _RESULTS.parent.mkdir(exist_ok=True)
        _RESULTS.write_text(json.dumps(kept, indent=1, sort_keys=False) + "\n", "utf-8")
    for measure in ("mAP", "R@1", "R@5", "N-S"):
        print(f"\n{measure}\n\n{table(results, measure)}")
