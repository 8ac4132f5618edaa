"""The folder of a vector index: a file for each space, and for a moment two of them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from indexer.gallery import Gallery

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
        files = self.folder.glob(f"*-{space}.faiss" if space else "*.faiss")
        return [path for path in files if space or "-" not in path.stem]

    def remove(self, keep: int | None = None) -> None:
        """Remove the files of this space, and temporary ones, all but that of one generation."""
        own = set(self.own())
        with suppress(OSError):
            for path in self.folder.iterdir():
                ours = path in own or path.suffix != ".faiss"
                if ours and (keep is None or path != self.path(keep)):
                    with suppress(OSError):
                        path.unlink()

    def remove_others(self) -> None:
        """Remove the files of every other space."""
        own = set(self.own())
        with suppress(OSError):
            for path in self.folder.glob("*.faiss"):
                if path not in own:
                    path.unlink(missing_ok=True)
