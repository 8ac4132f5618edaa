"""What is kept of a picture so that it can be compared with another one pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LOOK_SIDE", "LOOK_VERSION", "Look"]

LOOK_SIDE = 32
"""Width and height of a thumbnail that is kept, in cells, whatever shape the picture has."""
LOOK_VERSION = 1
"""Of how thumbnails are made; others cannot be compared with these."""


@dataclass(frozen=True)
class Look:
    """A picture as a small grey thumbnail."""

    thumbnail: bytes
    """Luma, a byte a cell, as many rows as cells in a row."""
    version: int = LOOK_VERSION
