"""What is derived from a library's descriptors, each of which knows when it is due.

A new space comes into use with one commit, after the index in it has been written; searches go on
in the old one until then.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from parecido.indexer.arrays import Vectors, pages, sample
from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.errors import NoSpace
from parecido.indexer.learning.chance import LEAST_PICTURES as LEAST_FOR_CHANCE
from parecido.indexer.learning.chance import background, learn_chance
from parecido.indexer.learning.regional_space import learn_regional
from parecido.indexer.learning.space import (
    LEAST_PICTURES,
    Space,
    auto_dimension,
    has_outgrown,
    learn,
)
from parecido.indexer.learning.space_effect import SAMPLE, Judgement, judge
from parecido.indexer.library.indexes import has_regions, has_vectors, regions_in, vectors_in
from parecido.indexer.library.layout import NEIGHBOURS, REGIONS
from parecido.indexer.library.writing import Writing
from parecido.indexer.system.kinds import INDEXES
from parecido.indexer.system.own_files import own_files
from parecido.indexer.system.text import plural
from parecido.indexer.vectors.neighbours import update

if TYPE_CHECKING:
    from parecido.indexer.vectors.local.index import VectorIndex

__all__ = ["Derived", "bring_up_to_date", "is_up_to_date", "list_derivations"]

_log = logging.getLogger("parecido")

# Descriptors from which a space is learned: forty for each number of a descriptor of 1280.  Their
# moments take 3 s on two cores, and 0.2 GB are read.
_SAMPLE = 50_000
_REGIONAL_SAMPLE = 8192  # of whole pictures, for the space of regions: 42 MB of 1280 numbers
_PAGE = 4096
_ALL = 1 << 20  # dimensions: more than any encoder has


class Derived(Protocol):
    """Something that the catalogue gives again at any time."""

    def is_due(self) -> bool:
        """Whether there is something to do that an interrupted run may have left."""

    def bring_up_to_date(self, *, hurry: bool) -> None:
        """Do it; in a ``hurry`` only what is a matter of seconds."""


def list_derivations(writing: Writing) -> list[Derived]:
    """All that a library derives from its descriptors, in the order in which it is made."""
    if writing.encoder is None:
        return []
    return [PictureIndex(writing), Chance(writing), NeighbourLists(writing), RegionIndex(writing)]


def bring_up_to_date(writing: Writing, *, hurry: bool = False) -> None:
    """Bring all that is derived up to date; in a ``hurry`` only what is a matter of seconds."""
    for one in list_derivations(writing):
        one.bring_up_to_date(hurry=hurry)


def is_up_to_date(writing: Writing) -> bool:
    """Whether nothing is due."""
    return not any(one.is_due() for one in list_derivations(writing))


class _Learned(NamedTuple):
    """What an index will be in; None is the encoder's own space."""

    space: Space | None
    effect: Judgement | None = None


class _Index(ABC):
    """An index, and the space of its own that it is in."""

    def __init__(self, writing: Writing) -> None:
        self._writing = writing
        self._catalogue = writing.catalogue

    def is_due(self) -> bool:
        return not self._has_file() or self._is_space_due()

    def bring_up_to_date(self, *, hurry: bool) -> None:
        if not hurry and self._is_space_due() and self._change_space():
            return
        index = self._open()
        index.save_if_worthwhile(hurry=hurry)
        index.remove_others()  # of a space that a killed run did not come to use

    def _change_space(self) -> bool:
        """Learn the space anew, and let searches use it; whether there was anything to learn."""
        learned = self._learn()
        if learned is None:
            return False
        # first the index, under a name of its own, then the commit that makes searches look for it
        index = self._open_in(learned.space)
        index.save_if_worthwhile()
        try:
            self._use(learned)
        except NoSpace as error:  # everything else is there, and found as before
            _log.warning("The library's own space could not be kept (%s).", error.message)
            index.remove_files()
        else:
            index.remove_others()
        return True

    @abstractmethod
    def _has_file(self) -> bool: ...

    @abstractmethod
    def _is_space_due(self) -> bool: ...

    @abstractmethod
    def _learn(self) -> _Learned | None: ...

    @abstractmethod
    def _open(self) -> VectorIndex: ...

    @abstractmethod
    def _open_in(self, space: Space | None) -> VectorIndex: ...

    @abstractmethod
    def _use(self, learned: _Learned) -> None: ...


class PictureIndex(_Index):
    """The index of pictures, and the space in which they are compared."""

    def _has_file(self) -> bool:
        return has_vectors(self._writing.folder, self._catalogue)

    def _is_space_due(self) -> bool:
        settings, count = self._catalogue.settings, self._catalogue.descriptors.count()
        space, asked = settings.space(), settings.dimension()
        if space is None:
            return asked != "full" and has_outgrown(None, count)
        if asked == "full" or count < LEAST_PICTURES // 2:
            return True
        spec = settings.encoder()
        assert spec is not None
        # of those asked for, as many as the pictures that it was learned from allowed
        most = max(
            1, min(self._resolve_dimension(space.pictures), spec.dimension, space.pictures - 1)
        )
        return space.dimension != most or has_outgrown(space, count)

    def _resolve_dimension(self, pictures: int) -> int:
        asked = self._catalogue.settings.dimension()
        return auto_dimension(pictures) if asked == "auto" else int(asked)

    def _learn(self) -> _Learned:
        count = self._catalogue.descriptors.count()
        if self._catalogue.settings.dimension() == "full" or count < LEAST_PICTURES:
            return _Learned(None)
        _log.debug("Learning the space of %s.", plural(count, "picture"))
        whole = learn(_draw(self._catalogue, _SAMPLE), _ALL, count)
        space = whole.shorten(self._resolve_dimension(count))
        return _Learned(space, _effect(self._catalogue, whole, space))

    def _open(self) -> VectorIndex:
        return self._writing.vectors()

    def _open_in(self, space: Space | None) -> VectorIndex:
        return vectors_in(space, self._writing.folder, self._catalogue, is_writer=True)

    def _use(self, learned: _Learned) -> None:
        self._catalogue.use_space(learned.space, learned.effect)


