"""Questions about the thumbnails by which copies of pictures are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from parecido.indexer.catalogue.sqlite.connections import Connections
from parecido.indexer.catalogue.sqlite.queries import chunks, marks, pages
from parecido.indexer.records.pictures import LOOK_SIDE, LOOK_VERSION, Look

__all__ = ["LookRows"]

_PAGE = 512


class LookRows:
    """The thumbnails of a library's pictures; those that were indexed before have none."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def of(self, ids: Sequence[int]) -> dict[int, Look]:
        """The thumbnails of pictures, by id; those that have none are left out."""
        found: dict[int, Look] = {}
        for chunk in chunks(ids):
            query = (
                "SELECT picture_id, thumbnail FROM looks"
                f" WHERE version = {LOOK_VERSION} AND length(thumbnail) = {LOOK_SIDE**2}"
                f" AND picture_id IN ({marks(chunk)})"
            )
            for picture_id, thumbnail in self._connections.rows(query, chunk):
                found[picture_id] = Look(thumbnail)
        return found

    def find_missing(self) -> Iterator[list[tuple[int, bytes, bytes]]]:
        """The pictures that have none, in pages: id, path and content hash, by id."""
        counts = (
            "SELECT (SELECT count(*) FROM pictures),"
            f" (SELECT count(*) FROM looks WHERE version = {LOOK_VERSION})"
        )
        ((count, known),) = self._connections.rows(counts)
        if count == known:  # as always but once, and quicker to see
            return iter(())
        query = (
            "SELECT id, path, content_hash FROM pictures WHERE id > ? AND id NOT IN"
            f" (SELECT picture_id FROM looks WHERE version = {LOOK_VERSION}) ORDER BY id LIMIT ?"
        )
        return pages(lambda last, size: self._connections.rows(query, (last, size)), -1, size=_PAGE)
