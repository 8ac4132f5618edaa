"""Hits, and their JSON, text and HTML forms."""

from __future__ import annotations

import html
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from parecido.indexer.records.pictures import Label, Picture
from parecido.indexer.system.text import printable, relative

__all__ = [
    "Hit",
    "Results",
    "hit_dict",
    "results_dict",
    "results_html",
    "results_text",
    "table_text",
]


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
    """What expansion and re-ranking scored, in whose order the hits are; None without them, and
    beyond their shortlist."""
    box: tuple[float, float, float, float] | None = None
    """Where in the picture it was found: x, y, width and height as shares of the upright picture;
    None for the whole of it."""
    there: bool | None = None
    """Whether a file lies at its path; None where that was not known in a moment, as of a network
    that does not answer."""
    same: bool | None = None
    """Whether it shows the same picture as the one that was asked about, decided by their pixels;
    None where that cannot be told."""

    @classmethod
    def of(cls, rank: int, score: float, picture: Picture, **more: Any) -> Hit:
        """A picture as an answer; ``more`` are the fields from ``chance`` on."""
        size = picture.width, picture.height
        return cls(rank, picture.id, score, picture.path, *size, picture.labels, **more)


@dataclass(frozen=True)
class Results:
    """The answers to one query, best first: iterates over them, and a notebook shows them."""

    query: str
    encoder: str
    """The encoder's title."""
    took_ms: float
    """Milliseconds from the query to the hits, encoding included."""
    hits: tuple[Hit, ...]
    note: str = ""
    """What somebody should know of these answers, as a sentence; mostly nothing."""

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __len__(self) -> int:
        return len(self.hits)

    def _repr_html_(self) -> str:
        """As :func:`results_html`; notebooks look for this name."""
        return results_html(self)


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
    if hit.there is False:
        found["there"] = False
    found["same"] = hit.same
    return found


def results_dict(results: Results) -> dict[str, Any]:
    """The answers to one query as JSON shows them."""
    return {
        "query": results.query,
        "encoder": results.encoder,
        "took_ms": round(results.took_ms, 3),
        "hits": [hit_dict(hit) for hit in results.hits],
        **({"note": results.note} if results.note else {}),
    }


def results_text(results: Results, start: str = "") -> str:
    """The answers to one query as a table for people.

    Paths below the folder ``start`` are shown relative to it.
    """
    head = f"{printable(results.query)} · {results.took_ms:.0f} ms"
    if not results.hits:
        return f"{head}\n  nothing found"
    tells_chance = any(hit.chance is not None for hit in results.hits)
    is_reranked = any(hit.second is not None for hit in results.hits)
    rows = [("", "again", "score", "chance", "size", "labels", "path")]
    for hit in results.hits:
        labels = ", ".join(
            f"{printable(name)} {p:.2f}" for name, p, _ in hit.labels[:2] if p >= 0.05
        )
        size = f"{hit.width}×{hit.height}"
        path = printable(relative(hit.path, start)) + _place(hit.box)
        path += "  (same picture)" if hit.same else ""
        path += "  (not there)" if hit.there is False else ""
        again = f"{hit.second:.3f}" if hit.second is not None else ""
        rows.append(
            (str(hit.rank), again, f"{hit.score:.3f}", _short(hit.chance), size, labels, path)
        )
    shown = [0, *([1] if is_reranked else []), 2, *([3] if tells_chance else []), 4, 5]
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


# -- HTML ----------------------------------------------------------------------------------------

_SIDE = 160  # of a thumbnail, in pixels; about 6 kB each, a third more in a data URI
_MOST_DRAWN = 100  # a notebook's file keeps what is drawn: 0.8 MB
# greys that let through whatever the page's own ground is, light or dark; letters are the page's
_GROUND, _FAINT = "background:rgba(128,128,128,.14)", "opacity:.7"
_CUT = "overflow:hidden;text-overflow:ellipsis;white-space:nowrap"
_MIDDLE = "display:flex;align-items:center;justify-content:center"
# orange between two dark lines is seen on any picture
_FRAME = (
    "box-sizing:border-box;border:2px solid #ff9d2e;outline:1px solid #000;"
    "box-shadow:inset 0 0 0 1px #000"
)


