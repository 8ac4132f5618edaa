"""Make a library of a backup.

It is made in a folder of its own beside its place, and takes the place whole when every digest is
right and all is on the disk; killed before, there is none.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

from parecido.indexer.catalogue.sqlite.connections import SCHEMA_VERSION
from parecido.indexer.errors import InvalidRequest, LibraryDamaged, LibraryTooNew, ParecidoError
from parecido.indexer.library.backup.backup import Progress, tell
from parecido.indexer.library.backup.container import Reading, open_backup
from parecido.indexer.library.backup.errors import check_space, writing_into
from parecido.indexer.library.backup.manifest import Manifest
from parecido.indexer.library.backup.relocate import relocate
from parecido.indexer.library.contents import refuse_foreign
from parecido.indexer.library.indexes import misses_vectors
from parecido.indexer.library.layout import CATALOGUE, UPLOADS, library_path
from parecido.indexer.library.library import Library
from parecido.indexer.library.upkeep import bring_up_to_date
from parecido.indexer.records.backups import Backup
from parecido.indexer.system.own_files import (
    create_file,
    make_folder,
    place_folder,
    scratch_folder,
)
from parecido.indexer.system.paths import absolute

__all__ = ["restore"]

_log = logging.getLogger("parecido")
_NOTHING = "nothing was restored"


def restore(
    file: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
) -> Backup:
    """Make a library of a backup in a new or an empty folder; what is in it.

    Uploaded pictures lie in its own folder of uploads then; all others are where they were.  What
    is derived is made at the end.  Raises :class:`~parecido.InvalidRequest` where anything lies in
    the folder and for a file that is no backup, ``LibraryDamaged`` for a damaged one,
    ``LibraryTooNew``, ``NoSpace``.
    """
    started = time.monotonic()
    source, target = Path(absolute(file)), Path(os.path.realpath(library_path(folder)))
    with open_backup(source) as reading:
        manifest = reading.manifest
        _check_version(manifest, source)
        with writing_into(target, _NOTHING):
            _check_place(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            total = sum(member.bytes for member in manifest.pick_members())
            check_space(target.parent, total, _NOTHING)
            with scratch_folder(f".{target.name}-", target.parent) as scratch:
                work = Path(scratch) / "library"
                make_folder(work)
                _extract(reading, work, total, progress)
                _finish(manifest, work, target)
                place_folder(work, target)
    _derive(target)
    return tell(manifest, target, source.stat().st_size, time.monotonic() - started)


def _check_version(manifest: Manifest, source: Path) -> None:
    if manifest.schema > SCHEMA_VERSION:
        raise LibraryTooNew(
            f"The backup {source} has schema {manifest.schema}, written by a newer parecido; this "
            f"one reads up to {SCHEMA_VERSION}.",
            "Upgrade: pip install --upgrade parecido.",
        )


def _check_place(target: Path) -> None:
    if not os.path.lexists(target):
        return
    if (target / CATALOGUE).exists():
        raise InvalidRequest(
            f"There is a library at {target}, and it stays; {_NOTHING}.",
            "Choose a new or an empty folder.",
        )
    if target.is_dir():
        refuse_foreign(target)
    if not target.is_dir() or os.listdir(target):
        raise InvalidRequest(
            f"{target} is not empty; {_NOTHING}.", "Choose a new or an empty folder."
        )


def _extract(reading: Reading, work: Path, total: int, progress: Progress | None) -> None:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    for member in reading.manifest.pick_members():
        path = work
        for name in member.name.split("/")[:-1]:
            path = path / name
            make_folder(path)
        # synced all together, before they take their place
        with create_file(path / member.name.rpartition("/")[2], sync=False) as file:
            reading.copy(member, file, advance)


def _finish(manifest: Manifest, work: Path, target: Path) -> None:
    """Compare the catalogue with what is said of it, and tell it where its uploads lie."""
    from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter

    with Library.open(work) as library:
        spec = library.encoder
        found = (library.catalogue.counts()[0], spec.fingerprint if spec is not None else None)
        if found != (manifest.pictures, manifest.encoder):
            raise LibraryDamaged(
                "The backup's catalogue is not the one that it was made with; nothing was "
                "restored.",
                "Use another backup.",
            )
        if spec is not None and spec.precision == "int8" and found[0]:
            from parecido.indexer.encoders.building.quantised_model import quantised_model

            quantised_model(spec, work)
    if (work / UPLOADS).is_dir():
        with CatalogueWriter(work / CATALOGUE) as catalogue:
            relocate(catalogue, manifest.uploads, work, target)


def _derive(folder: Path) -> None:
    """The vector index and its like; what cannot be made now, the next run makes."""
    try:
        with Library.open(folder) as library:
            if library.encoder is None:
                return
            if misses_vectors(folder, library.catalogue):
                _log.info("The library is there; its index is made now, and may be later.")
            with library.writer() as writing:
                bring_up_to_date(writing)
    except ParecidoError as error:
        _log.warning("The library is restored; its index was not made: %s", error)
