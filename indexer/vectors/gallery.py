"""A library's descriptors as searches compare them: in its own space, where it has one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from parecido.indexer.arithmetic import to_grid
from parecido.indexer.arrays import Ids, Vectors
from parecido.indexer.errors import LibraryDamaged
from parecido.indexer.learning.space import Space
from parecido.indexer.vectors.source import DescriptorSource

__all__ = ["Gallery", "generation_of"]


class Gallery:
    """A source's descriptors in one space; None is the encoder's own."""

    def __init__(self, source: DescriptorSource, space: Space | None) -> None:
        self.source = source
        self.space = space

    @property
    def fingerprint(self) -> str:
        """Of the space; empty for the encoder's own."""
        return self.space.fingerprint if self.space is not None else ""

    def file_name(self, generation: int) -> str:
        """Of what is derived from a generation of the source in this space."""
        space = self.fingerprint
        return f"{generation:012d}{'-' if space else ''}{space}"

    def project(self, vectors: Vectors) -> Vectors:
        """Descriptors ``(n, d)`` of the encoder as they are compared ``(n, m)``.

        Their numbers lie on the grid of :mod:`parecido.indexer.arithmetic`, so that cosines are
        exact.
        """
        return self._place(to_grid(vectors.astype(np.float32)))

    def of(self, ids: Sequence[int]) -> tuple[Ids, Vectors]:
        """As the source's, in the space."""
        found, vectors = self.source.of(ids)
        return found, self._place(vectors)

    def read_after(self, generation: int) -> Iterator[tuple[Ids, Vectors]]:
        """As the source's, in the space."""
        for ids, vectors in self.source.read_after(generation):
            yield ids, self._place(vectors)

    def _place(self, vectors: Vectors) -> Vectors:
        """As :meth:`project`, of what lies on the grid already, as all that is stored does."""
        if self.space is None or not len(vectors):
            return vectors
        if vectors.shape[1] != len(self.space.mean):
            raise LibraryDamaged(
                f"The library's descriptors have {vectors.shape[1]} numbers, and its space is of "
                f"{len(self.space.mean)}.",
                "Mend it: parecido verify --repair.",
            )
        return self.space.apply(vectors)


def generation_of(path: Path) -> int:
    """The generation that a derived file is named after.  Raises ``ValueError`` for other names."""
    return int(path.stem.partition("-")[0])
