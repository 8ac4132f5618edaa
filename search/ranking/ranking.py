"""The nearest pictures of a library: candidates from its vector index, scores from its catalogue.

Several questions at once take one pass through the index and one look into the catalogue.  What a
question asks about is a descriptor of the encoder; it is compared in the library's own space.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from parecido.indexer.arithmetic import cosines
from parecido.indexer.arrays import Ids, Vectors
from parecido.indexer.library.library import Library
from parecido.indexer.records.filters import Filter
from parecido.search.ranking.candidates import (
    SPARE,
    Prospects,
    Work,
    is_short,
    needs_scan,
    prepare,
    scan,
    search_index,
)
from parecido.search.ranking.expected_by_chance import Background
from parecido.search.ranking.neighbourhood import NeighbourFinder
from parecido.search.ranking.open_index import OpenIndex
from parecido.search.ranking.question import Question
from parecido.search.ranking.ranked import NOTHING, Ranked
from parecido.search.ranking.rerank import SHORTLIST, second_scores

if TYPE_CHECKING:
    from parecido.indexer.vectors.nearest import NearestIndex

__all__ = ["Ranking"]

_log = logging.getLogger("parecido")

_FILTERS = 16  # whose answers are remembered until the library changes


class Ranking:
    """Finds the nearest pictures of a library, in its committed state at the time of a question.

    Safe to use from several threads.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        settings = library.catalogue.settings
        self._index = OpenIndex(library.vectors, settings.space_fingerprint)
        self._around: NeighbourFinder | None = None
        self._background: Background | None = None
        self._lock = threading.Lock()
        self._passing: OrderedDict[Filter, Ids] = OrderedDict()
        self._passing_at = -1
        self._ahead: threading.Thread | None = None

    def close(self) -> None:
        """Let go of the index."""
        if self._ahead is not None:
            self._ahead.join()
        with self._lock:
            self._index.close()
            self._around = self._background = None

    def open_ahead(self, fingerprint: str) -> None:
        """Open what a question needs on a thread of its own, while the caller makes its descriptor.

        A search from the shell takes 0.51 s so instead of 0.59.
        """

        def open_it() -> None:
            try:
                with self._lock:
                    self._background_of(self._index.refresh(fingerprint)).draw()
            except Exception as error:  # the question itself meets it again, and tells
                _log.debug("The index could not be opened ahead: %s", error)

        if not self._index.is_open and self._ahead is None:
            self._ahead = threading.Thread(target=open_it, name="open-ahead")
            self._ahead.start()

    def nearest(self, questions: Sequence[Question], fingerprint: str) -> list[Ranked]:
        """The answers to questions, in their order.

        ``fingerprint`` is the encoder's: a library that was emptied may have got another, whose
        descriptors need another index.
        """
        answers: list[Ranked] = [NOTHING] * len(questions)
        work = [
            Work(question, number, allowed, question.nearest + SPARE)
            for number, question in enumerate(questions)
            for allowed in [self._list_allowed_ids(question.wanted)]
            if allowed is None or len(allowed)
        ]
        while work:
            index, found = self._candidates(work, fingerprint)
            candidates = np.unique(np.concatenate([f.ids for f in found]))
            ids, vectors = index.gallery.of(candidates.tolist())
            again, answered = [], []
            for item, one in zip(work, found, strict=True):
                ranked = _rank(item, one, ids, vectors)
                if ranked is None:
                    item.asked *= 4  # one that was left out could come before the last
                    again.append(item)
                else:
                    if item.question.is_second:
                        ranked = self._rerank(item, index, ranked, ids, vectors)
                    answered.append((item, ranked.take(slice(item.question.k))))
            chances = self._chances(answered, index)
            for (item, _), ranked in zip(answered, chances, strict=True):
                answers[item.number] = ranked
            work = again
        return answers

    def passing(self, wanted: Filter) -> Ids:
        """Ids of the pictures that pass a filter, ascending."""
        allowed = self._list_allowed_ids(wanted)
        return self._library.catalogue.descriptors.ids() if allowed is None else allowed

    def count(self, wanted: Filter) -> int:
        """How many pictures pass a filter."""
        allowed = self._list_allowed_ids(wanted)
        return self._library.catalogue.counts()[0] if allowed is None else len(allowed)

    # -- inside ----------------------------------------------------------------------------------

    def _list_allowed_ids(self, wanted: Filter) -> Ids | None:
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
        ids = self._library.catalogue.find_matches(wanted)
        with self._lock:
            if generation == self._passing_at:
                self._passing[wanted] = ids
                while len(self._passing) > _FILTERS:
                    self._passing.popitem(last=False)
        return ids

    def _candidates(
        self, work: Sequence[Work], fingerprint: str
    ) -> tuple[NearestIndex, list[Prospects]]:
        """Candidates for each question, and the index that they are from.

        What looks at every descriptor holds no lock.
        """
        found: dict[int, Prospects] = {}
        with self._lock:
            index = self._index.refresh(fingerprint)
            gallery = index.gallery
            prepare(work, gallery)
            rest = list(work)
            while rest:  # those with the same filter go together
                allowed = rest[0].allowed
                group = [w for w in rest if w.allowed is allowed]
                rest = [w for w in rest if w.allowed is not allowed]
                found |= search_index(index, group, allowed)
        for item in work:
            one = found[item.number]
            # One that knows no bound looked near the query alone, where few may pass a filter.
            # What it found is let go then: 3 ms, and a scan takes 30 or more.
            if one.bound is None and (needs_scan(item) or is_short(item, one)):
                found[item.number] = scan(item, gallery)
        return index, [found[item.number] for item in work]

    def _rerank(
        self, item: Work, index: NearestIndex, ranked: Ranked, ids: Ids, vectors: Vectors
    ) -> Ranked:
        """The shortlist expanded and re-ranked, and then the rest as it was.

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
                    self._around = NeighbourFinder(self._library, index)
                around = self._around.of(shortlist, question.leave_out)
        seconds = second_scores(item.vector, rows, around, rerank=question.rerank)
        order = np.lexsort((shortlist, -seconds))
        rest = np.arange(len(shortlist), len(ranked.ids))
        order = np.concatenate([order, rest])
        seconds = np.concatenate([seconds, np.full(len(rest), np.nan, np.float32)])
        return Ranked(ranked.ids[order], ranked.scores[order], seconds[order])

    def _chances(
        self, answered: Sequence[tuple[Work, Ranked]], index: NearestIndex
    ) -> list[Ranked]:
        """The answers with what chance gives."""
        if not answered:
            return []
        queries = np.stack([item.vector for item, _ in answered])
        with self._lock:
            background = self._background_of(index)
            drawn = background.cosines(queries)
            if drawn is None:
                return [ranked for _, ranked in answered]
            return [
                ranked._replace(
                    chances=background.expected_by_chance(
                        row, ranked.scores, item.question.leave_out
                    )
                )
                for row, (item, ranked) in zip(drawn, answered, strict=True)
            ]

    def _background_of(self, index: NearestIndex) -> Background:
        if self._background is None or self._background.index is not index:
            self._background = Background(index, self._library.catalogue.settings.chance())
        return self._background


def _rank(item: Work, found: Prospects, ids: Ids, vectors: Vectors) -> Ranked | None:
    """The best of the candidates by their exact scores; None where too few were asked for.

    ``ids`` ``(n,)``, ascending, and ``vectors`` are what is still there of all candidates.
    """
    wanted = item.question.nearest
    rows = np.searchsorted(ids, found.ids)
    rows[rows == len(ids)] = 0
    rows = rows[ids[rows] == found.ids] if len(ids) else rows[:0]  # some have just left
    scores = cosines(item.vector, vectors[rows])
    order = np.lexsort((ids[rows], -scores))
    if not found.is_all:
        if len(order) < wanted:
            return None
        if found.bound is not None and scores[order[wanted - 1]] <= found.bound:
            return None
    ranked = ids[rows][order]
    keep = order[np.isin(ranked, list(item.question.leave_out), invert=True)]
    return Ranked(ids[rows][keep], scores[keep])
