"""What may be among the nearest pictures of a question, before any exact score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from parecido.indexer.arithmetic import rounding, row_sums, unit
from parecido.indexer.arrays import Ids, Vectors
from parecido.indexer.records.filters import Filter
from parecido.indexer.vectors.gallery import Gallery
from parecido.indexer.vectors.scan import Nearest
from parecido.search.ranking.rerank import SHORTLIST

if TYPE_CHECKING:
    from parecido.indexer.vectors.nearest import NearestIndex

__all__ = [
    "SPARE",
    "Found",
    "Question",
    "Work",
    "is_short",
    "needs_scan",
    "prepare",
    "scanned",
    "searched",
]

SPARE = 8  # candidates beyond the wanted ones, for ties and for what was left out
# Up to so many pictures that pass a filter, their descriptors are read and compared one by one:
# 30 ms, and none is missed.
_FEW = 4096


@dataclass(frozen=True, eq=False)
class Question:
    """What to look for."""

    vectors: Vectors
    """Descriptors ``(n, dimension)`` of the encoder, of unit length."""
    k: int
    """How many neighbours, 1 or more."""
    leave_out: frozenset[int] = frozenset()
    """Ids of pictures that are no answers."""
    exact: bool = False
    """Look at every descriptor, also where the library has a compressed index."""
    wanted: Filter = field(default_factory=Filter)
    """Which pictures may be answers."""
    expand: bool = False
    rerank: bool = False
    """Whether to think twice; see :mod:`parecido.search.ranking.rerank`."""
    weights: tuple[float, ...] = (1.0,)
    """What each of the descriptors counts; less than 0 for what is not wanted."""

    def whole(self, parts: Vectors) -> Vectors:
        """What is looked for ``(m,)``, of unit length, of its descriptors as they are compared."""
        if len(parts) == 1:
            only: Vectors = parts[0]
            return only
        weighed = parts.T.astype(np.float64) * np.asarray(self.weights, np.float64)
        whole: Vectors = unit(row_sums(weighed)[None])[0]
        return whole

    @property
    def is_second(self) -> bool:
        """Whether a shortlist is to be looked at again."""
        return self.expand or self.rerank

    @property
    def nearest(self) -> int:
        """How many of the nearest it takes to answer."""
        shortlist = SHORTLIST if self.is_second else 0
        return max(self.k, shortlist) + len(self.leave_out)


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


class Found(NamedTuple):
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


def scanned(item: Work, gallery: Gallery) -> Found:
    """The candidates among all descriptors that may be answers, read from the catalogue."""
    nearest = Nearest(item.vector[None], item.asked)
    if item.allowed is not None and len(item.allowed) <= _FEW:
        nearest.see(*gallery.of(item.allowed.tolist()))
    else:
        for ids, vectors in gallery.written_after(-1):
            if item.allowed is None:
                nearest.see(ids, vectors)
            else:
                passing = np.isin(ids, item.allowed)
                nearest.see(ids[passing], vectors[passing])
    scores, found = nearest.best()
    is_all = len(found[0]) < item.asked
    last = float(scores[0][-1]) if len(found[0]) else -np.inf
    return Found(found[0], last + rounding(len(item.vector)), is_all)


def needs_scan(item: Work) -> bool:
    """Whether every descriptor must be looked at, and by an index that does not none is missed."""
    return item.question.exact or (item.allowed is not None and len(item.allowed) <= _FEW)


def is_short(item: Work, found: Found) -> bool:
    """Whether fewer were found than pass the filter and are wanted."""
    wanted = min(item.question.nearest, len(item.allowed)) if item.allowed is not None else 0
    return len(found.ids) < wanted


def searched(index: NearestIndex, group: Sequence[Work], allowed: Ids | None) -> dict[int, Found]:
    """Candidates from the vector index for questions with the same filter, by their numbers."""
    most = len(allowed) if allowed is not None else index.count
    # with the spare ones a compressed index looks further too: of the ten nearest real descriptors
    # to new ones it found 0.991 so, and 0.980 when it was asked for just ten
    asked = max(1, min(max(w.asked for w in group), most))
    ids, _, bound = index.search(np.stack([w.vector for w in group]), asked, allowed)
    return {
        item.number: Found(
            own[own >= 0], None if bound is None else float(bound[row]), asked >= most
        )
        for row, (item, own) in enumerate(zip(group, ids, strict=True))
    }
