"""Retrieval quality of recipes on a collection: every picture queries all the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.library.library import Library
from parecido.indexer.records.pictures import Skip
from parecido.indexer.records.runs import IndexReport
from parecido.search.evaluating.figures import Estimate, WorstQuery, measure
from parecido.search.evaluating.labelled_pictures import Collection
from parecido.search.evaluating.participants import find_participants, index_collection
from parecido.search.evaluating.recipe import Recipe
from parecido.search.evaluating.setup import Conduct, EvaluationSetup, EvaluationWatch

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
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


def evaluate(
    collection: Collection,
    recipes: Sequence[Recipe],
    folder: Path,
    setup: EvaluationSetup | None = None,
    *,
    encoder: Encoder | None = None,
    watch: EvaluationWatch | None = None,
    stop: Callable[[], bool] = lambda: False,
    show_output: bool = False,
) -> Iterator[Evaluation]:
    """Evaluate recipes one after the other, each when the next result is asked for.

    The libraries go into ``folder``, a subfolder for each way to index, with exactly the
    collection's pictures; a subfolder that an earlier evaluation left is brought up to date.
    ``encoder`` is used in the place of those that the recipes ask for.  When ``stop`` returns true,
    there are no more results; what is indexed stays.

    Raises :class:`~parecido.InvalidRequest` for settings that cannot be, or where fewer than
    two groups can be read, and the errors of :func:`parecido.indexer.indexing.pipeline.index`.
    """
    conduct = Conduct(
        setup or EvaluationSetup(), encoder, watch or EvaluationWatch(), stop, show_output
    )
    reports: dict[str, IndexReport] = {}  # of libraries that several recipes share
    for recipe in recipes:
        with Library.create(folder / recipe.library_name) as library:
            report = index_collection(library, collection, recipe, conduct)
            if stop() or report.interrupted:
                return
            report = reports.setdefault(recipe.library_name, report)
            part = find_participants(library, collection)
            figures = measure(library, part, recipe, conduct)
            spec = library.encoder
        if figures is None:
            return
        assert spec is not None  # there are pictures
        yield Evaluation(
            recipe,
            spec.title,
            spec.fingerprint,
            figures.dimension,
            part.sizes,
            figures.measures,
            report.encoded,
            report.seconds - report.preparing_seconds,
            report.pictures_per_second,
            part.unreadable,
            part.dropped_groups,
            figures.worst,
        )