def results_html(results: Results) -> str:
    """The answers to one query as HTML for a notebook: each a thumbnail with rank, score and name.

    The pictures' files are read when this is called, and their thumbnails are part of the text, of
    100 hits at most; where a part of a picture was found, it is framed.  In the place of one that
    cannot be read stands why.  There is no script, and all style is inline.
    """
    left_out = len(results) - _MOST_DRAWN
    drawn = "".join(map(_figure, results.hits[:_MOST_DRAWN]))
    facts = f"{results.encoder} · {results.took_ms:.0f} ms"
    return (
        '<div style="font:13px/1.45 system-ui,sans-serif">'
        f'<div style="{_CUT}"><b>{_escape(results.query)}</b>'
        f' <span style="{_FAINT}">{_escape(facts)}</span></div>'
        '<div style="display:flex;flex-wrap:wrap;gap:12px;margin:8px 0">'
        f"{drawn or 'nothing found'}</div>"
        f"{f'and {left_out:,} more' if left_out > 0 else ''}</div>"
    )


def _figure(hit: Hit) -> str:
    """A hit's picture, and what is told of it underneath."""
    again = f" · again {hit.second:.3f}" if hit.second is not None else ""
    chance = f"chance {_short(hit.chance)}" if hit.chance is not None else ""
    return (
        f'<figure style="margin:0;width:{_SIDE}px">'
        f'<div style="{_GROUND};{_MIDDLE};height:{_SIDE}px">{_thumbnail(hit)}</div>'
        f'<figcaption style="text-align:left">{hit.rank} · <b>{hit.score:.3f}</b>'
        f'<span style="{_FAINT}">{again}</span>'
        f'<div style="{_CUT}" title="{_escape(hit.path + _place(hit.box))}">'
        f"{_escape(os.path.basename(hit.path))}</div>"
        f'<div style="{_FAINT}">{chance}</div></figcaption></figure>'
    )


def _thumbnail(hit: Hit) -> str:
    """A hit's picture with a frame around the part that was found, or why there is none."""
    try:
        data, width, height = _jpeg(hit.path)
    except Exception as error:  # whatever is wrong with one file, the others are shown
        reason = _escape(str(error) or type(error).__name__)
        return f'<span style="{_FAINT};padding:10px;text-align:center">{reason}</span>'
    return (
        f'<div style="position:relative;width:{width}px;height:{height}px">'
        f'<img src="data:image/jpeg;base64,{data}" alt="{_escape(os.path.basename(hit.path))}"'
        f' style="display:block;margin:0;width:{width}px;height:{height}px">'
        f"{_frame(hit.box)}</div>"
    )


def _jpeg(path: str) -> tuple[str, int, int]:
    """A file's thumbnail as JPEG in base64, its width and its height in pixels.

    Raises :class:`~parecido.PictureUnreadable`.
    """
    import base64
    import io
    from pathlib import Path

    from parecido.indexer.pictures.decode import Limits, pillow_limit, render
    from parecido.indexer.pictures.read import probe

    def fit(width: int, height: int) -> tuple[int, int]:
        scale = min(1.0, _SIDE / max(width, height))
        return max(1, round(width * scale)), max(1, round(height * scale))

    limits, stream = Limits(), io.BytesIO()
    with pillow_limit(limits):
        image = render(probe(Path(path), limits), fit, limits).image
    image.save(stream, "JPEG", quality=82, optimize=True)
    return base64.b64encode(stream.getvalue()).decode(), image.width, image.height


def _frame(box: tuple[float, float, float, float] | None) -> str:
    """A frame around a part of a picture, above which it lies."""
    if box is None:
        return ""
    left, top, width, height = (f"{100 * side:.2f}%" for side in box)
    where = f"left:{left};top:{top};width:{width};height:{height}"
    return f'<div style="position:absolute;{where};{_FRAME}"></div>'


def _escape(text: str) -> str:
    """One line that is nothing but text, within HTML and its attributes."""
    return html.escape(printable(text))


# -- tables --------------------------------------------------------------------------------------


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
