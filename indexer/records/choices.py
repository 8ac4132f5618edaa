"""The words that people choose with, each list written once.

Plain tuples, so that a command line which offers them imports nothing that they choose between.
``tests/contract/test_choices.py`` holds that they are what the code can do.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

__all__ = [
    "DEVICES",
    "DIMENSIONS",
    "FILTERS",
    "FORMATS",
    "FULLY_CONNECTED",
    "MAP_POOLINGS",
    "NO_POOLING",
    "POOLINGS",
    "PRECISIONS",
    "PREPROCESSINGS",
    "QUALITIES",
    "SIZES",
    "TOGETHER",
    "UNCALIBRATED",
    "Together",
]

QUALITIES = ("fast", "balanced", "best")
MAP_POOLINGS = ("avg", "max", "gem", "rgem")
"""What can be done to a feature map; a network that ends in one offers them all."""
FULLY_CONNECTED = ("fc1", "fc2")
"""VGG's layers behind its pooling."""
NO_POOLING = "none"
"""Of a network that ends in a vector."""
POOLINGS = (*MAP_POOLINGS, *FULLY_CONNECTED, NO_POOLING)
SIZES = ("256", "224x224")
"""A size in its two spellings: a side of pictures that keep their shapes, and width and height."""
FILTERS = ("nearest", "bilinear", "bicubic", "lanczos")
"""With which pictures are brought to size."""
PREPROCESSINGS = ("none", "caffe", "tf", "torch")
"""Of a network file: RGB in 0..255, or as Keras prepares it."""
UNCALIBRATED = ("auto", "float32", "half")
"""Precisions that need no pictures to be calibrated on."""
PRECISIONS = (*UNCALIBRATED, "int8")
DEVICES = ("auto", "cpu", "gpu")
DIMENSIONS = ("auto", "full")
"""Of a library's own space, where it is no number."""
Together: TypeAlias = Literal["mean", "any"]
TOGETHER: tuple[Together, ...] = get_args(Together)
"""Like the mean of several pictures, or like any one of them."""
FORMATS = (
    *("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "HEIF", "JPEG2000"),
    # TGA last: it has no signature, and takes some icons for its own
    *("PPM", "ICO", "PSD", "QOI", "PCX", "SGI", "DDS", "TGA"),
)
"""Pillow's names of the file formats that are read, in the order in which they are tried."""
