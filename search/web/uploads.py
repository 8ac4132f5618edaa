"""The server's own folder of uploaded pictures.

What comes is first kept under a hidden name, which tells the hash of its content and the name that
it is to have; there it lies when the client gets its answer.  Behind the library's lock it gets its
row in the catalogue, and then its place.  Killed in between, the next server goes on.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import BinaryIO

from parecido.indexer.catalogue.changes import Own
from parecido.indexer.catalogue.known import Root
from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.catalogue.sqlite.reading.uploads import LEAVING, Upload
from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter
from parecido.indexer.system.disk import writing_folder
from parecido.indexer.system.files import content_hash
from parecido.indexer.system.kinds import ARRIVALS, Kind, any_content
from parecido.indexer.system.own_files import (
    create_file,
    is_folder,
    is_own,
    make_folder,
    move_new,
    move_over,
    own_files,
    remove_own,
)
from parecido.indexer.system.paths import signed64
from parecido.search.web.errors import Refused

__all__ = ["Arrival", "Space", "Uploads"]

_SAFE = re.compile(r"[^\w.-]+")
_SHELF = re.compile(r"[0-9a-f]{2}")
_NEW_NAME = re.compile(r"(.+-[0-9a-f]{16})(\.[^.]+)?")
_PIECES_SECONDS = 3600.0
_COUNTED_SECONDS = 10.0  # others may have removed some meanwhile


@dataclass(frozen=True)
class Arrival:
    """Bytes that have come, on their way to their place."""

    path: Path
    """Where they lie, under a hidden name."""
    name: str
    """Of the picture that they become, but for a number behind its stem; or that they replace."""
    content_hash: bytes
    is_new: bool
    stamp: int
    """When they came, nanoseconds since 1970."""

    @property
    def place(self) -> Path:
        """Where they are to lie; of a new picture the first place to look at."""
        return self.path.with_name(self.name)

    def places(self) -> Iterator[Path]:
        """Where they may lie: a new picture where nothing else does."""
        yield self.place
        named = _NEW_NAME.fullmatch(self.name)
        if self.is_new and named is not None:
            for number in count(2):
                yield self.path.with_name(f"{named[1]}-{number}{named[2] or ''}")

    def holds(self, file: BinaryIO) -> bool:
        """Whether a file holds these very bytes."""
        return content_hash(file.read()) == self.content_hash


class Space:
    """What uploaded files take, against what they may; 0 is any."""

    def __init__(self, most: int, catalogue: Catalogue) -> None:
        self._most = most
        self._catalogue = catalogue
        self._lock = threading.Lock()
        self._coming: dict[Path, int] = {}
        self._used = 0
        self._counted: float | None = None

    def take(self, path: Path, size: int) -> None:
        """Take room for a file.  Raises ``Refused`` where there is none."""
        if not self._most:
            return
        with self._lock:
            now = time.monotonic()
            is_old = self._counted is None or now - self._counted > _COUNTED_SECONDS
            if is_old or self._used + size > self._most:
                self._used, self._counted = self._count(), now
            if self._used + size > self._most:
                raise Refused(
                    507,
                    "uploads_full",
                    f"Uploaded pictures may take {self._most / 1e9:.3g} GB, and they do.",
                    "Delete some of them, or raise --max-uploads-gigabytes.",
                )
            self._used += size
            self._coming[path] = size

    def leave(self, path: Path) -> None:
        """What was coming has its place, where it is counted, or is gone."""
        with self._lock:
            self._coming.pop(path, None)

    def _count(self) -> int:
        used = self._catalogue.uploads.picture_bytes() + sum(self._coming.values())
        for path in self._catalogue.uploads.without_picture():
            with suppress(OSError):
                used += os.lstat(path).st_size
        return used


class Uploads:
    """A folder, made when something comes; folders in it by the first two digits of hashes."""

    def __init__(self, folder: Path, space: Space | None = None) -> None:
        self.folder = folder
        self._space = space

    def take(self, data: bytes, name: str) -> Arrival:
        """Keep the bytes of a new picture, which a client calls by a name."""
        digest = content_hash(data)
        stem, suffix = _file_name(name)
        with writing_folder(self.folder):
            shelf = self.folder / digest.hex()[:2]
            self.folder.mkdir(parents=True, exist_ok=True)
            with _explain_errors(shelf):
                make_folder(shelf)
                name = f"{stem}-{digest.hex()[:16]}{suffix}"
                return self._keep(_announce(shelf, name, digest, is_new=True), data)

    def take_other(self, path: Path, data: bytes) -> Arrival:
        """Keep other bytes for an uploaded picture."""
        with writing_folder(self.folder), _explain_errors(path.parent):
            coming = _announce(path.parent, path.name, content_hash(data), is_new=False)
            return self._keep(coming, data)

    def _keep(self, arrival: Arrival, data: bytes) -> Arrival:
        if self._space is not None:
            self._space.take(arrival.path, len(data))
        try:
            with create_file(arrival.path) as file:
                file.write(data)
        except BaseException:
            if self._space is not None:
                self._space.leave(arrival.path)
            raise
        return arrival

    def discard(self, arrival: Arrival) -> None:
        """Let go of bytes that get no place after all."""
        try:
            _remove(arrival.path, arrival.holds)
        finally:
            if self._space is not None:
                self._space.leave(arrival.path)

    def list_arrivals(self, catalogue: Catalogue) -> list[Arrival]:
        """What has come and has no place yet, in the order in which it came; broken pieces go."""
        elsewhere = {
            Path(os.fsdecode(upload.path)).parent for upload in catalogue.uploads.list_uploads()
        }
        found = []
        for shelf in sorted({*self._shelves(), *elsewhere}):
            _remove_pieces(shelf)
            for path in own_files(shelf, ARRIVALS):
                with suppress(OSError):  # another server, which still runs, has given it its place
                    found += _arrival(path)
        return sorted(found, key=lambda arrival: arrival.stamp)

    def list_moves(self, catalogue: Catalogue) -> list[tuple[Upload, Upload]]:
        """Uploads of before the folder was moved, with a library for example, and as they are now.

        Only those that lie here by their old names with the bytes that were uploaded.
        """
        found = []
        for upload in catalogue.uploads.list_uploads():
            path = Path(os.fsdecode(upload.path))
            now = self.folder / path.parent.name / path.name
            if now == path or os.path.lexists(path) or not is_folder(now.parent):
                continue
            raw = os.fsencode(now)
            if upload.holds(_hash_file(now) or b"") and catalogue.uploads.at(raw) is None:
                found.append((upload, upload._replace(path=raw)))
        return found

    @property
    def is_used(self) -> bool:
        """Whether a server has put anything here."""
        return bool(self._shelves())

    def _shelves(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        found = [self.folder / name for name in os.listdir(self.folder) if _SHELF.fullmatch(name)]
        return sorted(path for path in found if is_folder(path))

    def settle(self, arrivals: Sequence[Arrival], writer: CatalogueWriter) -> list[Path | Refused]:
        """Give each its row and then its place; the places, or why there is none.

        What replaces comes in the order in which it came; what is overtaken has its place.
        """
        told: dict[Path, Path | Refused] = {}
        others = [arrival for arrival in arrivals if not arrival.is_new]
        others.sort(key=lambda arrival: arrival.stamp)
        self._settle([arrival for arrival in arrivals if arrival.is_new], writer, told)
        for arrival in others:
            self._settle([arrival], writer, told)
        return [told[arrival.path] for arrival in arrivals]

    def _settle(
        self, arrivals: Sequence[Arrival], writer: CatalogueWriter, told: dict[Path, Path | Refused]
    ) -> None:
        rows: dict[bytes, Upload] = {}
        planned = []
        for arrival in arrivals:
            row = _row_of(arrival, writer, rows)
            if row is not None:
                rows[row.path] = row
            planned.append((arrival, row))
        changes = [Own(row.path, row.content_hash, row.before, row.stamp) for row in rows.values()]
        roots = self._new_root(writer, arrivals)
        if changes or roots:
            writer.write(changes, seen_roots=roots)
        for arrival, row in planned:
            if row is not None and (arrival.stamp < row.stamp or _move(arrival, row)):
                told[arrival.path] = Path(os.fsdecode(row.path))
            else:
                told[arrival.path] = Refused(
                    409,
                    "file_changed",
                    "The file is not the one that was uploaded, and stays as it is.",
                    "Index it again, or remove the picture.",
                )
            self.discard(arrival)

    def _new_root(self, catalogue: Catalogue, arrivals: Sequence[Arrival]) -> list[Root]:
        """The folder as one that is indexed, so that each upload is not a root of its own."""
        raw = os.fsencode(self.folder)
        is_used = any(arrival.path.parent.parent == self.folder for arrival in arrivals)
        if not is_used or any(root.path == raw for root in catalogue.roots()):
            return []
        status = os.stat(self.folder)
        return [Root(raw, signed64(status.st_dev), signed64(status.st_ino))]

    def remove(self, upload: Upload) -> bool:
        """Remove an upload's file if it still holds what was uploaded; whether that is gone."""
        path = Path(os.fsdecode(upload.path))
        _remove(path, lambda file: upload.holds(content_hash(file.read())))
        held = _hash_file(path)
        return held is None or (held != b"" and not upload.holds(held))


