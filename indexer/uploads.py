"""Files that were uploaded to a server: what the catalogue knows of each.

A row, and neither a name nor a place, tells that a file is the server's to replace and to delete,
and it tells of which bytes: what somebody puts in the file's place is not.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["KEPT", "LEAVING", "WAITING", "Upload"]

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
