"""Let a catalogue tell where its uploads lie now."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from parecido.indexer.catalogue.changes import Change, Disown, Forget, Move, Own, Withdraw
from parecido.indexer.catalogue.known import Root
from parecido.indexer.catalogue.sqlite.reading.uploads import LEAVING
from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter
from parecido.indexer.library.backup.manifest import UploadEntry
from parecido.indexer.library.layout import UPLOADS
from parecido.indexer.system.paths import signed64

__all__ = ["relocate"]


def relocate(
    catalogue: CatalogueWriter, uploads: Sequence[UploadEntry], work: Path, target: Path
) -> None:
    """Move the rows of uploads that lie in the folder ``work``, which will be ``target``.

    In one transaction.  Pictures keep their ids, and their times where they hold the bytes that
    were indexed; others stay where they are.
    """
    places = {upload.raw_path: os.fsencode(target / upload.member) for upload in uploads}
    _keep_times(catalogue, uploads, work)
    moved = {old: new for old, new in places.items() if old != new}
    if not moved:
        return
    changes: list[Change] = []
    for upload in catalogue.uploads.list_uploads():
        new = moved.get(upload.path)
        if new is None:
            continue
        picture = catalogue.picture_at(os.fsdecode(upload.path))
        if picture is not None:
            changes.append(Move(picture.id, new, picture.file_size, picture.mtime_ns))
        changes += [
            Forget([upload.path]),
            Disown([upload.path]),
            Own(new, upload.content_hash, upload.before, upload.stamp),
        ]
        if upload.state == LEAVING:
            changes.append(Withdraw(new))
    gone, come = _move_roots(catalogue, moved, work, target)
    catalogue.write(changes, seen_roots=come)
    catalogue.drop_roots(gone)


def _keep_times(catalogue: CatalogueWriter, uploads: Sequence[UploadEntry], work: Path) -> None:
    """So that the next run finds them unchanged, and reads what was not indexed yet."""
    for upload in uploads:
        picture = catalogue.picture_at(os.fsdecode(upload.raw_path))
        if picture is not None and picture.content_hash.hex() == upload.content_hash:
            os.utime(work / upload.member, ns=(picture.mtime_ns, picture.mtime_ns))


def _move_roots(
    catalogue: CatalogueWriter, moved: Mapping[bytes, bytes], work: Path, target: Path
) -> tuple[list[bytes], list[Root]]:
    """Roots that were of the old places, and those of the new ones."""
    folder = os.fsencode(target / UPLOADS)
    places = {**moved, **{os.path.dirname(os.path.dirname(old)): folder for old in moved}}
    found = [root.path for root in catalogue.roots() if root.path in places]
    come = []
    for new in {places[path] for path in found}:
        status = os.stat(work / os.path.relpath(os.fsdecode(new), target))
        come.append(Root(new, signed64(status.st_dev), signed64(status.st_ino)))
    # a folder that holds somebody's own pictures too is a root as before
    gone = [root for root in found if all(path in moved for _, path in catalogue.under(root))]
    return [path for path in gone if path not in {root.path for root in come}], come