@contextmanager
def _explain_errors(shelf: Path) -> Iterator[None]:
    """Say what is wrong with a folder of uploads that takes no file."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, FileExistsError) as error:
        raise Refused(
            409,
            "no_place",
            f"There is no place for it: {shelf.name}, where uploads lie, is no folder.",
            "Ask the operator to look at the folder of uploads.",
        ) from error


def _announce(shelf: Path, name: str, digest: bytes, *, is_new: bool) -> Arrival:
    """What bytes that are to be kept are called until they have their place."""
    kind, stamp = "new" if is_new else "other", time.time_ns()
    path = shelf / f".{name}.{digest.hex()}.{kind}-{stamp:016x}{secrets.token_hex(4)}"
    return Arrival(path, name, digest, is_new, stamp)


def _arrival(path: Path) -> list[Arrival]:
    """What a file of such a name is, if it holds what its name tells."""
    match = ARRIVALS.names.fullmatch(path.name)
    digest = content_hash(path.read_bytes())
    if match is None or digest.hex() != match["hash"]:
        return []
    is_new, stamp = match["kind"] == "new", int(match["stamp"], 16)
    return [Arrival(path, match["name"], digest, is_new, stamp)]


def _hash_file(path: Path) -> bytes | None:
    """The hash of the file that lies there; None where nothing does, empty where no file does."""
    found = []

    def look(file: BinaryIO) -> bool:
        found.append(content_hash(file.read()))
        return True

    is_own(path, look)
    if found:
        return found[0]
    return b"" if os.path.lexists(path) else None


def _row_of(arrival: Arrival, catalogue: Catalogue, others: dict[bytes, Upload]) -> Upload | None:
    """The row of an arrival's place, as it is to be; None where there is no place for it."""
    for path in arrival.places():
        raw = os.fsencode(path)
        row = others.get(raw) or catalogue.uploads.at(raw)
        held = _hash_file(path)
        if row is None:
            if arrival.is_new and held is None:
                return Upload(raw, arrival.content_hash, stamp=arrival.stamp)
            continue
        if row.state == LEAVING or (held is not None and not row.holds(held)):
            continue
        if row.content_hash == arrival.content_hash:
            return row._replace(stamp=max(row.stamp, arrival.stamp))
        if not arrival.is_new and arrival.stamp < row.stamp:
            return row
        if not arrival.is_new:
            return Upload(raw, arrival.content_hash, held or row.content_hash, stamp=arrival.stamp)
    return None


