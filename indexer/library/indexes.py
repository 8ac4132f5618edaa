"""A library's descriptors as searches compare them, and the indexes of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.errors import LibraryNotFound
from parecido.indexer.learning.space import Space
from parecido.indexer.library.layout import REGIONS, VECTORS
from parecido.indexer.regional.source import RegionalSource
from parecido.indexer.system.kinds import INDEXES
from parecido.indexer.system.own_files import own_files
from parecido.indexer.vectors.gallery import Gallery

if TYPE_CHECKING:
    from parecido.indexer.vectors.local.index import VectorIndex

__all__ = [
    "has_regions",
    "has_vectors",
    "misses_vectors",
    "open_gallery",
    "open_regions",
    "open_vectors",
    "regions_in",
    "vectors_in",
]

_MANY = 2048  # which are read in 0.1 s


def open_gallery(catalogue: Catalogue) -> Gallery:
    """The pictures' descriptors in the space in use."""
    return Gallery(catalogue.descriptors, catalogue.settings.space())


def open_vectors(folder: Path, catalogue: Catalogue, *, is_writer: bool = False) -> VectorIndex:
    """The index of pictures in the space in use, up to date with the catalogue.

    Only a writer's makes files.  Raises :class:`~parecido.LibraryNotFound` where the library has
    no encoder yet.
    """
    return vectors_in(catalogue.settings.space(), folder, catalogue, is_writer=is_writer)


def open_regions(folder: Path, catalogue: Catalogue, *, is_writer: bool = False) -> VectorIndex:
    """The index of regions in the space in use; as :func:`open_vectors`."""
    space = catalogue.settings.space("regional_space")
    return regions_in(space, folder, catalogue, is_writer=is_writer)


def vectors_in(
    space: Space | None, folder: Path, catalogue: Catalogue, *, is_writer: bool = False
) -> VectorIndex:
    """The index of pictures in a space; None is the encoder's own."""
    gallery = Gallery(catalogue.descriptors, space)
    return _index(folder / VECTORS, gallery, catalogue, is_writer)


def regions_in(
    space: Space | None, folder: Path, catalogue: Catalogue, *, is_writer: bool = False
) -> VectorIndex:
    """The index of regions in a space; None is the encoder's own."""
    gallery = Gallery(RegionalSource(catalogue), space)
    return _index(folder / REGIONS, gallery, catalogue, is_writer)


def has_vectors(folder: Path, catalogue: Catalogue) -> bool:
    """Whether there is a file of pictures that can be used, old or new; tells without FAISS."""
    return _has_file(folder / VECTORS, catalogue.settings.space(), catalogue)


def misses_vectors(folder: Path, catalogue: Catalogue) -> bool:
    """Whether searches have to read so many descriptors instead of a file that it takes time."""
    return catalogue.descriptors.count() > _MANY and not has_vectors(folder, catalogue)


def has_regions(folder: Path, catalogue: Catalogue) -> bool:
    """Whether there is a file of regions that can be used."""
    space = catalogue.settings.space("regional_space")
    return _has_file(folder / REGIONS, space, catalogue)


def _has_file(folder: Path, space: Space | None, catalogue: Catalogue) -> bool:
    from parecido.indexer.vectors.local.seal import is_usable

    spec = catalogue.settings.encoder()
    if spec is None:
        return False
    dimension = space.dimension if space is not None else spec.dimension
    fingerprint = space.fingerprint if space is not None else ""
    return any(is_usable(path, dimension, fingerprint) for path in own_files(folder, INDEXES))


def _index(folder: Path, gallery: Gallery, catalogue: Catalogue, is_writer: bool) -> VectorIndex:
    from parecido.indexer.vectors.local.index import VectorIndex

    settings = catalogue.settings
    spec = settings.encoder()
    if spec is None:
        raise LibraryNotFound(
            f"The library {folder.parent} holds no pictures yet.",
            "Add some: parecido index FOLDER.",
        )
    dimension = gallery.space.dimension if gallery.space is not None else spec.dimension
    keeps_exact = settings.keeps_exact_index
    return VectorIndex(folder, gallery, dimension, keeps_exact, is_writer=is_writer)
