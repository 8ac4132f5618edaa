"""What is known of a picture beside its pixels, its moment and its camera."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

__all__ = ["NO_DETAILS", "Details", "Stamp"]


class Stamp(NamedTuple):
    """A file beside a picture that tells of it, as it was when it was read."""

    name: str
    """Without its folder; bytes that are no UTF-8 are surrogate-escaped."""
    file_size: int
    """Bytes."""
    mtime_ns: int


class Details(NamedTuple):
    """Where, how good, in which words; and from where the moment is known."""

    taken_from: str | None = None
    """What told when it was taken: ``exif``, ``xmp``, ``iptc``, ``png``; ``sidecar`` or
    ``takeout``, a file beside it; ``name``, a guess by the file's name; None where nothing did."""
    is_utc: bool = False
    """Whether that moment is Greenwich's time, and not that of the camera's clock."""
    rating: int | None = None
    """-1 (rejected) to 5 stars."""
    latitude: float | None = None
    """-90 to 90 degrees (WGS 84), north above 0."""
    longitude: float | None = None
    """-180 to 180 degrees, east above 0."""
    keywords: tuple[str, ...] = ()
    sidecars: tuple[Stamp, ...] = ()
    """The files beside it that were asked, in the order of their names."""

    @classmethod
    def from_json(cls, values: Sequence[Any]) -> Self:
        """From the list that JSON makes of it."""
        found = cls._make(values)
        sidecars = tuple(Stamp(*stamp) for stamp in found.sidecars)
        return found._replace(keywords=tuple(found.keywords), sidecars=sidecars)


NO_DETAILS = Details()
