"""A part of a picture, as people name it, and its pixels at an encoder's size."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NamedTuple

from parecido.indexer.errors import InvalidRequest

__all__ = ["Box", "Region", "Regional"]

_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(%?)\s*")
_REMEDY = "Give x,y,width,height in pixels, or each as a percentage: 10%,20%,50%,50%."


@dataclass(frozen=True)
class Region:
    """A rectangle, from the upper left corner of the upright picture.

    Each of its numbers is in pixels, or with ``in_percent`` in percent of the picture's width or
    height.
    """

    x: float
    y: float
    width: float
    height: float
    in_percent: bool = False

    @classmethod
    def parse(cls, text: str) -> Region:
        """From ``x,y,width,height``, all in pixels or all with a ``%``.

        Raises :class:`~parecido.InvalidRequest` for anything else.
        """
        found = [_NUMBER.fullmatch(part) for part in text.split(",")]
        numbers = [(float(m[1]), bool(m[2])) for m in found if m]
        if len(found) != 4 or len(numbers) != 4 or len({percent for _, percent in numbers}) != 1:
            raise InvalidRequest(f"{text!r} is no region.", _REMEDY)
        x, y, width, height = (number for number, _ in numbers)
        region = cls(x, y, width, height, in_percent=numbers[0][1])
        if not (region.width > 0 and region.height > 0):
            raise InvalidRequest(f"The region {text} is empty.", _REMEDY)
        return region

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, upper, right and lower edge in pixels of a picture of that upright size.

        At least one pixel.  Raises :class:`~parecido.InvalidRequest` where it reaches
        outside the picture.
        """
        across, down = (width / 100, height / 100) if self.in_percent else (1.0, 1.0)
        left, top = self.x * across, self.y * down
        right, bottom = left + self.width * across, top + self.height * down
        # half a pixel: percentages that were rounded on their way still name the whole picture
        if right > width + 0.5 or bottom > height + 0.5 or left >= width or top >= height:
            unit = "%" if self.in_percent else " pixels"
            raise InvalidRequest(
                f"The region {self} reaches outside the picture of {width} × {height}.",
                f"Stay within it: x + width and y + height are at most "
                f"{'100%' if self.in_percent else f'{width} and {height}{unit}'}.",
            )
        x, y = math.floor(left), math.floor(top)
        return (
            x,
            y,
            min(width, max(x + 1, math.ceil(right - 1e-6))),
            min(height, max(y + 1, math.ceil(bottom - 1e-6))),
        )

    def __str__(self) -> str:
        unit = "%" if self.in_percent else ""
        return ",".join(f"{n:g}{unit}" for n in (self.x, self.y, self.width, self.height))


@dataclass(frozen=True)
class Regional:
    """The regional descriptors of one picture, as they are stored."""

    rows: int
    columns: int
    """Cells of the feature map that they are pooled from."""
    vectors: bytes
    """As :func:`parecido.indexer.regional.codes.pack` gives them."""


class Box(NamedTuple):
    """A rectangle as fractions of the upright picture, 0 to 1, from its upper left corner."""

    x: float
    y: float
    width: float
    height: float
