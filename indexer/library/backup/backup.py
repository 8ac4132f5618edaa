"""Back a library up into one file, while it is searched and written.

The catalogue is copied as of one commit; uploads are read as its rows tell, and the catalogue again
where they moved on meanwhile.  Caches are left out.  Nobody is locked out, and nothing but the file
is written.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.errors import InvalidRequest, PathNotFound
from parecido.indexer.library.backup.container import Writing
from parecido.indexer.library.backup.errors import check_space, writing_into
from parecido.indexer.library.backup.manifest import CATALOGUE_MEMBER, FORMAT, Manifest, UploadEntry
from parecido.indexer.library.backup.snapshot import copy_catalogue
from parecido.indexer.library.backup.uploads import UploadCopies, upload_bytes
from parecido.indexer.library.layout import CATALOGUE
from parecido.indexer.records.backups import Backup
from parecido.indexer.records.encoder import QUANTISED_FOLDER
from parecido.indexer.system.own_files import create_file, scratch_folder
from parecido.indexer.system.paths import absolute, within
from parecido.indexer.system.text import plural

if TYPE_CHECKING:
    from parecido.indexer.library.library import Library

__all__ = ["Progress", "backup"]

Progress = Callable[[int, int], None]
"""Told of bytes that are done and of all; what it raises ends the work."""

_ROUNDS = 6
_PAUSE = 0.1  # seconds, more each time: a server commits a row and then moves its file
_NOTHING = "no backup was made"


def backup(
    library: Library,
    file: str | os.PathLike[str],
    *,
    allow_missing: bool = False,
    progress: Progress | None = None,
) -> Backup:
    """Write a library into a new file, as of one commit; what is in it.

    Indexing, searches and servers go on.  The file is there whole or not at all.  Raises
    :class:`~parecido.InvalidRequest` where something lies at its path, ``NoSpace``,
    ``LibraryDamaged``, ``EncoderUnavailable`` for a quantised network that is not the one that made
    the descriptors; ``PathNotFound`` where uploaded pictures are not there as they were
    uploaded, unless told to ``allow_missing``.
    """
    path = Path(os.path.realpath(absolute(file)))
    if within(os.fsencode(path), os.fsencode(os.path.realpath(library.folder))):
        raise InvalidRequest(
            f"{path} lies in the library's own folder; {_NOTHING}.", "Choose another place."
        )
    started = time.monotonic()
    with writing_into(path, _NOTHING):
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, "it is there", str(path))
        job = _Job(library, progress)
        check_space(path.parent, job.total, _NOTHING)
        with (
            scratch_folder(f".{path.name}-", path.parent) as scratch,
            create_file(path) as out,
            Writing(out, job.advance) as archive,
        ):
            manifest = _fill(archive, job, Path(scratch), allow_missing)
        size = path.stat().st_size
    return tell(manifest, path, size, time.monotonic() - started)


def tell(manifest: Manifest, path: Path, size: int, seconds: float) -> Backup:
    """What is told of a backup."""
    return Backup(
        os.fspath(path),
        manifest.schema,
        manifest.generation,
        manifest.encoder,
        manifest.pictures,
        manifest.skipped,
        len(manifest.uploads),
        tuple(os.fsdecode(bytes.fromhex(one)) for one in manifest.missing),
        size,
        seconds,
    )


class _Job:
    """What is to be copied, and how much of it is."""

    def __init__(self, library: Library, progress: Progress | None) -> None:
        self.catalogue = library.folder / CATALOGUE
        self.folder = library.folder
        self._progress = progress
        self._done = 0
        uploads = upload_bytes(library.catalogue.uploads.list_uploads())
        # twice: the copy is made beside the file, and then copied into it
        self.total = 2 * self.catalogue.stat().st_size + uploads

    def advance(self, count: int) -> None:
        self._done += count
        self.total = max(self.total, self._done)
        if self._progress is not None:
            self._progress(self._done, self.total)


def _fill(archive: Writing, job: _Job, scratch: Path, allow_missing: bool) -> Manifest:
    copies = UploadCopies(archive)
    for round_ in range(_ROUNDS):
        copy = scratch / "catalogue.sqlite"  # over that of the round before
        copy_catalogue(job.catalogue, copy, job.advance)
        with Catalogue(copy) as catalogue:
            uploads, missing = copies.add(catalogue)
            is_last = round_ == _ROUNDS - 1
            if missing and not is_last:
                time.sleep(_PAUSE * round_)
                continue
            if missing and not allow_missing:
                raise PathNotFound(
                    f"{plural(len(missing), 'uploaded picture')} are not there as they were "
                    f"uploaded, {os.fsdecode(missing[0])} for one; {_NOTHING}.",
                    "Put them back, take them out (parecido remove), or add --allow-missing.",
                )
            manifest = _describe(catalogue, uploads, missing)
            model = _find_model(catalogue, job.folder)
        if model is not None:
            for name in ("model.bin", "model.xml"):
                with (model / name).open("rb") as source:
                    archive.add(f"{QUANTISED_FOLDER}/{name}", source)
        with copy.open("rb") as source:
            archive.add(CATALOGUE_MEMBER, source)
        break
    told = replace(manifest, members=tuple(archive.members))
    told.check()
    archive.finish(told)
    return told


def _find_model(catalogue: Catalogue, folder: Path) -> Path | None:
    """The folder of a quantised model that a library's descriptors were made with.

    Raises :class:`~parecido.EncoderUnavailable` where it is not that one.
    """
    spec = catalogue.settings.encoder()
    if spec is None or spec.precision != "int8" or not catalogue.counts()[0]:
        return None
    from parecido.indexer.encoders.building.quantised_model import quantised_model

    return quantised_model(spec, folder)


def _describe(catalogue: Catalogue, uploads: list[UploadEntry], missing: list[bytes]) -> Manifest:
    spec = catalogue.settings.encoder()
    pictures, skipped = catalogue.counts()
    return Manifest(
        format=FORMAT,
        program=_program(),
        made_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        schema=catalogue.version() or "",
        generation=catalogue.generation(),
        encoder=spec.fingerprint if spec is not None else None,
        pictures=pictures,
        skipped=skipped,
        members=(),
        uploads=tuple(uploads),
        missing=tuple(path.hex() for path in missing),
    )


def _program() -> str:
    try:
        return version("parecido")
    except PackageNotFoundError:
        return ""
