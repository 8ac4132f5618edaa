"""A library while it is written: behind its lock, its catalogue open for changes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter
from parecido.indexer.library.indexes import open_gallery, open_regions, open_vectors
from parecido.indexer.library.layout import NEIGHBOURS, REGIONS, VECTORS
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.system import kinds
from parecido.indexer.system.kinds import INDEXES
from parecido.indexer.system.own_files import own_files, remove_own
from parecido.indexer.vectors.gallery import Gallery, generation_of

if TYPE_CHECKING:
    from parecido.indexer.vectors.local.index import VectorIndex

__all__ = ["Writing"]

_DERIVED = ((VECTORS, INDEXES), (REGIONS, INDEXES), (NEIGHBOURS, kinds.NEIGHBOURS))


class Writing:
    """What a writer of a library holds, as :meth:`Library.writer` gives it."""

    def __init__(self, folder: Path, catalogue: CatalogueWriter) -> None:
        self.folder = folder
        self.catalogue = catalogue

    @property
    def encoder(self) -> EncoderSpec | None:
        """The encoder of its descriptors; None before the first picture."""
        return self.catalogue.settings.encoder()

    def gallery(self) -> Gallery:
        """The descriptors as searches compare them now."""
        return open_gallery(self.catalogue)

    def vectors(self) -> VectorIndex:
        """The index of pictures, up to date with the catalogue."""
        return open_vectors(self.folder, self.catalogue, is_writer=True)

    def regions(self) -> VectorIndex:
        """The index of regions, up to date with the catalogue."""
        return open_regions(self.folder, self.catalogue, is_writer=True)

    def remove_vectors(self) -> None:
        """Delete the index of pictures and the neighbours; the catalogue gives them again."""
        remove_own(self.folder / VECTORS, INDEXES)
        self.remove_neighbours()

    def remove_neighbours(self) -> None:
        """Delete the file of neighbours; the index gives them again."""
        remove_own(self.folder / NEIGHBOURS, kinds.NEIGHBOURS)

    def remove_regions(self) -> None:
        """Delete the index of regions; the catalogue gives it again."""
        remove_own(self.folder / REGIONS, INDEXES)

    def remove_newer(self) -> None:
        """Delete what was derived from a later generation than the catalogue's.

        It is of a catalogue that was removed, or put back to an older state; this one's generation
        will reach theirs, and they would be taken for its own.  And what killed writers left half
        written: there is one writer, and a run that finds nothing to do would leave it for ever.
        """
        newest = self.catalogue.generation()
        for name, names in _DERIVED:
            files = own_files(self.folder / name, names)
            kept = {path.name for path in files if generation_of(path) <= newest}
            remove_own(self.folder / name, names, kept)
