"""Which of the nearest pictures are wanted."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from parecido.indexer.errors import InvalidRequest
from parecido.indexer.records.filters import Filter
from parecido.search.ranking.ranked import Ranked

__all__ = ["ALL", "DEFAULT_K", "Terms", "TermsGiven"]


DEFAULT_K = 10
ALL = Filter()
"""Every picture passes."""


class TermsGiven(TypedDict, total=False):
    """The fields of :class:`Terms` as keywords of a call; what is left out has its default."""

    k: int | None
    offset: int
    min_score: float | None
    exact: bool
    wanted: Filter
    expand: bool | None
    rerank: bool | None
    within: bool
    max_chance: float | None
    same: bool


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
    same: bool = False
    """Only hits that show the same picture as the one that was given."""

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
        return ranked.take(keep)