class RegionIndex(_Index):
    """The index of regions and its space; nothing where the library keeps no regions."""

    def is_due(self) -> bool:
        if not self._catalogue.settings.keeps_regions():
            return bool(own_files(self._writing.folder / REGIONS, INDEXES))
        has_pictures = self._catalogue.descriptors.count() > 0
        return (has_pictures and not self._has_file()) or self._is_space_due()

    def bring_up_to_date(self, *, hurry: bool) -> None:
        if self._catalogue.settings.keeps_regions():
            super().bring_up_to_date(hurry=hurry)
        else:
            self._writing.remove_regions()

    def _has_file(self) -> bool:
        return has_regions(self._writing.folder, self._catalogue)

    def _is_space_due(self) -> bool:
        count = self._catalogue.descriptors.count()
        space = self._catalogue.settings.space("regional_space")
        if space is not None and count < LEAST_PICTURES // 2:
            return True
        return has_outgrown(space, count)

    def _learn(self) -> _Learned | None:
        """None where all pictures are the same: they have no directions."""
        count = self._catalogue.descriptors.count()
        space = None
        if count >= LEAST_PICTURES:
            rows = np.concatenate(list(_draw(self._catalogue, _REGIONAL_SAMPLE)))
            space = learn_regional(rows, count)
        if space is None and not self._catalogue.settings.regional_space_fingerprint():
            return None
        _log.debug("The regions of %s are compared in a new space.", plural(count, "picture"))
        return _Learned(space)

    def _open(self) -> VectorIndex:
        return self._writing.regions()

    def _open_in(self, space: Space | None) -> VectorIndex:
        return regions_in(space, self._writing.folder, self._catalogue, is_writer=True)

    def _use(self, learned: _Learned) -> None:
        self._catalogue.use_regional_space(learned.space)


class Chance:
    """What chance gives in the space in use."""

    def __init__(self, writing: Writing) -> None:
        self._writing = writing
        self._catalogue = writing.catalogue

    def is_due(self) -> bool:
        """Whether the library has outgrown what is known."""
        count, known = self._catalogue.descriptors.count(), self._catalogue.settings.chance()
        if count < LEAST_FOR_CHANCE:
            return False
        return known is None or not known.pictures / 2 <= count < known.pictures * 2

    def bring_up_to_date(self, *, hurry: bool) -> None:
        if hurry or not self.is_due():
            return
        count, gallery = self._catalogue.descriptors.count(), self._writing.gallery()
        drawn = background(self._catalogue.descriptors.ids())
        learned = learn_chance(gallery.of(drawn.tolist())[1], count, gallery.fingerprint)
        if learned is None:
            return
        try:
            self._catalogue.learn_chance(learned)
        except NoSpace as error:  # hits come without it
            _log.warning("What chance gives could not be kept (%s).", error.message)


class NeighbourLists:
    """The nearest neighbours of every picture, where searches expand and re-rank."""

    def __init__(self, writing: Writing) -> None:
        self._writing = writing
        self._folder = writing.folder / NEIGHBOURS

    def is_due(self) -> bool:
        catalogue = self._writing.catalogue
        if not catalogue.settings.reranks_by_default():
            return False
        name = self._writing.gallery().file_name(catalogue.generation())
        return not (self._folder / f"{name}.npy").exists()

    def bring_up_to_date(self, *, hurry: bool) -> None:
        if not hurry and self._writing.catalogue.settings.reranks_by_default():
            index = self._writing.vectors()
            update(self._folder, index.gallery, index)


def _draw(catalogue: Catalogue, most: int) -> Iterator[Vectors]:
    """Descriptors of the library, or of pictures drawn from it where there are very many."""
    ids = catalogue.descriptors.ids()
    for page in pages(sample(ids, most, seed=len(ids)), _PAGE):
        yield catalogue.descriptors.of(page.tolist())[1]


def _effect(catalogue: Catalogue, whole: Space, space: Space) -> Judgement:
    """What the space loses or gains, on pictures drawn from the library."""
    ids = np.random.default_rng(0).permutation(catalogue.descriptors.ids())[:SAMPLE]
    found, vectors = catalogue.descriptors.of(ids.tolist())
    labels = [picture.labels for picture in catalogue.pictures(found.tolist())]
    classes = np.array([own[0].class_index if own else -1 for own in labels], np.int64)
    order = np.random.default_rng(1).permutation(len(found))  # the first are the queries
    return judge(whole, space, vectors[order], classes[order])
