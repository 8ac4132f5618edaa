"""A part of a picture, as if it had been cut out, at an encoder's size."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from parecido.indexer.arrays import Pixels
from parecido.indexer.pictures.decode import RESAMPLE, Limits, decode, render
from parecido.indexer.pictures.in_memory import Content
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.records.regions import Region

__all__ = ["Seen", "look"]


class Seen(NamedTuple):
    """A picture, or a part of it, at an encoder's size."""

    pixels: Pixels
    """Upright RGB ``(height, width, 3)``."""
    width: int
    """Upright width of the whole picture, in pixels."""
    height: int
    """Upright height of the whole picture, in pixels."""
    box: tuple[int, int, int, int]
    """Left, upper, right and lower edge of the part, in pixels of the whole picture."""


def look(content: Content, region: Region | None, spec: EncoderSpec, limits: Limits) -> Seen:
    """A picture, or a region of it, at the encoder's size.

    Raises :class:`~parecido.PictureUnreadable`, or ``InvalidRequest`` for a region outside.
    """
    if region is None:
        whole = decode(content, spec, limits)
        return Seen(whole.pixels, whole.width, whole.height, (0, 0, whole.width, whole.height))
    return _crop(content, region, spec, limits)


def _crop(content: Content, region: Region, spec: EncoderSpec, limits: Limits) -> Seen:
    chosen: list[tuple[int, int, int, int]] = []

    def target(width: int, height: int) -> tuple[int, int]:
        """As small as the part allows: twice the size at which it will be looked at."""
        chosen[:] = [region.box(width, height)]
        left, top, right, bottom = chosen[0]
        across, down = spec.size.target(right - left, bottom - top)
        scale = min(1.0, 2 * max(across / (right - left), down / (bottom - top)))
        return max(1, round(width * scale)), max(1, round(height * scale))

    resample = RESAMPLE[spec.resample]
    whole = render(content, target, limits, resample)
    box = left, top, right, bottom = chosen[0]
    across, down = whole.image.width / whole.width, whole.image.height / whole.height
    part = whole.image.resize(
        spec.size.target(right - left, bottom - top),
        Image.Resampling(resample),
        box=(left * across, top * down, right * across, bottom * down),
    )
    return Seen(np.asarray(part), whole.width, whole.height, box)
