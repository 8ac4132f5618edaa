"""Retrieval quality of recipes on a collection: every picture queries all the others."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from parecido.indexer.catalogue.changes import Forget, Remove
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.errors import EncoderMismatch, InvalidRequest
from parecido.indexer.indexing.pipeline import index
from parecido.indexer.indexing.plan import Progress
from parecido.indexer.library.library import Library
from parecido.indexer.records.pictures import Skip
from parecido.indexer.records.runs import IndexReport
from parecido.search.evaluating.labelled_pictures import Collection
from parecido.search.evaluating.measures import (
    average_precision,
    bootstrap_interval,
    nister_stewenius,
    precision_at,
    recall_at,
)
from parecido.search.evaluating.rankings import QUERIES_AT_ONCE, Rankings, rank
from parecido.search.evaluating.recipe import Recipe

__all__ = [
    "LEVEL",
    "MAP",
    "NS",
    "RESAMPLES",
    "SEED",
    "Estimate",
    "Evaluated",
    "Found",
    "Setup",
    "Watch",
    "WorstQuery",
    "evaluate",
]

MAP, NS = "mAP", "N-S"
LEVEL, RESAMPLES, SEED = 0.95, 2000, 0
_RECALLS = (1, 5, 10)
_FOUR = 4  # pictures of each object in the collection that N-S was made for

Ids = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]
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


@dataclass(frozen=True)
class Evaluated:
    """How well one recipe retrieves on one collection."""

    recipe: Recipe
    encoder: str
    """The encoder's title."""
    fingerprint: str
    dimension: int
    """How many numbers of each picture were compared."""
    group_sizes: tuple[int, ...]
    """Pictures of each group that took part, ascending; their sum is the number of queries."""
    measures: Mapping[str, Estimate]
    """By name: ``mAP``, ``R@1``, ``R@5``, ``R@10`` and ``P@k`` from 0 to 1, and ``N-S`` from 1 to 4
    where every group has exactly four."""
    indexed: int
    """Pictures that were encoded for it; 0 where a library that was kept held them all."""
    seconds: float
    """Of indexing, the opening of the encoder left out."""
    pictures_per_second: float
    unreadable: tuple[Skip, ...]
    """Pictures of the collection that are no part of it, because they cannot be read."""
    dropped_groups: tuple[str, ...]
    """Groups that were left with fewer than two readable pictures, and so are no part of it."""
    worst: tuple[WorstQuery, ...]
    """The worst first."""

    @property
    def queries(self) -> int:
        """How many pictures took part, each as a query and in the gallery of the others."""
        return sum(self.group_sizes)


@dataclass(frozen=True)
class Setup:
    """How to evaluate, the same for every recipe."""

    k: int = 10
    """Of precision@k."""
    worst: int = 12
    """How many of the worst queries to keep."""
    shown: int = 8
    """How many answers of each of these to keep."""
    block: int = QUERIES_AT_ONCE
    """Queries that are ranked together; memory is ``block`` times the number of pictures."""

    def __post_init__(self) -> None:
        if min(self.k, self.block) < 1 or min(self.worst, self.shown) < 0:
            raise InvalidRequest(
                "k and block must be 1 or more, and the worst to keep 0 or more; got "
                f"{self.k}, {self.block}, {self.worst} and {self.shown}."
            )


class Watch:
    """Who is told how an evaluation goes on; this one does not care."""

    def indexing(
        self, recipe: Recipe, files: Sequence[str], library: Path
    ) -> AbstractContextManager[Progress | None]:
        """Entered while the collection is indexed; gives what is told of the run, or None."""
        return nullcontext()

    def ranking(
        self, recipe: Recipe, queries: int
    ) -> AbstractContextManager[Callable[[int], None]]:
        """Entered while the queries are ranked; gives what is told how many more are done."""
        return nullcontext(lambda _done: None)


