"""A picture as a small grey thumbnail, which tells its copies from what is only alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from parecido.indexer.records.pictures import LOOK_SIDE, Look

if TYPE_CHECKING:
    from parecido.indexer.arrays import Pixels, Vectors

__all__ = ["FINE", "draw_look", "draw_thumbnail"]

FINE = 96
"""Cells along a side of a picture that is asked about: it is shifted and scaled before it is
compared."""


def draw_look(pixels: Pixels) -> Look:
    """What is kept of upright RGB ``(height, width, 3)``.

    Of the whole picture, squeezed to a square: a cell of it and one of a copy in another size show
    the same.
    """
    return Look(_shrink(pixels, LOOK_SIDE).tobytes())


def draw_thumbnail(pixels: Pixels) -> Vectors:
    """Luma ``(FINE, FINE)`` from 0 to 255 of upright RGB ``(height, width, 3)``, float32."""
    import numpy as np

    return np.asarray(_shrink(pixels, FINE), np.float32)


def _shrink(pixels: Pixels, side: int) -> Image.Image:
    # Each cell is a mean with weights that fall off in a straight line to the next cells' middles:
    # a shift by a part of a cell is then nearly what interpolation makes of it.
    grey = Image.fromarray(pixels).convert("L")
    return grey.resize((side, side), Image.Resampling.BILINEAR)
