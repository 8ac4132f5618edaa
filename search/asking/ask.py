"""What a query is made of: one picture or several, with and without, whole or in part, turned."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np

from parecido.indexer.arrays import Pixels, Vectors
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.errors import InvalidRequest
from parecido.indexer.pictures.decode import Decoded
from parecido.indexer.records.pictures import Picture
from parecido.indexer.records.regions import Region
from parecido.search.asking.query import Terms, Wish

__all__ = [
    "Ask",
    "Source",
    "Together",
    "asked",
    "check_within",
    "orientations",
    "pixels_of",
]

Source: TypeAlias = "str | os.PathLike[str] | bytes"
"""A picture file, or its bytes."""
Together: TypeAlias = Literal["mean", "any"]


class Describer(Protocol):
    """What an engine does to make descriptors of given pictures."""

    @property
    def encoder(self) -> Encoder:
        """The library's encoder."""

    def described(self, query: str | os.PathLike[str]) -> tuple[Vectors, Picture | None]:
        """A file's descriptor, and the picture that it is where it is indexed."""

    def indexed(self, query: str | os.PathLike[str]) -> Picture | None:
        """The indexed picture at a path."""

    def read(self, query: str | os.PathLike[str]) -> bytes:
        """The bytes of a picture file."""

    def decoded(self, data: bytes, region: Region | None = None) -> Decoded:
        """A picture's bytes, or a part of it, at the encoder's size."""


# What is not wanted counts less than what is, as negative feedback does since Rocchio ("Relevance
# Feedback in Information Retrieval", 1971).
_UNLIKE = 0.5


@dataclass(frozen=True)
class Ask:
    """Given pictures, and how they are meant."""

    like: tuple[Source, ...]
    unlike: tuple[Source, ...] = ()
    """What hits should have nothing of."""
    together: Together = "mean"
    """Whether hits should be like all of the pictures (like their mean), or like any one."""
    region: Region | None = None
    """The part that is meant, of a single picture."""
    any_orientation: bool = False
    """Whether hits may be turned by quarters or mirrored."""

    @property
    def name(self) -> str:
        """For people: ``a.jpg + b.jpg - c.jpg``."""
        signs = [" + " if self.together == "mean" else " | "] * len(self.like)
        parts = list(zip(signs, self.like, strict=True)) + [(" - ", one) for one in self.unlike]
        text = "".join(
            sign + ("-" if isinstance(one, bytes) else os.fspath(one)) for sign, one in parts
        )
        return text[3:]

    def check(self) -> None:
        """Raise :class:`~parecido.InvalidRequest` for what cannot be asked."""
        if not self.like:
            raise InvalidRequest(
                "There are pictures that hits should be unlike, and none that they should be like."
                if self.unlike
                else "No picture was given.",
                "Give at least one picture to look for.",
            )
        if self.region is not None and len(self.like) > 1:
            raise InvalidRequest(
                f"A region of one picture is meant, and {len(self.like)} were given.",
                "Give one picture with its region.",
            )
        if self.together not in ("mean", "any"):
            raise InvalidRequest(
                f"Expected together to be mean or any, got {self.together!r}.",
                "mean: like all of them; any: like one of them.",
            )


def asked(engine: Describer, ask: Ask) -> tuple[tuple[Wish, ...], frozenset[int]]:
    """The descriptors to look for, and the ids of the given pictures that are indexed themselves.

    Raises what reading and decoding the pictures raises.
    """
    ask.check()
    known: set[int] = set()
    like = [_views(engine, one, ask.region, ask.any_orientation, known) for one in ask.like]
    unlike = [_views(engine, one, None, False, known)[0] for one in ask.unlike]
    wishes = []
    for orientation in range(len(like[0])):
        views = [one[orientation] for one in like]
        groups = [views] if ask.together == "mean" else [[view] for view in views]
        wishes += [_wish(group, unlike) for group in groups]
    return tuple(wishes), frozenset(known)


def _wish(like: Sequence[Vectors], unlike: Sequence[Vectors]) -> Wish:
    weights = [1 / len(like)] * len(like) + [-_UNLIKE / max(len(unlike), 1)] * len(unlike)
    return Wish(np.stack([*like, *unlike]), tuple(weights))


def _views(
    engine: Describer, source: Source, region: Region | None, turned: bool, known: set[int]
) -> Vectors:
    """Descriptors ``(n, dimension)`` of a picture: one, or those of its eight orientations."""
    if not isinstance(source, bytes) and region is None and not turned:
        vector, picture = engine.described(source)
        known |= {picture.id} if picture is not None else set()
        return vector[None]
    pixels = _pixels(engine, source, region, known)
    views = orientations(pixels) if turned else [pixels]
    size = engine.encoder.spec.size
    if turned and not size.keep_aspect and size.height != size.width:
        raise InvalidRequest(
            f"{engine.encoder.spec.title} squeezes pictures to {size.width} × {size.height}, which "
            "cannot be turned.",
            "Leave out any orientation, or index with an encoder that keeps pictures' shapes.",
        )
    return engine.encoder.encode(views, 0).descriptors


def orientations(pixels: Pixels) -> list[Pixels]:
    """The eight flips and quarter turns of a picture ``(h, w, 3)``, itself first."""
    turns = [np.rot90(one, quarter) for one in (pixels, pixels[:, ::-1]) for quarter in range(4)]
    return [np.ascontiguousarray(turn) for turn in turns]


def _pixels(engine: Describer, source: Source, region: Region | None, known: set[int]) -> Pixels:
    """A picture, or its region, at the encoder's size; noted where it is indexed."""
    if isinstance(source, bytes):
        return engine.decoded(source, region).pixels
    picture = engine.indexed(source)
    known |= {picture.id} if picture is not None else set()
    return engine.decoded(engine.read(source), region).pixels


def pixels_of(engine: Describer, ask: Ask) -> tuple[list[Pixels], frozenset[int]]:
    """The pictures to look for, in all orientations that count, and the ids of indexed ones."""
    ask.check()
    known: set[int] = set()
    given = [_pixels(engine, one, ask.region, known) for one in ask.like]
    if ask.any_orientation:
        given = [view for one in given for view in orientations(one)]
    return given, frozenset(known)


def check_within(ask: Ask, terms: Terms) -> None:
    """Raise :class:`~parecido.InvalidRequest` for what no search within pictures can do."""
    several = len(ask.like) > 1 and ask.together == "mean"
    refused = {
        "a mean of several pictures": several,
        "pictures that hits should be unlike": bool(ask.unlike),
        "expansion": bool(terms.expand),
        "re-ranking": bool(terms.rerank),
        "a maximum of chance": terms.max_chance is not None,
    }
    for what, given in refused.items():
        if given:
            raise InvalidRequest(
                f"A search within pictures cannot be combined with {what}.",
                "Leave out one of them.",
            )
