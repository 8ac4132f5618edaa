"""Files that end too early: what is there of the picture, and what is missing."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import Any, NamedTuple

from PIL import Image, ImageChops

from parecido.indexer.errors import PictureUnreadable

__all__ = ["MISSING", "JpegBytes", "Loaded", "load_rest", "measure_jpeg", "tell_missing"]

MISSING = (128, 128, 128)
"""Colour of the rows that are missing: grey, as libjpeg fills them."""
_MOST = 0.9  # of its rows: with more, what is found like it is like the grey
_END = b"\xff\xd9"
_GREY = (127, 128)
# Of a PNG in passes, how far apart the pixels are that all passes up to the seventh, the sixth …
# have filled, across and down (PNG 3, clause 8.1)
_GRIDS = ((1, 1), (1, 2), (2, 2), (2, 4), (4, 4), (4, 8), (8, 8))


class Loaded(NamedTuple):
    """The pixels of a picture that are there."""

    pixels: Image.Image
    """Perhaps at a fraction of the picture's size."""
    above: float = 0.0
    """The share of its rows that are missing at the top."""
    below: float = 0.0
    """The share of its rows that are missing at the bottom."""
    note: str = ""
    """What is missing, in a few words; empty where nothing is."""


class JpegBytes(io.BytesIO):
    """The bytes of a JPEG, with an end where there is none: a decoder of C waits for it.

    Pillow does the same where a switch says so, but that switch is all threads' at once.
    """

    ends = False
    """Whether an end is given: not before the header was read."""
    is_cut = False
    """Whether one had to be given."""

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        if found or not self.ends or self.is_cut:
            return found
        self.is_cut = True
        return _END


def measure_jpeg(image: Image.Image) -> Loaded:
    """A JPEG that was given an end.

    Its decoder leaves blocks grey of which it has no data.  In a progressive one that is most often
    none: only detail is missing.  Raises :class:`~parecido.PictureUnreadable`.
    """
    corner = image.getpixel((image.width - 1, image.height - 1))
    values = corner if isinstance(corner, tuple) else (corner,)
    if not all(value in _GREY for value in values):
        return tell_missing(image, 0, 0)
    ground = Image.new(image.mode, image.size, corner)
    box = ImageChops.difference(image, ground).getbbox()
    return tell_missing(image, 0, image.height - (box[3] if box else 0))


def load_rest(image: Any, again: Any) -> Loaded:
    """A picture of PIL's whose loading failed at the end of its file.

    ``again`` is the same, opened once more and not loaded yet: it is decoded over another ground,
    and where the two differ, nothing was.  Raises :class:`~parecido.PictureUnreadable`.
    """
    image.tile = []  # what was decoded is there
    again.im = Image.new(again.mode, again.size, _full(again.mode)).im
    try:
        again.load()
    except Exception:
        again.tile = []
    if image.format == "PNG" and image.info.get("interlace"):
        return _take_grid(image, again)
    edge = image.width - 1, 0, image.width, image.height
    one, other = (each.crop(edge).tobytes() for each in (image, again))
    each = max(1, len(one) // image.height)
    places = range(0, each * image.height, each)
    rows = [y for y, at in enumerate(places) if one[at : at + each] == other[at : at + each]]
    if not rows:
        return tell_missing(image, image.height, 0)
    _fill_between(image, rows)
    return tell_missing(image, rows[0], image.height - 1 - rows[-1])


def _full(mode: str) -> Any:
    """The colour that has all bits set, as one of nothing has none."""
    if mode in ("I", "F") or mode.startswith("I;16"):
        return 65535
    bands = Image.getmodebands(mode)
    return 255 if bands == 1 else (255,) * bands


def _fill_between(image: Image.Image, rows: list[int]) -> None:
    """Give rows that are missing between others the colours of the next above.

    So viewers show what comes in passes, a row in eight first.
    """
    for above, below in pairwise(rows):
        if below > above + 1:
            row = image.crop((0, above, image.width, above + 1))
            for y in range(above + 1, below):
                image.paste(row, (0, y))


def _take_grid(image: Image.Image, again: Image.Image) -> Loaded:
    """The finest grid of pixels that is there of a PNG in passes."""
    for across, down in _GRIDS:
        size = -(-image.width // across), -(-image.height // down)
        corners = (across, 0, 0.5 - across / 2, 0, down, 0.5 - down / 2)
        found, other = (
            each.transform(size, Image.Transform.AFFINE, corners, Image.Resampling.NEAREST)
            for each in (image, again)
        )
        if found.tobytes() == other.tobytes():
            found.info = image.info
            if image.palette is not None and found.mode == "P":
                found.palette = image.palette
            return Loaded(found, note="cut short: its fine detail is missing")
    return tell_missing(image, image.height, 0)


def tell_missing(image: Image.Image, above: int, below: int) -> Loaded:
    """A picture that lacks so many rows at the top and at the bottom, with a note of it.

    Raises :class:`~parecido.PictureUnreadable` where it lacks nearly all.
    """
    share = (above + below) / image.height
    if share >= 1:
        raise PictureUnreadable("damaged: cut short, no row of it is there", "damaged")
    if share >= _MOST:
        raise PictureUnreadable(
            f"damaged: cut short, {100 * share:.0f} % of its rows are missing", "damaged"
        )
    told = f"{max(1, round(100 * share))} % of its rows are" if share else "its last bytes are"
    above_share, below_share = above / image.height, below / image.height
    return Loaded(image, above_share, below_share, f"cut short: {told} missing")
