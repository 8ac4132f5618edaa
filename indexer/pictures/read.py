"""One file on a worker thread: its bytes, their hash, its pixels."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from parecido.indexer.catalogue.sqlite.reading.catalogue import Known
from parecido.indexer.catalogue.sqlite.reading.regional import Regional
from parecido.indexer.errors import PictureUnreadable
from parecido.indexer.pictures.decode import Decoded, Limits, decode, probe
from parecido.indexer.pictures.exif import UNKNOWN, Taken
from parecido.indexer.pictures.walk import FileEntry
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.records.pictures import Label
from parecido.indexer.system.files import content_hash

__all__ = ["Described", "Prepared", "prepare"]


@dataclass(frozen=True)
class Described:
    """What the encoder said of some bytes; every file that holds them shares it."""

    width: int
    height: int
    format: str
    labels: tuple[Label, ...]
    vector: bytes
    """Little-endian float16, as the catalogue stores it."""
    taken: Taken = UNKNOWN
    regional: Regional | None = None
    """Regional descriptors, where the library keeps them."""


@dataclass(frozen=True)
class Prepared:
    """What became of one file: ``refused``, ``decoded``, later ``described``, or none of these.

    None of these: its bytes are known, and nothing was decoded.
    """

    entry: FileEntry
    known: Known | None
    """What the catalogue knew of the path before."""
    content_hash: bytes = b""
    decoded: Decoded | None = None
    described: Described | None = None
    refused: PictureUnreadable | None = None


def prepare(
    entry: FileEntry,
    known: Known | None,
    spec: EncoderSpec,
    limits: Limits,
    claim: Callable[[bytes], bool],
) -> Prepared:
    """Read and hash one file, and decode it if ``claim`` says so of the hash."""
    digest = b""
    try:
        data = probe(Path(os.fsdecode(entry.path)), limits)
        digest = content_hash(data)
        if not claim(digest):
            return Prepared(entry, known, digest)
        return Prepared(entry, known, digest, decoded=decode(data, spec, limits))
    except PictureUnreadable as error:
        return Prepared(entry, known, digest, refused=error)
