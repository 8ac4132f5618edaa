"""A folder that has another path by now: its pictures keep their ids, and nothing is read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from parecido.indexer.catalogue.changes import Change, Forget, Move, Remove
from parecido.indexer.catalogue.known import Root
from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.errors import InvalidRequest, PathNotFound
from parecido.indexer.indexing.places.likeness import compare, draw_sample
from parecido.indexer.indexing.places.mounts import identify
from parecido.indexer.indexing.places.roots import list_away
from parecido.indexer.library.library import Library
from parecido.indexer.library.upkeep import bring_up_to_date
from parecido.indexer.library.writing import Writing
from parecido.indexer.system.filesystems import list_mounts_below
from parecido.indexer.system.paths import SEPARATOR, absolute, within

__all__ = ["Relocated", "recognise_roots", "relocate", "relocate_in"]

_TAIL = 3  # folders of a known root's path that may stand behind a given one


def relocate(
    library: Library,
    old: str | os.PathLike[str],
    new: str | os.PathLike[str],
    *,
    force: bool = False,
    wait: bool = False,
) -> int:
    """Let a library know that what lay in ``old`` lies in ``new`` now; how many pictures.

    They keep their ids, and nothing is read but a handful of files, to see that it is so: unless
    ``force`` is given, most must lie there under the same relative paths.  Pictures that were
    indexed in ``new`` meanwhile, under ids of their own, give way.  With ``old`` and ``new`` the
    same, a folder that is taken for another drive's is believed to be the one that was indexed.

    Raises :class:`~parecido.PathNotFound` where the library holds nothing below ``old`` or there is
    no folder ``new``, :class:`~parecido.InvalidRequest` where other files lie there.
    """
    was, is_now = os.fsencode(absolute(old)), os.fsencode(absolute(new))
    if was != is_now and (within(is_now, was) or within(was, is_now)):
        raise InvalidRequest(
            f"One of {os.fsdecode(was)} and {os.fsdecode(is_now)} lies in the other.",
            "Name the folder as it was indexed, and where it lies now.",
        )
    with library.writer(wait=wait) as writing:
        sample = draw_sample(writing.catalogue, was)
        if not sample:
            raise PathNotFound(
                f"The library holds nothing below {os.fsdecode(was)}.",
                "Give a folder as it was indexed; parecido info lists the roots.",
            )
        if not os.path.isdir(is_now):
            raise PathNotFound(
                f"There is no folder {os.fsdecode(is_now)}.", "Check the path; nothing was changed."
            )
        found = compare(sample, was, is_now)
        if not force and not (found.has_copies or (was == is_now and found.there)):
            raise InvalidRequest(
                f"Of {found.looked} pictures of {os.fsdecode(was)} that were looked for, "
                f"{found.alike} lie in {os.fsdecode(is_now)} as they were.",
                "Check the paths; --force believes them all the same.",
            )
        count = relocate_in(writing, was, is_now)
        bring_up_to_date(writing)
    return count


def relocate_in(writing: Writing, old: bytes, new: bytes) -> int:
    """As :func:`relocate`, in one transaction, by who holds the lock and knows that it is so."""
    catalogue = writing.catalogue
    moves: list[Change] = []
    for row in catalogue.files_below(old):
        path = _move_path(row.path, old, new)
        moves.append(Move(row.id, path, row.file_size, row.mtime_ns, row.ctime_ns))
    changes: list[Change] = []
    if old != new:
        taken = {move.path for move in moves if isinstance(move, Move)}
        twins = [picture_id for picture_id, path in catalogue.under(new) if path in taken]
        changes += [Remove(twins)] if twins else []
        aside = {os.fsencode(one.path) for one in catalogue.aside.list_aside()}
        skips = [path for path in catalogue.skips_under(old) if path not in aside]
        changes += [*moves, Forget(skips)]
    roots = catalogue.roots()
    gone = [root.path for root in roots if within(root.path, old)]
    come = [
        Root(path, *identify(os.stat(path)), root.rules)
        for root in roots
        if within(root.path, old) and os.path.exists(path := _move_path(root.path, old, new))
    ]
    kept = {root.path for root in come}
    catalogue.write(changes, seen_roots=come)
    catalogue.drop_roots([path for path in gone if path not in kept])
    catalogue.drop_mounts([mount.path for mount in catalogue.mounts() if within(mount.path, old)])
    return len(moves)


class Relocated(NamedTuple):
    """A root that is not there, and a folder in which there is what was indexed in it."""

    old: bytes
    new: bytes
    is_certain: bool
    """Whether these are the very files; else they may be copies, as in a backup, which does not
    take the ids of an unplugged drive's pictures."""


def recognise_roots(catalogue: Catalogue, given: Sequence[str]) -> list[Relocated]:
    """Which of the given folders, and of the drives below them, hold what lay in folders that are
    away; those of which nothing is known.
    """
    folders = [raw for path in given if os.path.isdir(raw := os.fsencode(path))]
    mounted = [mount for folder in folders for mount in list_mounts_below(folder)]
    fresh = [
        folder
        for folder in dict.fromkeys([*folders, *mounted])
        if next(catalogue.under(folder), None) is None
    ]
    if not fresh:
        return []
    found: list[Relocated] = []
    for root in list_away(catalogue):
        sample = draw_sample(catalogue, root)
        places = _list_places(root, fresh) if sample else []
        taken = {one.new for one in found}
        likely = [(compare(sample, root, place), place) for place in places if place not in taken]
        likely = [one for one in likely if one[0].has_copies]
        if likely:
            best, place = max(likely, key=lambda one: (one[0].has_files, one[0].own))
            found.append(Relocated(root, place, best.has_files))
    return found


def _list_places(root: bytes, folders: Sequence[bytes]) -> list[bytes]:
    """Where a root may lie now: a folder, or one below it that is called as the root was."""
    names = root.strip(SEPARATOR).split(SEPARATOR)
    tails = [SEPARATOR.join(names[-count:]) for count in range(1, min(_TAIL, len(names)) + 1)]
    return [
        place
        for folder in folders
        for place in (folder, *(os.path.join(folder, tail) for tail in tails))
        if os.path.isdir(place)
    ]


def _move_path(path: bytes, old: bytes, new: bytes) -> bytes:
    return new.rstrip(SEPARATOR) + path[len(old.rstrip(SEPARATOR)) :] if path != old else new
