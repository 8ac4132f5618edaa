"""What a walk left out, and what lies there."""

from __future__ import annotations

import os

from parecido.indexer.records.left_out import REASONS, LeftOut

__all__ = ["Tally"]

_EXAMPLES = 5


class Tally:
    """Counts what is left out, by reason.

    Folders are remembered, for there are few of them, and roots; of other files their folders are.
    """

    def __init__(self) -> None:
        self._counted: dict[str, LeftOut] = {}
        self._paths: dict[bytes, str] = {}
        self._holding: set[bytes] = set()

    def add(self, reason: str, path: bytes, is_folder: bool, is_root: bool = False) -> None:
        """Count a folder with all that lies below it, or a file; roots are remembered too."""
        counted = self._counted.setdefault(reason, LeftOut(reason))
        if is_folder:
            if path in self._paths:
                return
            counted.folders += 1
            self._paths[path] = reason
        else:
            if is_root:
                self._paths[path] = reason
            counted.files += 1
            self._holding.add(os.path.dirname(path))
        if len(counted.examples) < _EXAMPLES:
            counted.examples.append(os.fsdecode(path))

    def list_all(self) -> list[LeftOut]:
        """All, by reason in the order in which they are told."""
        return [self._counted[reason] for reason in REASONS if reason in self._counted]

    def find_reason(self, path: bytes) -> str:
        """Why a folder at this path or above it was left out, or a root; ``""`` where none was."""
        while path not in self._paths:
            above = os.path.dirname(path)
            if above == path:
                return ""
            path = above
        return self._paths[path]

    def covers(self, path: bytes) -> bool:
        """Whether a path that the walk did not come to was left out, rather than gone."""
        if self.find_reason(path):
            return True
        return os.path.dirname(path) in self._holding and os.path.lexists(path)
