"""The changes that an indexing run makes to a catalogue, as plain records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from parecido.indexer.catalogue.known import Known
from parecido.indexer.records.details import Details
from parecido.indexer.records.pictures import Described, FileEntry, Look, Taken

__all__ = [
    "Add",
    "AddLook",
    "Annotate",
    "Change",
    "Disown",
    "Forget",
    "Move",
    "Own",
    "Remove",
    "SetAside",
    "SkipFile",
    "Touch",
    "Withdraw",
]


@dataclass(frozen=True)
class Add:
    """A picture with its descriptor: a new one, or new content for a known ``id``."""

    entry: FileEntry
    content_hash: bytes
    described: Described
    id: int | None = None


@dataclass(frozen=True)
class Annotate:
    """More, or other, is told of the known picture beside its pixels."""

    id: int
    taken: Taken
    details: Details


@dataclass(frozen=True)
class AddLook:
    """By which copies of a known picture are known, as long as it has these bytes."""

    id: int
    content_hash: bytes
    look: Look


@dataclass(frozen=True)
class Move:
    """The known picture now lies elsewhere, with the same bytes."""

    id: int
    path: bytes
    file_size: int
    mtime_ns: int
    ctime_ns: int | None = None


@dataclass(frozen=True)
class Touch:
    """The known picture has other times and the same bytes."""

    id: int
    file_size: int
    mtime_ns: int
    ctime_ns: int | None = None
    decoding: int | None = None
    """By which rules its pixels would be the same; None to leave that as it is."""


@dataclass(frozen=True)
class Remove:
    """These pictures leave the library."""

    ids: Sequence[int]


@dataclass(frozen=True)
class SetAside:
    """These pictures leave the answers until their files have been read again."""

    ids: Sequence[int]
    reason: str


@dataclass(frozen=True)
class SkipFile:
    """A file was left out; ``replaces`` is the picture that it used to be, if any."""

    path: bytes
    file_size: int
    mtime_ns: int
    kind: str
    reason: str
    replaces: int | None = None
    decoder: str = ""
    """Versions of the decoders that failed on it, where that is why."""
    ctime_ns: int | None = None

    @classmethod
    def of(cls, entry: FileEntry, known: Known, replaces: int | None = None) -> Self:
        """What is to be known of a file that is left out."""
        path, file_size, mtime_ns, ctime_ns = entry
        told = (known.kind, known.reason, replaces, known.decoder)
        return cls(path, file_size, mtime_ns, *told, ctime_ns)


@dataclass(frozen=True)
class Forget:
    """These files are no longer remembered as skipped."""

    paths: Sequence[bytes]


@dataclass(frozen=True)
class Own:
    """These bytes were uploaded to a server, which keeps them at this path."""

    path: bytes
    content_hash: bytes
    before: bytes = b""
    stamp: int = 0


@dataclass(frozen=True)
class Withdraw:
    """This upload is to be removed with its picture."""

    path: bytes


@dataclass(frozen=True)
class Disown:
    """What lies at these paths, if anything, is no server's any more."""

    paths: Sequence[bytes]


Change = (
    Add
    | AddLook
    | Annotate
    | Move
    | Touch
    | Remove
    | SetAside
    | SkipFile
    | Forget
    | Own
    | Withdraw
    | Disown
)
