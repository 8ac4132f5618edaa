"""The vector index's file: a FAISS index, what is known of it, and a digest of both.

FAISS trusts what it reads: a file cut short can crash it, and one flipped bit can turn products
into distances.  So a file ends with a digest: of everything where that takes no longer than a
query (256 MB in 0.15 s), else of what could crash or mislead.  What else may be wrong in a large
file costs hits and never gives a wrong score, since scores come from the catalogue; verify finds
it.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import faiss

from parecido.indexer.system.kinds import INDEX_SEAL, INDEXES
from parecido.indexer.system.own_files import replacing

__all__ = ["Facts", "read", "write"]

_WHOLE_BYTES = 256 << 20
_HEAD_BYTES = 512
_TAIL = struct.Struct("<I32s8s")  # length of the JSON before it, its SHA-256, the seal


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


def write(path: Path, index: Any, facts: Facts) -> None:
    """Write an index so that it is there whole or not at all.

    Raises ``OSError`` or FAISS's ``RuntimeError`` where it cannot be written.
    """
    with replacing(path, INDEXES.is_made) as file:
        # through Python's file: FAISS's own keeps silent about what it cannot flush
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))  # type: ignore[attr-defined]
        length = file.seek(0, os.SEEK_END)
        spans = _spans(index, facts, length)
        seal = {"facts": asdict(facts), "spans": spans, "digest": _digest(file, spans)}
        text = json.dumps(seal).encode()
        file.seek(0, os.SEEK_END)
        file.write(text + _TAIL.pack(len(text), hashlib.sha256(text).digest(), INDEX_SEAL))


def read(path: Path, *, change: bool = False) -> tuple[Any, Facts]:
    """An index and its facts: memory-mapped, or with ``change`` in memory so that it can grow.

    Raises ``RuntimeError`` for a file that is incomplete or damaged.
    """
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL.size))
        tail = file.read()
        if len(tail) < _TAIL.size or not tail.endswith(INDEX_SEAL):
            raise RuntimeError("it is incomplete")
        length, digest, _ = _TAIL.unpack(tail)
        file.seek(max(0, file.tell() - _TAIL.size - length))
        text = file.read(length)
        if hashlib.sha256(text).digest() != digest:
            raise RuntimeError("its end is damaged")
        seal = json.loads(text)
        if _digest(file, seal["spans"]) != seal["digest"]:
            raise RuntimeError("it is damaged")
    index = faiss.read_index(str(path), 0 if change else faiss.IO_FLAG_MMAP_IFC)
    facts = Facts(**seal["facts"])
    if index.ntotal != facts.count:
        raise RuntimeError(f"it holds {index.ntotal} descriptors instead of {facts.count}")
    return index, facts


def _spans(index: Any, facts: Facts, length: int) -> list[tuple[int, int]]:
    """The parts of a file of that length that its digest covers."""
    if length <= _WHOLE_BYTES:
        return [(0, length)]
    if facts.kind == "compressed":
        # everything before the lists: the projection, the centroids, the lists' sizes
        lists = faiss.extract_index_ivf(index)
        return [(0, length - facts.count * (lists.code_size + 8))]
    return [(0, _HEAD_BYTES), (length - 8 * (facts.count + 1), length)]  # the ids


def _digest(file: BinaryIO, spans: list[tuple[int, int]]) -> str:
    digest = hashlib.sha256()
    for start, end in spans:
        left = end - file.seek(start)
        while left > 0 and (piece := file.read(min(1 << 20, left))):
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest()
