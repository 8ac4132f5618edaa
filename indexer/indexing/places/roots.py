"""What was given to be indexed: what of it is there, and where nothing counts as gone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from parecido.indexer.catalogue.known import Root
from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.errors import PathNotFound
from parecido.indexer.indexing.places.likeness import compare, draw_sample
from parecido.indexer.indexing.places.mounts import list_idle_mounts
from parecido.indexer.system.paths import SEPARATOR, signed64, within

__all__ = ["Roots", "find_absent", "list_away", "look_at_roots"]


@dataclass(frozen=True)
class Roots:
    """What was given to a run, sorted."""

    known: tuple[bytes, ...] = ()
    """What earlier runs were given."""
    present: tuple[str, ...] = ()
    """What can be walked."""
    new: tuple[Root, ...] = ()
    """What of that was not known, or is another folder by now."""
    absent: tuple[bytes, ...] = ()
    """Below these nothing counts as gone: unplugged disks, and what is hidden from the walk."""
    idle_mounts: tuple[bytes, ...] = ()
    """Those below walked folders on which something was mounted when they were indexed."""
    missing: tuple[str, ...] = ()
    """What was given or lies below it, is known, and is not there."""
    replaced: tuple[str, ...] = ()
    """So, too; another drive lies in its place, and is not walked."""

    def without(self, folder: Path) -> Roots:
        """With known roots in the library's own folder counted as absent unless they are named.

        They are walked when they are named, and never from above.
        """
        own = os.fsencode(folder)
        hidden = [p for p in self.known if within(p, own) and os.fsdecode(p) not in self.present]
        return replace(self, absent=(*self.absent, *hidden))


def look_at_roots(catalogue: Catalogue, given: Sequence[str], hidden: bool) -> Roots:
    """What can be walked of absolute paths; ``hidden`` is whether the walk goes into hidden ones.

    Raises :class:`~parecido.PathNotFound` for a path that is neither there nor known.
    """
    known = {root.path: root for root in catalogue.roots()}
    mounts = catalogue.mounts()
    absent = find_absent(catalogue)
    present, new, missing = [], [], []
    for path in dict.fromkeys(given):
        raw = os.fsencode(path)
        try:
            status = os.stat(path)
        except OSError as error:
            if raw in known or next(catalogue.under(raw), None):
                missing.append(path)
                absent.append(raw)
                continue
            raise PathNotFound(
                f"{path} is not there.", "Check the path; nothing was changed."
            ) from error
        if raw in absent:
            missing.append(path)
            continue
        present.append(path)
        before = known.get(raw)
        rules = before.rules if before is not None else ""
        root = Root(raw, signed64(status.st_dev), signed64(status.st_ino), rules)
        if before != root and not _is_followed(raw, status, known):
            new.append(root)
    folders = [os.fsencode(folder) for folder in present]
    idle = [raw for raw in list_idle_mounts(mounts, folders) if raw not in absent]
    replaced = _find_other_drives(catalogue, folders)
    present = [path for path in present if os.fsencode(path) not in replaced]
    absent += replaced
    for raw in set(absent).difference(replaced):
        shown = os.fsdecode(raw)
        walked = any(within(raw, os.fsencode(folder)) for folder in present)
        if walked and shown not in missing:
            missing.append(shown)
    if not hidden:
        absent += [raw for raw in known if _is_hidden(raw, present)]
    return Roots(
        known=tuple(known),
        present=tuple(present),
        new=tuple(root for root in new if root.path not in replaced),
        absent=(*absent, *idle),
        idle_mounts=tuple(idle),
        missing=tuple(sorted(missing)),
        replaced=tuple(map(os.fsdecode, replaced)),
    )


def find_absent(catalogue: Catalogue) -> list[bytes]:
    """The known roots that are unplugged disks: below them nothing is gone or damaged."""
    return [root.path for root in catalogue.roots() if _is_absent(catalogue, root)]


def list_away(catalogue: Catalogue) -> list[bytes]:
    """Folders whose pictures are not there now: known roots, and drives below them.

    Because nothing is there, nothing is mounted, or something else lies in their place.
    """
    absent = find_absent(catalogue)
    known = [root.path for root in catalogue.roots()]
    idle = list_idle_mounts(catalogue.mounts(), known)
    return list(dict.fromkeys([*absent, *idle, *_find_other_drives(catalogue, known)]))


def _find_other_drives(catalogue: Catalogue, walked: Sequence[bytes]) -> list[bytes]:
    """Folders in whose places there is another drive than the one that was indexed.

    Only mount points are looked into, and what has the device of another drive: numbers of devices
    are given again, so that the same one tells nothing.
    """
    found = []
    for path, device, _ in [*(root[:3] for root in catalogue.roots()), *catalogue.mounts()]:
        if path in found or not any(within(path, folder) for folder in walked):
            continue
        try:
            status = os.stat(path)
        except OSError:
            continue
        if not stat.S_ISDIR(status.st_mode):
            continue
        if not os.path.ismount(path) and device == signed64(status.st_dev):
            continue  # the same, or a folder of the same file system that somebody put there
        if compare(draw_sample(catalogue, path), path, path).is_other:
            found.append(path)
    return found


def _is_followed(path: bytes, status: os.stat_result, known: Iterable[bytes]) -> bool:
    """Whether a path is a single file that the walk of a known folder comes to anyway."""
    if not stat.S_ISREG(status.st_mode):
        return False
    folders = [os.fsdecode(root) for root in known if root != path and within(path, root)]
    return any(not _is_hidden(path, [folder]) for folder in folders)


def _is_absent(catalogue: Catalogue, root: Root) -> bool:
    """Whether a known root is an unplugged disk rather than an emptied or deleted thing."""
    try:
        status = os.stat(root.path)
        if not os.path.isdir(root.path) or os.listdir(root.path):
            return False
    except FileNotFoundError:
        # a single picture that was given as a root is simply gone when its folder is there
        path = os.fsdecode(root.path)
        return catalogue.picture_at(path) is None or not os.path.isdir(os.path.dirname(path))
    except OSError:
        return False  # it cannot be listed, which the walk tells
    # the empty folder that a disk was mounted on is another one than the folder that was indexed
    return (signed64(status.st_dev), signed64(status.st_ino)) != (root.device, root.inode)


def _is_hidden(path: bytes, walked: Sequence[str]) -> bool:
    """Whether a known root lies in a hidden folder below a walked one, and is not walked itself."""
    if os.fsdecode(path) in walked:
        return False
    for root in walked:
        folder = os.fsencode(root)
        if within(path, folder) and SEPARATOR + b"." in path[len(folder.rstrip(SEPARATOR)) :]:
            return True
    return False
