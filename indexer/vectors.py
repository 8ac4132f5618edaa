"""The vector index: FAISS over the catalogue's descriptors, a cache that can always be rebuilt.

On disk it is one file named after the catalogue's generation that it holds.  In memory it is that
file (the *base*, memory-mapped), the descriptors written since (the *tail*), and the ids of the
base that are gone or were replaced (the *dropped*).  So a search sees every committed picture
however old the file is, and a small change never rewrites a large file.
"""

from __future__ import annotations

import hashlib
import logging
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import faiss
import numpy as np
import numpy.typing as npt

from indexer.catalogue import Catalogue
from indexer.durable import replacing

__all__ = ["VectorIndex"]

_log = logging.getLogger("parecido")

Ids = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]

# Below these changes since the file was written, reading the tail from the catalogue is cheaper
# than writing the file: 2048 descriptors of 2048 dimensions are 8 MB.
_SAVE_ROWS = 2048
_SAVE_SHARE = 0.1


class VectorIndex:
    """Exhaustive inner-product search over a catalogue's descriptors.

    Not safe for a refresh during a search: let one thread do both, or lock.
    """

    def __init__(self, folder: Path, catalogue: Catalogue, dimension: int) -> None:
        self._folder = folder
        self._catalogue = catalogue
        self._dimension = dimension
        self._base: Any = None
        self._base_ids: Ids = np.empty(0, np.int64)
        self._base_generation = 0
        self._tail: Any = None
        self._tail_count = 0
        self._dropped: Ids = np.empty(0, np.int64)
        self.generation = -1
        """The catalogue's generation that searches see."""
        self._load()
        self.refresh()

    @property
    def count(self) -> int:
        """Descriptors that a search sees."""
        return len(self._base_ids) - len(self._dropped) + self._tail_count

    @property
    def kind(self) -> str:
        """``flat`` or ``flat16``: exhaustive over float32, or over the stored float16."""
        index = self._base if self._base is not None else self._tail
        return "flat16" if _is_half(index) else "flat"

    @property
    def tolerance(self) -> float:
        """How far a number of :meth:`vectors` may be from the catalogue's."""
        return 1e-3 if self.kind == "flat16" else 1e-6

    @property
    def file_bytes(self) -> int:
        """Size of the file on disk, 0 where there is none."""
        path = self._path(self._base_generation)
        return path.stat().st_size if self._base is not None and path.exists() else 0

    def refresh(self) -> None:
        """Make every committed picture, and none that is gone, visible to searches."""
        generation = self._catalogue.generation()
        if generation == self.generation:
            return
        # Rows are told by their generation alone, and the old ones are listed before the new ones
        # are read, so a commit in between is harmless: what it changed is in the tail and dropped
        # from the base, what it added comes now or with the next refresh, what it removed has no
        # picture.
        standing = self._catalogue.ids(before=self._base_generation)
        tail: Any = None
        self._tail_count = 0
        for ids, vectors in self._catalogue.descriptors_after(self._base_generation):
            if tail is None:
                tail = _new_index(self._dimension, self._catalogue.counts()[0])
            tail.add_with_ids(vectors, ids)
            self._tail_count += len(ids)
        self._tail = tail
        if tail is not None:
            replaced = faiss.vector_to_array(tail.id_map)
            standing = np.setdiff1d(standing, replaced, assume_unique=True)
        self._dropped = np.setdiff1d(self._base_ids, standing, assume_unique=True)
        self.generation = generation

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Ids]:
        """The ``k`` largest inner products for each row of ``queries`` ``(n, dimension)``.

        Returns scores and ids, both ``(n, k)``, best first; ids of missing neighbours are -1.
        """
        queries = np.ascontiguousarray(queries, np.float32)
        parts = []
        if self._base is not None and len(self._base_ids) > len(self._dropped):
            parameters = None
            if len(self._dropped):
                selector = faiss.IDSelectorNot(faiss.IDSelectorBatch(self._dropped))
                parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
            parts.append(self._base.search(queries, k, params=parameters))
        if self._tail is not None:
            parts.append(self._tail.search(queries, k))
        if not parts:
            shape = (len(queries), k)
            return np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int64)
        if len(parts) == 1:
            found: tuple[Vectors, Ids] = parts[0]
            return found
        scores = np.concatenate([part[0] for part in parts], axis=1)
        ids = np.concatenate([part[1] for part in parts], axis=1)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, best, axis=1), np.take_along_axis(ids, best, axis=1)

    def ids(self) -> Ids:
        """The ids that a search sees, ascending."""
        standing = np.setdiff1d(self._base_ids, self._dropped, assume_unique=True)
        if self._tail is None:
            return standing
        return np.sort(np.concatenate([standing, faiss.vector_to_array(self._tail.id_map)]))

    def vectors(self, ids: Ids) -> Vectors:
        """The descriptors that a search sees for these ids, ``(n, dimension)``."""
        in_tail = set() if self._tail is None else set(faiss.vector_to_array(self._tail.id_map))
        rows = [
            (self._tail if i in in_tail else self._base).reconstruct(int(i)) for i in ids.tolist()
        ]
        return np.stack(rows) if rows else np.empty((0, self._dimension), np.float32)

    # -- the file --------------------------------------------------------------------------------

    def save_if_worthwhile(self) -> None:
        """Write the file anew if much has changed since it was written."""
        changed = self._tail_count + len(self._dropped)
        if self._base is None or changed > max(_SAVE_ROWS, _SAVE_SHARE * len(self._base_ids)):
            self.save()

    def save(self) -> None:
        """Write everything that a search sees into one file.

        Being a cache, it may fail: a warning is logged and the older file stays in use.
        """
        count, generation = self._catalogue.counts()[0], self._catalogue.generation()
        if count == 0:
            self._remove_files()
            return
        index = _new_index(self._dimension, count)
        for ids, vectors in self._catalogue.descriptors_after(-1):
            index.add_with_ids(vectors, ids)
        try:
            self._folder.mkdir(exist_ok=True)
            with replacing(self._path(generation)) as temporary, temporary.open("w+b") as file:
                # through Python's file: FAISS's own keeps silent about what it cannot flush
                faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))  # type: ignore[attr-defined]
                _seal(file, index.ntotal)
        except (OSError, RuntimeError) as error:
            _log.warning("The vector index could not be cached (%s); no harm done.", error)
            return
        self._remove_files(keep=generation)
        self._base = None
        self._load()
        self.generation = -1
        self.refresh()

    def _load(self) -> None:
        self._base, self._base_ids, self._base_generation = None, np.empty(0, np.int64), 0
        newest = self._catalogue.generation()
        for path in sorted(self._folder.glob("*.faiss"), reverse=True):
            try:
                generation = int(path.stem)
                if generation > newest:  # the catalogue was put back to an older state
                    continue
                _check_seal(path)
                index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
                if not isinstance(index, faiss.IndexIDMap2):
                    index = faiss.downcast_index(index)
                if index.d != self._dimension or not isinstance(index, faiss.IndexIDMap2):
                    raise RuntimeError(f"expected {self._dimension} dimensions, got {index.d}")
                ids = faiss.vector_to_array(index.id_map)
                if len(ids) != index.ntotal or index.index.ntotal != index.ntotal:
                    raise RuntimeError("its ids and vectors are of unequal number")
            except (RuntimeError, ValueError, OSError) as error:
                _log.debug("The vector index %s is unreadable and is built again: %s", path, error)
                continue
            self._base, self._base_ids, self._base_generation = index, ids, generation
            return

    def _path(self, generation: int) -> Path:
        return self._folder / f"{generation:012d}.faiss"

    def _remove_files(self, keep: int | None = None) -> None:
        with suppress(OSError):
            for path in self._folder.iterdir():
                if keep is None or path != self._path(keep):
                    with suppress(OSError):
                        path.unlink()


