"""A library's descriptors as searches compare them, and the indexes of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.errors import LibraryNotFound
from parecido.indexer.learning.space import Space
from parecido.indexer.library.layout import REGIONS, VECTORS
from parecido.indexer.regional.source import RegionalSource
from parecido.indexer.vectors.gallery import Gallery
from parecido.indexer.vectors.source import DescriptorSource

if TYPE_CHECKING:
    from parecido.indexer.vectors.local.index import VectorIndex

__all__ = ["open_gallery", "open_regions", "open_vectors", "regions_in", "vectors_in"]


def open_gallery(catalogue: Catalogue) -> Gallery:
    """The pictures' descriptors in the space in use."""
    return Gallery(catalogue.descriptors, catalogue.settings.space())


def open_vectors(folder: Path, catalogue: Catalogue) -> VectorIndex:
    """The index of pictures in the space in use, up to date with the catalogue.

    Raises :class:`~parecido.LibraryNotFound` where the library has no encoder yet.
    """
    return vectors_in(catalogue.settings.space(), folder, catalogue)


def open_regions(folder: Path, catalogue: Catalogue) -> VectorIndex:
    """The index of regions in the space in use; as :func:`open_vectors`."""
    return regions_in(catalogue.settings.space("regional_space"), folder, catalogue)


def vectors_in(space: Space | None, folder: Path, catalogue: Catalogue) -> VectorIndex:
    """The index of pictures in a space; None is the encoder's own."""
    return _index(folder / VECTORS, catalogue.descriptors, space, catalogue)


def regions_in(space: Space | None, folder: Path, catalogue: Catalogue) -> VectorIndex:
    """The index of regions in a space; None is the encoder's own."""
    return _index(folder / REGIONS, RegionalSource(catalogue), space, catalogue)


def _index(
    folder: Path, source: DescriptorSource, space: Space | None, catalogue: Catalogue
) -> VectorIndex:
    from parecido.indexer.vectors.local.index import VectorIndex

    settings = catalogue.settings
    spec = settings.encoder()
    if spec is None:
        raise LibraryNotFound(
            f"The library {folder.parent} holds no pictures yet.",
            "Add some: parecido index FOLDER.",
        )
    dimension = space.dimension if space is not None else spec.dimension
    return VectorIndex(folder, Gallery(source, space), dimension, settings.keeps_exact_index)
