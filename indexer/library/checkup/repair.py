"""Mend what a check of a library finds."""

from __future__ import annotations

import os

from parecido.indexer.catalogue.changes import Remove
from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter
from parecido.indexer.errors import LibraryDamaged, LibraryNotFound
from parecido.indexer.library.checkup.salvage import is_structure_sound, salvage
from parecido.indexer.library.checkup.verify import (
    compare_index,
    find_bad_descriptors,
    find_bad_regions,
)
from parecido.indexer.library.layout import CATALOGUE, UPLOADS, library_path
from parecido.indexer.library.lock import hold_lock
from parecido.indexer.library.upkeep import bring_up_to_date
from parecido.indexer.library.writing import Writing
from parecido.indexer.system.text import plural

__all__ = ["repair"]


def repair(folder: str | os.PathLike[str] | None = None, *, wait: bool = False) -> list[str]:
    """Mend what :func:`verify` finds; what was done, in words.

    A catalogue that SQLite cannot read is set aside and everything readable is copied into a new
    one.  Raises ``LibraryDamaged`` where not even the encoder can be read.
    """
    path = library_path(folder)
    if not (path / CATALOGUE).is_file():
        raise LibraryNotFound(f"There is no library at {path}.", "Make one: parecido index FOLDER.")
    done: list[str] = []
    with hold_lock(path, wait):
        if not is_structure_sound(path / CATALOGUE):
            told, knows_uploads = salvage(path / CATALOGUE)
            done.append(told)
            with CatalogueWriter(path / CATALOGUE) as catalogue:
                Writing(path, catalogue).remove_vectors()  # it has lost pictures
                if not knows_uploads:
                    catalogue.take_over_uploads(path / UPLOADS)
        with CatalogueWriter(path / CATALOGUE) as catalogue:
            orphans = catalogue.drop_orphans()
            if orphans:
                done.append(f"removed {orphans} rows that belonged to nothing")
            spec = catalogue.settings.encoder()
            if spec is not None:
                done += _mend(Writing(path, catalogue), spec.dimension)
    return done


def _mend(writing: Writing, dimension: int) -> list[str]:
    """Mend descriptors and what is derived from them; what was done, in words."""
    catalogue, done = writing.catalogue, []
    bad = find_bad_descriptors(catalogue, dimension)
    if bad:
        catalogue.write([Remove(bad)])
        done.append(f"removed {len(bad)} pictures with bad descriptors")
    if _drop_damaged_space(catalogue):
        done.append("learned the library's own space again")
    elif compare_index(catalogue, writing.vectors()):
        writing.remove_vectors()
        done.append("built the vector index again")
    if catalogue.settings.keeps_regions():
        done += _mend_regions(writing, dimension)
    bring_up_to_date(writing)
    writing.vectors().save()
    return done


def _drop_damaged_space(catalogue: CatalogueWriter) -> bool:
    try:
        catalogue.settings.space()
    except LibraryDamaged:
        catalogue.use_space(None)
        return True
    return False


def _mend_regions(writing: Writing, dimension: int) -> list[str]:
    """Let pictures without sound regional descriptors wait for them; what was done, in words."""
    catalogue, done = writing.catalogue, []
    bad = find_bad_regions(catalogue, dimension)
    count = len(bad) + len(catalogue.regional.find_missing())
    if count:
        catalogue.await_regions(bad)
        writing.remove_regions()
        done.append(
            f"{plural(count, 'picture')} will get regional descriptors with the next indexing run"
        )
    try:
        catalogue.settings.space("regional_space")
    except LibraryDamaged:
        catalogue.use_regional_space(None)
        writing.remove_regions()
        done.append("learned the space of regions again")
    if compare_index(catalogue, writing.regions(), "index of regions"):
        writing.remove_regions()
        done.append("built the index of regions again")
    return done
