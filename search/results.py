"""Hits, and their JSON and text forms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from parecido.indexer.records.pictures import Label, Picture
from parecido.indexer.system.text import printable, relative

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
    chance: float | None = None
    """How many pictures of the library are expected to score so by chance; None where the library
    is too small to tell."""
    second: float | None = None
    """What a second thought scored, in whose order the hits are; None without one, and beyond its
    shortlist."""
    box: tuple[float, float, float, float] | None = None
    """Where in the picture it was found: x, y, width and height as shares of the upright picture;
    None for the whole of it."""

    @classmethod
    def of(cls, rank: int, score: float, picture: Picture, **more: Any) -> Hit:
        """A picture as an answer; ``more`` are the fields from ``chance`` on."""
        size = picture.width, picture.height
        return cls(rank, picture.id, score, picture.path, *size, picture.labels, **more)


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
    found: dict[str, Any] = {
        "rank": hit.rank,
        "id": hit.id,
        "score": round(hit.score, 6),
        "path": hit.path,
        "width": hit.width,
        "height": hit.height,
        "labels": [[name, round(probability, 4)] for name, probability, _ in hit.labels],
    }
    if hit.chance is not None:
        found["chance"] = float(f"{hit.chance:.3g}")
    if hit.second is not None:
        found["second"] = round(hit.second, 6)
    if hit.box is not None:
        found["box"] = [round(side, 4) for side in hit.box]
    return found


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
    tells_chance = any(hit.chance is not None for hit in results.hits)
    thought_twice = any(hit.second is not None for hit in results.hits)
    rows = [("", "again", "score", "chance", "size", "labels", "path")]
    for hit in results.hits:
        labels = ", ".join(
            f"{printable(name)} {p:.2f}" for name, p, _ in hit.labels[:2] if p >= 0.05
        )
        size = f"{hit.width}×{hit.height}"
        path = printable(relative(hit.path, start)) + _place(hit.box)
        again = f"{hit.second:.3f}" if hit.second is not None else ""
        rows.append(
            (str(hit.rank), again, f"{hit.score:.3f}", _short(hit.chance), size, labels, path)
        )
    shown = [0, *([1] if thought_twice else []), 2, *([3] if tells_chance else []), 4, 5]
    widths = [max(len(row[i]) for row in rows) for i in range(6)]
    widths[0] = max(2, widths[0])
    lines = [head]
    for row in rows:
        cells = [f"{row[i]:<{widths[i]}}" if i == 5 else f"{row[i]:>{widths[i]}}" for i in shown]
        lines.append("  ".join([*cells, row[6]]))
    return "\n".join(lines)


def _place(box: tuple[float, float, float, float] | None) -> str:
    """Where in the picture, as --region would have it."""
    if box is None:
        return ""
    return "  at " + ",".join(f"{100 * side:.0f}%" for side in box)


def _short(chance: float | None) -> str:
    """An expected number in few characters: ``23``, ``0.4``, ``3e-05``."""
    if chance is None:
        return ""
    if chance >= 9.5:
        return f"{chance:.0f}"
    return f"{chance:.1g}" if chance < 0.95 else f"{chance:.1f}"


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
