"""Mend what a check of a library finds.

Nothing that fails its digest is believed.  What can be learned or counted again is; a picture is
set aside, by its path, and read again where its file is there.  All of it may be interrupted: the
next repair or the next indexing run goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from parecido.indexer.catalogue.changes import SetAside
from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.catalogue.sqlite.writing.mend import DAMAGED, mend
from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter
from parecido.indexer.checkup.salvage import is_structure_sound, salvage
from parecido.indexer.checkup.verify import (
    compare_index,
    find_bad_descriptors,
    find_bad_regions,
    find_damaged_neighbours,
    find_damaged_thumbnails,
)
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.errors import (
    EncoderUnavailable,
    LibraryDamaged,
    LibraryNotFound,
    PathNotFound,
    UnknownEncoder,
    WeightsInvalid,
    WeightsUnavailable,
)
from parecido.indexer.indexing.pipeline import read_again
from parecido.indexer.library.layout import CATALOGUE, UPLOADS, library_path
from parecido.indexer.library.lock import hold_lock
from parecido.indexer.library.upkeep import bring_up_to_date
from parecido.indexer.library.writing import Writing
from parecido.indexer.system import kinds
from parecido.indexer.system.own_files import remove_own
from parecido.indexer.system.text import plural

__all__ = ["repair"]

_NO_ENCODER = (EncoderUnavailable, UnknownEncoder, WeightsInvalid, WeightsUnavailable)


def repair(
    folder: str | os.PathLike[str] | None = None,
    *,
    wait: bool = False,
    encoder: Encoder | None = None,
) -> list[str]:
    """Mend what :func:`verify` finds; what was done, in words.

    A picture whose record is damaged is read again with the library's encoder, or a ready
    ``encoder`` like it.  Where its file is away, or there is no encoder, it is set aside: no answer
    has it until an indexing run has read it.  A catalogue that SQLite cannot read is set aside and
    everything readable is copied into a new one.  Raises ``LibraryDamaged`` where nothing can be
    read.
    """
    path = library_path(folder)
    if not (path / CATALOGUE).is_file():
        raise LibraryNotFound(f"There is no library at {path}.", "Make one: parecido index FOLDER.")
    done: list[str] = []
    with hold_lock(path, wait) as holding:
        if not is_structure_sound(path / CATALOGUE):
            told, knows_uploads = salvage(path / CATALOGUE)
            done += told
            with CatalogueWriter(path / CATALOGUE, holding.check) as catalogue:
                Writing(path, catalogue).remove_vectors()  # it has lost pictures
                if not knows_uploads:
                    catalogue.take_over_uploads(path / UPLOADS)
        done += _mend_rows(path, holding.check)
        with CatalogueWriter(path / CATALOGUE, holding.check) as catalogue:
            writing = Writing(path, catalogue)
            writing.remove_newer()
            done += _mend_contents(writing)
            done += _read_again(writing, encoder)
            if writing.encoder is not None:
                done += _mend_derivations(writing)
        done += _remove_thumbnails(path)
    return done


def _mend_rows(folder: Path, check: Callable[[], None]) -> list[str]:
    """Take out of the catalogue what is not what was written; what was done, in words."""
    path = folder / CATALOGUE
    CatalogueWriter(path, check).close()  # brings an older one up to date
    with Catalogue(path) as catalogue:
        damage = catalogue.examine()
    if damage.is_none:
        return []
    done = mend(path, damage, check)
    numbers = (damage.of("removals"), damage.of("facts"), damage.of("spare_facts"))
    if damage.counters or not all(one.is_sound for one in numbers):
        # files of an index may be named after a generation that it never was
        with CatalogueWriter(path, check) as catalogue:
            writing = Writing(folder, catalogue)
            writing.remove_vectors()
            writing.remove_regions()
    return done


def _mend_contents(writing: Writing) -> Iterator[str]:
    """Set pictures aside that have no sound descriptor; what was done, in words."""
    catalogue = writing.catalogue
    orphans = catalogue.drop_orphans()
    if orphans:
        yield f"removed {plural(orphans, 'row')} that belonged to nothing"
    try:
        spec = writing.encoder
    except LibraryDamaged:
        spec = None
    if spec is None:
        bad, why = catalogue.descriptors.ids().tolist(), "its encoder is not known"
    else:
        bad, why = find_bad_descriptors(catalogue, spec.dimension), "its descriptor was damaged"
    for ids, reason in ((catalogue.descriptors.find_missing(), DAMAGED), (bad, why)):
        if ids:
            catalogue.write([SetAside(ids, reason)])
            yield f"set {plural(len(ids), 'picture')} aside: {reason}"


def _read_again(writing: Writing, encoder: Encoder | None) -> Iterator[str]:
    """Read the files of pictures that are set aside; what was done, in words."""
    catalogue = writing.catalogue
    paths = [os.fsencode(one.path) for one in catalogue.aside.list_aside()]
    there = [path for path in paths if os.path.isfile(path)]
    if there and writing.encoder is not None:
        try:
            report = read_again(writing, there, encoder)
            yield f"read {plural(report.added + report.updated, 'picture')} again"
            if report.skipped:
                yield f"{plural(len(report.skipped), 'file')} could not be read"
        except _NO_ENCODER as error:
            yield f"nothing was read again: {error.message}"
        except PathNotFound:
            pass  # it went a moment ago
    left = catalogue.aside.list_aside()
    if left:
        yield (
            f"{plural(len(left), 'picture')} stay set aside until an indexing run reads their "
            f"files, {left[0].path} the first"
        )


def _mend_derivations(writing: Writing) -> list[str]:
    """Mend what is derived from descriptors; what was done, in words."""
    catalogue, done = writing.catalogue, []
    spec = writing.encoder
    assert spec is not None
    if _drop_damaged_space(catalogue):
        done.append("learned the library's own space again")
    elif compare_index(catalogue, writing.vectors()):
        writing.remove_vectors()
        done.append("built the vector index again")
    if catalogue.settings.keeps_regions():
        done += _mend_regions(writing, spec.dimension)
    if find_damaged_neighbours(writing.folder):
        writing.remove_neighbours()
        done.append("found the neighbours again")
    bring_up_to_date(writing)
    writing.vectors().save()
    return done


def _remove_thumbnails(folder: Path) -> Iterator[str]:
    """Remove damaged thumbnails, which are made again when they are asked for; in words."""
    damaged = find_damaged_thumbnails(folder)
    for thumbnail in damaged:
        remove_own(thumbnail.parent, kinds.THUMBNAILS.only(thumbnail.name))
    if damaged:
        yield f"removed {plural(len(damaged), 'damaged thumbnail')}"


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
