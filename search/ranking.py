"""The nearest pictures of a library: candidates from its vector index, scores from its catalogue.

Several questions at once take one pass through the index and one look into the catalogue.
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
from indexer.library import Library

if TYPE_CHECKING:
    from indexer.vectors import VectorIndex

__all__ = ["Question", "Ranked", "Ranking", "exact_scores"]

_SPARE = 8  # candidates beyond the wanted ones, for ties and for what was left out
# Up to so many pictures that pass a filter, their descriptors are read and compared one by one:
# 30 ms, and none is missed.
_FEW = 4096
_ROUNDING = 1e-5  # of float32 sums of 4096 products, ten times over
_FILTERS = 16  # whose answers are remembered until the library changes

Ids = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Question:
    """What to look for."""

    vector: Vectors
    """A descriptor ``(dimension,)`` of unit length."""
    k: int
    """How many neighbours, 1 or more."""
    leave_out: int | None = None
    """Id of a picture that is no answer."""
    exact: bool = False
    """Look at every descriptor, also where the library has a compressed index."""
    wanted: Filter = field(default_factory=Filter)
    """Which pictures may be answers."""


class Ranked(NamedTuple):
    """The nearest neighbours, best first, equal scores by id."""

    ids: Ids
    scores: Vectors
    """Exact cosines, float32."""


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
        self._of = ""
        self._lock = threading.Lock()
        self._passing: OrderedDict[Filter, Ids] = OrderedDict()
        self._passing_at = -1

    def close(self) -> None:
        """Let go of the index."""
        with self._lock:
            self._index = None

    def nearest(self, questions: Sequence[Question], fingerprint: str) -> list[Ranked]:
        """The answers to questions, in their order.

        ``fingerprint`` is the encoder's: a library that was emptied may have got another, whose
        descriptors need another index.
        """
        answers: list[Ranked] = [_NOTHING] * len(questions)
        work = [
            _Work(question, number, allowed, question.k + (question.leave_out is not None) + _SPARE)
            for number, question in enumerate(questions)
            for allowed in [self._allowed(question.wanted)]
            if allowed is None or len(allowed)
        ]
        while work:
            found = self._candidates(work, fingerprint)
            candidates = np.unique(np.concatenate([f.ids for f in found]))
            ids, vectors = self._library.catalogue.descriptors(candidates.tolist())
            again = []
            for item, (own, least, is_all) in zip(work, found, strict=True):
                wanted = item.question.k + (item.question.leave_out is not None)
                rows = np.searchsorted(ids, own)
                rows[rows == len(ids)] = 0
                rows = rows[ids[rows] == own] if len(ids) else rows[:0]  # some have just left
                rows = _best(item.question.vector, vectors, rows, wanted)
                scores = exact_scores(item.question.vector, vectors[rows])
                order = np.lexsort((ids[rows], -scores))
                if not is_all and (len(order) < wanted or scores[order[wanted - 1]] <= least):
                    item.asked *= 4  # one that was left out could come before the last
                    again.append(item)
                    continue
                ranked = ids[rows][order]
                keep = order[ranked != item.question.leave_out][: item.question.k]
                answers[item.number] = Ranked(ids[rows][keep], scores[keep])
            work = again
        return answers

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

    def _candidates(self, work: Sequence[_Work], fingerprint: str) -> list[_Found]:
        """Candidates for each question; what looks at every descriptor holds no lock."""
        found: dict[int, _Found] = {}
        with self._lock:
            index = self._fresh(fingerprint)
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
            found[item.number] = self._scanned(item)
        return [found[item.number] for item in work]

    def _fresh(self, fingerprint: str) -> VectorIndex:
        if self._index is None or self._of != fingerprint:
            self._index = self._library.vectors()
            self._of = fingerprint
            if self._index.file_bytes == 0:
                self._index.save_if_worthwhile()  # lost or damaged: for the next time
        self._index.refresh()
        return self._index

    def _scanned(self, item: _Work) -> _Found:
        """The candidates among all descriptors that may be answers, read from the catalogue."""
        catalogue = self._library.catalogue
        nearest = Nearest(item.question.vector[None], item.asked)
        if item.allowed is not None and len(item.allowed) <= _FEW:
            nearest.see(*catalogue.descriptors(item.allowed.tolist()))
        else:
            for ids, vectors in catalogue.descriptors_after(-1):
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
    wanted = item.question.k + (item.question.leave_out is not None)
    return item.allowed is not None and len(found.ids) < min(wanted, len(item.allowed))


def _searched(index: VectorIndex, group: Sequence[_Work], allowed: Ids | None) -> dict[int, _Found]:
    """Candidates from the vector index for questions with the same filter, by their numbers."""
    most = len(allowed) if allowed is not None else index.count
    asked = max(1, min(max(w.asked for w in group), most))
    scores, ids = index.search(np.stack([w.question.vector for w in group]), asked, allowed)
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

    Summed in float64 row by row and then rounded, so that equal descriptors score equally wherever
    they lie.
    """
    if not len(vectors):
        return np.empty(0, np.float32)
    products = vectors.astype(np.float64) * query.astype(np.float64)
    scores: Vectors = np.clip(products.sum(axis=1), -1, 1).astype(np.float32)
    return scores


_NOTHING = Ranked(np.empty(0, np.int64), np.empty(0, np.float32))
