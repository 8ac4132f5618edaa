"""Pictures whose records were damaged, and whose files have not been read again yet.

They are known by their paths and keep their ids; no answer has them.  The next indexing run that
comes to such a file reads it, and one that does not find it where it should be forgets it.
"""

from __future__ import annotations

import os

from parecido.indexer.catalogue.sqlite.connections import Connections
from parecido.indexer.records.pictures import Skip

__all__ = ["SET_ASIDE", "AsideRows"]

SET_ASIDE = "set-aside"
"""Their kind, where they are told beside files that were left out."""


class AsideRows:
    """The pictures of a library that are set aside."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def list_aside(self) -> list[Skip]:
        """All of them, by path."""
        rows = self._connections.rows("SELECT path, reason FROM aside ORDER BY path")
        return [Skip(os.fsdecode(path), reason, SET_ASIDE) for path, reason in rows]
