"""The port through which a search asks an index for the nearest neighbours of descriptors."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from parecido.indexer.arrays import Exact, Ids, Vectors
from parecido.indexer.vectors.gallery import Gallery

__all__ = ["Candidates", "NearestIndex"]


class Candidates(NamedTuple):
    """What may be nearest, for ``n`` queries; exact scores come from the catalogue."""

    ids: Ids
    """``(n, m)``, best first; -1 where there are no more."""
    scores: Vectors
    """Inner products ``(n, m)``, maybe rough."""
    bound: Exact | None
    """``(n,)``: nothing that was left out scores more than this, -inf where nothing was left out;
    None where that is not known."""


class NearestIndex(Protocol):
    """Finds the nearest neighbours among a gallery's descriptors."""

    gallery: Gallery
    generation: int
    """Of the gallery's source, as of the last refresh."""

    @property
    def count(self) -> int:
        """Descriptors that a search sees."""

    def ids(self) -> Ids:
        """Their ids, ascending."""

    def refresh(self) -> None:
        """Make every committed descriptor, and none that is gone, visible to searches."""

    def search(
        self, queries: Vectors, k: int, allowed: Ids | None = None, *, threads: int = 1
    ) -> Candidates:
        """Candidates for the ``k`` largest inner products with queries ``(n, dimension)``.

        Only ``allowed`` ids, if given, are looked at.  At least ``k`` a query where there are so
        many, unless the bound is None.  ``threads`` 0 is for many queries at once: as many as there
        are cores.
        """

    def vectors_of(self, ids: Ids, *, exact: bool = False) -> tuple[Ids, Vectors]:
        """Ids ``(n,)`` in ascending order with their descriptors ``(n, dimension)``, float32.

        As the index has them, or ``exact`` as the gallery has.  Ids that are gone are left out.
        """
