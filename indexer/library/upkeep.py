"""Bring what is derived from a library's descriptors up to date: its space, its vector index.

A new space comes into use with one commit, after the index in it has been written; searches go on
in the old one until then.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np

from parecido.indexer.arrays import Vectors
from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter
from parecido.indexer.errors import NoSpace
from parecido.indexer.learning.chance import LEAST_PICTURES as LEAST_FOR_CHANCE
from parecido.indexer.learning.chance import background, learn_chance
from parecido.indexer.learning.space import (
    LEAST_PICTURES,
    Space,
    auto_dimension,
    has_outgrown,
    learn,
)
from parecido.indexer.learning.space_effect import SAMPLE, Judgement, judged
from parecido.indexer.library.library import NEIGHBOURS, VECTORS, Library
from parecido.indexer.regional.source import are_settled, settle_regions
from parecido.indexer.system.text import plural
from parecido.indexer.vectors.gallery import Gallery
from parecido.indexer.vectors.neighbours import update

__all__ = ["is_settled", "settle"]

_log = logging.getLogger("parecido")

# Descriptors from which a space is learned: forty for each number of a descriptor of 1280.  Their
# moments take 3 s on two cores, and 0.2 GB are read.
_SAMPLE = 50_000
_PAGE = 4096
_ALL = 1 << 20  # dimensions: more than any encoder has


def settle(library: Library, catalogue: CatalogueWriter, *, hurry: bool = False) -> None:
    """Learn the space anew if the library has outgrown it, and write the index if it is worth it.

    In a ``hurry`` only what is a matter of seconds.  To be called behind the writer lock.
    """
    if library.encoder is None:
        return
    if not hurry and _space_is_due(catalogue):
        _change_space(library, catalogue)
    else:
        index = library.vectors(catalogue)
        index.save_if_worthwhile(hurry=hurry)
        index.remove_others()  # of a space that a killed run did not come to use
    if not hurry:
        _learn_chance(library, catalogue)
    if catalogue.settings.thinks_twice() and not hurry:
        index = library.vectors(catalogue)
        update(library.folder / NEIGHBOURS, index.gallery, index)
    settle_regions(library.folder, catalogue, hurry=hurry)


def is_settled(library: Library, catalogue: Catalogue) -> bool:
    """Whether :func:`settle` has nothing to do that an interrupted run may have left."""
    if library.encoder is None:
        return True
    if not library.has_vectors or _space_is_due(catalogue) or _chance_is_due(catalogue):
        return False
    if not are_settled(library.folder, catalogue):
        return False
    if not catalogue.settings.thinks_twice():
        return True
    name = library.gallery(catalogue).file_name(catalogue.generation())
    return (library.folder / NEIGHBOURS / f"{name}.npy").exists()


def _space_is_due(catalogue: Catalogue) -> bool:
    count, space, asked = (
        catalogue.counts()[0],
        catalogue.settings.space(),
        catalogue.settings.dimension(),
    )
    if space is None:
        return asked != "full" and has_outgrown(None, count)
    if asked == "full" or count < LEAST_PICTURES // 2:
        return True
    spec = catalogue.settings.encoder()
    assert spec is not None
    # of those asked for, as many as the pictures that it was learned from allowed
    most = max(1, min(_wanted(catalogue, space.pictures), spec.dimension, space.pictures - 1))
    return space.dimension != most or has_outgrown(space, count)


def _wanted(catalogue: Catalogue, pictures: int) -> int:
    asked = catalogue.settings.dimension()
    return auto_dimension(pictures) if asked == "auto" else int(asked)


def _change_space(library: Library, catalogue: CatalogueWriter) -> None:
    count, asked = catalogue.counts()[0], catalogue.settings.dimension()
    space: Space | None = None
    judgement: Judgement | None = None
    if asked != "full" and count >= LEAST_PICTURES:
        _log.debug("Learning the space of %s.", plural(count, "picture"))
        whole = learn(_sample(catalogue), _ALL, count)
        space = whole.shortened(_wanted(catalogue, count))
        judgement = _judged(catalogue, whole, space)
    spec = catalogue.settings.encoder()
    assert spec is not None
    dimension = space.dimension if space is not None else spec.dimension
    from parecido.indexer.vectors.local.index import VectorIndex

    # first the index, under a name of its own, then the commit that makes searches look for it
    index = VectorIndex(
        library.folder / VECTORS,
        Gallery(catalogue.descriptors, space),
        dimension,
        catalogue.settings.keeps_exact_index,
    )
    index.save_if_worthwhile()
    try:
        catalogue.use_space(space, judgement)
    except NoSpace as error:  # everything else is there, and found as before
        _log.warning("The library's own space could not be kept (%s).", error.message)
        index.remove_files()
        return
    index.remove_others()


def _judged(catalogue: Catalogue, whole: Space, space: Space) -> Judgement:
    ids = np.random.default_rng(0).permutation(catalogue.descriptors.ids())[:SAMPLE]
    found, vectors = catalogue.descriptors.of(ids.tolist())
    labels = [picture.labels for picture in catalogue.pictures(found.tolist())]
    classes = np.array([own[0].class_index if own else -1 for own in labels], np.int64)
    order = np.random.default_rng(1).permutation(len(found))  # the first are the queries
    return judged(whole, space, vectors[order], classes[order])


def _chance_is_due(catalogue: Catalogue) -> bool:
    """Whether the library has outgrown what is known of chance."""
    count, known = catalogue.counts()[0], catalogue.settings.chance()
    if count < LEAST_FOR_CHANCE:
        return False
    return known is None or not known.pictures / 2 <= count < known.pictures * 2


def _learn_chance(library: Library, catalogue: CatalogueWriter) -> None:
    """Learn what chance gives, if it is due."""
    if not _chance_is_due(catalogue):
        return
    count, gallery = catalogue.counts()[0], library.gallery(catalogue)
    drawn = background(catalogue.descriptors.ids())
    learned = learn_chance(gallery.of(drawn.tolist())[1], count, gallery.fingerprint)
    if learned is None:
        return
    try:
        catalogue.learn_chance(learned)
    except NoSpace as error:  # hits come without it
        _log.warning("What chance gives could not be kept (%s).", error.message)


def _sample(catalogue: Catalogue) -> Iterator[Vectors]:
    """Descriptors of the library, or of pictures drawn from it where there are very many."""
    ids = catalogue.descriptors.ids()
    if len(ids) > _SAMPLE:
        ids = np.sort(np.random.default_rng(len(ids)).choice(ids, _SAMPLE, replace=False))
    for start in range(0, len(ids), _PAGE):
        yield catalogue.descriptors.of(ids[start : start + _PAGE].tolist())[1]
