"""A part of a picture, as if it had been cut out, at an encoder's size."""

from __future__ import annotations

from typing import NamedTuple

from parecido.indexer.arrays import Pixels
from parecido.indexer.pictures.decode import Limits
from parecido.indexer.pictures.in_memory import Content
from parecido.indexer.pictures.wanted import ForEncoder, draw
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
    drawn = draw(content, ForEncoder(spec, region), limits)
    return Seen(drawn.pixels, drawn.width, drawn.height, drawn.box)
