"""The index that questions are asked of, open as long as it is the right one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parecido.indexer.vectors.local.index import VectorIndex

__all__ = ["OpenIndex"]

_log = logging.getLogger("parecido")


class OpenIndex:
    """An index of a library, opened anew where the library got another encoder or space.

    A search writes nothing into a library: what a writer should have left, and did not, is held in
    memory.  Not safe for use from several threads.
    """

    def __init__(self, open_it: Callable[[], VectorIndex], space: Callable[[], str]) -> None:
        self._open_it = open_it
        self._space = space
        self._index: VectorIndex | None = None
        self._of = ("", "")

    @property
    def is_open(self) -> bool:
        """Whether the first question was asked."""
        return self._index is not None

    def close(self) -> None:
        """Let go of the index."""
        self._index = None

    def refresh(self, fingerprint: str) -> VectorIndex:
        """The index as of now; ``fingerprint`` is the encoder's."""
        of = (fingerprint, self._space())
        if self._index is None or self._of != of:
            self._index = self._open_it()
            self._of = of
            if self._index.misses_file:
                _log.warning(
                    "There is no index that can be read in %s, so every descriptor was read "
                    "instead.  The next run of parecido index or verify --repair makes one.",
                    self._index.folder,
                )
        self._index.refresh()
        return self._index
