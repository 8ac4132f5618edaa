"""A question, as the ranking takes it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from parecido.indexer.arithmetic import row_sums, unit
from parecido.indexer.arrays import Vectors
from parecido.indexer.records.filters import Filter
from parecido.search.ranking.rerank import SHORTLIST

__all__ = ["Question"]


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
    """Whether to expand, and to re-rank; see :mod:`parecido.search.ranking.rerank`."""
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
