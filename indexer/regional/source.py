"""A library's regions as descriptors of their own, for an index of their own.

The vector index asks for ids and descriptors and does not care what they are of: here each picture
has ten, its own descriptor and nine regional ones.  An id is the picture's times 64 plus the number
of the region, 0 for the whole picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from parecido.indexer.arrays import Ids, Vectors
from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.errors import InvalidRequest, LibraryDamaged
from parecido.indexer.records.choices import MAP_POOLINGS
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.regional.codes import REGIONS, unpack

__all__ = [
    "ROWS",
    "STRIDE",
    "RegionalSource",
    "check_has_regions",
    "row_ids",
]

STRIDE = 64
"""Ids of each picture; more than there are regions, so that other windows fit one day."""
ROWS = REGIONS + 1
"""Descriptors of each picture."""
_PICTURES = 256  # whose rows are unpacked together: 13 MB of 1280 numbers


class RegionalSource:
    """The descriptors of a catalogue's pictures and of their regions, for an index of both.

    Regional descriptors are written with their picture's own, so they share its generation.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def generation(self) -> int:
        """The catalogue's."""
        return self._catalogue.generation()

    def count(self) -> int:
        """How many there are when no picture waits for its own."""
        return self._catalogue.descriptors.count() * ROWS

    def ids(self, before: int | None = None) -> Ids:
        """Ids of all descriptors, ascending; with ``before``, of those not written after it."""
        pictures = self._catalogue.descriptors.ids(before)
        rows = row_ids(pictures)
        waiting = np.asarray(self._catalogue.regional.find_waiting(), np.int64)
        bare = np.isin(pictures, waiting).repeat(ROWS) & (rows % STRIDE > 0)
        return rows[~bare]

    def list_removals_after(self, generation: int) -> Ids:
        """Ids of the descriptors that left the library after that generation, ascending."""
        return row_ids(self._catalogue.descriptors.list_removals_after(generation))

    def of(self, ids: Sequence[int]) -> tuple[Ids, Vectors]:
        """Ids ``(n,)`` in ascending order with their descriptors ``(n, dimension)``.

        Float32 of unit length.  Ids that are gone are left out.
        """
        wanted = np.unique(np.asarray(ids, np.int64))
        pictures = np.unique(wanted // STRIDE).tolist()
        found, vectors = self._of(*self._catalogue.descriptors.of(pictures))
        chosen = np.isin(found, wanted)
        return found[chosen], vectors[chosen]

    def read_after(self, generation: int) -> Iterator[tuple[Ids, Vectors]]:
        """All descriptors written after that generation, in pages of ascending ids."""
        for pictures, whole in self._catalogue.descriptors.read_after(generation):
            for start in range(0, len(pictures), _PICTURES):
                part = slice(start, start + _PICTURES)
                yield self._of(pictures[part], whole[part])

    def _of(self, pictures: Ids, whole: Vectors) -> tuple[Ids, Vectors]:
        """All ids and descriptors of pictures ``(n,)`` with their own descriptors ``(n, d)``."""
        regions = self._catalogue.regional.of(pictures.tolist())
        dimension = whole.shape[1]
        ids = [np.empty(0, np.int64)]
        rows = [np.empty((0, dimension), np.float32)]
        for picture, own in zip(pictures.tolist(), whole, strict=True):
            ids.append(np.array([picture * STRIDE]))
            rows.append(own[None])
            regional = regions.get(picture)
            if regional is None:
                continue
            try:
                rows.append(unpack(regional.vectors, dimension))
            except ValueError as error:
                raise LibraryDamaged(
                    f"The regional descriptors of picture {picture} are of another size.",
                    "Run: parecido verify --repair.",
                ) from error
            ids.append(picture * STRIDE + np.arange(1, ROWS))
        return np.concatenate(ids), np.concatenate(rows)


def check_has_regions(spec: EncoderSpec) -> None:
    """Raise :class:`~parecido.InvalidRequest` for an encoder that tells no places apart."""
    if spec.pooling not in MAP_POOLINGS:
        raise InvalidRequest(
            f"{spec.title} does not pool its descriptors from a feature map, so it has none for "
            "regions of a picture.",
            "Leave out --within, or index into a new library with --pooling "
            f"{', '.join(MAP_POOLINGS)}.",
        )


def row_ids(pictures: Ids) -> Ids:
    """The ids of all descriptors that pictures ``(n,)`` can have, ascending where they are."""
    ids: Ids = (pictures[:, None] * STRIDE + np.arange(ROWS)).ravel()
    return ids
