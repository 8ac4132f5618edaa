"""The nearest pictures of a library: candidates from its vector index, scores from its catalogue.

Several questions at once take one pass through the index and one look into the catalogue.  What a
question asks about is a descriptor of the encoder; it is compared in the library's own space.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from indexer.exhaustive import Nearest
from indexer.filters import Filter
from indexer.gallery import Gallery
from indexer.library import Library
from search.around import Around
from search.background import Background
from search.rerank import SHORTLIST, second_scores

if TYPE_CHECKING:
    from indexer.vectors import VectorIndex

__all__ = ["Question", "Ranked", "Ranking", "exact_scores"]

_SPARE = 8  # candidates beyond the wanted ones, for ties and for what was left out
# Up to so many pictures that pass a filter, their descriptors are read and compared one by one:
# 30 ms, and none is missed.
_FEW = 4096
_ROUNDING = 1e-5  # of float32 sums of 4096 products, ten times over
_DIGITS = 7
_FILTERS = 16  # whose answers are remembered until the library changes

Ids = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


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
    """Whether to think twice; see :mod:`search.rerank`."""
    weights: tuple[float, ...] = (1.0,)
    """What each of the descriptors counts; less than 0 for what is not wanted."""

    def whole(self, parts: Vectors) -> Vectors:
        """What is looked for ``(m,)``, of unit length, of its descriptors as they are compared."""
        if len(parts) == 1:
            only: Vectors = parts[0]
            return only
        sum_ = np.asarray(self.weights, np.float32) @ parts
        return sum_ / max(float(np.linalg.norm(sum_)), 1e-12)

    @property
    def is_second(self) -> bool:
        """Whether a shortlist is to be looked at again."""
        return self.expand or self.rerank

    @property
    def nearest(self) -> int:
        """How many of the nearest it takes to answer."""
        shortlist = SHORTLIST if self.is_second else 0
        return max(self.k, shortlist) + len(self.leave_out)


class Ranked(NamedTuple):
    """The nearest neighbours, best first, equal scores by id."""

    ids: Ids
    scores: Vectors
    """Exact cosines in the library's space, float32."""
    seconds: Vectors | None = None
    """What a second thought scored, float32, in whose order they are; NaN beyond its shortlist."""
    chances: npt.NDArray[np.float64] | None = None
    """How many pictures of the library are expected to score so by chance."""

    def first(self, k: int) -> Ranked:
        """The ``k`` best."""
        seconds = None if self.seconds is None else self.seconds[:k]
        chances = None if self.chances is None else self.chances[:k]
        return Ranked(self.ids[:k], self.scores[:k], seconds, chances)


@dataclass(eq=False)
class _Work:
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


class _Found(NamedTuple):
    """Candidates for a question."""

    ids: Ids
    least: float
    """No picture that was left out scores more than this; of a compressed index, it is hoped."""
    is_all: bool
    """Whether none was left out."""


