"""What a walk did not come to: what of it is gone, and what may only be away."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import NamedTuple

from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.indexing.id_set import IdSet
from parecido.indexer.indexing.places.roots import Roots
from parecido.indexer.pictures.walking.walk import Walk
from parecido.indexer.system.paths import below_any

__all__ = ["Missing", "look_at_idle_mounts", "look_for_missing"]


class Missing(NamedTuple):
    """What the catalogue knows below the roots of a walk, and the walk did not come to."""

    pictures: list[int]
    """Ids of those that are gone, ascending."""
    skips: list[bytes]
    """Paths of skips that are gone."""
    kept: list[bytes]
    """Folders that are empty, with pictures that were kept."""
    by_rules: int
    """How many of the pictures a rule leaves out."""


def look_for_missing(
    catalogue: Catalogue, roots: Roots, walk: Walk, seen: IdSet, seen_skips: Collection[bytes]
) -> Missing:
    """What is gone.  What could not be looked at is unknown, and what may come back is kept."""
    unknown = [*roots.absent, *walk.unreadable, *walk.broken, *walk.outside]
    unknown += roots.find_left_out(walk)
    kept: list[bytes] = []
    for folder in walk.empty:
        # it may be the mount point of a drive: who deletes pictures one by one and leaves their
        # folder is rare
        if not below_any(folder, unknown) and next(catalogue.under(folder), None):
            kept.append(folder)
    unknown += kept
    gone: set[int] = set()
    left_out: set[int] = set()
    forgotten: list[bytes] = []
    for raw in [*map(os.fsencode, walk.roots), *roots.gone]:
        for picture_id, path in catalogue.under(raw):
            if picture_id not in seen and not below_any(path, unknown):
                gone.add(picture_id)
                left_out.update([picture_id] if walk.left_out.covers(path) else ())
        for path in catalogue.skips_under(raw):
            if path not in seen_skips and not below_any(path, unknown):
                forgotten.append(path)
    return Missing(sorted(gone), forgotten, kept, len(left_out))


def look_at_idle_mounts(
    catalogue: Catalogue, roots: Roots, seen: IdSet
) -> tuple[list[bytes], list[bytes]]:
    """Of known mount points with nothing mounted: those whose drives are away, and those whose
    pictures are all there, which are drives no more.
    """
    away, filled = [], []
    for folder in roots.idle_mounts:
        under = catalogue.under(folder)
        if any(picture_id not in seen for picture_id, _ in under):
            away.append(folder)
        elif os.path.isdir(folder):
            filled.append(folder)
    return away, filled
