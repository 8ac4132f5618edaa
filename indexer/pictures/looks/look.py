"""A picture as a small grey thumbnail, which tells its copies from what is only alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from parecido.indexer.arrays import Pixels, Vectors

__all__ = ["FINE", "SIDE", "VERSION", "Look", "draw_look", "draw_thumbnail"]

SIDE = 32
"""Width and height of a thumbnail that is kept, in cells, whatever shape the picture has."""
FINE = 64
"""The same of a picture that is asked about: it is shifted and scaled before it is compared."""
VERSION = 1
"""Of how thumbnails are made; others cannot be compared with these."""


@dataclass(frozen=True)
class Look:
    """What is kept of a picture."""

    thumbnail: bytes
    """Luma, a byte a cell, ``SIDE`` rows of as many."""
    version: int = VERSION


def draw_look(pixels: Pixels) -> Look:
    """What is kept of upright RGB ``(height, width, 3)``, a twentieth of a millisecond for 256².

    Of the whole picture, squeezed to a square: a cell of it and one of a copy in another size show
    the same.
    """
    return Look(_shrink(pixels, SIDE).tobytes())


def draw_thumbnail(pixels: Pixels, side: int = FINE) -> Vectors:
    """Luma ``(side, side)`` from 0 to 255 of upright RGB ``(height, width, 3)``, float32."""
    import numpy as np

    return np.asarray(_shrink(pixels, side), np.float32)


def _shrink(pixels: Pixels, side: int) -> Image.Image:
    # Each cell is a mean with weights that fall off in a straight line to the next cells' middles:
    # a shift by a part of a cell is then nearly what interpolation makes of it.
    grey = Image.fromarray(pixels).convert("L")
    return grey.resize((side, side), Image.Resampling.BILINEAR)
