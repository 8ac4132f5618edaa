"""The part of the way that runs on worker threads: one file → its bytes' hash and its pixels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from indexer.catalogue import Known
from indexer.decode import Decoded, Limits, decode, probe
from indexer.discover import FileEntry
from indexer.errors import PictureUnreadable
from indexer.spec import EncoderSpec

__all__ = ["Prepared", "content_hash", "prepare"]


@dataclass(frozen=True)
class Prepared:
    """What became of one file: exactly one of ``decoded``, ``known_bytes`` and ``refused``."""

    entry: FileEntry
    known: Known | None
    """What the catalogue knew of the path before."""
    content_hash: bytes = b""
    decoded: Decoded | None = None
    known_bytes: bool = False
    """The catalogue has a picture with these very bytes; nothing was decoded."""
    refused: PictureUnreadable | None = None


def content_hash(data: bytes) -> bytes:
    """BLAKE2b of a file's bytes, 16 bytes long."""
    return hashlib.blake2b(data, digest_size=16).digest()


def prepare(
    entry: FileEntry,
    known: Known | None,
    spec: EncoderSpec,
    limits: Limits,
    have: Callable[[bytes], bool],
) -> Prepared:
    """Read, hash and decode one file; ``have`` tells whether a hash is in the catalogue."""
    try:
        data = probe(Path(os.fsdecode(entry.path)), limits)
        digest = content_hash(data)
        if have(digest):
            return Prepared(entry, known, digest, known_bytes=True)
        return Prepared(entry, known, digest, decoded=decode(data, spec, limits))
    except PictureUnreadable as error:
        return Prepared(entry, known, refused=error)
