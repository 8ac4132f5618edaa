"""Check a library from top to bottom, and mend it.

What ``repair`` cannot keep it removes from the catalogue, so that the next indexing run reads those
files again.  Pictures are never touched.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from indexer.catalogue import Catalogue, unpack
from indexer.changes import Remove
from indexer.errors import EncoderUnavailable, LibraryDamaged, LibraryNotFound
from indexer.library import CATALOGUE, Library, library_path, locked
from indexer.records import Problem
from indexer.spec import EncoderSpec
from indexer.sqlite import explained
from indexer.writer import CatalogueWriter

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
    bare = catalogue.without_descriptor()
    if bare:
        problems.append(Problem(f"{len(bare)} pictures have no descriptor", True))
    spec = catalogue.encoder()
    count = catalogue.counts()[0]
    if spec is None:
        if count:
            problems.append(Problem("the library does not tell its encoder", False))
        return problems
    problems += _model_problems(library, spec)
    bad = _bad_descriptors(catalogue, spec.dimension)
    if bad:
        problems.append(
            Problem(f"{len(bad)} descriptors are not of unit length or of another size", True)
        )
        return problems
    return problems + _index_problems(library)


def repair(folder: str | os.PathLike[str] | None = None, *, wait: bool = False) -> list[str]:
    """Mend what :func:`verify` finds; what was done, in words.

    A catalogue that SQLite cannot read is set aside and everything readable is copied into a new
    one.  Raises ``LibraryDamaged`` where not even the encoder can be read.
    """
    path = library_path(folder)
    if not (path / CATALOGUE).is_file():
        raise LibraryNotFound(f"There is no library at {path}.", "Make one: parecido index FOLDER.")
    done: list[str] = []
    with locked(path, wait):
        if not _structure_is_sound(path / CATALOGUE):
            done.append(_salvage(path / CATALOGUE))
            with Library(path, Catalogue(path / CATALOGUE)) as salvaged:
                salvaged.remove_vectors()  # it has lost pictures
        with CatalogueWriter(path / CATALOGUE) as catalogue:
            orphans = catalogue.drop_orphans()
            if orphans:
                done.append(f"removed {orphans} rows that belonged to nothing")
            spec = catalogue.encoder()
            bad = _bad_descriptors(catalogue, spec.dimension) if spec else []
            if bad:
                catalogue.write([Remove(bad)])
                done.append(f"removed {len(bad)} pictures with bad descriptors")
            if spec:
                library = Library(path, catalogue)
                if _index_problems(library):
                    library.remove_vectors()
                    done.append("built the vector index again")
                library.vectors().save()
    return done


def _bad_descriptors(catalogue: Catalogue, dimension: int) -> list[int]:
    bad = []
    for rows in catalogue.raw_descriptors():
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
    from indexer.encoders.quantise import quantised_model

    try:
        quantised_model(spec, library.folder)
    except EncoderUnavailable as error:
        return [Problem(str(error), False)]
    return []


def _index_problems(library: Library) -> list[Problem]:
    """Compare the vector index with the catalogue, as of the generation that it shows.

    A writer may commit meanwhile: what is newer than that generation may be in the index or not,
    and what was replaced or removed since may still be there.
    """
    catalogue, index = library.catalogue, library.vectors()
    held, expected = index.ids(), catalogue.ids(before=index.generation)
    moved_on = catalogue.generation() != index.generation
    lost = np.setdiff1d(expected, held)
    surplus = np.setdiff1d(held, expected)
    if len(lost) or (len(surplus) and not moved_on) or index.count != len(np.unique(held)):
        what = f"the vector index holds {index.count} descriptors, the catalogue {len(expected)}"
        return [Problem(what, True)]
    for start in range(0, len(expected), _CHUNK):
        ids, vectors = catalogue.descriptors(expected[start : start + _CHUNK].tolist())
        other = index.differing(ids, vectors)
        if len(other) and np.isin(other, catalogue.ids(before=index.generation)).any():
            return [Problem("the vector index differs from the catalogue", True)]
    return []


# -- salvage -------------------------------------------------------------------------------------


def _structure_is_sound(path: Path) -> bool:
    try:
        with Catalogue(path) as catalogue:
            return not [line for line in catalogue.integrity() if line.startswith("SQLite")]
    except LibraryDamaged:
        return False


def _salvage(path: Path) -> str:
    """Copy every readable row into a new catalogue that takes the damaged one's place."""
    from indexer.database import install

    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    CatalogueWriter(fresh).close()
    try:
        with (
            explained(path),
            closing(sqlite3.connect(path)) as source,
            closing(sqlite3.connect(fresh)) as target,
            target,
        ):
            # lets SQLite read a file that is shorter than its header says
            source.execute("PRAGMA writable_schema = ON")
            kept = _copy_readable(source, target)
            if not target.execute("SELECT 1 FROM facts WHERE key = 'encoder'").fetchone():
                raise LibraryDamaged(
                    f"Nothing usable can be read from {path}.",
                    "Remove the library's folder and index again; your pictures are not affected.",
                )
    except BaseException:
        fresh.unlink()
        raise
    moment = time.strftime("%Y%m%d-%H%M%S")
    aside = path.with_name(f"{path.name}.damaged-{moment}-{os.getpid()}")
    try:
        os.link(path, aside)  # so that a catalogue lies at its path at every moment
    except OSError:  # a file system without hard links
        shutil.copy2(path, aside)
    install(fresh, path)
    return f"copied {kept} readable pictures into a new catalogue; the old one is {aside.name}"


def _copy_readable(source: sqlite3.Connection, target: sqlite3.Connection) -> int:
    """Copy the rows of all tables; how many pictures there were."""
    from indexer.schema import metadata

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
