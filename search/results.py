"""Hits, and their JSON and text forms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from indexer.records import Label, Picture
from indexer.text import printable, relative

__all__ = ["Hit", "Results", "hit_dict", "results_dict", "results_text", "table_text"]


@dataclass(frozen=True)
class Hit:
    """One answer."""

    rank: int
    """1 for the best."""
    id: int
    score: float
    """Cosine between query and picture, -1 to 1."""
    path: str
    width: int
    height: int
    labels: tuple[Label, ...]

    @classmethod
    def of(cls, rank: int, score: float, picture: Picture) -> Hit:
        """A picture as an answer."""
        return cls(
            rank, picture.id, score, picture.path, picture.width, picture.height, picture.labels
        )


@dataclass(frozen=True)
class Results:
    """The answers to one query, best first."""

    query: str
    encoder: str
    """The encoder's title."""
    took_ms: float
    """Milliseconds from the query to the hits, encoding included."""
    hits: tuple[Hit, ...]


def hit_dict(hit: Hit) -> dict[str, Any]:
    """A hit as JSON shows it."""
    return {
        "rank": hit.rank,
        "id": hit.id,
        "score": round(hit.score, 6),
        "path": hit.path,
        "width": hit.width,
        "height": hit.height,
        "labels": [[name, round(probability, 4)] for name, probability, _ in hit.labels],
    }


def results_dict(results: Results) -> dict[str, Any]:
    """The answers to one query as JSON shows them."""
    return {
        "query": results.query,
        "encoder": results.encoder,
        "took_ms": round(results.took_ms, 3),
        "hits": [hit_dict(hit) for hit in results.hits],
    }


def results_text(results: Results, start: str = "") -> str:
    """The answers to one query as a table for people.

    Paths below the folder ``start`` are shown relative to it.
    """
    head = f"{printable(results.query)} · {results.took_ms:.0f} ms"
    if not results.hits:
        return f"{head}\n  nothing found"
    rows = [("", "score", "size", "labels", "path")]
    for hit in results.hits:
        labels = ", ".join(
            f"{printable(name)} {p:.2f}" for name, p, _ in hit.labels[:2] if p >= 0.05
        )
        size = f"{hit.width}×{hit.height}"
        path = printable(relative(hit.path, start))
        rows.append((str(hit.rank), f"{hit.score:.3f}", size, labels, path))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [head]
    for rank, score, size, labels, path in rows:
        lines.append(
            f"{rank:>{max(2, widths[0])}}  {score:>{widths[1]}}  {size:>{widths[2]}}  "
            f"{labels:<{widths[3]}}  {path}"
        )
    return "\n".join(lines)


def table_text(names: Sequence[str], table: npt.NDArray[np.float32]) -> str:
    """A square table of cosines with a short name for each row and a number for each column."""
    shown = [printable(name) for name in names]
    width = min(48, max(map(len, shown)))
    digits = len(str(len(names)))
    head = " " * (digits + 2 + width) + "".join(f"{i:>8}" for i in range(1, len(names) + 1))
    lines = [head]
    for i, (name, row) in enumerate(zip(shown, table, strict=True), 1):
        short = name if len(name) <= width else "…" + name[-(width - 1) :]
        lines.append(f"{i:>{digits}}  {short:<{width}}" + "".join(f"{x:8.3f}" for x in row))
    return "\n".join(lines)
