"""The nearest pictures, as the ranking gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from parecido.indexer.arrays import Exact, Ids, Vectors

__all__ = ["NOTHING", "Ranked", "merge"]


class Ranked(NamedTuple):
    """The nearest neighbours, best first, equal scores by id."""

    ids: Ids
    scores: Vectors
    """Exact cosines in the library's space, float32."""
    seconds: Vectors | None = None
    """What re-ranking scored, float32, in whose order they are; NaN beyond its shortlist."""
    chances: Exact | None = None
    """How many pictures of the library are expected to score so by chance."""

    def take(self, rows: Ids | slice) -> Ranked:
        """Some of them, by their places."""
        return Ranked(
            self.ids[rows],
            self.scores[rows],
            None if self.seconds is None else self.seconds[rows],
            None if self.chances is None else self.chances[rows],
        )


NOTHING = Ranked(np.empty(0, np.int64), np.empty(0, np.float32))


def merge(answers: Sequence[Ranked]) -> Ranked:
    """The answers to several questions as one: each picture once, with its best score."""
    if len(answers) == 1:
        return answers[0]
    ids = np.concatenate([one.ids for one in answers])
    scores = np.concatenate([one.scores for one in answers])
    again = _join([one.seconds for one in answers])
    chances = _join([one.chances for one in answers])
    if chances is not None:
        chances = chances * len(answers)  # so many chances to score so
    # what re-ranking has not seen comes after what it has
    first = scores if again is None else np.nan_to_num(again, nan=-2)
    order = np.lexsort((ids, -scores, -first))
    _, places = np.unique(ids[order], return_index=True)
    return Ranked(ids, scores, again, chances).take(order[np.sort(places)])


def _join(parts: Sequence[npt.NDArray[Any] | None]) -> npt.NDArray[Any] | None:
    there = [part for part in parts if part is not None]
    return np.concatenate(there) if len(there) == len(parts) else None