def evaluate(
    collection: Collection,
    recipes: Sequence[Recipe],
    folder: Path,
    setup: Setup | None = None,
    *,
    encoder: Encoder | None = None,
    watch: Watch | None = None,
    stop: Callable[[], bool] = lambda: False,
    show_output: bool = False,
) -> Iterator[Evaluated]:
    """Evaluate recipes one after the other, each when the next result is asked for.

    The libraries go into ``folder``, a subfolder for each way to index, with exactly the
    collection's pictures; a subfolder that an earlier evaluation left is brought up to date.
    ``encoder`` is used in the place of those that the recipes ask for.  When ``stop`` returns true,
    there are no more results; what is indexed stays.

    Raises :class:`~parecido.InvalidRequest` for settings that cannot be, or where fewer than
    two groups can be read, and the errors of :func:`parecido.indexer.indexing.pipeline.index`.
    """
    setup, watch = setup or Setup(), watch or Watch()
    reports: dict[str, IndexReport] = {}  # of libraries that several recipes share
    for recipe in recipes:
        place = folder / recipe.library_name
        with Library.create(place) as library:
            report = _index(library, collection, recipe, encoder, watch, stop, show_output)
            if stop() or report.interrupted:
                return
            report = reports.setdefault(recipe.library_name, report)
            taking_part = _taking_part(library, collection)
            measured = _measure(library, taking_part, recipe, setup, watch, stop)
            spec = library.encoder
        if measured is None:
            return
        assert spec is not None  # there are pictures
        measures, worst, dimension = measured
        yield Evaluated(
            recipe,
            spec.title,
            spec.fingerprint,
            dimension,
            taking_part.sizes,
            measures,
            report.encoded,
            report.seconds - report.preparing_seconds,
            report.pictures_per_second,
            taking_part.unreadable,
            taking_part.dropped_groups,
            worst,
        )


# -- the pictures ----------------------------------------------------------------------------------


def _index(
    library: Library,
    collection: Collection,
    recipe: Recipe,
    encoder: Encoder | None,
    watch: Watch,
    stop: Callable[[], bool],
    show_output: bool,
) -> IndexReport:
    _leave_only(library, collection)
    files = list(collection.groups)
    # hidden: files that are named are looked at anyway, and it spares asking which of them are
    options = recipe.options(hidden=True, show_output=show_output)
    try:
        with watch.indexing(recipe, files, library.folder) as progress:
            return index(library, files, options, encoder=encoder, progress=progress, stop=stop)
    except EncoderMismatch as error:
        raise InvalidRequest(
            f"The library {library.folder} was kept from another encoder: {error.message}",
            "Keep the libraries in another folder, or remove this one.",
        ) from error


def _leave_only(library: Library, collection: Collection) -> None:
    """Take out of a library that was kept what is not in the collection."""
    wanted = {os.fsencode(path) for path in collection.groups}
    ids = [i for path, i in _held(library).items() if path not in collection.groups]
    skips = [os.fsencode(skip.path) for skip in library.catalogue.skipped()]
    skips = [path for path in skips if path not in wanted]
    roots = [root.path for root in library.catalogue.roots() if root.path not in wanted]
    if ids or skips or roots:
        with library.writer() as writing:
            writing.catalogue.write([Remove(ids), Forget(skips)])
            writing.catalogue.drop_roots(roots)


def _held(library: Library) -> dict[str, int]:
    """The path of each picture of a library → its id."""
    catalogue = library.catalogue
    return {
        picture.path: picture.id
        for picture in catalogue.pictures(catalogue.descriptors.ids().tolist())
    }


@dataclass(frozen=True, eq=False)
class _TakingPart:
    """What of a collection is in the gallery, and what is not."""

    ids: Ids
    """Of the pictures in the gallery, ascending."""
    codes: Codes
    """A picture's id → the number of its group; -1 for distractors and other ids."""
    places: Codes
    """A picture's id → its place in the collection: ids come as workers finish, places do not."""
    paths: Mapping[int, str]
    names: Sequence[str]
    """A group's number → its name."""
    unreadable: tuple[Skip, ...]
    dropped_groups: tuple[str, ...]
    sizes: tuple[int, ...] = field(init=False)

    @property
    def queries(self) -> Ids:
        """Of the pictures that have a group, ascending."""
        return self.ids[self.codes[self.ids] >= 0]

    def name_of(self, picture_id: int) -> str:
        """The name of a picture's group, empty for a distractor's."""
        return self.names[self.codes[picture_id]] if self.codes[picture_id] >= 0 else ""

    def __post_init__(self) -> None:
        counts = Counter(self.codes[self.queries].tolist())
        object.__setattr__(self, "sizes", tuple(sorted(counts.values())))


