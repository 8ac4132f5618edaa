"""What a catalogue knows of a path, and of what was given to be indexed."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["FileRow", "Known", "Mount", "Root"]


class Known(NamedTuple):
    """What the catalogue knows of a path: a picture (with its id) or a skip (id None)."""

    id: int | None
    file_size: int
    mtime_ns: int
    reason: str = ""
    kind: str = ""
    decoder: str = ""
    """Versions of the decoders that failed on a file, where that is why it was left out."""
    ctime_ns: int | None = None
    """None where it is not known."""
    format: str = ""
    """Of a picture; Pillow's name."""
    decoding: int = 0
    """Of a picture: by which rules its pixels were made."""


class Root(NamedTuple):
    """A folder or file that was given to be indexed."""

    path: bytes
    device: int
    inode: int
    rules: str = ""
    """JSON of what is left out below it, and what is not."""


class Mount(NamedTuple):
    """A folder on which another file system was mounted."""

    path: bytes
    device: int
    inode: int


class FileRow(NamedTuple):
    """A picture's file as the catalogue has it."""

    id: int
    path: bytes
    file_size: int
    mtime_ns: int
    content_hash: bytes
    ctime_ns: int | None
