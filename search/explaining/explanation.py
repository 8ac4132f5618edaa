"""Two pictures, what the network sees in each, and which places made them match."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from parecido.indexer.errors import PictureUnreadable
from parecido.indexer.pictures.in_memory import Content, Source
from parecido.indexer.records.regions import Region
from parecido.search.engine import Engine
from parecido.search.explaining.contributions import Side, Why, why

__all__ = [
    "Explanation",
    "GivenPicture",
    "Look",
    "View",
    "explain",
    "explain_views",
    "explanation_dict",
    "view_pictures",
]

Box = tuple[int, int, int, int]
Floats = npt.NDArray[np.float32]


class GivenPicture(NamedTuple):
    """A picture that somebody names."""

    source: Source
    """As :meth:`parecido.Engine.search` takes it."""
    region: Region | None = None
    """The part that is looked at."""


@dataclass(frozen=True)
class View:
    """Which part of a picture the network looks at."""

    name: str
    """Its path, or what a client calls it."""
    width: int
    """Upright width of the whole picture, in pixels."""
    height: int
    """Upright height of the whole picture, in pixels."""
    box: Box
    """Left, upper, right and lower edge of the part, in pixels."""


@dataclass(frozen=True, eq=False)
class Look:
    """A picture as the network sees it."""

    view: View
    data: Content
    """What was decoded: the file's bytes, as a rule."""
    descriptor: Floats
    """``(d,)``: what a search compares, the stored one where these very bytes are indexed."""
    features: Floats
    """``(rows, columns, d)`` over the view's box."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a query and a hit match."""

    query: View
    hit: View
    why: Why
    encoder: str
    """The encoder's title."""


def explain(engine: Engine, query: GivenPicture, hit: GivenPicture) -> Explanation:
    """Why two pictures match, each a file or its bytes.

    Raises :class:`~parecido.PathNotFound`, ``PictureUnreadable``, or ``InvalidRequest`` where
    the library's encoder has no feature map, or for a region outside the picture.
    """
    return explain_views(engine, *view_pictures(engine, [query, hit]))


def view_pictures(engine: Engine, pictures: Sequence[GivenPicture]) -> list[Look]:
    """Take pictures through the network of a library; raises what :func:`explain` does."""
    describer = engine.describer
    found, seen = [], []
    for source, region in pictures:
        given = describer.find(source)
        try:
            content = describer.read(given)
            seen.append(describer.look(content, region))
        except PictureUnreadable as error:
            raise PictureUnreadable(f"{given.name}: {error.reason}", error.kind) from error
        stored = None if region is not None else describer.find_stored_descriptor(given, content)
        found.append((given.name, content, stored))
    return [
        Look(
            View(name, one.width, one.height, one.box),
            content,
            maps.descriptor if stored is None else stored,
            maps.features,
        )
        for (name, content, stored), one, maps in zip(
            found, seen, engine.encoder.maps([one.pixels for one in seen]), strict=True
        )
    ]


def explain_views(engine: Engine, query: Look, hit: Look) -> Explanation:
    """Why two pictures match that have been looked at."""
    spec = engine.spec
    found = why(query, hit, spec.pooling, engine.space, engine.encoder.window)
    return Explanation(query.view, hit.view, found, spec.title)


def explanation_dict(explanation: Explanation) -> dict[str, Any]:
    """An explanation as JSON shows it."""
    found = explanation.why
    return {
        "query": explanation.query.name,
        "hit": explanation.hit.name,
        "encoder": explanation.encoder,
        "score": round(found.score, 6),
        "residual": round(found.residual, 8) + 0.0,  # no minus before a zero
        "maps": {
            "query": _side_dict(explanation.query, found.query),
            "hit": _side_dict(explanation.hit, found.hit),
        },
    }


def _side_dict(view: View, side: Side) -> dict[str, Any]:
    rows, columns = side.cells.shape
    left, top, right, bottom = view.box
    across, down = (right - left) / columns, (bottom - top) / rows
    boxes = [
        [
            [round(number, 2) for number in (left + x * across, top + y * down, across, down)]
            for x in range(columns)
        ]
        for y in range(rows)
    ]
    return {
        "width": view.width,
        "height": view.height,
        "box": [left, top, right - left, bottom - top],
        "shape": [rows, columns],
        "sum": round(side.sum, 8),
        "residual": round(side.residual, 8) + 0.0,
        "values": [[round(value, 8) for value in row] for row in side.cells.tolist()],
        "boxes": boxes,
    }
