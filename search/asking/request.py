"""What is looked for in a library, wherever the descriptors come from."""

from __future__ import annotations

from dataclasses import dataclass

from parecido.indexer.arrays import Vectors
from parecido.search.asking.terms import Terms
from parecido.search.ranking.question import Question

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
