"""Questions about descriptors: what an index of them reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from parecido.indexer.arithmetic import to_grid
from parecido.indexer.arrays import Ids, Vectors
from parecido.indexer.catalogue.sqlite.connections import Connections
from parecido.indexer.catalogue.sqlite.queries import chunks, marks, pages
from parecido.indexer.errors import LibraryDamaged

__all__ = ["Descriptors", "pack", "unpack"]


class Descriptors:
    """The descriptors of a library's pictures, one each; a source for an index of them."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def generation(self) -> int:
        """A number that rises with every committed change of pictures or descriptors."""
        query = "SELECT value FROM facts WHERE key = 'generation'"
        rows = self._connections.rows(query, (), (str,))
        try:
            return int(rows[0][0]) if rows else 0
        except ValueError as error:
            raise LibraryDamaged(
                f"The catalogue {self._connections.path} does not tell its generation ({error}).",
                "Mend it: parecido verify --repair.",
            ) from error

    def count(self) -> int:
        """How many there are, as many as pictures."""
        return int(self._connections.rows("SELECT count(*) FROM pictures")[0][0])

    def ids(self, before: int | None = None) -> Ids:
        """Ids of all descriptors, ascending; with ``before``, of those not written after it."""
        query = "SELECT picture_id FROM descriptors"
        values: tuple[int, ...] = ()
        if before is not None:
            query, values = f"{query} WHERE generation <= ?", (before,)
        return self._ids(f"{query} ORDER BY picture_id", values)

    def list_removals_after(self, generation: int) -> Ids:
        """Ids of the pictures that left the library after that generation, ascending."""
        query = "SELECT picture_id FROM removals WHERE generation > ? ORDER BY picture_id"
        return self._ids(query, (generation,))

    def of(self, ids: Sequence[int]) -> tuple[Ids, Vectors]:
        """Ids ``(n,)`` in ascending order with their descriptors ``(n, dimension)``.

        Float32 of unit length (the stored float16 is normalised again).  Ids that are gone are
        left out.
        """
        rows: list[Any] = []
        for chunk in chunks(sorted(ids)):
            query = (
                "SELECT picture_id, vector FROM descriptors"
                f" WHERE picture_id IN ({marks(chunk)}) ORDER BY picture_id"
            )
            rows += self._connections.rows(query, chunk)
        return _matrix(rows)

    def read_after(self, generation: int) -> Iterator[tuple[Ids, Vectors]]:
        """All descriptors written after that generation, in pages of ascending ids."""
        # all of them: along the table, not its index
        newer = "generation > ? AND picture_id > ?" if generation >= 0 else "picture_id > ?"
        values = (generation,) if generation >= 0 else ()
        for rows in self._pages(newer, values):
            yield _matrix(rows)

    def read_all(self) -> Iterator[list[tuple[int, bytes]]]:
        """Every descriptor as it lies in the file, in pages of ascending ids; b"" for no bytes."""
        for page in self._pages("picture_id > ?", ()):
            yield [(i, vector if type(vector) is bytes else b"") for i, vector in page]

    def find_missing(self) -> list[int]:
        """Ids of the pictures that have none."""
        query = "SELECT id FROM pictures WHERE id NOT IN (SELECT picture_id FROM descriptors)"
        return [row[0] for row in self._connections.rows(query)]

    def _pages(self, condition: str, values: tuple[Any, ...]) -> Iterator[list[Any]]:
        query = (
            f"SELECT picture_id, vector FROM descriptors WHERE {condition}"
            " ORDER BY picture_id LIMIT ?"
        )
        return pages(lambda last, size: self._connections.rows(query, (*values, last, size)), -1)

    def _ids(self, query: str, values: Sequence[Any]) -> Ids:
        rows = self._connections.rows(query, values)
        return np.fromiter((row[0] for row in rows), np.int64, len(rows))


def pack(vector: Vectors) -> bytes:
    """A descriptor as it is stored: little-endian float16."""
    return vector.astype("<f2").tobytes()


def unpack(blob: bytes) -> Vectors:
    """A stored descriptor ``(dimension,)`` as float32, as it lies in the file."""
    return np.frombuffer(blob, "<f2").astype(np.float32)


def _matrix(rows: list[Any]) -> tuple[Ids, Vectors]:
    if not rows:
        return np.empty(0, np.int64), np.empty((0, 0), np.float32)
    if any(type(row[1]) is not bytes or len(row[1]) % 2 for row in rows):
        raise LibraryDamaged(
            "What lies in a descriptor's place in the catalogue is none.",
            "Run: parecido verify --repair.",
        )
    width = len(rows[0][1])
    if any(len(row[1]) != width for row in rows):
        raise LibraryDamaged(
            "Descriptors of unequal length lie in the catalogue.", "Run: parecido verify --repair."
        )
    flat = np.frombuffer(b"".join(row[1] for row in rows), "<f2")
    vectors = flat.reshape(len(rows), -1).astype(np.float32)
    # exact in any order: squares of float16 are multiples of 2⁻⁴⁸, and their sum is about 1
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    if not np.isfinite(lengths).all():
        raise LibraryDamaged(
            "A descriptor in the catalogue holds what is no number.",
            "Run: parecido verify --repair.",
        )
    # in float64, for a length in float32 would show in the seventh digit of all scores
    np.divide(vectors, np.maximum(lengths, 1e-12)[:, None], out=vectors, casting="same_kind")
    ids = np.fromiter((row[0] for row in rows), np.int64, len(rows))
    return ids, to_grid(vectors)
