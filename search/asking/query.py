"""What is asked of a library, apart from where the descriptor comes from."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from parecido.indexer.arrays import Ids, Vectors
from parecido.indexer.errors import InvalidRequest
from parecido.indexer.records.filters import Filter
from parecido.search.ranking.candidates import Question
from parecido.search.ranking.ranking import Ranked

__all__ = ["ALL", "DEFAULT_K", "Query", "Terms", "Wish", "merged"]


DEFAULT_K = 10
ALL = Filter()
"""Every picture passes."""


@dataclass(frozen=True)
class Terms:
    """Which of the nearest pictures are wanted."""

    k: int | None = None
    """How many; by default 10, or as many as there are."""
    offset: int = 0
    """How many of the best are left out, for the next page."""
    min_score: float | None = None
    """Least cosine, -1 to 1."""
    exact: bool = False
    """Look at every descriptor."""
    wanted: Filter = ALL
    """Which pictures may be hits."""
    expand: bool | None = None
    """Move query and pictures towards their neighbours before they are compared; None is as the
    library was told."""
    rerank: bool | None = None
    """Put those first that share neighbours with the query; None is as the library was told."""
    within: bool = False
    """Look at parts of pictures, too."""
    max_chance: float | None = None
    """How many pictures of the library may be expected to score like a hit by chance, above 0."""

    @property
    def count(self) -> int:
        """How many are wanted, the default included."""
        return int(self.k or DEFAULT_K)

    def check(self) -> None:
        """Raise :class:`~parecido.InvalidRequest` for what is outside its range."""
        for name, value, least in (("k", self.k, 1), ("The offset", self.offset, 0)):
            if value is None:
                continue
            if not isinstance(value, numbers.Integral):
                raise InvalidRequest(
                    f"{name} is {value!r}; expected a whole number.", "Give k=10, say."
                )
            if value < least:
                raise InvalidRequest(
                    f"{name} is {value}; expected {least} or more.", "Ask for at least one hit."
                )
        if self.min_score is not None and not -1 <= self.min_score <= 1:
            raise InvalidRequest(
                f"The minimum score is {self.min_score}; expected a cosine from -1 to 1.",
                "Hits of the same thing mostly score above 0.5.",
            )

        if self.max_chance is not None and not self.max_chance > 0:
            raise InvalidRequest(
                f"The maximum of chance is {self.max_chance}; expected a number above 0.",
                "1 leaves out what is as likely to be chance as not.",
            )

    def page(self, ranked: Ranked) -> Ranked:
        """What belongs to these terms of the nearest pictures, best first."""
        keep = np.arange(len(ranked.ids))[self.offset : self.offset + self.count]
        if self.min_score is not None:
            keep = keep[ranked.scores[keep] >= self.min_score]
        if self.max_chance is not None and ranked.chances is not None:
            keep = keep[ranked.chances[keep] <= self.max_chance]
        return _chosen(ranked, keep)


@dataclass(frozen=True, eq=False)
class Wish:
    """Descriptors that are looked for together."""

    vectors: Vectors
    """``(n, dimension)`` of unit length."""
    weights: tuple[float, ...] = (1.0,)
    """What each counts; less than 0 for what is not wanted."""


@dataclass(frozen=True, eq=False)
class Query:
    """What is looked for, and the terms of the answer."""

    vector: Vectors
    """A descriptor ``(dimension,)`` of unit length; not looked at where there are wishes."""
    terms: Terms
    leave_out: int | frozenset[int] | None = None
    """Ids of pictures that are no answers."""
    wishes: tuple[Wish, ...] = ()
    """A hit is like any one of these; its score is the best."""

    def questions(self, thinks_twice: bool) -> list[Question]:
        """As the ranking takes them; ``thinks_twice`` is what the library was told."""
        terms, out = self.terms, self.leave_out
        if not isinstance(out, frozenset):
            out = frozenset() if out is None else frozenset([out])
        return [
            Question(
                wish.vectors,
                terms.offset + terms.count,
                out,
                terms.exact,
                terms.wanted,
                thinks_twice if terms.expand is None else terms.expand,
                thinks_twice if terms.rerank is None else terms.rerank,
                wish.weights,
            )
            for wish in self.wishes or (Wish(self.vector[None]),)
        ]


def merged(answers: Sequence[Ranked]) -> Ranked:
    """The answers to several questions as one: each picture once, with its best score."""
    if len(answers) == 1:
        return answers[0]
    ids = np.concatenate([one.ids for one in answers])
    scores = np.concatenate([one.scores for one in answers])
    again = _joined([one.seconds for one in answers])
    chances = _joined([one.chances for one in answers])
    if chances is not None:
        chances = chances * len(answers)  # so many chances to score so
    # what a second thought has not seen comes after what it has
    first = scores if again is None else np.nan_to_num(again, nan=-2)
    order = np.lexsort((ids, -scores, -first))
    _, places = np.unique(ids[order], return_index=True)
    keep = order[np.sort(places)]
    return _chosen(Ranked(ids, scores, again, chances), keep)


def _chosen(ranked: Ranked, keep: Ids) -> Ranked:
    return Ranked(
        ranked.ids[keep],
        ranked.scores[keep],
        None if ranked.seconds is None else ranked.seconds[keep],
        None if ranked.chances is None else ranked.chances[keep],
    )


def _joined(parts: Sequence[npt.NDArray[Any] | None]) -> npt.NDArray[Any] | None:
    there = [part for part in parts if part is not None]
    return np.concatenate(there) if len(there) == len(parts) else None
