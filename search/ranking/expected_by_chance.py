"""What chance gives for a query: its cosines with pictures drawn from the library."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from parecido.indexer.arithmetic import cosines
from parecido.indexer.arrays import Exact, Vectors
from parecido.indexer.learning.chance import LEAST_PICTURES, background

if TYPE_CHECKING:
    from parecido.indexer.learning.chance import Chance
    from parecido.indexer.vectors.nearest import NearestIndex

__all__ = ["Background"]

_GROWTH = 1.5  # a library so many times as large as at the last draw is drawn from again


class Background:
    """Pictures drawn from an index, and what is known of chance in its space.

    Belongs to the index; not safe for use from several threads.
    """

    def __init__(self, index: NearestIndex, chance: Chance | None) -> None:
        self.index = index
        self._chance = chance
        self._count = 0
        self._ids = np.empty(0, np.int64)
        self._vectors = np.empty((0, 0), np.float32)

    def draw(self) -> bool:
        """Draw pictures if the library has outgrown them; whether anything is known of chance."""
        count = self.index.count
        if self._chance is None or count < LEAST_PICTURES:
            return False
        if not self._count / _GROWTH <= count <= self._count * _GROWTH:
            drawn = background(self.index.ids())
            self._ids, self._vectors = self.index.vectors_of(drawn, exact=True)
            self._count = count
        return True

    def cosines(self, queries: Vectors) -> Vectors | None:
        """Of queries ``(n, m)``, as they are compared, with the pictures drawn ``(n, drawn)``.

        None where nothing is known of chance.
        """
        if not self.draw():
            return None
        return cosines(queries, self._vectors)

    def expected_by_chance(
        self, drawn: Vectors, scores: Vectors, leave_out: frozenset[int]
    ) -> Exact:
        """How many pictures are expected to reach each of some scores by chance.

        ``drawn`` are a query's cosines with the pictures drawn.
        """
        assert self._chance is not None
        if leave_out:
            drawn = drawn[np.isin(self._ids, list(leave_out), invert=True)]
        return self.index.count * self._chance.tail(drawn).shares(scores)
