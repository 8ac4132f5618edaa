"""What may be among the nearest pictures of a question, before any exact score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from parecido.indexer.arithmetic import rounding
from parecido.indexer.arrays import Ids, Vectors
from parecido.indexer.vectors.gallery import Gallery
from parecido.indexer.vectors.scan import Nearest
from parecido.search.ranking.question import Question

if TYPE_CHECKING:
    from parecido.indexer.vectors.nearest import NearestIndex

__all__ = [
    "SPARE",
    "Prospects",
    "Work",
    "is_short",
    "needs_scan",
    "prepare",
    "scan",
    "search_index",
]

SPARE = 8  # candidates beyond the wanted ones, for ties and for what was left out
# Up to so many pictures that pass a filter, their descriptors are read and compared one by one:
# 30 ms, and none is missed.
_FEW = 4096


@dataclass(eq=False)
class Work:
    """A question on its way."""

    question: Question
    number: int
    """Its place among the questions."""
    allowed: Ids | None
    """Ids that may be answers, ascending; None where all may."""
    asked: int
    """How many candidates to ask for."""
    vector: Vectors = field(default_factory=lambda: np.empty(0, np.float32))
    """The question's, in the space that is searched."""


class Prospects(NamedTuple):
    """Candidates for a question."""

    ids: Ids
    bound: float | None
    """No picture that was left out scores more than this; None where that is not known."""
    is_all: bool
    """Whether none was left out."""


def prepare(work: Sequence[Work], gallery: Gallery) -> None:
    """Bring what is looked for into the gallery's space, all in one product."""
    parts = gallery.project(np.concatenate([item.question.vectors for item in work]))
    ends = np.cumsum([len(item.question.vectors) for item in work])
    for item, own in zip(work, np.split(parts, ends[:-1]), strict=True):
        item.vector = item.question.whole(own)


def scan(item: Work, gallery: Gallery) -> Prospects:
    """The candidates among all descriptors that may be answers, read from the catalogue."""
    nearest = Nearest(item.vector[None], item.asked)
    if item.allowed is not None and len(item.allowed) <= _FEW:
        nearest.see(*gallery.of(item.allowed.tolist()))
    else:
        for ids, vectors in gallery.read_after(-1):
            if item.allowed is None:
                nearest.see(ids, vectors)
            else:
                passing = np.isin(ids, item.allowed)
                nearest.see(ids[passing], vectors[passing])
    scores, found = nearest.best()
    is_all = len(found[0]) < item.asked
    last = float(scores[0][-1]) if len(found[0]) else -np.inf
    return Prospects(found[0], last + rounding(len(item.vector)), is_all)


def needs_scan(item: Work) -> bool:
    """Whether every descriptor must be looked at, and by an index that does not none is missed."""
    return item.question.exact or (item.allowed is not None and len(item.allowed) <= _FEW)


def is_short(item: Work, found: Prospects) -> bool:
    """Whether fewer were found than pass the filter and are wanted."""
    wanted = min(item.question.nearest, len(item.allowed)) if item.allowed is not None else 0
    return len(found.ids) < wanted


def search_index(
    index: NearestIndex, group: Sequence[Work], allowed: Ids | None
) -> dict[int, Prospects]:
    """Candidates from the vector index for questions with the same filter, by their numbers."""
    most = len(allowed) if allowed is not None else index.count
    # with the spare ones a compressed index looks further too: of the ten nearest real descriptors
    # to new ones it found 0.991 so, and 0.980 when it was asked for just ten
    asked = max(1, min(max(w.asked for w in group), most))
    ids, _, bound = index.search(np.stack([w.vector for w in group]), asked, allowed)
    return {
        item.number: Prospects(
            own[own >= 0], None if bound is None else float(bound[row]), asked >= most
        )
        for row, (item, own) in enumerate(zip(group, ids, strict=True))
    }