def _taking_part(library: Library, collection: Collection) -> _TakingPart:
    held = _held(library)
    readable = Counter(group for path, group in collection.groups.items() if path in held and group)
    reasons = {skip.path: skip for skip in library.catalogue.skipped()}
    unreadable = tuple(
        reasons.get(path, Skip(path, "it is not there any more", "vanished"))
        for path in collection.groups
        if path not in held
    )
    kept = [group for group in collection.sizes if readable[group] >= 2]
    if len(kept) < 2:
        reason = f" ({unreadable[0].path}: {unreadable[0].reason})" if unreadable else ""
        raise InvalidRequest(
            f"Of the groups of {collection.source}, {len(kept)} "
            f"{'has' if len(kept) == 1 else 'have'} two or more pictures that can be read"
            f"{reason}; at least two such groups are needed.",
            "Give pictures that open.",
        )
    numbers = {group: number for number, group in enumerate(kept)}
    codes = np.full(library.catalogue.largest_id() + 1, -1, np.int32)
    places = np.zeros_like(codes)
    paths = {}
    for place, (path, group) in enumerate(collection.groups.items()):
        if path in held and (group in numbers or not group):
            paths[held[path]] = path
            codes[held[path]], places[held[path]] = numbers.get(group, -1), place
    return _TakingPart(
        np.array(sorted(paths), np.int64),
        codes,
        places,
        paths,
        kept,
        unreadable,
        tuple(group for group in collection.sizes if group not in numbers),
    )


# -- the figures -----------------------------------------------------------------------------------


def _measure(
    library: Library,
    part: _TakingPart,
    recipe: Recipe,
    setup: Setup,
    watch: Watch,
    stop: Callable[[], bool],
) -> tuple[dict[str, Estimate], tuple[WorstQuery, ...], int] | None:
    """Estimates by name, the worst queries and the compared dimension; None where stopped."""
    names = [MAP, *(f"R@{k}" for k in _RECALLS), f"P@{setup.k}"]
    names += [NS] if set(part.sizes) == {_FOUR} else []
    rows: list[Values] = []
    worst: list[tuple[float, int, WorstQuery]] = []
    dimension = 0
    with watch.ranking(recipe, len(part.queries)) as advance:
        for ranked in rank(library, recipe.search, part.ids, part.queries, block=setup.block):
            relevant = part.codes[ranked.ids] == part.codes[ranked.queries][:, None]
            precisions = average_precision(relevant)
            columns = [precisions, *(recall_at(relevant, k) for k in _RECALLS)]
            columns.append(precision_at(relevant, setup.k))
            columns += [nister_stewenius(relevant)] if NS in names else []
            rows.append(np.stack(columns, axis=1))
            places = part.places[ranked.queries]
            for row in np.lexsort((places, precisions))[: setup.worst].tolist():
                query = _worst_query(part, ranked, relevant, row, precisions[row], setup.shown)
                worst.append((query.average_precision, int(places[row]), query))
            worst = sorted(worst, key=lambda item: item[:2])[: setup.worst]
            dimension = ranked.dimension
            advance(len(ranked.queries))
            if stop():
                return None
    # in the collection's order, so that another run's interval is made of the same draws
    values = np.concatenate(rows)[np.argsort(part.places[part.queries])]
    low, high = bootstrap_interval(values, level=LEVEL, resamples=RESAMPLES, seed=SEED)
    estimates = zip(values.mean(axis=0).tolist(), low.tolist(), high.tolist(), strict=True)
    return (
        dict(zip(names, map(Estimate._make, estimates), strict=True)),
        tuple(query for _, _, query in worst),
        dimension,
    )


def _worst_query(
    part: _TakingPart,
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
        float(precision),
        int(relevant[row].argmax()) + 1,
        tuple(
            Found(part.paths[i], part.name_of(i), score, is_right) for i, score, is_right in first
        ),
    )
