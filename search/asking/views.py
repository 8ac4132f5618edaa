"""Descriptors and pixels of what is given to a question."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from parecido.indexer.arrays import Pixels, Vectors
from parecido.indexer.errors import InvalidRequest
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.records.regions import Region
from parecido.search.asking.ask import Ask
from parecido.search.asking.describer import Describer, show
from parecido.search.asking.sources import Given
from parecido.search.sameness.shown import Shown

__all__ = ["Sought", "orientations", "pixels_of", "seek"]

# What is not wanted counts less than what is, as negative feedback does since Rocchio ("Relevance
# Feedback in Information Retrieval", 1971).
_UNLIKE = 0.5


class Sought(NamedTuple):
    """What several given pictures are looked for by, together."""

    descriptors: tuple[Vectors, ...]
    """Each ``(n, dimension)``; a hit is like any one of these."""
    weights: tuple[float, ...]
    """What each of the ``n`` counts."""
    shown: tuple[Shown, ...]
    """The pictures that hits should be like, as far as they were seen."""
    known: frozenset[int]
    """Ids of the given pictures that are indexed themselves."""


def seek(describer: Describer, ask: Ask) -> Sought:
    """The descriptors to look for.  Raises what reading and decoding the pictures raises."""
    ask.check()
    like = [describer.find(one) for one in ask.like]
    unlike = [describer.find(one) for one in ask.unlike]
    seen = [_describe(describer, one, ask.region, ask.any_orientation) for one in like]
    unseen = [describer.describe(one) for one in unlike]
    descriptors = []
    for orientation in range(len(seen[0][0])):
        views = [rows[orientation] for rows, _ in seen]
        groups = [views] if ask.together == "mean" else [[view] for view in views]
        descriptors += [np.stack([*group, *unseen]) for group in groups]
    shown = tuple(one for _, one in seen)
    together = len(like) if ask.together == "mean" else 1
    weights = [1 / together] * together + [-_UNLIKE / max(len(unseen), 1)] * len(unseen)
    return Sought(tuple(descriptors), tuple(weights), shown, _list_ids([*like, *unlike]))


def pixels_of(describer: Describer, ask: Ask) -> tuple[list[Pixels], frozenset[int]]:
    """The pictures to look for, in all orientations that count, and the ids of indexed ones."""
    ask.check()
    like = [describer.find(one) for one in ask.like]
    pixels = [describer.look(describer.read(one), ask.region).pixels for one in like]
    if ask.any_orientation:
        pixels = [view for one in pixels for view in orientations(one)]
    return pixels, _list_ids(like)


def orientations(pixels: Pixels) -> list[Pixels]:
    """The eight flips and quarter turns of a picture ``(h, w, 3)``, itself first."""
    turns = [np.rot90(one, quarter) for one in (pixels, pixels[:, ::-1]) for quarter in range(4)]
    return [np.ascontiguousarray(turn) for turn in turns]


def _describe(
    describer: Describer, given: Given, region: Region | None, turned: bool
) -> tuple[Vectors, Shown]:
    """Descriptors ``(n, dimension)`` of a picture: one, or those of its eight orientations."""
    if region is None and not turned:
        descriptor, shown = describer.see(given)
        return descriptor[None], shown
    content = describer.read(given)
    seen = describer.look(content, region)
    if turned:
        _check_turns(describer.spec)
    views = orientations(seen.pixels) if turned else [seen.pixels]
    shown = show(seen, content if region is None else None)
    return describer.encoder.encode(views, 0).descriptors, shown


def _check_turns(spec: EncoderSpec) -> None:
    size = spec.size
    if not size.keep_aspect and size.height != size.width:
        raise InvalidRequest(
            f"{spec.title} squeezes pictures to {size.width} × {size.height}, which cannot be "
            "turned.",
            "Leave out any orientation, or index with an encoder that keeps pictures' shapes.",
        )


def _list_ids(given: list[Given]) -> frozenset[int]:
    return frozenset(one.picture.id for one in given if one.picture is not None)