def _move(arrival: Arrival, row: Upload) -> bool:
    """Whether what arrived lies in its place."""
    path = Path(os.fsdecode(row.path))
    if is_own(path, arrival.holds):
        return True  # the same bytes came twice
    try:
        if arrival.is_new:
            move_new(arrival.path, path)
        else:
            move_over(arrival.path, path, lambda file: row.holds(content_hash(file.read())))
    except (FileExistsError, FileNotFoundError):
        return is_own(path, arrival.holds)  # another server was quicker
    return True


def _remove(path: Path, is_made: Callable[[BinaryIO], bool]) -> None:
    remove_own(path.parent, Kind(re.compile(re.escape(path.name)), is_made), unfinished=False)


def _remove_pieces(shelf: Path) -> None:
    """Remove what a server was writing when it was killed; another one may be writing now."""
    whole = {path.name for path in own_files(shelf, ARRIVALS)}
    for path in own_files(shelf, ARRIVALS.while_writing()):
        with suppress(OSError):
            if path.name not in whole and time.time() - path.stat().st_mtime > _PIECES_SECONDS:
                _remove(path, any_content)


def _file_name(name: str) -> tuple[str, str]:
    """What is safe of a name that a client gave: no folder, no leading dot, not too long."""
    base = _SAFE.sub("-", name.replace("\\", "/").rpartition("/")[2]).strip(".-_")
    stem, dot, suffix = base.rpartition(".")
    if not dot or len(suffix) > 8:
        stem, suffix = base, ""
    shortened = stem.encode()[:120].decode("utf-8", "ignore").strip(".-_")
    return shortened or "picture", f".{suffix.lower()}" if suffix else ""
