"""One file on a worker thread: its bytes, their hash, its pixels."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from parecido.indexer.arrays import Pixels
from parecido.indexer.catalogue.known import Known
from parecido.indexer.errors import PictureUnreadable
from parecido.indexer.indexing.plan import Plan
from parecido.indexer.pictures.decoding.decoder import Stopped
from parecido.indexer.pictures.decoding.orders import Order
from parecido.indexer.pictures.wanted import Drawn, ForEncoder
from parecido.indexer.records.pictures import Described, FileEntry

__all__ = ["Prepared", "prepare", "read_pixels"]


@dataclass(frozen=True)
class Prepared:
    """What became of one file: ``refused``, ``decoded``, later ``described``, or none of these.

    None of these: its bytes are known, and nothing was decoded.
    """

    entry: FileEntry
    known: Known | None
    """What the catalogue knew of the path before."""
    content_hash: bytes = b""
    decoded: Drawn | None = None
    described: Described | None = None
    refused: PictureUnreadable | None = None


def prepare(
    entry: FileEntry, known: Known | None, plan: Plan, claim: Callable[[bytes], bool]
) -> Prepared:
    """Read and hash one file, and decode it if ``claim`` says so of the hash.

    Raises :class:`~parecido.indexer.pictures.decoding.decoder.Stopped`.
    """
    digest = b""

    def ask(hashed: bytes) -> bool:
        nonlocal digest
        digest = hashed
        return claim(hashed)

    path = os.fsdecode(entry.path)
    limits = plan.options.limits
    order = Order(ForEncoder(plan.spec), limits, path, entry.file_size, plan.inside)
    try:
        decoded = plan.decoder.decode(order, claim=ask)
        return Prepared(entry, known, digest, decoded)
    except PictureUnreadable as error:
        return Prepared(entry, known, digest, refused=error)


def read_pixels(plan: Plan, path: Path) -> tuple[bytes, Pixels] | None:
    """The hash of a file's bytes and its pixels at the encoder's size; None for no picture."""
    found = b""

    def take(digest: bytes) -> bool:
        nonlocal found
        found = digest
        return True

    limits = plan.options.limits
    order = Order(ForEncoder(plan.spec), limits, os.fspath(path), inside=plan.inside)
    try:
        drawn = plan.decoder.decode(order, claim=take)
    except (PictureUnreadable, Stopped):
        return None
    return (found, drawn.pixels) if drawn is not None else None
