"""The file of a backup: an uncompressed ZIP, which any archive program opens.

ZIP and no tar, since it ends with its table of contents: a file that was cut short has none, and a
member is found without reading those before it.  Nothing is compressed, because descriptors and
pictures hardly can be; so a member takes the space that it says, and no bomb fits into a file.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Self

from parecido.indexer.errors import InvalidRequest, LibraryDamaged, PathNotFound
from parecido.indexer.library.backup.manifest import MANIFEST, Manifest, Member

__all__ = ["Advance", "Reading", "Writing", "open_backup"]

Advance = Callable[[int], None]
"""Told of so many bytes that were copied; what it raises ends the work."""

_PIECE = 1 << 20
_MANIFEST_BYTES = 1 << 30
# what zipfile raises of a damaged file; the last for a way of packing that its bits name by chance
_NO_ZIP = (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError)


class Writing:
    """A backup that is being written into a file; members go in one after the other."""

    def __init__(self, file: BinaryIO, advance: Advance) -> None:
        self._archive = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True)
        self._advance = advance
        self.members: list[Member] = []

    def add(self, name: str, source: BinaryIO) -> Member:
        """Copy a file's bytes into a member; what was copied."""
        digest, size = hashlib.sha256(), 0
        with self._archive.open(_entry(name), "w", force_zip64=True) as target:
            while piece := source.read(_PIECE):
                digest.update(piece)
                size += len(piece)
                target.write(piece)
                self._advance(len(piece))
        member = Member(name, size, digest.hexdigest())
        member.check()
        self.members.append(member)
        return member

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError, ValueError):  # after a failure nobody wants it
            self._archive.close()
        self._archive.fp = None

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest and the table of contents."""
        with self._archive.open(_entry(MANIFEST), "w") as target:
            target.write(manifest.to_json())
        self._archive.close()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    return entry


class Reading:
    """A backup that is open for reading; nothing of it is believed before its digest is."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path = path
        self._archive = archive
        self._entries = self._check_entries()
        entry = self._entries.get(MANIFEST)
        if entry is None or entry.file_size > _MANIFEST_BYTES:
            raise InvalidRequest(f"{path} is no backup of a library.", "Give a file that it made.")
        with self._expect_whole():
            self.manifest = Manifest.from_json(archive.read(entry))
            self._check_members()

    def _check_entries(self) -> dict[str, zipfile.ZipInfo]:
        entries = self._archive.infolist()
        found = {entry.filename: entry for entry in entries}
        whole = sum(entry.file_size for entry in entries)
        is_plain = all(
            entry.compress_type == zipfile.ZIP_STORED
            and entry.compress_size == entry.file_size
            and not entry.flag_bits & 1
            and entry.orig_filename == entry.filename
            for entry in entries
        )
        if MANIFEST in found and (
            len(found) != len(entries) or not is_plain or whole > self._path.stat().st_size
        ):
            raise self._make_error("its table of contents is not as a backup's")
        return found

    def _check_members(self) -> None:
        members = self.manifest.by_name()
        if set(self._entries) != {*members, MANIFEST}:
            raise ValueError("it holds other files than it says")
        for name, member in members.items():
            if self._entries[name].file_size != member.bytes:
                raise ValueError(f"{name} has another size than it says")

    def copy(self, member: Member, target: BinaryIO, advance: Advance) -> None:
        """Copy a member's bytes, and compare them with its digest.

        Raises :class:`~parecido.LibraryDamaged` where they are others.
        """
        digest, left = hashlib.sha256(), member.bytes
        with self._expect_whole(), self._archive.open(self._entries[member.name]) as source:
            while left and (piece := source.read(min(_PIECE, left))):
                digest.update(piece)
                left -= len(piece)
                target.write(piece)
                advance(len(piece))
        if left or digest.hexdigest() != member.sha256:
            raise self._make_error(f"{member.name} is not what was put into it")

    @contextmanager
    def _expect_whole(self) -> Iterator[None]:
        try:
            yield
        except _NO_ZIP as error:
            raise self._make_error(str(error)) from error

    def _make_error(self, what: str) -> LibraryDamaged:
        return LibraryDamaged(
            f"The backup {self._path} is damaged ({what}); nothing was restored.",
            "Use another backup.",
        )


@contextmanager
def open_backup(path: Path) -> Iterator[Reading]:
    """A backup's file.

    Raises :class:`~parecido.PathNotFound` where there is none, ``InvalidRequest`` for another file
    or one that was cut short, ``LibraryDamaged``.
    """
    if not path.is_file():
        raise PathNotFound(f"There is no file {path}.", "Check the path; nothing was changed.")
    try:
        archive = zipfile.ZipFile(path)
    except _NO_ZIP as error:
        raise InvalidRequest(
            f"{path} is no backup of a library, or was cut short ({error}).",
            "Use another backup.",
        ) from error
    except OSError as error:
        raise InvalidRequest(f"{os.fspath(path)} cannot be read: {error.strerror}.") from error
    with archive:
        yield Reading(path, archive)
