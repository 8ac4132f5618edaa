"""All SQL: the catalogue, the only truth of a library.

Writing happens in batches of :mod:`indexer.changes`, each in one transaction with everything that
belongs to it, so a batch is either wholly there or not at all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, Select, delete, func, insert, select, text

from indexer.apply import apply, chunks, put
from indexer.changes import Change
from indexer.database import check_version, connect, explained, migrate, version
from indexer.discover import SEPARATOR
from indexer.errors import LibraryDamaged
from indexer.records import Label, Picture, Skip
from indexer.schema import SCHEMA_VERSION, descriptors, facts, pictures, roots, skips
from indexer.spec import EncoderSpec

__all__ = ["Catalogue", "Known", "Root", "pack", "unpack"]


class Known(NamedTuple):
    """What the catalogue knows of a path: a picture (with its id) or a skip (id None)."""

    id: int | None
    file_size: int
    mtime_ns: int
    content_hash: bytes
    reason: str = ""
    kind: str = ""


class Root(NamedTuple):
    """A folder or file that was given to be indexed."""

    path: bytes
    device: int
    inode: int


class Catalogue:
    """The catalogue file of a library, open for reading or for writing."""

    def __init__(self, path: Path, *, write: bool = False) -> None:
        self.path = path
        self._engine = connect(path, write=write)
        try:
            with explained(path):
                if write:
                    migrate(self._engine, path)
                else:
                    self._check_readable()
        except BaseException:
            self._engine.dispose()
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
        self._engine.dispose()

    def _check_readable(self) -> None:
        with self._engine.connect() as connection:
            found = version(connection)
        if found is None:
            raise LibraryDamaged(
                f"{self.path} is not a parecido catalogue.",
                "Choose another library, or remove the file and index again.",
            )
        check_version(found, self.path)
        if found != SCHEMA_VERSION:
            # an older library, opened for reading: brought up to date by its first writer
            Catalogue(self.path, write=True).close()

    def _rows(self, statement: Select[Any]) -> list[Any]:
        with explained(self.path), self._engine.connect() as connection:
            return list(connection.execute(statement))

    # -- single values ---------------------------------------------------------------------------

    def encoder(self) -> EncoderSpec | None:
        """The encoder that the library was built with; None before the first picture."""
        value = self._fact("encoder")
        try:
            return EncoderSpec.from_json(value) if value else None
        except (ValueError, TypeError) as error:
            raise LibraryDamaged(
                f"{self.path} does not tell its encoder ({error}).",
                "It may come from a newer version: pip install --upgrade parecido.",
            ) from error

    def generation(self) -> int:
        """A number that rises with every committed change of pictures or descriptors."""
        return int(self._fact("generation") or 0)

    def _fact(self, key: str) -> str | None:
        rows = self._rows(select(facts.c.value).where(facts.c.key == key))
        return rows[0][0] if rows else None

    def counts(self) -> tuple[int, int]:
        """How many pictures and how many skipped files."""
        return (
            self._rows(select(func.count()).select_from(pictures))[0][0],
            self._rows(select(func.count()).select_from(skips))[0][0],
        )

    def largest_id(self) -> int:
        """The largest id given so far, 0 in an empty catalogue."""
        return int(self._rows(select(func.coalesce(func.max(pictures.c.id), 0)))[0][0])

    # -- finding ---------------------------------------------------------------------------------

    def known(self, paths: Sequence[bytes]) -> dict[bytes, Known]:
        """What is known of each of these paths; unknown ones are left out."""
        p, s = pictures.c, skips.c
        found: dict[bytes, Known] = {}
        for chunk in chunks(paths):
            statement = select(p.path, p.id, p.file_size, p.mtime_ns, p.content_hash)
            for path, *rest in self._rows(statement.where(p.path.in_(chunk))):
                found[path] = Known(*rest)
            skipped = select(s.path, s.file_size, s.mtime_ns, s.reason, s.kind)
            for path, size, mtime_ns, reason, kind in self._rows(skipped.where(s.path.in_(chunk))):
                found.setdefault(path, Known(None, size, mtime_ns, b"", reason, kind))
        return found

    def twins(self, content_hash: bytes) -> list[tuple[int, bytes]]:
        """Ids and paths of the pictures with these very bytes, by id."""
        p = pictures.c
        statement = select(p.id, p.path).where(p.content_hash == content_hash).order_by(p.id)
        return [(row.id, row.path) for row in self._rows(statement)]

    def pictures(self, ids: Sequence[int]) -> list[Picture]:
        """The pictures with these ids, in that order; ids that are gone are left out."""
        found = {}
        for chunk in chunks(ids):
            for row in self._rows(select(pictures).where(pictures.c.id.in_(chunk))):
                found[row.id] = _picture(row)
        return [found[i] for i in ids if i in found]

    def picture_at(self, path: str) -> Picture | None:
        """The picture at that absolute path, if it is indexed."""
        rows = self._rows(select(pictures).where(pictures.c.path == os.fsencode(path)))
        return _picture(rows[0]) if rows else None

    def under(self, path: bytes) -> Iterator[tuple[int, bytes]]:
        """Ids and paths of the pictures at that path or below it, in byte order of the paths."""
        p = pictures.c
        yield from self._paged(select(p.id, p.path), p.path, path)

    def skips_under(self, path: bytes) -> Iterator[bytes]:
        """Paths of the skipped files at that path or below it."""
        s = skips.c
        for row in self._paged(select(s.path, s.path), s.path, path):
            yield row[1]

    def _paged(self, statement: Select[Any], column: Any, path: bytes) -> Iterator[Any]:
        last = b""
        # from the folder's path with a separator to the first path that is past all such
        folder = path.rstrip(SEPARATOR)
        low, high = folder + SEPARATOR, folder + bytes([SEPARATOR[0] + 1])
        while True:
            page = self._rows(
                statement.where(
                    ((column >= low) & (column < high)) | (column == path), column > last
                )
                .order_by(column)
                .limit(4096)
            )
            yield from page
            if len(page) < 4096:
                return
            last = page[-1][1]

    def skipped(self) -> list[Skip]:
        """Every remembered skip, by path."""
        s = skips.c
        statement = select(s.path, s.reason, s.kind).order_by(s.path)
        return [Skip(os.fsdecode(p), r, k) for p, r, k in self._rows(statement)]

    def roots(self) -> list[Root]:
        """What was given to be indexed, by path."""
        return [Root(*row) for row in self._rows(select(roots).order_by(roots.c.path))]

    # -- descriptors -----------------------------------------------------------------------------

    def descriptors(
        self, ids: Sequence[int]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Ids ``(n,)`` in ascending order with their descriptors ``(n, dimension)``.

        Float32 of unit length (the stored float16 is normalised again).  Ids that are gone are
        left out.
        """
        d = descriptors.c
        rows: list[Any] = []
        for chunk in chunks(sorted(ids)):
            rows += self._rows(
                select(d.picture_id, d.vector).where(d.picture_id.in_(chunk)).order_by(d.picture_id)
            )
        return _matrix(rows)

    def descriptors_after(
        self, generation: int, chunk: int = 4096
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
        """All descriptors written after that generation, in chunks of ascending ids."""
        d = descriptors.c
        last = 0
        while True:
            rows = self._rows(
                select(d.picture_id, d.vector)
                .where(d.generation > generation, d.picture_id > last)
                .order_by(d.picture_id)
                .limit(chunk)
            )
            if rows:
                yield _matrix(rows)
            if len(rows) < chunk:
                return
            last = rows[-1][0]

    def ids(self, before: int | None = None) -> npt.NDArray[np.int64]:
        """Ids of all descriptors, ascending; with ``before``, of those not written after it."""
        statement = select(descriptors.c.picture_id).order_by(descriptors.c.picture_id)
        if before is not None:
            statement = statement.where(descriptors.c.generation <= before)
        return np.fromiter((row[0] for row in self._rows(statement)), np.int64)

    # -- writing ---------------------------------------------------------------------------------

    def write(
        self,
        changes: Iterable[Change],
        *,
        encoder: EncoderSpec | None = None,
        seen_roots: Iterable[Root] = (),
    ) -> None:
        """Apply a batch in one transaction, synced to disk when this returns."""
        with (
            explained(self.path),
            self._engine.connect().execution_options(immediate=True) as connection,
            connection.begin(),
        ):
            generation = self._next_generation(connection)
            if encoder is not None:
                put(connection, "encoder", encoder.to_json())
            for root in seen_roots:
                connection.execute(insert(roots).prefix_with("OR REPLACE").values(**root._asdict()))
            changed = [apply(connection, change, generation) for change in changes]
            if any(changed):
                put(connection, "generation", str(generation))

    def drop_roots(self, paths: Iterable[bytes]) -> None:
        """Forget that these were given to be indexed."""
        with (
            explained(self.path),
            self._engine.connect().execution_options(immediate=True) as connection,
            connection.begin(),
        ):
            for path in paths:
                connection.execute(delete(roots).where(roots.c.path == path))

    def drop_orphans(self) -> int:
        """Remove descriptors without a picture and pictures without a descriptor."""
        with (
            explained(self.path),
            self._engine.connect().execution_options(immediate=True) as connection,
            connection.begin(),
        ):
            gone = connection.execute(
                delete(descriptors).where(descriptors.c.picture_id.not_in(select(pictures.c.id)))
            ).rowcount
            gone += connection.execute(
                delete(pictures).where(pictures.c.id.not_in(select(descriptors.c.picture_id)))
            ).rowcount
            if gone:
                put(connection, "generation", str(self._next_generation(connection)))
            return gone

    def _next_generation(self, connection: Connection) -> int:
        statement = select(facts.c.value).where(facts.c.key == "generation")
        return int(connection.scalar(statement) or 0) + 1

    # -- checking --------------------------------------------------------------------------------

    def integrity(self) -> list[str]:
        """What SQLite's own check finds; empty where all is well."""
        with explained(self.path), self._engine.connect() as connection:
            found = [row[0] for row in connection.execute(text("PRAGMA integrity_check(20)"))]
            broken = connection.execute(text("PRAGMA foreign_key_check")).all()
        problems = [] if found == ["ok"] else [f"SQLite: {line}" for line in found]
        if broken:
            problems.append(f"{len(broken)} descriptors belong to no picture")
        return problems

    def without_descriptor(self) -> list[int]:
        """Ids of pictures that have no descriptor."""
        statement = select(pictures.c.id).where(
            pictures.c.id.not_in(select(descriptors.c.picture_id))
        )
        return [row[0] for row in self._rows(statement)]

    def raw_descriptors(self, chunk: int = 4096) -> Iterator[list[tuple[int, bytes]]]:
        """Every stored descriptor as it lies in the file, in chunks of ascending ids."""
        d = descriptors.c
        last = -1
        while True:
            rows = self._rows(
                select(d.picture_id, d.vector)
                .where(d.picture_id > last)
                .order_by(d.picture_id)
                .limit(chunk)
            )
            if rows:
                yield [(row[0], row[1]) for row in rows]
            if len(rows) < chunk:
                return
            last = rows[-1][0]


def pack(vector: npt.NDArray[np.float32]) -> bytes:
    """A descriptor as it is stored: little-endian float16."""
    return vector.astype("<f2").tobytes()


def unpack(blob: bytes) -> npt.NDArray[np.float32]:
    """A stored descriptor ``(dimension,)`` as float32, as it lies in the file."""
    return np.frombuffer(blob, "<f2").astype(np.float32)


def _matrix(
    rows: list[Any],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    if not rows:
        return np.empty(0, np.int64), np.empty((0, 0), np.float32)
    width = len(rows[0][1])
    if any(len(row[1]) != width for row in rows):
        raise LibraryDamaged(
            "Descriptors of unequal length lie in the catalogue.", "Run: parecido verify --repair."
        )
    flat = np.frombuffer(b"".join(row[1] for row in rows), "<f2")
    vectors = flat.reshape(len(rows), -1).astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.maximum(lengths, np.float32(1e-12))
    return np.fromiter((row[0] for row in rows), np.int64, len(rows)), vectors


def _picture(row: Any) -> Picture:
    return Picture(
        id=row.id,
        path=os.fsdecode(row.path),
        width=row.width,
        height=row.height,
        format=row.format,
        file_size=row.file_size,
        mtime_ns=row.mtime_ns,
        content_hash=row.content_hash,
        labels=tuple(Label(*label) for label in json.loads(row.labels)),
    )
