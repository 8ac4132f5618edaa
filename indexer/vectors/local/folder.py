"""The folder of a vector index: a file for each space, and for a moment two of them."""

from __future__ import annotations

from pathlib import Path

from parecido.indexer.system.kinds import INDEXES
from parecido.indexer.system.own_files import own_files, remove_own
from parecido.indexer.vectors.gallery import Gallery

__all__ = ["VectorFolder"]


class VectorFolder:
    """The files that belong to one gallery's space, among those of others."""

    def __init__(self, folder: Path, gallery: Gallery) -> None:
        self.folder = folder
        self._gallery = gallery

    def path(self, generation: int) -> Path:
        """Where the index of that generation of the catalogue lies."""
        return self.folder / f"{self._gallery.file_name(generation)}.faiss"

    def own(self) -> list[Path]:
        """The files of this space, whatever their generation."""
        space = self._gallery.fingerprint
        files = own_files(self.folder, INDEXES)
        return [path for path in files if path.stem.partition("-")[2] == space]

    def remove(self, keep: int | None = None) -> None:
        """Remove the files of this space, and temporary ones, all but that of one generation."""
        kept = {path.name for path in own_files(self.folder, INDEXES)}
        kept -= {path.name for path in self.own()}
        if keep is not None:
            kept.add(self.path(keep).name)
        remove_own(self.folder, INDEXES, kept)

    def remove_others(self) -> None:
        """Remove the files of every other space."""
        remove_own(self.folder, INDEXES, {path.name for path in self.own()}, unfinished=False)
