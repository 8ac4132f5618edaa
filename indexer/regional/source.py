"""A library's regions as descriptors of their own, for an index of their own.

The vector index asks for ids and descriptors and does not care what they are of: here each picture
has ten, its own descriptor and nine regional ones.  An id is the picture's times 64 plus the number
of the region, 0 for the whole picture.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from parecido.indexer.arrays import Ids, Vectors
from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter
from parecido.indexer.encoders.networks.base import POOLINGS
from parecido.indexer.errors import InvalidRequest, LibraryDamaged
from parecido.indexer.learning.space import LEAST_PICTURES, Space, has_outgrown
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.regional.codes import REGIONS, unpack
from parecido.indexer.system.kinds import INDEXES
from parecido.indexer.system.own_files import own_files, remove_own
from parecido.indexer.system.text import plural
from parecido.indexer.vectors.gallery import Gallery

if TYPE_CHECKING:
    from parecido.indexer.vectors.local.index import VectorIndex

__all__ = [
    "FOLDER",
    "ROWS",
    "STRIDE",
    "RegionalSource",
    "are_settled",
    "check_has_regions",
    "learn_regional",
    "region_index",
    "remove_region_files",
    "row_ids",
    "settle_regions",
]

_log = logging.getLogger("parecido")


FOLDER = "regions"
"""Of a library, where the index of regions lies."""
STRIDE = 64
"""Ids of each picture; more than there are regions, so that other windows fit one day."""
ROWS = REGIONS + 1
"""Descriptors of each picture."""
_PICTURES = 256  # whose rows are unpacked together: 13 MB of 1280 numbers

# The source of a crop of 15, 30 or 50 % of the area comes first among 1000 photographs, in the
# encoder's own space: 0.720, 0.968, 0.993; in the space that the library has for whole pictures
# (128 directions, weak ones faded out, right for "the same kind of thing"): 0.69, 0.96, 0.98; in
# 128 directions, half-whitened, none faded out: 0.720, 0.975, 0.990; in 256: 0.800, 0.983, 0.993;
# in 512: 0.818, 0.983, 0.990.  Learned from whole pictures or from regions is the same.
_DIRECTIONS = 256
_EXPONENT = 0.5
_SAMPLE = 8192  # descriptors from which they are learned: 42 MB of 1280 numbers
_LEAST_SHARE = 1e-6  # of the variance that a direction has; below is rounding


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
        waiting = np.asarray(self._catalogue.regional.waiting(), np.int64)
        bare = np.isin(pictures, waiting).repeat(ROWS) & (rows % STRIDE > 0)
        return rows[~bare]

    def removed_after(self, generation: int) -> Ids:
        """Ids of the descriptors that left the library after that generation, ascending."""
        return row_ids(self._catalogue.descriptors.removed_after(generation))

    def of(self, ids: Sequence[int]) -> tuple[Ids, Vectors]:
        """Ids ``(n,)`` in ascending order with their descriptors ``(n, dimension)``.

        Float32 of unit length.  Ids that are gone are left out.
        """
        wanted = np.unique(np.asarray(ids, np.int64))
        pictures = np.unique(wanted // STRIDE).tolist()
        found, vectors = self._of(*self._catalogue.descriptors.of(pictures))
        chosen = np.isin(found, wanted)
        return found[chosen], vectors[chosen]

    def written_after(self, generation: int) -> Iterator[tuple[Ids, Vectors]]:
        """All descriptors written after that generation, in pages of ascending ids."""
        for pictures, whole in self._catalogue.descriptors.written_after(generation):
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
    if spec.pooling not in POOLINGS:
        raise InvalidRequest(
            f"{spec.title} does not pool its descriptors from a feature map, so it has none for "
            "regions of a picture.",
            "Leave out --within, or index into a new library with --pooling "
            f"{', '.join(POOLINGS)}.",
        )


def row_ids(pictures: Ids) -> Ids:
    """The ids of all descriptors that pictures ``(n,)`` can have, ascending where they are."""
    ids: Ids = (pictures[:, None] * STRIDE + np.arange(ROWS)).ravel()
    return ids


def region_index(folder: Path, catalogue: Catalogue) -> VectorIndex:
    """The index of a library's regions, up to date with its catalogue, which has an encoder."""
    from parecido.indexer.vectors.local.index import VectorIndex

    spec = catalogue.settings.encoder()
    assert spec is not None
    space = catalogue.settings.space("regional_space")
    dimension = space.dimension if space is not None else spec.dimension
    return VectorIndex(
        folder / FOLDER,
        Gallery(RegionalSource(catalogue), space),
        dimension,
        catalogue.settings.keeps_exact_index,
    )


