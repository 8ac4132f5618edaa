"""Questions about regional descriptors.

A library that keeps them has a row for every picture.  A row without vectors is a picture that was
there before and waits for the next run over its file; an index of these rows alone tells at once
which they are, for a run over unchanged files must not look at every blob.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from parecido.indexer.catalogue.sqlite.connections import Connections
from parecido.indexer.catalogue.sqlite.queries import chunks, marks, pages
from parecido.indexer.records.regions import Regional

__all__ = ["RegionalRows"]

_PAGE = 512  # rows of 6 kB that are read together


class RegionalRows:
    """The regional descriptors of a library's pictures, where it keeps them."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def of(self, ids: Sequence[int]) -> dict[int, Regional]:
        """The regional descriptors of pictures, by id; those that have none are left out."""
        found: dict[int, Regional] = {}
        for chunk in chunks(ids):
            query = (
                "SELECT picture_id, map_rows, map_columns, vectors FROM regions"
                f" WHERE map_rows > 0 AND picture_id IN ({marks(chunk)})"
            )
            for picture_id, *rest in self._connections.rows(query, chunk):
                found[picture_id] = Regional(*rest)
        return found

    def read_all(self) -> Iterator[list[tuple[int, int, int, bytes]]]:
        """Every row that does not wait, in pages: id, rows and columns of the map, vectors."""
        query = (
            "SELECT picture_id, map_rows, map_columns, vectors FROM regions"
            " WHERE map_rows != 0 AND picture_id > ? ORDER BY picture_id LIMIT ?"
        )
        return pages(lambda last, size: self._connections.rows(query, (last, size)), -1, size=_PAGE)

    def find_waiting(self) -> list[int]:
        """Ids of the pictures whose regional descriptors the next run makes, ascending."""
        query = "SELECT picture_id FROM regions WHERE map_rows = 0 ORDER BY picture_id"
        return [row[0] for row in self._connections.rows(query)]

    def find_missing(self) -> list[int]:
        """Ids of the pictures that have no row, not even one that waits."""
        query = "SELECT id FROM pictures WHERE id NOT IN (SELECT picture_id FROM regions)"
        return [row[0] for row in self._connections.rows(query)]

    def has_bytes(self, content_hash: bytes) -> bool:
        """Whether there is a picture with these very bytes that has its regional descriptors."""
        return self.twin(content_hash) is not None

    def twin(self, content_hash: bytes) -> int | None:
        """The first picture with these very bytes that has its regional descriptors."""
        query = (
            "SELECT id FROM pictures JOIN regions ON picture_id = id"
            " WHERE content_hash = ? AND map_rows > 0 ORDER BY id LIMIT 1"
        )
        rows = self._connections.rows(query, (content_hash,))
        return int(rows[0][0]) if rows else None
