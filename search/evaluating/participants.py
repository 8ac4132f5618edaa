"""Who takes part: the pictures of a collection that can be read, in a library of just these."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from parecido.indexer.catalogue.changes import Forget, Remove
from parecido.indexer.errors import EncoderMismatch, InvalidRequest
from parecido.indexer.indexing.pipeline import index
from parecido.indexer.library.library import Library
from parecido.indexer.records.pictures import Skip
from parecido.indexer.records.runs import IndexReport
from parecido.search.evaluating.labelled_pictures import Collection
from parecido.search.evaluating.recipe import Recipe
from parecido.search.evaluating.setup import Conduct

__all__ = ["Participants", "find_participants", "index_collection"]

Ids = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]


def index_collection(
    library: Library, collection: Collection, recipe: Recipe, conduct: Conduct
) -> IndexReport:
    """Bring a library up to date with exactly the pictures of a collection.

    Raises ``InvalidRequest`` where the library was kept from another encoder.
    """
    _leave_only(library, collection)
    files = list(collection.groups)
    # hidden: files that are named are looked at anyway, and it spares asking which of them are
    options = recipe.options(hidden=True, show_output=conduct.show_output)
    encoder, stop = conduct.encoder, conduct.stop
    try:
        with conduct.watch.indexing(recipe, files, library.folder) as progress:
            return index(library, files, options, encoder=encoder, progress=progress, stop=stop)
    except EncoderMismatch as error:
        raise InvalidRequest(
            f"The library {library.folder} was kept from another encoder: {error.message}",
            "Keep the libraries in another folder, or remove this one.",
        ) from error


def _leave_only(library: Library, collection: Collection) -> None:
    """Take out of a library that was kept what is not in the collection."""
    wanted = {os.fsencode(path) for path in collection.groups}
    ids = [i for path, i in _ids_by_path(library).items() if path not in collection.groups]
    skips = [os.fsencode(skip.path) for skip in library.catalogue.list_skips()]
    skips = [path for path in skips if path not in wanted]
    roots = [root.path for root in library.catalogue.roots() if root.path not in wanted]
    if ids or skips or roots:
        with library.writer() as writing:
            writing.catalogue.write([Remove(ids), Forget(skips)])
            writing.catalogue.drop_roots(roots)


def _ids_by_path(library: Library) -> dict[str, int]:
    """The path of each picture of a library → its id."""
    catalogue = library.catalogue
    return {
        picture.path: picture.id
        for picture in catalogue.pictures(catalogue.descriptors.ids().tolist())
    }


@dataclass(frozen=True, eq=False)
class Participants:
    """What of a collection is in the gallery, and what is not."""

    ids: Ids
    """Of the pictures in the gallery, ascending."""
    codes: Codes
    """A picture's id → the number of its group; -1 for distractors and other ids."""
    places: Codes
    """A picture's id → its place in the collection: ids come as workers finish, places do not."""
    paths: Mapping[int, str]
    names: Sequence[str]
    """A group's number → its name."""
    unreadable: tuple[Skip, ...]
    dropped_groups: tuple[str, ...]
    sizes: tuple[int, ...] = field(init=False)

    @property
    def queries(self) -> Ids:
        """Of the pictures that have a group, ascending."""
        return self.ids[self.codes[self.ids] >= 0]

    def name_of(self, picture_id: int) -> str:
        """The name of a picture's group, empty for a distractor's."""
        return self.names[self.codes[picture_id]] if self.codes[picture_id] >= 0 else ""

    def __post_init__(self) -> None:
        counts = Counter(self.codes[self.queries].tolist())
        object.__setattr__(self, "sizes", tuple(sorted(counts.values())))


def find_participants(library: Library, collection: Collection) -> Participants:
    """The pictures that a library holds of a collection, without groups of which one is left.

    Raises ``InvalidRequest`` where fewer than two groups are left.
    """
    held = _ids_by_path(library)
    readable = Counter(group for path, group in collection.groups.items() if path in held and group)
    reasons = {skip.path: skip for skip in library.catalogue.list_skips()}
    unreadable = tuple(
        reasons.get(path, Skip(path, "it is not there any more", "vanished"))
        for path in collection.groups
        if path not in held
    )
    kept = [group for group in collection.sizes if readable[group] >= 2]
    if len(kept) < 2:
        reason = f" ({unreadable[0].path}: {unreadable[0].reason})" if unreadable else ""
        raise InvalidRequest(
            f"Of the groups of {collection.source}, {len(kept)} "
            f"{'has' if len(kept) == 1 else 'have'} two or more pictures that can be read"
            f"{reason}; at least two such groups are needed.",
            "Give pictures that open.",
        )
    numbers = {group: number for number, group in enumerate(kept)}
    codes = np.full(library.catalogue.largest_id() + 1, -1, np.int32)
    places = np.zeros_like(codes)
    paths = {}
    for place, (path, group) in enumerate(collection.groups.items()):
        if path in held and (group in numbers or not group):
            paths[held[path]] = path
            codes[held[path]], places[held[path]] = numbers.get(group, -1), place
    return Participants(
        np.array(sorted(paths), np.int64),
        codes,
        places,
        paths,
        kept,
        unreadable,
        tuple(group for group in collection.sizes if group not in numbers),
    )
