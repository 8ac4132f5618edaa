"""A library's descriptors as searches compare them: in its own space, where it has one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from parecido.indexer.arithmetic import to_grid
from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.learning.space import Space

__all__ = ["Gallery", "generation_of"]

Ids = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


class Gallery:
    """A catalogue's descriptors in one space; None is the encoder's own."""

    def __init__(self, catalogue: Catalogue, space: Space | None) -> None:
        self.catalogue = catalogue
        self.space = space

    @property
    def fingerprint(self) -> str:
        """Of the space; empty for the encoder's own."""
        return self.space.fingerprint if self.space is not None else ""

    def file_name(self, generation: int) -> str:
        """Of what is derived from a generation of the catalogue in this space."""
        space = self.fingerprint
        return f"{generation:012d}{'-' if space else ''}{space}"

    def prepared(self, vectors: Vectors) -> Vectors:
        """Descriptors ``(n, d)`` of the encoder as they are compared ``(n, m)``.

        Their numbers lie on the grid of :mod:`parecido.indexer.arithmetic`, so that cosines are
        exact.
        """
        return self._placed(to_grid(vectors.astype(np.float32)))

    def descriptors(self, ids: Sequence[int]) -> tuple[Ids, Vectors]:
        """As :meth:`Catalogue.descriptors`, in the space."""
        found, vectors = self.catalogue.descriptors(ids)
        return found, self._placed(vectors)

    def descriptors_after(self, generation: int) -> Iterator[tuple[Ids, Vectors]]:
        """As :meth:`Catalogue.descriptors_after`, in the space."""
        for ids, vectors in self.catalogue.descriptors_after(generation):
            yield ids, self._placed(vectors)

    def _placed(self, vectors: Vectors) -> Vectors:
        """As :meth:`prepared`, of what lies on the grid already, as all that is stored does."""
        if self.space is None or not len(vectors):
            return vectors
        return self.space.apply(vectors)


def generation_of(path: Path) -> int:
    """The generation that a derived file is named after.  Raises ``ValueError`` for other names."""
    return int(path.stem.partition("-")[0])
