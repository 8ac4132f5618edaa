"""Files that were uploaded to a server: what the catalogue knows of each.

A row, and neither a name nor a place, tells that a file is the server's to replace and to delete,
and it tells of which bytes: what somebody puts in the file's place is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from parecido.indexer.catalogue.sqlite.connections import Connections
from parecido.indexer.catalogue.sqlite.queries import chunks, marks

__all__ = ["KEPT", "LEAVING", "WAITING", "Upload", "UploadRows"]

_UPLOAD = "SELECT path, content_hash, before, state, stamp FROM uploads"

WAITING, KEPT, LEAVING = "waiting", "kept", "leaving"


class Upload(NamedTuple):
    """A file that was uploaded."""

    path: bytes
    content_hash: bytes
    """Of what was uploaded last."""
    before: bytes = b""
    """Of what lay there when that came; empty where nothing did."""
    state: str = WAITING
    """``waiting`` to be indexed, ``kept``, or ``leaving``: to be removed with its picture."""
    stamp: int = 0
    """When that came, nanoseconds since 1970: what came earlier does not replace it."""

    def holds(self, content_hash: bytes) -> bool:
        """Whether bytes with that hash were uploaded for it."""
        return bool(content_hash) and content_hash in (self.content_hash, self.before)


class UploadRows:
    """What the catalogue knows of uploaded files."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def at(self, path: bytes) -> Upload | None:
        """The upload at that path."""
        rows = self._connections.rows(f"{_UPLOAD} WHERE path = ?", (path,))
        return Upload(*rows[0]) if rows else None

    def list_uploads(self, state: str = "") -> list[Upload]:
        """Every upload, or every one in that state, by path."""
        query = f"{_UPLOAD} WHERE ? IN (state, '') ORDER BY path"
        return [Upload(*row) for row in self._connections.rows(query, (state,))]

    def picture_bytes(self) -> int:
        """The size of all files of pictures that were uploaded."""
        query = (
            "SELECT coalesce(sum(file_size), 0) FROM uploads"
            " JOIN pictures ON pictures.path = uploads.path"
        )
        return int(self._connections.rows(query, ())[0][0])

    def without_picture(self) -> list[bytes]:
        """The paths of uploads that are no pictures of the library: not yet, or not any more."""
        query = (
            "SELECT path FROM uploads WHERE NOT EXISTS"
            " (SELECT 1 FROM pictures WHERE pictures.path = uploads.path)"
        )
        return [row[0] for row in self._connections.rows(query, ())]

    def among(self, ids: Sequence[int]) -> set[int]:
        """Those of the pictures that were uploaded, and are still what was uploaded."""
        found: set[int] = set()
        for chunk in chunks(ids):
            query = (
                "SELECT id FROM pictures JOIN uploads ON uploads.path = pictures.path"
                f" WHERE id IN ({marks(chunk)})"
                " AND pictures.content_hash IN (uploads.content_hash, uploads.before)"
            )
            found.update(row[0] for row in self._connections.rows(query, chunk))
        return found
