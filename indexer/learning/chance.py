"""How often chance alone reaches a cosine with a query, learned without labels.

Most pictures of a library have nothing to do with a query, so their cosines with it tell what
chance gives; a few may belong to it, and stand out at the upper end.  Where the distribution is
dense it is taken as it is.  Above stands an exponential tail,

    p(s) = 0.04 · exp(-b · (s - s₀)),   s₀: the cosine that a share of 0.04 reaches,

which from 0.85 on falls to nothing at 1, since nothing is exactly the same by chance.  Its slope
``b`` is fitted to the shares from 0.12 to 0.04, half to the query's own cosines and half to those
of all pictures: some have many lookalikes, and a sample tells little of one query.
From p(s) follows the expected number of pictures of the library that score so by chance, as the
e-value does for sequences (Karlin and Altschul, "Methods for assessing the statistical significance
of molecular sequence features by using general scoring schemes", PNAS 1990).
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from parecido.indexer.arithmetic import cosines
from parecido.indexer.arrays import Exact, Ids, Vectors

__all__ = ["BACKGROUND", "LEAST_PICTURES", "Chance", "Tail", "background", "learn_chance"]


LEAST_PICTURES = 64
"""Of fewer pictures too little can be learned."""
BACKGROUND = 2048
"""Pictures whose cosines with a query stand for the library's: 0.04 of them are 80."""
# Pairs from different groups against what was promised, at 0.01, 0.001, 0.0001 and 0.00003: on 1212
# photographs 0.6, 0.7, 1.4 and 1.3 times as many, on 400 of another kind 0.6, 0.7 and 1.8 times.
# One tail for all queries: 1.4, 2.6, 5.8 and 7.8 times.  Where kinds have much in common (pages of
# text) fewer come than are promised.
_SHARES = np.array([0.12, 0.10, 0.08, 0.06, 0.04])
_LEAST_SLOPE = 1.0
# From a cosine of 0.83 to one of 0.92 pairs of different groups become ten times as rare; the tail
# alone says twice.
_NEAR, _BOUND = 0.15, 1.5


@dataclass(frozen=True)
class Tail:
    """What chance gives for one query."""

    body: Exact
    """Its cosines with the background, ascending."""
    start: float
    slope: float

    def shares(self, scores: npt.ArrayLike) -> Exact:
        """The share of pictures that reach each cosine by chance, 0 to 1."""
        given = np.asarray(scores, np.float64)
        reached = 1 - np.searchsorted(self.body, given, side="left") / len(self.body)
        tail = _SHARES[-1] * np.exp(-self.slope * (given - self.start))
        tail *= np.clip((1 - given) / _NEAR, 1e-6, 1) ** _BOUND
        shares: Exact = np.where(given > self.start, tail, np.maximum(reached, _SHARES[-1]))
        return shares


@dataclass(frozen=True)
class Chance:
    """What all pictures of a library tell of the tails of their cosines with others."""

    slope: float
    spread: float
    """How far the fitted shares lie from each other, as a sum of squared differences."""
    pictures: int
    """How many the library had."""
    space: str
    """Fingerprint of the space that the cosines are of; empty for the encoder's own."""

    def tail(self, scores: npt.ArrayLike) -> Tail:
        """Of a query with these ``scores`` ``(n,)`` with pictures drawn from the library, n ≥ 1.

        Rounded as scores are, so that a picture among them reaches its own score.
        """
        body = np.sort(np.asarray(scores, np.float64))
        product, spread, start = _fit(body[None])
        slope = (product[0] + self.slope * self.spread) / max(spread[0] + self.spread, 1e-12)
        return Tail(body, float(start[0]), max(float(slope), _LEAST_SLOPE))

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Chance:
        """What :meth:`to_json` wrote.  Raises ``ValueError`` or ``TypeError`` for other things."""
        found = cls(**json.loads(text))
        numbers = (found.slope, found.spread, found.pictures)
        if type(found.space) is not str or not all(_is_number(one) for one in numbers):
            raise ValueError(f"Expected what was learned of chance, got {text[:80]!r}.")
        return found


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < math.inf  # type: ignore[operator]


def background(ids: Ids) -> Ids:
    """The pictures whose cosines stand for the library's, ascending: all, or some drawn from it."""
    if len(ids) <= BACKGROUND:
        return ids
    return np.sort(np.random.default_rng(0).choice(ids, BACKGROUND, replace=False))


def learn_chance(vectors: Vectors, pictures: int, space: str = "") -> Chance | None:
    """From descriptors ``(n, m)`` drawn from a library, as they are compared; None of too few."""
    if len(vectors) < LEAST_PICTURES:
        return None
    table = cosines(vectors, vectors).astype(np.float64)
    np.fill_diagonal(table, -2)
    rows = np.sort(table, axis=1)[:, 1:]  # without itself
    products, spreads, _ = _fit(rows)
    slope = float(products.sum() / max(spreads.sum(), 1e-12))
    return Chance(max(slope, _LEAST_SLOPE), float(spreads.mean()), pictures, space)


def _fit(rows: Exact) -> tuple[Exact, Exact, Exact]:
    """Of ascending cosines ``(q, n)``, for each row the slope's two sums and the tail's start.

    Least squares of minus the logarithm of the shares on their cosines, through the last.
    """
    count = rows.shape[1]
    places = np.clip(((1 - _SHARES) * (count - 1)).round().astype(int), 0, count - 1)
    reached = rows[:, places]
    across = reached - reached[:, -1:]
    up = np.log(_SHARES[-1] / _SHARES)
    return (across * up).sum(axis=1), (across**2).sum(axis=1), reached[:, -1]
