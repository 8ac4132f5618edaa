"""The end of a vector index's file: what is known of it, and a digest.

FAISS trusts what it reads: a file cut short can crash it, and one flipped bit can turn products
into distances.  So the digest is looked at first.  Whether a file is sound is told without FAISS.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from parecido.indexer.arithmetic import GRID
from parecido.indexer.system.kinds import INDEX_SEAL

__all__ = ["TAIL", "Facts", "digest_of", "is_usable", "read_facts", "read_seal"]

TAIL = struct.Struct("<I32s8s")
"""Length of the JSON before it, its SHA-256, the seal."""


@dataclass(frozen=True)
class Facts:
    """What is known of an index beside its vectors."""

    kind: str
    """``flat`` (float32), ``flat16`` (the stored float16) or ``compressed``."""
    dimension: int
    """Of the descriptors in the file."""
    count: int
    """Descriptors in the file."""
    trained_on: int = 0
    """Of a compressed index: how many pictures the library held when it was trained."""
    nprobe: int = 0
    """Lists that a search for ten looks into."""
    candidates: int = 0
    """Candidates whose exact scores a search for ten asks for."""
    recall: float = 1.0
    """recall@10 against exact search, on a sample of the library's own pictures."""
    sample: int = 0
    """How many pictures that sample had."""
    space: str = ""
    """Fingerprint of the space of its descriptors; empty for the encoder's own."""
    grid: int = 0
    """Binary places of an exhaustive index's numbers; 0 in files from before they had a grid."""

    def check(self, dimension: int, space: str) -> None:
        """Raise ``RuntimeError`` where these are not what a gallery compares."""
        if self.dimension != dimension:
            raise RuntimeError(f"expected {dimension} numbers, got {self.dimension}")
        if self.space != space:
            raise RuntimeError("it is of another space")
        if self.kind != "compressed" and self.grid != GRID:
            raise RuntimeError("its numbers were rounded by some processor")


def read_facts(path: Path) -> Facts:
    """What is known of the index in a file.  Raises ``RuntimeError`` for one that is not whole."""
    with path.open("rb") as file:
        seal, _ = read_seal(file)
        if digest_of(file, seal["spans"]) != seal["digest"]:
            raise RuntimeError("it is damaged")
    return Facts(**seal["facts"])


def read_seal(file: BinaryIO) -> tuple[dict[str, Any], int]:
    """What stands at the end of a file, and how many bytes lie before it.

    Raises ``RuntimeError`` where it is incomplete or damaged.
    """
    file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL.size))
    tail = file.read()
    if len(tail) < TAIL.size or not tail.endswith(INDEX_SEAL):
        raise RuntimeError("it is incomplete")
    length, digest, _ = TAIL.unpack(tail)
    start = file.seek(max(0, file.tell() - TAIL.size - length))
    text = file.read(length)
    if hashlib.sha256(text).digest() != digest:
        raise RuntimeError("its end is damaged")
    return json.loads(text), start


def is_usable(path: Path, dimension: int, space: str) -> bool:
    """Whether the index in a file can be used for descriptors of a space."""
    try:
        read_facts(path).check(dimension, space)
    except (RuntimeError, ValueError, TypeError, OSError):
        return False
    return True


def digest_of(file: BinaryIO, spans: Iterable[tuple[int, int]]) -> str:
    """The SHA-256 of parts of a file, from an offset to another."""
    digest = hashlib.sha256()
    for start, end in spans:
        left = end - file.seek(start)
        while left > 0 and (piece := file.read(min(1 << 20, left))):
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest()
