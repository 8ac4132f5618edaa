"""Check a library from top to bottom, and mend it.

What ``repair`` cannot keep it removes from the catalogue, so that the next indexing run reads those
files again.  Pictures are never touched.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import count
from pathlib import Path

import numpy as np

from parecido.indexer.catalogue.changes import Remove
from parecido.indexer.catalogue.sqlite.errors import translate_errors
from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.catalogue.sqlite.reading.descriptors import unpack
from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter
from parecido.indexer.errors import EncoderUnavailable, LibraryDamaged, LibraryNotFound
from parecido.indexer.library.library import CATALOGUE, UPLOADS, Library, hold_lock, library_path
from parecido.indexer.library.upkeep import settle
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.records.runs import Problem
from parecido.indexer.regional.codes import is_sound
from parecido.indexer.regional.source import region_index, remove_region_files
from parecido.indexer.system.kinds import FRESH_CATALOGUE
from parecido.indexer.system.own_files import NotOurs, remove_own, set_aside
from parecido.indexer.system.text import plural
from parecido.indexer.vectors.local.index import VectorIndex

__all__ = ["repair", "verify"]

# float16 rounds each of d numbers by at most 2^-11 of itself, so a unit vector's length by less
_LENGTH_TOLERANCE = 1e-3
_CHUNK = 4096


def verify(library: Library) -> list[Problem]:
    """Everything that is wrong with a library; empty where all is well.

    Checks SQLite's own structure, that every picture has one descriptor of the right length, finite
    and of unit length, that the vector index holds exactly the catalogue's descriptors, and that a
    quantised model is the one that made them.  Reads every descriptor once.
    """
    catalogue = library.catalogue
    problems = [Problem(line, True) for line in catalogue.integrity()]
    if problems:
        return problems  # nothing further can be trusted
    bare = catalogue.descriptors.missing()
    if bare:
        problems.append(Problem(f"{len(bare)} pictures have no descriptor", True))
    spec = catalogue.settings.encoder()
    count = catalogue.counts()[0]
    if spec is None:
        if count:
            problems.append(Problem("the library does not tell its encoder", False))
        return problems
    problems += _model_problems(library, spec)
    try:
        catalogue.settings.space()
    except LibraryDamaged:
        return [*problems, Problem("the library's own space is damaged", True)]
    bad = _bad_descriptors(catalogue, spec.dimension)
    if bad:
        problems.append(
            Problem(f"{len(bad)} descriptors are not of unit length or of another size", True)
        )
        return problems
    problems += _index_problems(catalogue, library.vectors())
    if catalogue.settings.keeps_regions():
        problems += _region_problems(library, spec.dimension)
    return problems


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
        if not _structure_is_sound(path / CATALOGUE):
            told, knows_uploads = _salvage(path / CATALOGUE)
            done.append(told)
            with Library(path, Catalogue(path / CATALOGUE)) as salvaged:
                salvaged.remove_vectors()  # it has lost pictures
            if not knows_uploads:
                with CatalogueWriter(path / CATALOGUE) as catalogue:
                    catalogue.take_over_uploads(path / UPLOADS)
        with CatalogueWriter(path / CATALOGUE) as catalogue:
            orphans = catalogue.drop_orphans()
            if orphans:
                done.append(f"removed {orphans} rows that belonged to nothing")
            spec = catalogue.settings.encoder()
            bad = _bad_descriptors(catalogue, spec.dimension) if spec else []
            if bad:
                catalogue.write([Remove(bad)])
                done.append(f"removed {len(bad)} pictures with bad descriptors")
            if spec:
                library = Library(path, catalogue)
                if _drop_damaged_space(catalogue):
                    done.append("learned the library's own space again")
                elif _index_problems(catalogue, library.vectors(catalogue)):
                    library.remove_vectors()
                    done.append("built the vector index again")
                done += _mend_regions(library, catalogue, spec.dimension)
                settle(library, catalogue)
                library.vectors().save()
    return done


def _drop_damaged_space(catalogue: CatalogueWriter) -> bool:
    try:
        catalogue.settings.space()
    except LibraryDamaged:
        catalogue.use_space(None)
        return True
    return False


def _bad_descriptors(catalogue: Catalogue, dimension: int) -> list[int]:
    bad = []
    for rows in catalogue.descriptors.stored():
        for picture_id, blob in rows:
            vector = unpack(blob) if len(blob) == 2 * dimension else np.zeros(1, np.float32)
            length = float(np.linalg.norm(vector))
            if not abs(length - 1) <= _LENGTH_TOLERANCE:  # false for NaN too
                bad.append(picture_id)
    return bad


def _model_problems(library: Library, spec: EncoderSpec) -> list[Problem]:
    """An int8 model can only be put back; an empty library gets a new one from its next run."""
    if spec.precision != "int8" or not library.catalogue.counts()[0]:
        return []
    from parecido.indexer.encoders.building.quantise import quantised_model

    try:
        quantised_model(spec, library.folder)
    except EncoderUnavailable as error:
        return [Problem(str(error), False)]
    return []


def _region_problems(library: Library, dimension: int) -> list[Problem]:
    catalogue = library.catalogue
    bare = catalogue.regional.missing()
    bad = _bad_regions(catalogue, dimension)
    problems = []
    if bare:
        problems.append(Problem(f"{len(bare)} pictures have no regional descriptors", True))
    if bad:
        what = f"the regional descriptors of {plural(len(bad), 'picture')} are damaged"
        problems.append(Problem(what, True))
    if problems:
        return problems
    try:
        index = region_index(library.folder, catalogue)
        return _index_problems(catalogue, index, "index of regions")
    except LibraryDamaged:
        return [Problem("the space of regions is damaged", True)]


def _bad_regions(catalogue: Catalogue, dimension: int) -> list[int]:
    """Pictures whose regional descriptors are not what an encoder gave."""
    return [
        picture_id
        for page in catalogue.regional.stored()
        for picture_id, rows, columns, vectors in page
        if rows < 1 or columns < 1 or not is_sound(vectors, dimension)
    ]


def _mend_regions(library: Library, catalogue: CatalogueWriter, dimension: int) -> list[str]:
    """Let pictures without sound regional descriptors wait for them; what was done, in words."""
    if not catalogue.settings.keeps_regions():
        return []
    done = []
    bad = _bad_regions(catalogue, dimension)
    count = len(bad) + len(catalogue.regional.missing())
    if count:
        catalogue.await_regions(bad)
        remove_region_files(library.folder)
        done.append(
            f"{plural(count, 'picture')} will get regional descriptors with the next indexing run"
        )
    try:
        catalogue.settings.space("regional_space")
    except LibraryDamaged:
        catalogue.use_regional_space(None)
        remove_region_files(library.folder)
        done.append("learned the space of regions again")
    index = region_index(library.folder, catalogue)
    if _index_problems(catalogue, index, "index of regions"):
        remove_region_files(library.folder)
        done.append("built the index of regions again")
    return done


def _index_problems(
    catalogue: Catalogue, index: VectorIndex, name: str = "vector index"
) -> list[Problem]:
    """Compare an index with the catalogue, as of the generation that it shows.

    A writer may commit meanwhile: what is newer than that generation may be in the index or not,
    and what was replaced or removed since may still be there.
    """
    gallery, rows = index.gallery, index.gallery.source
    held, expected = index.ids(), rows.ids(before=index.generation)
    moved_on = catalogue.generation() != index.generation
    lost = np.setdiff1d(expected, held)
    surplus = np.setdiff1d(held, expected)
    if len(lost) or (len(surplus) and not moved_on) or index.count != len(np.unique(held)):
        what = f"the {name} holds {index.count} descriptors, the catalogue {len(expected)}"
        return [Problem(what, True)]
    for start in range(0, len(expected), _CHUNK):
        ids, vectors = gallery.of(expected[start : start + _CHUNK].tolist())
        other = index.differing(ids, vectors)
        if len(other) and np.isin(other, rows.ids(before=index.generation)).any():
            return [Problem(f"the {name} differs from the catalogue", True)]
    return []


# -- salvage -------------------------------------------------------------------------------------


def _structure_is_sound(path: Path) -> bool:
    try:
        with Catalogue(path) as catalogue:
            return not [line for line in catalogue.integrity() if line.startswith("SQLite")]
    except LibraryDamaged:
        return False


def _salvage(path: Path) -> tuple[str, bool]:
    """Copy every readable row into a new catalogue that takes the damaged one's place.

    What was done, and whether the old one had a table of uploads.
    """
    from parecido.indexer.catalogue.sqlite.upgrade import install

    fresh = path.with_name(f"{path.name}.new")
    _remove_fresh(path)
    CatalogueWriter(fresh).close()
    try:
        with (
            translate_errors(path),
            closing(sqlite3.connect(path)) as source,
            closing(sqlite3.connect(fresh)) as target,
            target,
        ):
            # lets SQLite read a file that is shorter than its header says
            source.execute("PRAGMA writable_schema = ON")
            target.execute("DELETE FROM uploads")  # of the new one's own making
            kept = _copy_readable(source, target)
            knows_uploads = _has_uploads(source)
            if not target.execute("SELECT 1 FROM facts WHERE key = 'encoder'").fetchone():
                raise LibraryDamaged(
                    f"Nothing usable can be read from {path}.",
                    "Remove the library's folder and index again; your pictures are not affected.",
                )
    except BaseException:
        _remove_fresh(path)
        raise
    moment = time.strftime("%Y%m%d-%H%M%S")
    for number in count():
        aside = f"{path.name}.damaged-{moment}-{os.getpid()}{number or ''}"
        with suppress(NotOurs):
            set_aside(path, aside)
            break
    install(fresh, path)
    done = f"copied {kept} readable pictures into a new catalogue; the old one is {aside}"
    return done, knows_uploads


def _has_uploads(source: sqlite3.Connection) -> bool:
    try:
        source.execute("SELECT 1 FROM uploads LIMIT 1")
    except sqlite3.DatabaseError as error:
        return "no such table" not in str(error)
    return True


def _remove_fresh(path: Path) -> None:
    folder = Path(os.path.realpath(path.parent))
    for kind in FRESH_CATALOGUE:
        remove_own(folder, kind)


def _copy_readable(source: sqlite3.Connection, target: sqlite3.Connection) -> int:
    """Copy the rows of all tables; how many pictures there were."""
    from parecido.indexer.catalogue.sqlite.schema import metadata

    kept = 0
    for table in metadata.sorted_tables:
        columns = [column.name for column in table.columns]
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        for row in _readable_rows(source, table.name, names):
            target.execute(f"INSERT OR IGNORE INTO {table.name} ({names}) VALUES ({marks})", row)
            kept += table.name == "pictures"
    return kept


def _readable_rows(source: sqlite3.Connection, table: str, columns: str) -> Iterator[tuple]:  # type: ignore[type-arg]
    query = f"SELECT rowid, {columns} FROM {table} WHERE rowid >= ? ORDER BY rowid"
    start: int | None = 0
    while start is not None:
        try:
            for row in source.execute(query, (start,)):
                yield row[1:]
                start = row[0] + 1
            return
        except sqlite3.DatabaseError:
            start = _first_readable(source, f"{query} LIMIT 1", start)
            if start is not None:
                # by itself: Python's cursor reads ahead, and would stumble over the next bad page
                row = source.execute(f"{query} LIMIT 1", (start,)).fetchone()
                if row is None:
                    return
                yield row[1:]
                start = row[0] + 1


def _first_readable(source: sqlite3.Connection, query: str, start: int) -> int | None:
    """The smallest rowid from ``start`` on where a row can be read; None where there is none.

    Found by leaps that double, then by halves, so that no row behind a bad page is lost.
    """

    def readable(rowid: int) -> bool:
        try:
            source.execute(query, (rowid,)).fetchone()
            return True
        except sqlite3.DatabaseError:
            return False

    bad, good = start - 1, start
    while not readable(good):
        bad, good = good, start + 2 * (good - start) + 1
        if good > 1 << 40:
            return None
    while good - bad > 1:
        middle = (bad + good) // 2
        bad, good = (bad, middle) if readable(middle) else (middle, good)
    return good
