"""A picture as a small grey thumbnail, which tells its copies from what is only alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from parecido.indexer.records.pictures import LOOK_SIDE, Look

if TYPE_CHECKING:
    from parecido.indexer.arrays import Pixels, Vectors

__all__ = ["FINE", "cut_frame", "draw_look", "draw_thumbnail"]

FINE = 96
"""Cells along a side of a picture that is asked about: it is shifted and scaled before it is
compared."""
# Of 75 pictures of 256 pixels at most, a quarter of each, seven were not told as the same, all of
# them with fewer pixels along a side.
_TINY = 40
_PLAIN = 32  # levels by which a frame may differ from its corner: it was compressed


def draw_look(pixels: Pixels) -> Look:
    """What is kept of upright RGB ``(height, width, 3)``.

    Of the whole picture, squeezed to a square: a cell of it and one of a copy in another size show
    the same.
    """
    return Look(_shrink(pixels, LOOK_SIDE).tobytes())


def draw_thumbnail(pixels: Pixels, shorter: int) -> Vectors:
    """Luma ``(FINE, FINE)`` from 0 to 255 of upright RGB ``(height, width, 3)``, float32.

    Of a tiny picture, whose ``shorter`` side had so few pixels that finer cells would show nothing
    but its compression, ``(LOOK_SIDE, LOOK_SIDE)`` as is kept of one of the library.
    """
    import numpy as np

    side = FINE if shorter >= _TINY else LOOK_SIDE
    return np.asarray(_shrink(pixels, side), np.float32)


def cut_frame(pixels: Pixels) -> Pixels | None:
    """RGB ``(height, width, 3)`` without a frame or bars of one colour; None where it has none.

    At most a third of a side is taken off.
    """
    import numpy as np

    away = np.abs(pixels.astype(np.int16) - pixels[0, 0]).max(2)
    rows, columns = away.max(1) <= _PLAIN, away.max(0) <= _PLAIN
    if rows.all():
        return None
    top, bottom = int(rows.argmin()), int(rows[::-1].argmin())
    left, right = int(columns.argmin()), int(columns[::-1].argmin())
    height, width = rows.size - top - bottom, columns.size - left - right
    is_frame = max(top, bottom, left, right) > 1
    if not is_frame or 3 * height < 2 * rows.size or 3 * width < 2 * columns.size:
        return None
    return pixels[top : top + height, left : left + width]


def _shrink(pixels: Pixels, side: int) -> Image.Image:
    # Each cell is a mean with weights that fall off in a straight line to the next cells' middles:
    # a shift by a part of a cell is then nearly what interpolation makes of it.
    grey = Image.fromarray(pixels).convert("L")
    return grey.resize((side, side), Image.Resampling.BILINEAR)
