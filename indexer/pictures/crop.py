"""A part of a picture, as if it had been cut out, at an encoder's size."""

from __future__ import annotations

import numpy as np
from PIL import Image

from parecido.indexer.pictures.decode import RESAMPLE, Decoded, Limits, render
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.records.regions import Region

__all__ = ["decode_region"]


def decode_region(data: bytes, region: Region, spec: EncoderSpec, limits: Limits) -> Decoded:
    """A part of a picture's bytes at the encoder's size.

    The width and height of the answer are the part's.  Raises
    :class:`~parecido.PictureUnreadable`, or ``InvalidRequest`` for a region outside.
    """
    chosen: list[tuple[int, int, int, int]] = []

    def target(width: int, height: int) -> tuple[int, int]:
        """As small as the part allows: twice the size at which it will be looked at."""
        chosen[:] = [region.box(width, height)]
        left, top, right, bottom = chosen[0]
        across, down = spec.size.target(right - left, bottom - top)
        scale = min(1.0, 2 * max(across / (right - left), down / (bottom - top)))
        return max(1, round(width * scale)), max(1, round(height * scale))

    resample = RESAMPLE[spec.resample]
    whole = render(data, target, limits, resample)
    left, top, right, bottom = chosen[0]
    across, down = whole.image.width / whole.width, whole.image.height / whole.height
    part = whole.image.resize(
        spec.size.target(right - left, bottom - top),
        Image.Resampling(resample),
        box=(left * across, top * down, right * across, bottom * down),
    )
    return Decoded(np.asarray(part), right - left, bottom - top, whole.format, whole.taken)
