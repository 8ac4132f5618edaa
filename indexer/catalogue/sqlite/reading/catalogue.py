"""All questions to the catalogue, the only truth of a library.

What is asked is plain SQL on SQLite's own driver, so that a search starts without SQLAlchemy;
what is written goes through :mod:`parecido.indexer.catalogue.sqlite.writing.writer`.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from parecido.indexer.arrays import Ids
from parecido.indexer.catalogue.known import FileRow, Known, Mount, Root
from parecido.indexer.catalogue.sqlite.connections import SCHEMA_VERSION, Connections, check_version
from parecido.indexer.catalogue.sqlite.errors import translate_errors
from parecido.indexer.catalogue.sqlite.queries import chunks, marks, pages
from parecido.indexer.catalogue.sqlite.reading.aside import SET_ASIDE, AsideRows
from parecido.indexer.catalogue.sqlite.reading.checked import picture_of
from parecido.indexer.catalogue.sqlite.reading.conditions import likelihood, mention, where
from parecido.indexer.catalogue.sqlite.reading.descriptors import Descriptors
from parecido.indexer.catalogue.sqlite.reading.details import DetailRows
from parecido.indexer.catalogue.sqlite.reading.looks import LookRows
from parecido.indexer.catalogue.sqlite.reading.regional import RegionalRows
from parecido.indexer.catalogue.sqlite.reading.settings import Settings
from parecido.indexer.catalogue.sqlite.reading.uploads import UploadRows
from parecido.indexer.catalogue.sqlite.sealing.check import Damage, examine, is_sealed
from parecido.indexer.catalogue.sqlite.sealing.structure import find_odd_structure
from parecido.indexer.errors import LibraryDamaged
from parecido.indexer.records.filters import LIKELY, Filter
from parecido.indexer.records.pictures import Picture, Skip
from parecido.indexer.system.paths import bounds_below

__all__ = ["Catalogue"]


class Catalogue:
    """The catalogue file of a library, open for reading.  Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connections = Connections(path)
        self.settings = Settings(self._connections)
        self.descriptors = Descriptors(self._connections)
        self.regional = RegionalRows(self._connections)
        self.details = DetailRows(self._connections)
        self.looks = LookRows(self._connections)
        self.uploads = UploadRows(self._connections)
        self.aside = AsideRows(self._connections)
        try:
            self._check_version()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._connections.close()

    def generation(self) -> int:
        """A number that rises with every committed change of pictures or descriptors."""
        return self.descriptors.generation()

    def _check_version(self) -> None:
        found = self.version()
        if found is None:
            raise LibraryDamaged(
                f"{self.path} is not a parecido catalogue.",
                "Choose another library, or remove the file and index again.",
            )
        check_version(found, self.path)

    @property
    def is_outdated(self) -> bool:
        """Whether an older program wrote it: a writer must bring it up to date before questions."""
        return self.version() != SCHEMA_VERSION

    def version(self) -> str | None:
        """What it tells as the revision of its schema; None where the file is no catalogue."""
        if not self._rows("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"):
            return None
        rows = self._rows("SELECT version_num FROM alembic_version")
        return str(rows[0][0]) if rows else ""

    def _rows(self, query: str, values: Sequence[Any] = (), *kinds: type) -> list[Any]:
        rows: list[Any] = self._connections.rows(query, values, kinds)
        return rows

    def _pictures(self, query: str, values: Sequence[Any] = ()) -> list[Picture]:
        return [picture_of(row, self.path) for row in self._rows(f"{_PICTURE} {query}", values)]

    # -- counting --------------------------------------------------------------------------------

    def counts(self) -> tuple[int, int]:
        """How many pictures and how many skipped files."""
        query = "SELECT (SELECT count(*) FROM pictures), (SELECT count(*) FROM skips)"
        pictures, skips = self._rows(query)[0]
        return pictures, skips

    def largest_id(self) -> int:
        """The largest id given so far, 0 in an empty catalogue."""
        return int(self._rows("SELECT coalesce(max(id), 0) FROM pictures")[0][0])

    # -- finding ---------------------------------------------------------------------------------

    def known(self, path: bytes) -> Known | None:
        """What is known of that path."""
        query = (
            f"SELECT {_KNOWN} FROM pictures WHERE path = ?"
            f" UNION ALL SELECT {_SKIPPED} FROM skips"
            f" WHERE path = ? UNION ALL SELECT {_ASIDE} FROM aside WHERE path = ?"
        )
        rows = self._rows(query, (path, path, path))
        return Known(*rows[0]) if rows else None

    def known_below(self, folder: bytes) -> Iterator[tuple[Any, ...]]:
        """Everything known below a folder, in byte order of the paths.

        Tuples of the path and a :class:`Known`'s fields; plain ones, because there may be millions.
        """
        low, high = bounds_below(folder)
        query = (
            f"SELECT path, {_KNOWN} FROM pictures"
            " WHERE path > ? AND path < ?"
            f" UNION ALL SELECT path, {_SKIPPED} FROM skips"
            " WHERE path > ? AND path < ?"
            f" UNION ALL SELECT path, {_ASIDE} FROM aside WHERE path > ? AND path < ?"
            " ORDER BY path LIMIT ?"
        )
        for page in pages(
            lambda last, size: self._rows(query, (*(last, high) * 3, size), bytes), low
        ):
            yield from page

    def hashes_between(self, low: bytes, high: bytes) -> list[tuple[bytes, bytes]]:
        """Paths and hashes of the pictures between two paths, both exclusive."""
        query = "SELECT path, content_hash FROM pictures WHERE path > ? AND path < ?"
        return self._rows(query, (low, high))

    def has_bytes(self, content_hash: bytes) -> bool:
        """Whether there is a picture with these very bytes."""
        query = "SELECT 1 FROM pictures WHERE content_hash = ? LIMIT 1"
        return bool(self._rows(query, (content_hash,)))

    def twins(self, content_hash: bytes, after: int = 0) -> list[tuple[int, bytes]]:
        """Ids and paths of the pictures with these very bytes and a larger id, by id."""
        query = "SELECT id, path FROM pictures WHERE content_hash = ? AND id > ? ORDER BY id"
        return self._rows(query, (content_hash, after))

    def twin(self, content_hash: bytes) -> Picture | None:
        """The first picture with these very bytes."""
        rows = self._pictures("WHERE content_hash = ? ORDER BY id LIMIT 1", (content_hash,))
        return rows[0] if rows else None

    def content_hash(self, picture_id: int) -> bytes | None:
        """The hash of a picture's file."""
        rows = self._rows("SELECT content_hash FROM pictures WHERE id = ?", (picture_id,))
        return rows[0][0] if rows else None

    def pictures(self, ids: Sequence[int]) -> list[Picture]:
        """The pictures with these ids, in that order; ids that are gone are left out."""
        found = {}
        for chunk in chunks(ids):
            for picture in self._pictures(f"WHERE id IN ({marks(chunk)})", chunk):
                found[picture.id] = picture
        return [found[i] for i in ids if i in found]

    def picture_at(self, path: str) -> Picture | None:
        """The picture at that absolute path, if it is indexed."""
        rows = self._pictures("WHERE path = ?", (os.fsencode(path),))
        return rows[0] if rows else None

    def find_matches(self, wanted: Filter) -> Ids:
        """Ids of the pictures that pass a filter, ascending."""
        condition, values = where(wanted)
        rows = self._rows(f"SELECT id FROM pictures WHERE {condition} ORDER BY id", values)
        return np.fromiter((row[0] for row in rows), np.int64, len(rows))

    def files_after(self, last_id: int, limit: int) -> list[FileRow]:
        """The files of up to so many pictures with larger ids, by id."""
        query = f"SELECT {_FILE} FROM pictures WHERE id > ? ORDER BY id LIMIT ?"
        rows = self._rows(query, (last_id, limit), int, bytes, int, int, bytes)
        return [FileRow(*row) for row in rows]

    def count_after(self, last_id: int) -> int:
        """How many pictures have larger ids."""
        return int(self._rows("SELECT count(*) FROM pictures WHERE id > ?", (last_id,))[0][0])

    def list_pictures(
        self, wanted: Filter, order: str, limit: int, offset: int = 0
    ) -> list[Picture]:
        """Pictures that pass a filter, by ``path`` or as they were ``added``, newest first."""
        condition, values = where(wanted)
        query = f"WHERE {condition} ORDER BY {_ORDERS[order]} LIMIT ? OFFSET ?"
        return self._pictures(query, (*values, limit, offset))

    def handful(self, wanted: Filter, count: int) -> list[Picture]:
        """Up to so many pictures that pass a filter, drawn at random."""
        if not wanted.passes_all:
            ids = self.find_matches(wanted).tolist()
        elif self.counts()[0] <= 2 * count:
            ids = self.descriptors.ids().tolist()
        else:  # points on the line of ids, and what comes next: no look at a million rows
            largest = self.largest_id()
            found: set[int] = set()
            while len(found) < count:
                query = "SELECT min(id) FROM pictures WHERE id >= ?"
                found.add(self._rows(query, (random.randint(1, largest),))[0][0])
            ids = list(found)
        return self.pictures(random.sample(ids, min(count, len(ids))))

    def under(self, path: bytes) -> Iterator[tuple[int, bytes]]:
        """Ids and paths of the pictures at that path or below it, in byte order of the paths."""
        yield from self._rows("SELECT id, path FROM pictures WHERE path = ?", (path,), int)
        yield from self._read_pages("SELECT id, path FROM pictures", path)

    def skips_under(self, path: bytes) -> Iterator[bytes]:
        """Paths of what is skipped or set aside at that path or below it."""
        for table in ("skips", "aside"):
            for row in self._rows(f"SELECT path FROM {table} WHERE path = ?", (path,)):
                yield row[0]
            for row in self._read_pages(f"SELECT path FROM {table}", path):
                yield row[0]

    def _read_pages(self, query: str, folder: bytes, key: int = -1) -> Iterator[Any]:
        low, high = bounds_below(folder)
        query = f"{query} WHERE path > ? AND path < ? ORDER BY path LIMIT ?"
        for page in pages(lambda last, size: self._rows(query, (last, high, size)), low, key=key):
            yield from page

    def list_skips(self) -> list[Skip]:
        """Every remembered skip, by path."""
        query = "SELECT path, reason, kind FROM skips ORDER BY path"
        rows = self._rows(query, (), bytes, str, str)
        return [Skip(os.fsdecode(path), reason, kind) for path, reason, kind in rows]

    def roots(self) -> list[Root]:
        """What was given to be indexed, by path."""
        query = "SELECT path, device, inode, rules FROM roots ORDER BY path"
        return [Root(*row) for row in self._rows(query, (), bytes, int, int, str)]

    def mounts(self) -> list[Mount]:
        """Folders on which other file systems were mounted, by path."""
        query = "SELECT path, device, inode FROM mounts ORDER BY path"
        return [Mount(*row) for row in self._rows(query, (), bytes, int, int)]

    def files_below(self, folder: bytes) -> Iterator[FileRow]:
        """The files of the pictures below a folder, in byte order of the paths."""
        for row in self._read_pages(f"SELECT {_FILE} FROM pictures", folder, key=1):
            yield FileRow(*row)

    def by_label(self, wanted: Filter, limit: int, offset: int = 0) -> list[tuple[Picture, float]]:
        """Pictures that pass a filter with ``classes``, the likeliest first, equal ones by id.

        With each how likely it shows one of these classes, 0.05 to 1.
        """
        classes = wanted.classes or ()
        condition, values = where(replace(wanted, classes=None))
        # the inner limit limits nothing: without it SQLite would compute each likelihood twice
        query = (
            f"SELECT id, likely FROM (SELECT id, {likelihood(classes)} AS likely FROM pictures"
            f" WHERE {condition} AND {mention(classes)} LIMIT -1)"
            " WHERE likely >= ? ORDER BY likely DESC, id LIMIT ? OFFSET ?"
        )
        likely: dict[int, float] = dict(self._rows(query, (*values, LIKELY, limit, offset)))
        return [(picture, likely[picture.id]) for picture in self.pictures(list(likely))]

    # -- checking --------------------------------------------------------------------------------

    def integrity(self) -> list[str]:
        """What SQLite's own check finds; empty where all is well."""
        with translate_errors(self.path):
            found = [row[0] for row in self._rows("PRAGMA integrity_check(20)")]
            broken = self._rows("PRAGMA foreign_key_check")
        problems = [] if found == ["ok"] else [f"SQLite: {line}" for line in found]
        if broken:
            problems.append(f"{len(broken)} descriptors belong to no picture")
        return problems

    def find_odd_structure(self) -> list[str]:
        """What of the schema is not as it was made, in words."""
        return find_odd_structure(self._rows)

    def examine(self) -> Damage:
        """Which rows are not what was written, where the schema is as it was made."""
        with translate_errors(self.path), self._connections.take() as connection:
            return examine(connection)

    def is_sealed(self) -> bool:
        """Whether its rows were ever sealed."""
        return is_sealed(self._rows)


_PICTURE = (
    "SELECT id, path, width, height, format, file_size, mtime_ns, content_hash, labels,"
    " taken_at, camera, added_at, ctime_ns FROM pictures"
)


# the fields of FileRow
_FILE = "id, path, file_size, mtime_ns, content_hash, ctime_ns"
# the fields of Known
_KNOWN = "id, file_size, mtime_ns, '', '', '', ctime_ns, format, decoding"
_SKIPPED = "NULL, file_size, mtime_ns, reason, kind, decoder, ctime_ns, '', 0"
# of no size and time that a file has, so that it is read again
_ASIDE = f"picture_id, -1, -1, reason, '{SET_ASIDE}', '', NULL, '', 0"
_ORDERS = {"path": "path", "added": "added_at DESC, id DESC"}
