"""What a picture may be given as, and what is known of it before it is looked at."""

from __future__ import annotations

import os
from dataclasses import dataclass

from parecido.indexer.errors import InvalidRequest
from parecido.indexer.pictures.in_memory import Content, Source, to_content
from parecido.indexer.records.pictures import Picture
from parecido.indexer.system.paths import absolute

__all__ = ["Given", "name_of"]


@dataclass(frozen=True, eq=False)
class Given:
    """A picture that was given, as far as it was looked at."""

    name: str
    """For people: its path, or ``-``."""
    path: str = ""
    """Absolute; empty where it is no path."""
    content: Content | None = None
    """What can be decoded; None where the file has not been read yet."""
    picture: Picture | None = None
    """The indexed picture at the path, or at what it links to."""

    @classmethod
    def of(cls, source: Source) -> Given:
        """Raises :class:`~parecido.InvalidRequest` for what is no picture at all."""
        content = to_content(source)
        if content is not None:
            return cls("-", content=content)
        if isinstance(source, (str, os.PathLike)):
            return cls(os.fspath(source), absolute(source))
        raise InvalidRequest(
            f"Expected a picture, got {type(source).__name__}.",
            "Give a path, bytes, an open binary file, a picture of PIL's or an array.",
        )


def name_of(source: Source) -> str:
    """What a picture is called: its path, or ``-``."""
    return os.fspath(source) if isinstance(source, (str, os.PathLike)) else "-"
