"""What was given to be indexed: what of it is there, and where nothing counts as gone."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from parecido.indexer.catalogue.known import Root
from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.errors import PathNotFound
from parecido.indexer.indexing.options import IndexOptions
from parecido.indexer.indexing.places.files import find_gone_files, is_followed, is_gone_file
from parecido.indexer.indexing.places.likeness import compare, draw_sample
from parecido.indexer.indexing.places.mounts import list_idle_mounts
from parecido.indexer.indexing.places.rules import find_forbidden, read_rules
from parecido.indexer.pictures.walking.rules import Rules
from parecido.indexer.pictures.walking.walk import Walk
from parecido.indexer.records.left_out import EXCLUDED
from parecido.indexer.records.rules import RootRules
from parecido.indexer.system.paths import lies_in, signed64, within

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
    gone: tuple[bytes, ...] = ()
    """Single files that were given, now or before, and are gone."""
    forbidden: tuple[bytes, ...] = ()
    """What was given by somebody who may not get around the rules, and a rule leaves out."""
    kept: Mapping[bytes, RootRules] = field(default_factory=dict)
    """Known roots with the patterns that they keep."""

    def without(self, folder: Path) -> Roots:
        """With known roots in the library's own folder counted as absent unless they are named.

        They are walked when they are named, and never from above.
        """
        own = os.fsencode(folder)
        hidden = [p for p in self.known if within(p, own) and os.fsdecode(p) not in self.present]
        return replace(self, absent=(*self.absent, *hidden))

    def find_left_out(self, walk: Walk) -> list[bytes]:
        """Known roots that a walk from above left out by a rule: they were named, and stay.

        Not so where this very walk was told to exclude them.
        """
        present = set(map(os.fsencode, self.present))
        reasons = {path: walk.left_out.find_reason(path) for path in self.known}
        return [
            path
            for path, why in reasons.items()
            if why and path not in present and not (walk.exclude and why == EXCLUDED)
        ]


def look_at_roots(catalogue: Catalogue, given: Sequence[str], options: IndexOptions) -> Roots:
    """What can be walked of absolute paths.

    Raises :class:`~parecido.PathNotFound` for a path that is neither there nor known.
    """
    known = {root.path: root for root in catalogue.roots()}
    mounts, kept = catalogue.mounts(), read_rules(catalogue)
    rules = Rules(kept, False, lambda _: None, kept)
    absent = find_absent(catalogue)
    present, new, missing = [], [], []
    forbidden = find_forbidden(given, kept, options)
    gone = find_gone_files(catalogue, known.values(), given)
    for path in dict.fromkeys(given):
        raw = os.fsencode(path)
        if raw in gone or raw in forbidden:
            continue
        try:
            status = os.stat(path)
        except OSError as error:
            if is_gone_file(catalogue, raw):
                gone.append(raw)
                continue
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
        own = kept.get(raw, RootRules())
        if stat.S_ISDIR(status.st_mode) and not options.inside:
            own = own.merge(options.exclude, options.include)
        root = Root(raw, signed64(status.st_dev), signed64(status.st_ino), own.to_json())
        if known.get(raw) != root and not is_followed(raw, status, rules, known):
            new.append(root)
    folders = [os.fsencode(folder) for folder in present]
    idle = [raw for raw in list_idle_mounts(mounts, folders) if raw not in absent]
    replaced = _find_other_drives(catalogue, folders)
    present = [path for path in present if os.fsencode(path) not in replaced]
    absent += replaced
    walked = set(map(os.fsencode, present))
    for raw in set(absent).difference(replaced):
        shown = os.fsdecode(raw)
        if lies_in(raw, walked) and shown not in missing:
            missing.append(shown)
    if not options.hidden:
        absent += [raw for raw in known if _is_hidden(raw, walked)]
    return Roots(
        known=tuple(known),
        present=tuple(present),
        new=tuple(root for root in new if root.path not in replaced),
        absent=(*absent, *idle),
        idle_mounts=tuple(idle),
        missing=tuple(sorted(missing)),
        replaced=tuple(map(os.fsdecode, replaced)),
        gone=tuple(gone),
        forbidden=tuple(forbidden),
        kept=kept,
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
    found: list[bytes] = []
    folders = set(walked)
    for path, device, _ in [*(root[:3] for root in catalogue.roots()), *catalogue.mounts()]:
        if path in found or not lies_in(path, folders):
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


def _is_absent(catalogue: Catalogue, root: Root) -> bool:
    """Whether a known root is an unplugged disk rather than an emptied or deleted thing."""
    try:
        status = os.stat(root.path)
        if not os.path.isdir(root.path) or os.listdir(root.path):
            return False
    except FileNotFoundError:
        # a single picture that was given as a root is simply gone when its folder is there
        return not is_gone_file(catalogue, root.path, root.device)
    except OSError:
        return False  # it cannot be listed, which the walk tells
    # the empty folder that a disk was mounted on is another one than the folder that was indexed
    return (signed64(status.st_dev), signed64(status.st_ino)) != (root.device, root.inode)


def _is_hidden(path: bytes, walked: Collection[bytes]) -> bool:
    """Whether a known root lies in a hidden folder below a walked one, and is not walked itself."""
    is_hidden = False
    while path not in walked:
        is_hidden = is_hidden or os.path.basename(path).startswith(b".")
        if (above := os.path.dirname(path)) == path:
            return False
        path = above
    return is_hidden
