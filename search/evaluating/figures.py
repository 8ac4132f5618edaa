"""What is measured: estimates over the queries, and the worst of them with what they found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from parecido.indexer.library.library import Library
from parecido.search.evaluating.measures import (
    average_precision,
    bootstrap_interval,
    nister_stewenius,
    precision_at,
    recall_at,
)
from parecido.search.evaluating.participants import Participants
from parecido.search.evaluating.rankings import Rankings, rank
from parecido.search.evaluating.recipe import Recipe
from parecido.search.evaluating.setup import Conduct, EvaluationSetup

__all__ = [
    "LEVEL",
    "MAP",
    "NS",
    "RESAMPLES",
    "SEED",
    "Estimate",
    "Figures",
    "Found",
    "WorstQuery",
    "measure",
]

MAP, NS = "mAP", "N-S"
LEVEL, RESAMPLES, SEED = 0.95, 2000, 0
_RECALLS = (1, 5, 10)
_FOUR = 4  # pictures of each object in the collection that N-S was made for

Values = npt.NDArray[np.float64]


class Estimate(NamedTuple):
    """The mean of a measure over the queries, and its bootstrap interval."""

    value: float
    low: float
    high: float


class Found(NamedTuple):
    """One of the first answers to a query."""

    path: str
    group: str
    score: float
    is_right: bool


@dataclass(frozen=True)
class WorstQuery:
    """A query whose average precision is among the least."""

    path: str
    group: str
    average_precision: float
    """0 to 1."""
    first_right: int
    """The rank of the first picture of its group, 1 for the best answer."""
    found: tuple[Found, ...]
    """Its first answers, best first."""


class Figures(NamedTuple):
    """What one recipe reached."""

    measures: Mapping[str, Estimate]
    """By name, as in :class:`~parecido.Evaluation`."""
    worst: tuple[WorstQuery, ...]
    """The worst first, equal ones in the order of the collection."""
    dimension: int
    """How many numbers of each picture were compared."""


def measure(
    library: Library, part: Participants, recipe: Recipe, conduct: Conduct
) -> Figures | None:
    """Rank the participants against each other, and measure the rankings; None where stopped."""
    setup, dimension = conduct.setup, 0
    in_fours = set(part.sizes) == {_FOUR}
    rows: list[Values] = []
    worst: list[tuple[float, int, WorstQuery]] = []
    with conduct.watch.ranking(recipe, len(part.queries)) as advance:
        for ranked in rank(library, recipe.search, part.ids, part.queries, block=setup.block):
            relevant = part.codes[ranked.ids] == part.codes[ranked.queries][:, None]
            rows.append(_measure_queries(relevant, setup.k, in_fours))
            worst += _find_worst(part, ranked, relevant, rows[-1][:, 0], setup)
            worst = sorted(worst, key=lambda item: item[:2])[: setup.worst]
            dimension = ranked.dimension
            advance(len(ranked.queries))
            if conduct.stop():
                return None
    # in the collection's order, so that another run's interval is made of the same draws
    values = np.concatenate(rows)[np.argsort(part.places[part.queries])]
    names = [MAP, *(f"R@{k}" for k in _RECALLS), f"P@{setup.k}", *([NS] if in_fours else [])]
    estimates = dict(zip(names, _estimate(values), strict=True))
    return Figures(estimates, tuple(query for _, _, query in worst), dimension)


def _measure_queries(relevant: npt.NDArray[np.bool_], k: int, in_fours: bool) -> Values:
    """For each query, a row of ``relevant``, its measures, average precision first."""
    columns = [average_precision(relevant), *(recall_at(relevant, k) for k in _RECALLS)]
    columns.append(precision_at(relevant, k))
    columns += [nister_stewenius(relevant)] if in_fours else []
    return np.stack(columns, axis=1)


def _estimate(values: Values) -> Iterator[Estimate]:
    """Of each measure, a column of ``values``, the mean and its interval."""
    low, high = bootstrap_interval(values, level=LEVEL, resamples=RESAMPLES, seed=SEED)
    means = values.mean(axis=0)
    return map(Estimate, means.tolist(), low.tolist(), high.tolist())


def _find_worst(
    part: Participants,
    ranked: Rankings,
    relevant: npt.NDArray[np.bool_],
    precisions: Values,
    setup: EvaluationSetup,
) -> Iterator[tuple[float, int, WorstQuery]]:
    """The worst queries of some rankings, each after its average precision and its place."""
    places = part.places[ranked.queries]
    for row in np.lexsort((places, precisions))[: setup.worst].tolist():
        precision = float(precisions[row])
        query = _tell_query(part, ranked, relevant, row, precision, setup.shown)
        yield precision, int(places[row]), query


def _tell_query(
    part: Participants,
    ranked: Rankings,
    relevant: npt.NDArray[np.bool_],
    row: int,
    precision: float,
    shown: int,
) -> WorstQuery:
    query = int(ranked.queries[row])
    first = zip(
        ranked.ids[row, :shown].tolist(),
        ranked.scores[row, :shown].tolist(),
        relevant[row, :shown].tolist(),
        strict=True,
    )
    return WorstQuery(
        part.paths[query],
        part.names[part.codes[query]],
        precision,
        int(relevant[row].argmax()) + 1,
        tuple(
            Found(part.paths[i], part.name_of(i), score, is_right) for i, score, is_right in first
        ),
    )
