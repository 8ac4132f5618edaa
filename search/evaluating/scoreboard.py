"""Evaluations side by side: as a table, as JSON, and their worst queries as a sheet."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from parecido.indexer.system.text import plural, printable
from parecido.search.evaluating.evaluation import Evaluation
from parecido.search.evaluating.figures import LEVEL, MAP, NS, RESAMPLES, SEED, Estimate, WorstQuery

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["scoreboard_dict", "scoreboard_text", "worst_sheet"]


def scoreboard_text(evaluated: Sequence[Evaluation]) -> str:
    """A row for each recipe, and below them what was measured on."""
    names = [MAP, *(name for name in evaluated[0].measures if name not in (MAP, NS))]
    if all(NS in one.measures for one in evaluated):
        names.append(NS)
    rows = [["recipe", "encoder", "dim", *names, "pictures/s"]]
    for one in evaluated:
        shown = [_format_estimate(name, one.measures[name]) for name in names]
        speed = f"{one.pictures_per_second:.0f}" if one.indexed else "-"
        rows.append([printable(one.recipe.name), one.encoder, str(one.dimension), *shown, speed])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            f"{cell:<{width}}" if place < 2 else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    first = evaluated[0]
    if all(one.group_sizes == first.group_sizes for one in evaluated):
        lines += ["", _describe_pictures(first)]
    else:
        lines.append("")
        lines += [f"{printable(one.recipe.name)}: {_describe_pictures(one)}" for one in evaluated]
    percent = "In percent, N-S of 4" if NS in names else "In percent"
    lines.append(f"{percent}; after {MAP} its {100 * LEVEL:.0f} % bootstrap interval")
    return "\n".join(lines)


def _format_estimate(name: str, estimate: Estimate) -> str:
    if name == NS:
        return f"{estimate.value:.3f}"
    if name != MAP:
        return f"{100 * estimate.value:.1f}"
    value, low, high = (100 * number for number in estimate)
    return f"{value:.1f} ({low:.1f}–{high:.1f})"


def _describe_pictures(one: Evaluation) -> str:
    smallest, median, largest = _sizes(one).values()
    return (
        f"{plural(one.queries, 'picture')} in {plural(len(one.group_sizes), 'group')}: "
        f"the smallest has {smallest:,}, the median {median:,g}, the largest {largest:,}"
    )


def _sizes(one: Evaluation) -> dict[str, float]:
    return {
        "smallest": one.group_sizes[0],
        "median": statistics.median(one.group_sizes),
        "largest": one.group_sizes[-1],
    }


def scoreboard_dict(source: str, k: int, evaluated: Sequence[Evaluation]) -> dict[str, Any]:
    """Everything as JSON shows it: measures from 0 to 1, N-S from 1 to 4, ranks from 1."""
    return {
        "collection": source,
        "k": k,
        "interval": {"level": LEVEL, "resamples": RESAMPLES, "seed": SEED},
        "recipes": [_evaluation_dict(one) for one in evaluated],
    }


def _evaluation_dict(one: Evaluation) -> dict[str, Any]:
    return {
        "name": one.recipe.name,
        "index": dict(one.recipe.index),
        "search": dict(one.recipe.search),
        "encoder": one.encoder,
        "fingerprint": one.fingerprint,
        "dimension": one.dimension,
        "pictures": one.queries,
        "groups": len(one.group_sizes),
        "group_sizes": _sizes(one),
        "measures": _measures_dict(one.measures),
        "indexing": {
            "encoded": one.indexed,
            "seconds": round(one.seconds, 3),
            "pictures_per_second": round(one.pictures_per_second, 1) if one.indexed else None,
        },
        "unreadable": [
            {"path": s.path, "reason": s.reason, "kind": s.kind} for s in one.unreadable
        ],
        "dropped_groups": list(one.dropped_groups),
        "worst": [_worst_dict(query) for query in one.worst],
    }


def _measures_dict(measures: Mapping[str, Estimate]) -> dict[str, dict[str, float]]:
    return {
        name: {"value": round(value, 6), "low": round(low, 6), "high": round(high, 6)}
        for name, (value, low, high) in measures.items()
    }


def _worst_dict(query: WorstQuery) -> dict[str, Any]:
    return {
        "path": query.path,
        "group": query.group,
        "average_precision": round(query.average_precision, 6),
        "first_right": query.first_right,
        "found": [
            {"path": f.path, "group": f.group, "score": round(f.score, 6), "right": f.is_right}
            for f in query.found
        ],
    }


def worst_sheet(evaluated: Sequence[Evaluation]) -> Image.Image:
    """The worst queries of each recipe with what they found, right and wrong told apart."""
    from parecido.search.sheets.sheet import Row, Section, Tile, draw_sheet

    sections = []
    for one in evaluated:
        rows = []
        for query in one.worst:
            precision = f"AP {100 * query.average_precision:.1f} %"
            head = f"{precision} · first right: {query.first_right:,}"
            name = f"{query.group} · {os.path.basename(query.path)}"
            found = [
                Tile(f.path, f"{f.score:.3f} · {f.group}", os.path.basename(f.path), f.is_right)
                for f in query.found
            ]
            rows.append(Row(Tile(query.path, head, name), found))
        title = (
            f"{one.recipe.name} · {one.encoder} · mAP {100 * one.measures[MAP].value:.1f} % · the "
            f"{plural(len(rows), 'query', 'queries')} with the least average precision"
        )
        sections.append(Section(title, rows))
    return draw_sheet(sections)
