"""One file on a worker thread: its bytes, their hash, its pixels."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from parecido.indexer.catalogue.known import Known
from parecido.indexer.errors import PictureUnreadable
from parecido.indexer.pictures.decode import Decoded, Limits, decode
from parecido.indexer.pictures.read import probe
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.records.pictures import Described, FileEntry
from parecido.indexer.system.files import content_hash

__all__ = ["Prepared", "prepare"]


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
