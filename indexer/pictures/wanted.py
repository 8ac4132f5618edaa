"""What is wanted of a picture: at an encoder's size, a part of it, or within a square."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from PIL import Image

from parecido.indexer.pictures.decode import RESAMPLE, Limits, Turn, render, take_turn
from parecido.indexer.pictures.in_memory import Content
from parecido.indexer.records.details import Details
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.records.pictures import Taken
from parecido.indexer.records.regions import Region

if TYPE_CHECKING:
    from parecido.indexer.arrays import Pixels

__all__ = ["Drawn", "Fitting", "ForEncoder", "Wanted", "draw"]


@dataclass(frozen=True)
class ForEncoder:
    """A picture, or a region of it, at an encoder's size."""

    spec: EncoderSpec
    region: Region | None = None


@dataclass(frozen=True)
class Fitting:
    """A picture whose longer side is that many pixels, or less where it ``shrinks`` only."""

    longest: int
    shrinks: bool = True

    def target(self, width: int, height: int) -> tuple[int, int]:
        """The ``(width, height)`` for an upright picture of that width and height in pixels."""
        scale = self.longest / max(width, height)
        scale = min(1.0, scale) if self.shrinks else scale
        return max(1, round(width * scale)), max(1, round(height * scale))


Wanted: TypeAlias = ForEncoder | Fitting


class Drawn(NamedTuple):
    """What was wanted of a picture."""

    rgb: bytes | bytearray
    """Upright RGB, a byte each, row by row."""
    size: tuple[int, int]
    """Width and height of it, in pixels."""
    width: int
    """Upright width of the whole picture, in pixels."""
    height: int
    """Upright height of the whole picture, in pixels."""
    format: str
    """Pillow's name of the file format."""
    taken: Taken
    """When, and with which camera."""
    details: Details
    """What else it tells of itself."""
    box: tuple[int, int, int, int]
    """Left, upper, right and lower edge of what was drawn, in pixels of the whole picture."""
    note: str = ""
    """What is missing of the picture; empty where nothing is."""

    @property
    def pixels(self) -> Pixels:
        """Upright RGB ``(height, width, 3)``; it shares its memory."""
        import numpy as np

        across, down = self.size
        return np.frombuffer(self.rgb, np.uint8).reshape(down, across, 3)

    @property
    def image(self) -> Image.Image:
        """A picture of PIL's."""
        return Image.frombytes("RGB", self.size, bytes(self.rgb))


def draw(content: Content, wanted: Wanted, limits: Limits, turn: Turn = take_turn) -> Drawn:
    """What is wanted of a picture.

    Raises :class:`~parecido.PictureUnreadable`, or ``InvalidRequest`` for a region outside.
    """
    if isinstance(wanted, ForEncoder) and wanted.region is not None:
        return _draw_part(content, wanted.spec, wanted.region, limits, turn)
    if isinstance(wanted, ForEncoder):
        target, resample = wanted.spec.size.target, RESAMPLE[wanted.spec.resample]
    else:
        target, resample = wanted.target, Image.Resampling.LANCZOS
    found = render(content, target, limits, resample, turn)
    image, width, height, form, metadata, note = found
    box = 0, 0, width, height
    return Drawn(image.tobytes(), image.size, width, height, form, *metadata, box, note)


def _draw_part(
    content: Content, spec: EncoderSpec, region: Region, limits: Limits, turn: Turn
) -> Drawn:
    chosen: list[tuple[int, int, int, int]] = []

    def target(width: int, height: int) -> tuple[int, int]:
        """As small as the part allows: twice the size at which it will be looked at."""
        chosen[:] = [region.box(width, height)]
        left, top, right, bottom = chosen[0]
        across, down = spec.size.target(right - left, bottom - top)
        scale = min(1.0, 2 * max(across / (right - left), down / (bottom - top)))
        return max(1, round(width * scale)), max(1, round(height * scale))

    resample = RESAMPLE[spec.resample]
    image, width, height, form, metadata, note = render(content, target, limits, resample, turn)
    box = left, top, right, bottom = chosen[0]
    across, down = image.width / width, image.height / height
    part = image.resize(
        spec.size.target(right - left, bottom - top),
        Image.Resampling(resample),
        box=(left * across, top * down, right * across, bottom * down),
    )
    return Drawn(part.tobytes(), part.size, width, height, form, *metadata, box, note)
