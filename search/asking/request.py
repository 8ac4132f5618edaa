"""What is looked for in a library, wherever the descriptors come from."""

from __future__ import annotations

from dataclasses import dataclass

from parecido.indexer.arrays import Vectors
from parecido.indexer.errors import InvalidRequest
from parecido.search.asking.terms import Terms
from parecido.search.ranking.question import Question
from parecido.search.sameness.shown import Shown

__all__ = ["Request"]


@dataclass(frozen=True, eq=False)
class Request:
    """Descriptors that are looked for, and the terms of the answer."""

    sought: tuple[Vectors, ...]
    """Each ``(n, dimension)``, of unit length: descriptors that are looked for together.  A hit is
    like any one of these; its score is the best."""
    terms: Terms
    leave_out: frozenset[int] = frozenset()
    """Ids of pictures that are no answers."""
    weights: tuple[float, ...] = (1.0,)
    """What each of the ``n`` counts; less than 0 for what is not wanted."""
    shown: tuple[Shown, ...] = ()
    """The pictures that are meant, as far as they were seen."""

    def check(self) -> None:
        """Raise ``InvalidRequest`` for what only a picture can be asked for."""
        if self.terms.same and not self.shown:
            raise InvalidRequest(
                "Whether hits show the same picture is told of a picture, and none was given.",
                "Give a picture, or leave out that only the same one is wanted.",
            )

    def questions(self, reranks_by_default: bool) -> list[Question]:
        """As the ranking takes them; ``reranks_by_default`` is what the library was told."""
        terms = self.terms
        return [
            Question(
                vectors,
                terms.offset + terms.count,
                self.leave_out,
                terms.exact,
                terms.wanted,
                reranks_by_default if terms.expand is None else terms.expand,
                reranks_by_default if terms.rerank is None else terms.rerank,
                self.weights,
            )
            for vectors in self.sought
        ]