def _new_index(dimension: int, count: int) -> Any:
    """An empty exhaustive index with ids: float32, or float16 where that would take much memory.

    Float16 loses nothing but the last normalisation's rounding: it is what the catalogue stores.
    """
    if count * dimension * 4 <= _memory() // 4:
        flat: Any = faiss.IndexFlatIP(dimension)
    else:
        flat = faiss.IndexScalarQuantizer(
            dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
    return faiss.IndexIDMap2(flat)


# FAISS trusts what it reads: a file cut short can crash it, and one flipped bit can turn products
# into distances or lose a picture.  So a file ends with a digest: of all of it where that takes no
# longer than a query (256 MB in 0.15 s), else of its length, its first bytes and its ids, which are
# 8 MB of a million pictures; the vectors of such a file are checked by verify.
_WHOLE_BYTES = 256 << 20
_HEAD_BYTES = 512
_SEAL = struct.Struct("<Q32s")


def _seal(file: BinaryIO, count: int) -> None:
    """Append the digest to a file with that many ids."""
    length = file.seek(0, os.SEEK_END)
    digest = _digest(file, length, count)
    file.seek(0, os.SEEK_END)
    file.write(_SEAL.pack(count, digest))


def _check_seal(path: Path) -> None:
    """Raise ``RuntimeError`` unless a file's digest is there and right."""
    with path.open("rb") as file:
        length = file.seek(0, os.SEEK_END) - _SEAL.size
        file.seek(max(0, length))
        seal = file.read()
        if len(seal) == _SEAL.size:
            count, digest = _SEAL.unpack(seal)
            if digest == _digest(file, length, count):
                return
    raise RuntimeError("it is incomplete or damaged")


def _digest(file: BinaryIO, length: int, count: int) -> bytes:
    file.seek(0)
    if length <= _WHOLE_BYTES:
        return hashlib.sha256(b"%d %d" % (length, count) + file.read(length)).digest()
    head = file.read(min(_HEAD_BYTES, length))
    file.seek(max(0, length - 8 * (count + 1)))  # FAISS writes their number before the ids
    ids = file.read(length - file.tell())
    return hashlib.sha256(b"%d %d" % (length, count) + head + ids).digest()


def _is_half(index: Any) -> bool:
    return index is not None and isinstance(
        faiss.downcast_index(index.index), faiss.IndexScalarQuantizer
    )


def _memory() -> int:
    """Physical memory in bytes; 8 GB where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 8 << 30
