"""The folder of a vector index: a file for each space, and for a moment two of them."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from parecido.indexer.system.kinds import INDEXES
from parecido.indexer.system.own_files import own_files, remove_own
from parecido.indexer.vectors.gallery import Gallery, generation_of
from parecido.indexer.vectors.local import file as vectorfile
from parecido.indexer.vectors.local.seal import Facts

__all__ = ["Opened", "VectorFolder"]

_log = logging.getLogger("parecido")


class Opened(NamedTuple):
    """An index of a generation of the catalogue."""

    index: Any
    facts: Facts
    generation: int


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

    def open_newest(self, dimension: int) -> Opened | None:
        """The newest that can be used, memory-mapped; None where there is none."""
        newest = self._gallery.source.generation()
        for path in sorted(self.own(), reverse=True):
            try:
                generation = generation_of(path)
                if generation > newest:  # the catalogue was put back to an older state
                    continue
                index, facts = vectorfile.read(path)
                facts.check(dimension, self._gallery.fingerprint)
            except (RuntimeError, ValueError, TypeError, OSError) as error:
                _log.debug("The vector index %s is unreadable and is built again: %s", path, error)
                continue
            return Opened(index, facts, generation)
        return None

    def look(self) -> list[tuple[str, int, int]]:
        """What tells whether a file of this space came, or took another's place."""
        found = []
        for path in self.own():
            with suppress(FileNotFoundError):  # a writer removed it
                status = path.lstat()
                found.append((path.name, status.st_ino, status.st_mtime_ns))
        return found

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
