"""The port through which an index of nearest neighbours reads what it is an index of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from parecido.indexer.arrays import Ids, Vectors

__all__ = ["DescriptorSource"]


class DescriptorSource(Protocol):
    """Descriptors of unit length, each with an id, as they change from generation to generation.

    A catalogue has it for pictures, :class:`parecido.indexer.regional.source.RegionalSource` for
    parts of them.  An id that was removed is never given again.
    """

    def generation(self) -> int:
        """A number that rises with every committed change; 0 before the first."""

    def count(self) -> int:
        """How many descriptors there are."""

    def ids(self, before: int | None = None) -> Ids:
        """Ids of all descriptors, ascending; with ``before``, of those not written after it."""

    def list_removals_after(self, generation: int) -> Ids:
        """Ids of what was removed after that generation, ascending."""

    def of(self, ids: Sequence[int]) -> tuple[Ids, Vectors]:
        """Ids ``(n,)`` in ascending order with their descriptors ``(n, dimension)``, float32.

        Ids that are gone are left out.
        """

    def read_after(self, generation: int) -> Iterator[tuple[Ids, Vectors]]:
        """All descriptors written after that generation, in pages of ascending ids.

        Everything where the generation is -1.
        """