def remove_region_files(folder: Path) -> None:
    """Delete the index of regions of the library in that folder."""
    remove_own(folder / FOLDER, INDEXES)


def settle_regions(folder: Path, catalogue: CatalogueWriter, *, hurry: bool = False) -> None:
    """Learn the space of regions if the library has outgrown it; write their index if worthwhile.

    Where the library keeps none, their index goes.  As
    :func:`parecido.indexer.library.upkeep.settle`.
    """
    if not catalogue.settings.keeps_regions():
        remove_region_files(folder)
        return
    if not hurry and _space_is_due(catalogue) and _change_space(folder, catalogue):
        return
    index = region_index(folder, catalogue)
    index.save_if_worthwhile(hurry=hurry)
    index.remove_others()  # of a space that a killed run did not come to use


def are_settled(folder: Path, catalogue: Catalogue) -> bool:
    """Whether :func:`settle_regions` has nothing to do that an interrupted run may have left."""
    there = bool(own_files(folder / FOLDER, INDEXES))
    if not catalogue.settings.keeps_regions():
        return not there
    return (there or not catalogue.counts()[0]) and not _space_is_due(catalogue)


def _space_is_due(catalogue: Catalogue) -> bool:
    count, space = catalogue.counts()[0], catalogue.settings.space("regional_space")
    if space is not None and count < LEAST_PICTURES // 2:
        return True
    return has_outgrown(space, count)


def _change_space(folder: Path, catalogue: CatalogueWriter) -> bool:
    """Learn the space anew, or forget it in a small library; whether there was anything to change.

    There is nothing where all pictures are the same: they have no directions.
    """
    count, before = catalogue.counts()[0], catalogue.settings.space("regional_space")
    space = learn_regional(_sample(catalogue), count) if count >= LEAST_PICTURES else None
    if space is None and before is None:
        return False
    spec = catalogue.settings.encoder()
    assert spec is not None
    dimension = space.dimension if space is not None else spec.dimension
    _log.debug("The regions of %s are compared in a new space.", plural(count, "picture"))
    from parecido.indexer.vectors.local.index import VectorIndex

    # first the index, under a name of its own, then the commit that makes searches look for it
    index = VectorIndex(
        folder / FOLDER,
        Gallery(RegionalSource(catalogue), space),
        dimension,
        catalogue.settings.keeps_exact_index,
    )
    index.save()
    catalogue.use_regional_space(space)
    index.remove_others()
    return True


def _sample(catalogue: Catalogue) -> Vectors:
    ids = catalogue.descriptors.ids()
    if len(ids) > _SAMPLE:
        ids = np.sort(np.random.default_rng(len(ids)).choice(ids, _SAMPLE, replace=False))
    return catalogue.descriptors.of(ids.tolist())[1]


def learn_regional(vectors: Vectors, pictures: int) -> Space | None:
    """The space of at most 256 dimensions in which regions are compared, from ``(n, d)``.

    Principal directions weighted by their variance to the power of -1/4: half-whitening, after
    Jégou and Chum, "Negative evidences and co-occurences in image retrieval: the benefit of PCA and
    whitening", ECCV 2012.  ``pictures`` is remembered.  None where all descriptors are the same.
    """
    mean = vectors.mean(axis=0, dtype=np.float64)
    centred = vectors - mean.astype(np.float32)
    variances, directions = np.linalg.eigh(centred.T.astype(np.float64) @ centred / len(centred))
    variances, directions = variances[::-1][:_DIRECTIONS], directions[:, ::-1][:, :_DIRECTIONS]
    kept = variances > max(_LEAST_SHARE * variances.sum(), 1e-12)
    if not kept.any():
        return None
    matrix = (directions[:, kept] * variances[kept] ** (-_EXPONENT / 2)).T
    return Space(mean.astype(np.float32), np.ascontiguousarray(matrix, np.float32), pictures)
