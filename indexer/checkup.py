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
from pathlib import Path

import numpy as np

from indexer.catalogue import Catalogue, unpack
from indexer.changes import Remove
from indexer.database import install
from indexer.errors import LibraryDamaged, LibraryNotFound
from indexer.library import CATALOGUE, Library, library_path, locked
from indexer.records import Problem
from indexer.schema import metadata

__all__ = ["repair", "verify"]

# float16 rounds each of d numbers by at most 2^-11 of itself, so a unit vector's length by less
_LENGTH_TOLERANCE = 1e-3
_CHUNK = 4096


def verify(library: Library) -> list[Problem]:
    """Everything that is wrong with a library; empty where all is well.

    Checks SQLite's own structure, that every picture has one descriptor of the right length, finite
    and of unit length, and that the vector index holds exactly the catalogue's descriptors.  Reads
    every descriptor once.
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
    bad = _bad_descriptors(catalogue, spec.dimension)
    if bad:
        problems.append(
            Problem(f"{len(bad)} descriptors are not of unit length or of another size", True)
        )
        return problems
    return problems + _index_problems(library)


def repair(folder: str | os.PathLike[str] | None = None) -> list[str]:
    """Mend what :func:`verify` finds; what was done, in words.

    A catalogue that SQLite cannot read is set aside and everything readable is copied into a new
    one.  Raises ``LibraryDamaged`` where not even the encoder can be read.
    """
    path = library_path(folder)
    if not (path / CATALOGUE).is_file():
        raise LibraryNotFound(f"There is no library at {path}.", "Make one: parecido index FOLDER.")
    done: list[str] = []
    with locked(path):
        if not _structure_is_sound(path / CATALOGUE):
            done.append(_salvage(path / CATALOGUE))
        with Catalogue(path / CATALOGUE, write=True) as catalogue:
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


def _index_problems(library: Library) -> list[Problem]:
    index = library.vectors()
    expected = library.catalogue.ids()
    if not np.array_equal(index.ids(), expected) or index.count != len(expected):
        what = f"the vector index holds {index.count} descriptors, the catalogue {len(expected)}"
        return [Problem(what, True)]
    for start in range(0, len(expected), _CHUNK):
        ids, vectors = library.catalogue.descriptors(expected[start : start + _CHUNK].tolist())
        if not np.allclose(index.vectors(ids), vectors, atol=index.tolerance):
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
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    Catalogue(fresh, write=True).close()
    kept = 0
    source = sqlite3.connect(path)
    target = sqlite3.connect(fresh)
    try:
        with target:
            for table in metadata.sorted_tables:
                columns = [column.name for column in table.columns]
                names, marks = ", ".join(columns), ", ".join("?" * len(columns))
                for row in _readable_rows(source, table.name, names):
                    target.execute(
                        f"INSERT OR IGNORE INTO {table.name} ({names}) VALUES ({marks})", row
                    )
                    kept += table.name == "pictures"
            if not target.execute("SELECT 1 FROM facts WHERE key = 'encoder'").fetchone():
                raise LibraryDamaged(
                    f"Nothing usable can be read from {path}.",
                    "Remove the library's folder and index again; your pictures are not affected.",
                )
    finally:
        source.close()
        target.close()
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
    try:
        os.link(path, aside)  # so that a catalogue lies at its path at every moment
    except OSError:  # a file system without hard links
        shutil.copy2(path, aside)
    install(fresh, path)
    return f"copied {kept} readable pictures into a new catalogue; the old one is {aside.name}"


def _readable_rows(source: sqlite3.Connection, table: str, columns: str) -> Iterator[tuple]:  # type: ignore[type-arg]
    last, step = 0, 1
    while step < 1 << 40:
        try:
            rows = source.execute(
                f"SELECT rowid, {columns} FROM {table} WHERE rowid > ? ORDER BY rowid", (last,)
            )
            for row in rows:
                yield row[1:]
                last, step = row[0], 1
            return
        except sqlite3.DatabaseError:
            # a bad page: leap over it in growing steps
            last, step = last + step, step * 2
