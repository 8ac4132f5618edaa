"""PDQ, a perceptual hash: 256 bits, of which copies differ in 31 at most.

After its public description (Facebook, "The TMK+PDQF Test-Drive", 2019, of the ThreatExchange
project): luma box-filtered to 64 × 64, the 16 × 16 lowest frequencies of its DCT without the
constant ones, and each against their median.  Here, orientations are hashed one by one, and the
quality of a hash is left out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["MOST_BITS", "distance", "hash_picture"]

MOST_BITS = 31
_SIDE, _KEPT = 64, 16
_ROWS = np.arange(1, _KEPT + 1)[:, None]
_DCT = np.sqrt(2 / _SIDE) * np.cos(np.pi / (2 * _SIDE) * _ROWS * (2 * np.arange(_SIDE) + 1))

Bits = npt.NDArray[np.bool_]


def hash_picture(picture: Image.Image) -> Bits:
    """The bits ``(256,)`` of a picture as it stands."""
    small = picture.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    frequencies = _DCT @ np.asarray(small, np.float64) @ _DCT.T
    bits: Bits = (frequencies > np.median(frequencies)).ravel()
    return bits


def distance(picture: Image.Image, other: Bits) -> int:
    """In how many bits the nearest of a picture's eight orientations differs from a hash."""
    turns = [picture, *(picture.transpose(turn) for turn in Image.Transpose)]
    return min(int((hash_picture(turn) != other).sum()) for turn in turns)
