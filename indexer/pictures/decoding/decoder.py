"""Who decodes: this process, or others that a bad file may bring down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from parecido.indexer.pictures.decode import Turn, take_turn
from parecido.indexer.pictures.decoding.orders import Order
from parecido.indexer.pictures.limits import pillow_limit
from parecido.indexer.pictures.read import look_at, probe
from parecido.indexer.pictures.wanted import Drawn, draw
from parecido.indexer.system.files import content_hash

__all__ = ["Claim", "Decoder", "DecoderHere", "Stopped", "follow"]

Claim = Callable[[bytes], bool]
"""Asked with the hash of a file's bytes whether they are to be decoded."""


class Stopped(Exception):
    """The decoder was told to stop, and this picture was not decoded."""


class Decoder(Protocol):
    """Who decodes pictures, for any number of threads at once."""

    def decode(
        self, order: Order, content: bytes = b"", claim: Claim | None = None
    ) -> Drawn | None:
        """What is wanted of a picture, of the file that the order names or of its ``content``.

        ``claim`` is asked once with the hash of a file's bytes; where it says no, nothing is
        decoded and None is returned.  Raises :class:`~parecido.PictureUnreadable`,
        ``InvalidRequest`` for a region outside, and :class:`Stopped`.
        """
        ...

    def stop(self) -> None:
        """Let what is being decoded end at once, in :class:`Stopped`, and all that comes after."""
        ...


def follow(
    order: Order, content: bytes, claim: Claim | None, turn: Turn = take_turn
) -> Drawn | None:
    """What an order asks for; as :meth:`Decoder.decode`."""
    if order.wanted is None:
        assert order.path is not None
        size, form, metadata = look_at(Path(order.path), order.limits, order.inside)
        return Drawn(b"", (0, 0), *size, form, *metadata, (0, 0, *size))
    if order.path is not None:
        content = probe(Path(order.path), order.limits, order.inside)
        if claim is not None and not claim(content_hash(content)):
            return None
    return draw(content, order.wanted, order.limits, turn)


class DecoderHere:
    """Decodes in this process: nothing has to be started, and a decoder that crashes ends it."""

    def __init__(self) -> None:
        self._stopped = False

    def decode(
        self, order: Order, content: bytes = b"", claim: Claim | None = None
    ) -> Drawn | None:
        """As :meth:`Decoder.decode`."""
        if self._stopped:
            raise Stopped
        with pillow_limit(order.limits):
            return follow(order, content, claim)

    def stop(self) -> None:
        """Decode no further; what has begun comes to its end."""
        self._stopped = True
