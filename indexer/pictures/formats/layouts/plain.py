"""A picture that is decoded here, as one of PIL's that is not loaded yet."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from parecido.indexer.pictures.formats.cut import Loaded, tell_missing

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Channels", "PlainPicture", "compose", "read_tags"]

_ORIENTATION = 0x0112


class Channels(NamedTuple):
    """Eight bits of each channel that is shown, ``(height, width, n)``."""

    pixels: npt.NDArray[np.uint8]
    rows: npt.NDArray[np.bool_]
    """Which rows are there."""


class PlainPicture(Image.Image):
    """Has its size from the beginning, and its pixels when they are loaded."""

    def __init__(
        self, form: str, size: tuple[int, int], read: Callable[[], Loaded], exif: Image.Exif
    ) -> None:
        super().__init__()
        self.format = form
        self._size = size
        self._mode = "RGB"
        self._read = read
        self._own_exif = exif

    def load_there(self) -> Loaded:
        """The pixels that are there.  Raises :class:`~parecido.PictureUnreadable`."""
        return self._read()

    def getexif(self) -> Image.Exif:
        """What its tags tell."""
        return self._own_exif


def read_tags(data: bytes, orientation: int) -> Image.Exif:
    """The tags of a TIFF, as those of any picture are read; damage to them is passed over."""
    exif = Image.Exif()
    with suppress(Exception):
        exif.load_from_fp(io.BytesIO(data))
    exif[_ORIENTATION] = orientation
    return exif


def compose(found: Channels, mode: str, alpha: str = "") -> Loaded:
    """A picture of PIL's: L, RGB, CMYK, LAB or YCbCr, with ``alpha`` behind where that is given.

    ``alpha`` is ``A``, or ``a`` where the colours have been multiplied by it.
    """
    import numpy as np

    pixels = found.pixels
    colours = Image.getmodebands(mode)
    if alpha and mode in ("L", "RGB"):
        mode, colours, alpha = mode + alpha, colours + 1, ""
    shown = np.ascontiguousarray(pixels[:, :, :colours])
    image = Image.frombytes(mode, pixels.shape[1::-1], shown.tobytes())
    if alpha:
        image = image.convert("RGB")
        image.putalpha(Image.fromarray(np.ascontiguousarray(pixels[:, :, colours])))
    if found.rows.all():
        return Loaded(image)
    there = np.flatnonzero(found.rows)
    if not len(there):
        return tell_missing(image, image.height, 0)
    return tell_missing(image, int(there[0]), int(image.height - 1 - there[-1]))
