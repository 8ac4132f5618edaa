"""The folder of a vector index: a file for each space, and for a moment two of them."""

from __future__ import annotations

from pathlib import Path

from indexer.gallery import Gallery
from indexer.ownfiles import INDEXES, own_files, remove_own

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
        return [path for path in self._indexes() if path.stem.partition("-")[2] == space]

    def remove(self, keep: int | None = None) -> None:
        """Remove the files of this space, and temporary ones, all but that of one generation."""
        own = {path.name for path in self.own()}
        kept = self.path(keep).name if keep is not None else ""
        others = [path.name for path in self._indexes() if path.name not in own]
        remove_own(self.folder, INDEXES, keep={kept, *others})

    def remove_others(self) -> None:
        """Remove the files of every other space."""
        own = {path.name for path in self.own()}
        unfinished = {p.name for p in own_files(self.folder, INDEXES) if p.suffix != ".faiss"}
        remove_own(self.folder, INDEXES, keep=own | unfinished)

    def _indexes(self) -> list[Path]:
        return [path for path in own_files(self.folder, INDEXES) if path.suffix == ".faiss"]
