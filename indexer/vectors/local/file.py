"""The vector index's file: a FAISS index, what is known of it, and a digest of both.

The digest is of everything where that takes no longer than a query (256 MB in 0.15 s), else of what
could crash or mislead.  What else may be wrong in a large file costs hits and never gives a wrong
score, since scores come from the catalogue; verify finds it by a digest of everything.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import faiss

from parecido.indexer.system.kinds import INDEX_SEAL, INDEXES
from parecido.indexer.system.own_files import replacing
from parecido.indexer.vectors.local.seal import TAIL, Facts, digest_of, read_facts, read_seal

__all__ = ["Facts", "is_sound", "read", "write"]

_WHOLE_BYTES = 256 << 20
_HEAD_BYTES = 512


def write(path: Path, index: Any, facts: Facts) -> None:
    """Write an index so that it is there whole or not at all.

    Raises ``OSError`` or FAISS's ``RuntimeError`` where it cannot be written.
    """
    with replacing(path, INDEXES.is_made) as file:
        # through Python's file: FAISS's own keeps silent about what it cannot flush
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))  # type: ignore[attr-defined]
        length = file.seek(0, os.SEEK_END)
        spans = _spans(index, facts, length)
        seal = {"facts": asdict(facts), "spans": spans, "digest": digest_of(file, spans)}
        if spans != [(0, length)]:
            seal["whole"] = digest_of(file, [(0, length)])  # a second for 2 GB, for verify alone
        text = json.dumps(seal).encode()
        file.seek(0, os.SEEK_END)
        file.write(text + TAIL.pack(len(text), hashlib.sha256(text).digest(), INDEX_SEAL))


def read(path: Path, *, change: bool = False) -> tuple[Any, Facts]:
    """An index and its facts: memory-mapped, or with ``change`` in memory so that it can grow.

    Raises ``RuntimeError`` for a file that is incomplete or damaged.
    """
    facts = read_facts(path)
    index = faiss.read_index(str(path), 0 if change else faiss.IO_FLAG_MMAP_IFC)
    if index.ntotal != facts.count:
        raise RuntimeError(f"it holds {index.ntotal} descriptors instead of {facts.count}")
    return index, facts


def is_sound(path: Path) -> bool:
    """Whether a file is all that was written, also where :func:`read` does not look.

    Raises ``RuntimeError`` where not even its end is.
    """
    with path.open("rb") as file:
        seal, length = read_seal(file)
        whole = seal.get("whole")
        if whole is not None:
            return bool(digest_of(file, [(0, length)]) == whole)
        return bool(digest_of(file, seal["spans"]) == seal["digest"])


def _spans(index: Any, facts: Facts, length: int) -> list[tuple[int, int]]:
    """The parts of a file of that length that its digest covers."""
    if length <= _WHOLE_BYTES:
        return [(0, length)]
    if facts.kind == "compressed":
        # everything before the lists: the projection, the centroids, the lists' sizes
        lists = faiss.extract_index_ivf(index)
        return [(0, length - facts.count * (lists.code_size + 8))]
    return [(0, _HEAD_BYTES), (length - 8 * (facts.count + 1), length)]  # the ids
