"""The one way from a picture to its descriptor."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from parecido.indexer.arrays import Vectors
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.errors import LibraryNotFound, PathNotFound
from parecido.indexer.library.library import Library
from parecido.indexer.pictures.decoding.decoder import Decoder
from parecido.indexer.pictures.decoding.orders import Order
from parecido.indexer.pictures.in_memory import Content, Source
from parecido.indexer.pictures.limits import Limits, pillow_limit
from parecido.indexer.pictures.looks.drawing import cut_frame, draw_thumbnail
from parecido.indexer.pictures.read import read_bytes
from parecido.indexer.pictures.wanted import Drawn, ForEncoder, draw
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.records.pictures import Picture
from parecido.indexer.records.regions import Region
from parecido.indexer.system.files import content_hash
from parecido.indexer.system.paths import signed64
from parecido.search.asking.sources import Given
from parecido.search.sameness.shown import Shown, thumbnail_of

__all__ = ["Describer", "show"]


class Describer:
    """Makes descriptors of given pictures; stored ones where they are indexed and unchanged.

    Its steps can be taken one by one, by who has threads and batches of its own.  Safe to use from
    several threads.
    """

    def __init__(
        self, library: Library, encoder: Callable[[], Encoder], limits: Limits, decoder: Decoder
    ) -> None:
        self._library = library
        self._encoder = encoder
        self._limits = limits
        self._decoder = decoder

    @property
    def encoder(self) -> Encoder:
        """The library's encoder, ready to run."""
        return self._encoder()

    @property
    def spec(self) -> EncoderSpec:
        """The library's encoder.  Raises ``LibraryNotFound`` where it holds no pictures yet."""
        spec = self._library.encoder
        if spec is None:
            raise LibraryNotFound(
                f"The library {self._library.folder} holds no pictures yet.",
                "Add some: parecido index FOLDER.",
            )
        return spec

    def find(self, source: Source) -> Given:
        """What is given, with the indexed picture that it is where it is a path."""
        given = Given.of(source)
        if not given.path:
            return given
        catalogue = self._library.catalogue
        picture = catalogue.picture_at(given.path)
        if picture is None and os.path.realpath(given.path) != given.path:
            picture = catalogue.picture_at(os.path.realpath(given.path))
        return replace(given, picture=picture)

    def read(self, given: Given) -> Content:
        """What can be decoded.  Raises ``PathNotFound`` or ``PictureUnreadable``."""
        if given.content is not None:
            return given.content
        if not os.path.lexists(given.path):
            if given.picture is not None:
                raise PathNotFound(f"{given.name} is not there.", "Give a file that is.")
            raise PathNotFound(
                f"{given.name} is not there, and the library holds no picture by that path.",
                "Give a picture file, an indexed path, or - for standard input.",
            )
        return read_bytes(Path(given.path), self._limits)

    def look(self, content: Content, region: Region | None = None) -> Drawn:
        """A picture, or a part of it, at the encoder's size.

        Raises :class:`~parecido.PictureUnreadable`, or ``InvalidRequest`` for a region outside.
        """
        wanted = ForEncoder(self.spec, region)
        if not isinstance(content, bytes):  # opened by PIL, in this process
            with pillow_limit(self._limits):
                return draw(content, wanted, self._limits)
        drawn = self._decoder.decode(Order(wanted, self._limits), content)
        assert drawn is not None  # nobody was asked whether it is wanted
        return drawn

    def find_stored_descriptor(
        self, given: Given, content: Content | None = None
    ) -> Vectors | None:
        """The stored descriptor ``(dimension,)`` of an indexed picture that has not changed.

        Told by its content, where that was read, and else by its size and times.
        """
        picture = given.picture
        if picture is None or not _is_unchanged(given.path, picture, content):
            return None
        ids, vectors = self._library.catalogue.descriptors.of([picture.id])
        return vectors[0] if len(ids) else None

    def describe(self, given: Given) -> Vectors:
        """The descriptor ``(dimension,)`` of a whole picture."""
        return self.see(given)[0]

    def see(self, given: Given) -> tuple[Vectors, Shown]:
        """The descriptor ``(dimension,)`` of a whole picture, and what copies of it are known by.

        The latter as it is kept where the former is; it may be missing then.
        """
        stored = self.find_stored_descriptor(given)
        if stored is not None:
            assert given.picture is not None
            look = self._library.catalogue.looks.of([given.picture.id]).get(given.picture.id)
            thumbnail = None if look is None else thumbnail_of(look)
            return stored, Shown(given.picture.content_hash, thumbnail)
        content = self.read(given)
        seen = self.look(content)
        vector: Vectors = self.encoder.encode([seen.pixels]).descriptors[0]
        return vector, show(seen, content)


def show(seen: Drawn, content: Content | None = None) -> Shown:
    """What copies are known by, of a picture or a part of one, at the encoder's size.

    ``content`` is what it was decoded from, where it is the whole of that.
    """
    hashed = content_hash(content) if isinstance(content, bytes) else None
    left, top, right, bottom = seen.box
    shorter = min(right - left, bottom - top)
    inner = cut_frame(seen.pixels)
    unframed = None if inner is None else draw_thumbnail(inner, shorter)
    return Shown(hashed, draw_thumbnail(seen.pixels, shorter), unframed)


def _is_unchanged(path: str, picture: Picture, content: Content | None) -> bool:
    if content is not None:
        return isinstance(content, bytes) and content_hash(content) == picture.content_hash
    try:
        status = os.stat(path)
    except OSError:
        return True  # an unplugged disk: its pictures can still be asked about
    if os.name != "nt" and picture.ctime_ns not in (None, signed64(status.st_ctime_ns)):
        return False
    seen = (status.st_size, signed64(status.st_mtime_ns))
    return seen == (picture.file_size, picture.mtime_ns)
