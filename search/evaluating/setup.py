"""How an evaluation is made, the same for every recipe, and who is told how it goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.errors import InvalidRequest
from parecido.indexer.indexing.plan import Progress
from parecido.search.evaluating.rankings import QUERIES_AT_ONCE
from parecido.search.evaluating.recipe import Recipe

__all__ = ["Conduct", "EvaluationSetup", "EvaluationWatch"]


@dataclass(frozen=True)
class EvaluationSetup:
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


class EvaluationWatch:
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


class Conduct(NamedTuple):
    """All that an evaluation is told beside its pictures and recipes."""

    setup: EvaluationSetup
    encoder: Encoder | None
    """Used in the place of those that the recipes ask for."""
    watch: EvaluationWatch
    stop: Callable[[], bool]
    """Asked often; there is nothing more to do once it returns true."""
    show_output: bool
    """Whether what child processes write is seen."""
