"""Check a library from top to bottom."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np

from parecido.indexer.arrays import Ids, pages
from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.catalogue.sqlite.reading.descriptors import unpack
from parecido.indexer.errors import EncoderUnavailable, LibraryDamaged
from parecido.indexer.library.layout import NEIGHBOURS, THUMBNAILS
from parecido.indexer.library.library import Library
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.records.runs import Problem
from parecido.indexer.regional.codes import is_sound as is_sound_code
from parecido.indexer.system import kinds
from parecido.indexer.system.own_files import is_folder, own_files, read_file
from parecido.indexer.system.sealed import is_sealed, unseal
from parecido.indexer.system.text import plural
from parecido.indexer.vectors.local.index import VectorIndex
from parecido.indexer.vectors.neighbours import is_sound

__all__ = [
    "check_catalogue",
    "check_contents",
    "compare_index",
    "find_bad_descriptors",
    "find_bad_regions",
    "find_damaged_neighbours",
    "find_damaged_thumbnails",
    "verify",
]

# float16 rounds each of d numbers by at most 2^-11 of itself, so a unit vector's length by less
_LENGTH_TOLERANCE = 1e-3
_CHUNK = 4096


def verify(library: Library) -> list[Problem]:
    """Everything that is wrong with a library; empty where all is well.

    Checks SQLite's own structure, the schema, that every row of every table has the digest that it
    was written with and none is missing, that every picture has one descriptor of the right length,
    finite and of unit length, that the vector index holds exactly the catalogue's descriptors, that
    other caches are as they were written, and that a quantised model is the one that made the
    descriptors.  Reads every row once.
    """
    # where the catalogue is damaged, nothing further can be trusted
    return check_catalogue(library) or check_contents(library)


def check_catalogue(library: Library) -> list[Problem]:
    """What of the catalogue's structure and rows is not as it was written."""
    catalogue = library.catalogue
    problems = catalogue.integrity() or catalogue.find_odd_structure()
    return [Problem(line, True) for line in problems or catalogue.examine().tell()]


def check_contents(library: Library) -> list[Problem]:
    """What is wrong with rows that are what was written, and with what is made from them."""
    catalogue, problems = library.catalogue, []
    bare = catalogue.descriptors.find_missing()
    if bare:
        problems.append(Problem(f"{len(bare)} pictures have no descriptor", True))
    spec = catalogue.settings.encoder()
    if spec is None:
        if catalogue.counts()[0]:
            problems.append(Problem("the library does not record its encoder", True))
        return problems
    problems += _model_problems(library, spec)
    try:
        catalogue.settings.space()
    except LibraryDamaged:
        return [*problems, Problem("the library's own space is damaged", True)]
    bad = find_bad_descriptors(catalogue, spec.dimension)
    if bad:
        problems.append(
            Problem(f"{len(bad)} descriptors are not of unit length or of another size", True)
        )
        return problems
    problems += compare_index(catalogue, library.vectors())
    if catalogue.settings.keeps_regions():
        problems += _region_problems(library, spec.dimension)
    if find_damaged_neighbours(library.folder):
        problems.append(Problem("the file of neighbours is damaged", True))
    if thumbnails := find_damaged_thumbnails(library.folder):
        many = plural(len(thumbnails), "thumbnail is", "thumbnails are")
        problems.append(Problem(f"{many} not what was written", True))
    return problems


def find_bad_descriptors(catalogue: Catalogue, dimension: int) -> list[int]:
    bad = []
    for rows in catalogue.descriptors.read_all():
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
    from parecido.indexer.encoders.building.quantised_model import quantised_model

    try:
        quantised_model(spec, library.folder)
    except EncoderUnavailable as error:
        return [Problem(str(error), False)]
    return []


def _region_problems(library: Library, dimension: int) -> list[Problem]:
    catalogue = library.catalogue
    bare = catalogue.regional.find_missing()
    bad = find_bad_regions(catalogue, dimension)
    problems = []
    if bare:
        problems.append(Problem(f"{len(bare)} pictures have no regional descriptors", True))
    if bad:
        what = f"the regional descriptors of {plural(len(bad), 'picture')} are damaged"
        problems.append(Problem(what, True))
    if problems:
        return problems
    try:
        index = library.regions()
        return compare_index(catalogue, index, "index of regions")
    except LibraryDamaged:
        return [Problem("the space of regions is damaged", True)]


def find_bad_regions(catalogue: Catalogue, dimension: int) -> list[int]:
    """Pictures whose regional descriptors are not what an encoder gave."""
    return [
        picture_id
        for page in catalogue.regional.read_all()
        for picture_id, rows, columns, vectors in page
        if rows < 1 or columns < 1 or not is_sound_code(vectors, dimension)
    ]


def compare_index(
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

    def find_differing(part: Ids) -> Ids:
        return index.find_differing(*gallery.of(part.tolist()))

    # Most of it is compressing descriptors again, 0.2 ms of a core each, which NumPy and FAISS do
    # beside Python.  The first by itself: with it the index gets ready.
    parts = list(pages(expected, _CHUNK))
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="verify") as pool:
        for other in chain(map(find_differing, parts[:1]), pool.map(find_differing, parts[1:])):
            if len(other) and np.isin(other, rows.ids(before=index.generation)).any():
                pool.shutdown(cancel_futures=True)
                return [Problem(f"the {name} differs from the catalogue", True)]
    return [] if index.is_file_sound() else [Problem(f"the file of the {name} is damaged", True)]


def find_damaged_neighbours(folder: Path) -> list[Path]:
    """Files of neighbours below a library's folder that are not what was written."""
    return [path for path in own_files(folder / NEIGHBOURS, kinds.NEIGHBOURS) if not is_sound(path)]


def find_damaged_thumbnails(folder: Path) -> list[Path]:
    """Thumbnails below a library's folder that are not what was written.

    One without a whole seal is none of them: it is made again when it is asked for.
    """
    thumbnails = folder / THUMBNAILS
    sizes = sorted(thumbnails.iterdir()) if is_folder(thumbnails) else []
    return [
        path
        for size in sizes
        for path in own_files(size, kinds.THUMBNAILS)
        if is_sealed(data := read_file(path) or b"") and unseal(data) is None
    ]
