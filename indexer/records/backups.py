"""What a backup of a library holds, as it is told when one was made or restored."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Backup"]


@dataclass(frozen=True)
class Backup:
    """A backup: a committed state of a library."""

    path: str
    """The file that was made, or the library that was restored."""
    schema: str
    """Version of the catalogue's tables."""
    generation: int
    """Of the state: it rises with every commit."""
    encoder: str | None
    """Fingerprint of the encoder; None in a library without pictures."""
    pictures: int
    skipped: int
    uploads: int
    """Uploaded pictures whose files are in it."""
    missing: tuple[str, ...]
    """Uploaded pictures whose files could not be had."""
    bytes: int
    """Of the backup's file."""
    seconds: float
