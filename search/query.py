"""What is asked of a library, apart from where the descriptor comes from."""

from __future__ import annotations

import numbers
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from indexer.errors import InvalidRequest
from indexer.filters import Filter
from search.ranking import Question, Ranked

__all__ = ["ALL", "DEFAULT_K", "Query", "Terms"]

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

    @property
    def count(self) -> int:
        """How many are wanted, the default included."""
        return int(self.k or DEFAULT_K)

    def check(self) -> None:
        """Raise :class:`~indexer.errors.InvalidRequest` for what is outside its range."""
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

    def page(self, ids: npt.NDArray[np.int64], scores: npt.NDArray[np.float32]) -> Ranked:
        """What belongs to these terms of the nearest pictures, best first."""
        ids, scores = ids[self.offset :], scores[self.offset :]
        if self.min_score is not None:
            enough = scores >= self.min_score
            ids, scores = ids[enough], scores[enough]
        return Ranked(ids, scores)


@dataclass(frozen=True, eq=False)
class Query:
    """A descriptor and the terms of its answer."""

    vector: npt.NDArray[np.float32]
    """``(dimension,)`` of unit length."""
    terms: Terms
    leave_out: int | None = None
    """Id of a picture that is no answer."""

    @property
    def question(self) -> Question:
        """As the ranking takes it."""
        terms = self.terms
        nearest = terms.offset + terms.count
        return Question(self.vector, nearest, self.leave_out, terms.exact, terms.wanted)
