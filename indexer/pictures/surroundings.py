"""What a picture file's name and the files beside it tell, after what it tells of itself."""

from __future__ import annotations

import os
from collections.abc import Sequence

from parecido.indexer.errors import PictureUnreadable
from parecido.indexer.pictures.decoding.decoder import Decoder, Stopped
from parecido.indexer.pictures.decoding.orders import Order
from parecido.indexer.pictures.limits import Limits
from parecido.indexer.pictures.metadata.names import read_name
from parecido.indexer.pictures.metadata.reading import Metadata, weigh
from parecido.indexer.pictures.metadata.sidecars import Sidecars
from parecido.indexer.records.details import Details, Stamp
from parecido.indexer.records.pictures import FileEntry, Taken

__all__ = ["Surroundings", "tells_itself"]

_OUTSIDE = ("sidecar", "takeout", "name")


class Surroundings:
    """Asks names and sidecars.  For one thread.

    ``inside`` are real paths of folders, which no sidecar may lie out of.
    """

    def __init__(self, decoder: Decoder, limits: Limits, inside: Sequence[str] = ()) -> None:
        self._decoder = decoder
        self._limits = limits
        self._inside = tuple(inside)
        self._sidecars = Sidecars(follows_links=not inside)

    def find(self, path: bytes) -> tuple[Stamp, ...]:
        """The sidecars of a picture, as they are now."""
        return self._sidecars.find(path)

    def complete(self, path: bytes, own: Metadata) -> Metadata:
        """What a picture tells of itself, with what its sidecars tell, and its name at last.

        Stars are those of a sidecar, where people give them; keywords are those of both.
        """
        stamps = self._sidecars.find(path)
        told = self._sidecars.read(path, stamps) if stamps else []
        (at, camera), details = own
        if told:
            beside_at, beside = weigh(told)
            details = _join(details, beside)._replace(sidecars=stamps)
            if at is None and beside_at is not None:
                at = beside_at
                details = details._replace(taken_from=beside.taken_from, is_utc=beside.is_utc)
        if at is None:
            moment = read_name(os.fsdecode(os.path.basename(path)))
            if moment is not None:
                at = moment.text
                details = details._replace(taken_from="name", is_utc=moment.is_utc)
        return Metadata(Taken(at, camera), details)

    def look(self, entry: FileEntry) -> Metadata | None:
        """What a file tells of itself, of which no pixels are read; None where it cannot be."""
        path = os.fsdecode(entry.path)
        order = Order(None, self._limits, path, entry.file_size, self._inside)
        try:
            found = self._decoder.decode(order)
        except (PictureUnreadable, Stopped):
            return None
        return None if found is None else Metadata(found.taken, found.details)


def tells_itself(details: Details) -> bool:
    """Whether all of this came from a picture's own bytes, so that its copies tell the same."""
    return not details.sidecars and details.taken_from not in _OUTSIDE


def _join(own: Details, beside: Details) -> Details:
    position = own if own.latitude is not None else beside
    return own._replace(
        rating=own.rating if beside.rating is None else beside.rating,
        latitude=position.latitude,
        longitude=position.longitude,
        keywords=tuple(dict.fromkeys((*own.keywords, *beside.keywords))),
    )