class Ranking:
    """Finds the nearest pictures of a library, in its committed state at the time of a question.

    Safe to use from several threads.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._index: VectorIndex | None = None
        self._of = ("", "")
        self._around: Around | None = None
        self._background: Background | None = None
        self._lock = threading.Lock()
        self._passing: OrderedDict[Filter, Ids] = OrderedDict()
        self._passing_at = -1

    def close(self) -> None:
        """Let go of the index."""
        with self._lock:
            self._index = self._around = self._background = None

    def nearest(self, questions: Sequence[Question], fingerprint: str) -> list[Ranked]:
        """The answers to questions, in their order.

        ``fingerprint`` is the encoder's: a library that was emptied may have got another, whose
        descriptors need another index.
        """
        answers: list[Ranked] = [_NOTHING] * len(questions)
        work = [
            _Work(question, number, allowed, question.nearest + _SPARE)
            for number, question in enumerate(questions)
            for allowed in [self._allowed(question.wanted)]
            if allowed is None or len(allowed)
        ]
        while work:
            index, found = self._candidates(work, fingerprint)
            candidates = np.unique(np.concatenate([f.ids for f in found]))
            ids, vectors = index.gallery.descriptors(candidates.tolist())
            again, answered = [], []
            for item, one in zip(work, found, strict=True):
                ranked = _ranked(item, one, ids, vectors)
                if ranked is None:
                    item.asked *= 4  # one that was left out could come before the last
                    again.append(item)
                else:
                    if item.question.is_second:
                        ranked = self._thought_again(item, index, ranked, ids, vectors)
                    answered.append((item, ranked.first(item.question.k)))
            chances = self._chances(answered, index)
            for (item, _), ranked in zip(answered, chances, strict=True):
                answers[item.number] = ranked
            work = again
        return answers

    def passing(self, wanted: Filter) -> Ids:
        """Ids of the pictures that pass a filter, ascending."""
        allowed = self._allowed(wanted)
        return self._library.catalogue.ids() if allowed is None else allowed

    def count(self, wanted: Filter) -> int:
        """How many pictures pass a filter."""
        allowed = self._allowed(wanted)
        return self._library.catalogue.counts()[0] if allowed is None else len(allowed)

    # -- inside ----------------------------------------------------------------------------------

    def _allowed(self, wanted: Filter) -> Ids | None:
        if wanted.passes_all:
            return None
        generation = self._library.catalogue.generation()
        with self._lock:
            if generation != self._passing_at:
                self._passing.clear()
                self._passing_at = generation
            elif wanted in self._passing:
                self._passing.move_to_end(wanted)
                return self._passing[wanted]
        ids = self._library.catalogue.matching(wanted)
        with self._lock:
            if generation == self._passing_at:
                self._passing[wanted] = ids
                while len(self._passing) > _FILTERS:
                    self._passing.popitem(last=False)
        return ids

    def _candidates(
        self, work: Sequence[_Work], fingerprint: str
    ) -> tuple[VectorIndex, list[_Found]]:
        """Candidates for each question, and the index that they are from.

        What looks at every descriptor holds no lock.
        """
        found: dict[int, _Found] = {}
        with self._lock:
            index = self._fresh(fingerprint)
            gallery = index.gallery
            _prepare(work, gallery)
            is_exhaustive = index.is_exhaustive
            scans = [w for w in work if not is_exhaustive and _needs_scan(w)]
            rest = [w for w in work if w not in scans]
            while rest:  # those with the same filter go together
                allowed = rest[0].allowed
                group = [w for w in rest if w.allowed is allowed]
                rest = [w for w in rest if w.allowed is not allowed]
                found |= _searched(index, group, allowed)
        if not is_exhaustive:
            # a compressed index looks into the lists near the query, where few may pass a filter
            scans += [w for w in work if w.number in found and _is_short(w, found[w.number])]
        for item in scans:
            found[item.number] = _scanned(item, gallery)
        return index, [found[item.number] for item in work]

    def _thought_again(
        self, item: _Work, index: VectorIndex, ranked: Ranked, ids: Ids, vectors: Vectors
    ) -> Ranked:
        """The shortlist in the order of a second thought, and then the rest as it was.

        By the index that the shortlist is from: others may be in another space by now.
        """
        question = item.question
        shortlist = ranked.ids[:SHORTLIST]
        if not len(shortlist):
            return ranked
        rows = vectors[np.searchsorted(ids, shortlist)]
        around = None
        if question.expand:
            with self._lock:
                if self._around is None or self._around.index is not index:
                    self._around = Around(self._library, index)
                around = self._around.of(shortlist, question.leave_out)
        seconds = second_scores(item.vector, rows, around, rerank=question.rerank)
        order = np.lexsort((shortlist, -seconds))
        rest = np.arange(len(shortlist), len(ranked.ids))
        order = np.concatenate([order, rest])
        seconds = np.concatenate([seconds, np.full(len(rest), np.nan, np.float32)])
        return Ranked(ranked.ids[order], ranked.scores[order], seconds[order])

    def _chances(
        self, answered: Sequence[tuple[_Work, Ranked]], index: VectorIndex
    ) -> list[Ranked]:
        """The answers with what chance gives."""
        if not answered:
            return []
        queries = np.stack([item.vector for item, _ in answered])
        with self._lock:
            if self._background is None or self._background.index is not index:
                self._background = Background(index)
            background = self._background
            cosines = background.cosines(queries)
            if cosines is None:
                return [ranked for _, ranked in answered]
            return [
                ranked._replace(
                    chances=background.expected(row, ranked.scores, item.question.leave_out)
                )
                for row, (item, ranked) in zip(cosines, answered, strict=True)
            ]

    def _fresh(self, fingerprint: str) -> VectorIndex:
        of = (fingerprint, self._library.catalogue.space_fingerprint())
        if self._index is None or self._of != of:
            self._index = self._library.vectors()
            self._of = of
            if self._index.file_bytes == 0:
                self._index.save_if_worthwhile()  # lost or damaged: for the next time
        self._index.refresh()
        return self._index


def _ranked(item: _Work, found: _Found, ids: Ids, vectors: Vectors) -> Ranked | None:
    """The best of the candidates by their exact scores; None where too few were asked for.

    ``ids`` ``(n,)``, ascending, and ``vectors`` are what is still there of all candidates.
    """
    wanted = item.question.nearest
    rows = np.searchsorted(ids, found.ids)
    rows[rows == len(ids)] = 0
    rows = rows[ids[rows] == found.ids] if len(ids) else rows[:0]  # some have just left
    rows = _best(item.vector, vectors, rows, wanted)
    scores = exact_scores(item.vector, vectors[rows])
    order = np.lexsort((ids[rows], -scores))
    if not found.is_all and (len(order) < wanted or scores[order[wanted - 1]] <= found.least):
        return None
    ranked = ids[rows][order]
    keep = order[np.isin(ranked, list(item.question.leave_out), invert=True)]
    return Ranked(ids[rows][keep], scores[keep])


def _prepare(work: Sequence[_Work], gallery: Gallery) -> None:
    """Bring what is looked for into the gallery's space, all in one product."""
    parts = gallery.prepared(np.concatenate([item.question.vectors for item in work]))
    ends = np.cumsum([len(item.question.vectors) for item in work])
    for item, own in zip(work, np.split(parts, ends[:-1]), strict=True):
        item.vector = item.question.whole(own)


