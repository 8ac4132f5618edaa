"""What is told of pictures beside their pixels, as a run finds it and as the catalogue has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from parecido.indexer.catalogue.changes import Annotate
from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.indexing.id_set import IdSet
from parecido.indexer.indexing.plan import Plan
from parecido.indexer.pictures.metadata.reading import Metadata
from parecido.indexer.pictures.surroundings import Surroundings, tells_itself
from parecido.indexer.records.details import NO_DETAILS
from parecido.indexer.records.pictures import UNKNOWN, Described, FileEntry, Picture, Taken

__all__ = ["Annotations"]


class Annotations:
    """Asks pictures, their names and the files beside them.

    ``write`` is called with what is told otherwise of a picture whose file is as it was.
    """

    def __init__(self, catalogue: Catalogue, plan: Plan, write: Callable[[Annotate], None]) -> None:
        self._catalogue = catalogue
        self._write = write
        self._around = Surroundings(plan.decoder, plan.options.limits, plan.inside)
        details, largest = catalogue.details, catalogue.largest_id()
        self._had_sidecars = _gather(details.find_with_sidecars(), largest)
        self._never_asked = _gather(details.find_unknown(), largest)

    def complete(self, described: Described, entry: FileEntry) -> Described:
        """With what the name of a file and the files beside it tell."""
        own = Metadata(described.taken, described.details)
        found = self._around.complete(entry.path, own)
        if found == own:
            return described
        return replace(described, taken=found.taken, details=found.details)

    def tell_of_copy(self, twin: Picture, entry: FileEntry) -> Metadata:
        """What a file tells that holds the bytes of a known picture, its name apart."""
        details = self._catalogue.details.of([twin.id]).get(twin.id)
        if details is not None and tells_itself(details):
            return Metadata(Taken(twin.taken_at, twin.camera), details)
        # what the twin's own name and sidecars told is not of this file
        found = self._around.look(entry)
        return found or Metadata(UNKNOWN, NO_DETAILS)

    def is_as_before(self, picture_id: int, entry: FileEntry) -> bool:
        """Whether all that tells of an unchanged picture is as it was; what is not is written."""
        stamps = self._around.find(entry.path)
        was_asked = picture_id not in self._never_asked
        if was_asked and not stamps and picture_id not in self._had_sidecars:
            return True
        details = self._catalogue.details.of([picture_id]).get(picture_id)
        if details is not None and details.sidecars == stamps:
            return True
        own = self._around.look(entry)
        if own is None:
            return True  # it cannot be read now
        found = self._around.complete(entry.path, own)
        self._write(Annotate(picture_id, *found))
        (picture,) = self._catalogue.pictures([picture_id])
        before = Metadata(Taken(picture.taken_at, picture.camera), details or NO_DETAILS)
        return found == before


def _gather(ids: Iterable[int], largest: int) -> IdSet:
    """Those ids; the ones that come with this run are above the largest, and never looked up."""
    found = IdSet(largest)
    for picture_id in ids:
        found.add(picture_id)
    return found
