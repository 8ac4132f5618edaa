"""Questions about what is known of pictures beside their pixels.

Every picture that was read by a program that asks for it has a row, be it an empty one; those that
came into the library before have none.
"""

from __future__ import annotations

from collections.abc import Sequence

from parecido.indexer.catalogue.sqlite.connections import Connections
from parecido.indexer.catalogue.sqlite.queries import chunks, marks
from parecido.indexer.catalogue.sqlite.reading.checked import details_of
from parecido.indexer.records.details import Details

__all__ = ["DetailRows"]


class DetailRows:
    """What files tell of a library's pictures beside their pixels."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def of(self, ids: Sequence[int]) -> dict[int, Details]:
        """The details of pictures, by id; those that were not asked for any are left out."""
        found: dict[int, Details] = {}
        for chunk in chunks(ids):
            query = (
                "SELECT picture_id, taken_from, is_utc, rating, latitude, longitude, keywords,"
                f" sidecars FROM details WHERE picture_id IN ({marks(chunk)})"
            )
            for row in self._connections.rows(query, chunk):
                found[row[0]] = details_of(row, self._connections.path)
        return found

    def find_with_sidecars(self) -> list[int]:
        """Ids of the pictures of which a file beside them told something."""
        query = "SELECT picture_id FROM details WHERE sidecars != '[]'"
        return [row[0] for row in self._connections.rows(query, (), (int,))]

    def find_unknown(self) -> list[int]:
        """Ids of the pictures that were never asked."""
        counts = "SELECT (SELECT count(*) FROM pictures), (SELECT count(*) FROM details)"
        ((pictures, known),) = self._connections.rows(counts)
        if pictures == known:  # as always but once, and quicker to see
            return []
        query = "SELECT id FROM pictures WHERE id NOT IN (SELECT picture_id FROM details)"
        return [row[0] for row in self._connections.rows(query, (), (int,))]