def _scanned(item: _Work, gallery: Gallery) -> _Found:
    """The candidates among all descriptors that may be answers, read from the catalogue."""
    nearest = Nearest(item.vector[None], item.asked)
    if item.allowed is not None and len(item.allowed) <= _FEW:
        nearest.see(*gallery.descriptors(item.allowed.tolist()))
    else:
        for ids, vectors in gallery.descriptors_after(-1):
            if item.allowed is None:
                nearest.see(ids, vectors)
            else:
                passing = np.isin(ids, item.allowed)
                nearest.see(ids[passing], vectors[passing])
    scores, found = nearest.best()
    return _found(found[0], scores[0], len(found[0]) < item.asked, _ROUNDING)


def _needs_scan(item: _Work) -> bool:
    return item.question.exact or (item.allowed is not None and len(item.allowed) <= _FEW)


def _is_short(item: _Work, found: _Found) -> bool:
    wanted = min(item.question.nearest, len(item.allowed)) if item.allowed is not None else 0
    return len(found.ids) < wanted


def _searched(index: VectorIndex, group: Sequence[_Work], allowed: Ids | None) -> dict[int, _Found]:
    """Candidates from the vector index for questions with the same filter, by their numbers."""
    most = len(allowed) if allowed is not None else index.count
    asked = max(w.asked for w in group)
    if not index.is_exhaustive:
        asked -= _SPARE  # it proposes more than it is asked for
    asked = max(1, min(asked, most))
    scores, ids = index.search(np.stack([w.vector for w in group]), asked, allowed)
    found = {}
    # a compressed index does not know what it left out
    tolerance = index.tolerance if index.is_exhaustive else -np.inf
    for item, row, own in zip(group, scores, ids, strict=True):
        there = own >= 0
        found[item.number] = _found(own[there], row[there], asked >= most, tolerance)
    return found


def _found(ids: Ids, scores: Vectors, is_all: bool, tolerance: float) -> _Found:
    """Candidates, best first, with scores that are wrong by at most the tolerance."""
    return _Found(ids, float(scores[-1]) + tolerance if len(ids) else -np.inf, is_all)


def _best(query: Vectors, vectors: Vectors, rows: Ids, k: int) -> Ids:
    """Those of some rows that may be among the ``k`` nearest, by sums in float32.

    Exact scores take three times as long, and of 72 candidates they are wanted for a dozen.
    """
    if len(rows) <= k:
        return rows
    rough = vectors[rows] @ query
    least = np.partition(rough, len(rough) - k)[len(rough) - k]
    best: Ids = rows[rough >= least - 2 * _ROUNDING]
    return best


def exact_scores(query: Vectors, vectors: Vectors) -> Vectors:
    """Cosines of a unit query ``(d,)`` with unit rows ``(n, d)``, float32.

    Summed in float64 row by row and then rounded to seven digits, so that equal descriptors score
    equally wherever they lie, and whatever else went through the space with them.
    """
    if not len(vectors):
        return np.empty(0, np.float32)
    products = vectors.astype(np.float64) * query.astype(np.float64)
    scores: Vectors = np.clip(products.sum(axis=1), -1, 1).round(_DIGITS).astype(np.float32)
    return scores


_NOTHING = Ranked(np.empty(0, np.int64), np.empty(0, np.float32))
