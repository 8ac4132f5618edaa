"""Two pictures, what the network sees in each, and which places made them match."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from parecido.indexer.errors import PathNotFound, PictureUnreadable
from parecido.indexer.pictures.crop import decode_region
from parecido.indexer.pictures.decode import Decoded, Limits, decode, pillow_limit
from parecido.indexer.pictures.read import probe
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.records.regions import Region
from parecido.indexer.system.files import content_hash
from parecido.indexer.system.paths import absolute
from parecido.search.engine import Engine
from parecido.search.explaining.contributions import Side, Why, why

__all__ = [
    "Explanation",
    "GivenPicture",
    "Look",
    "View",
    "decode_view",
    "explain",
    "explain_views",
    "explanation_dict",
    "view_pictures",
]

Box = tuple[int, int, int, int]
Floats = npt.NDArray[np.float32]


class GivenPicture(NamedTuple):
    """A picture that somebody names."""

    source: str | bytes
    """Its path, or its bytes."""
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
    data: bytes
    """The file's bytes."""
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
    read, views, arrays = [], [], []
    limits = Limits()
    for source, region in pictures:
        data = source if isinstance(source, bytes) else _read(source, limits)
        name = "-" if isinstance(source, bytes) else source
        try:
            with pillow_limit(limits):
                view, decoded = decode_view(data, region, name, engine.spec, limits)
        except PictureUnreadable as error:
            raise PictureUnreadable(f"{name}: {error.reason}", error.kind) from error
        read.append(data)
        views.append(view)
        arrays.append(decoded.pixels)
    found = []
    for given, data, view, maps in zip(
        pictures, read, views, engine.encoder.maps(arrays), strict=True
    ):
        stored = None if given.region else _find_stored(engine, given.source, data)
        descriptor = maps.descriptor if stored is None else stored
        found.append(Look(view, data, descriptor, maps.features))
    return found


def explain_views(engine: Engine, query: Look, hit: Look) -> Explanation:
    """Why two pictures match that have been looked at."""
    spec = engine.spec
    found = why(query, hit, spec.pooling, engine.space, engine.encoder.window)
    return Explanation(query.view, hit.view, found, spec.title)


def decode_view(
    data: bytes, region: Region | None, name: str, spec: EncoderSpec, limits: Limits
) -> tuple[View, Decoded]:
    """A picture's bytes, or a part of them, at the encoder's size, and which part that is."""
    decoded = decode(data, spec, limits)
    width, height = decoded.width, decoded.height
    if region is None:
        return View(name, width, height, (0, 0, width, height)), decoded
    box = region.box(width, height)
    return View(name, width, height, box), decode_region(data, region, spec, limits)


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


def _read(path: str, limits: Limits) -> bytes:
    whole = absolute(path)
    if not os.path.lexists(whole):
        raise PathNotFound(f"{path} is not there.", "Give the path of a picture file.")
    try:
        return probe(Path(whole), limits)
    except PictureUnreadable as error:
        raise PictureUnreadable(f"{path}: {error.reason}", error.kind) from error


def _find_stored(engine: Engine, source: str | bytes, data: bytes) -> Floats | None:
    """The descriptor that the library holds of a file, unless the file has changed since."""
    if isinstance(source, bytes):
        return None
    catalogue = engine.library.catalogue
    for path in (absolute(source), os.path.realpath(absolute(source))):
        picture = catalogue.picture_at(path)
        if picture is not None and picture.content_hash == content_hash(data):
            ids, vectors = catalogue.descriptors.of([picture.id])
            return vectors[0] if len(ids) else None
    return None
