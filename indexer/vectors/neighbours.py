"""The nearest neighbours of every picture of a library: a cache beside the vector index.

One row a picture in a memory-mapped file, 88 bytes each, named after the generation and the space
that it holds; a digest ends it.  Rows of pictures that came since are missing, and neighbours that
left since are still named: whoever asks looks after both.  Cosines are float16, and of a compressed
index rough.
"""

from __future__ import annotations

import io
import logging
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from parecido.indexer.arrays import Ids, Vectors
from parecido.indexer.system.kinds import NEIGHBOURS, SEAL
from parecido.indexer.system.own_files import make_folder, own_files, remove_own, replacing
from parecido.indexer.system.sealed import TAIL
from parecido.indexer.vectors.gallery import Gallery, generation_of

if TYPE_CHECKING:
    from parecido.indexer.vectors.nearest import NearestIndex

__all__ = ["KEPT", "USED", "Neighbours", "is_sound", "nearest", "update"]

_log = logging.getLogger("parecido")


USED = 5
"""Neighbours of each picture that are used; a list that has become shorter is made anew."""
KEPT = 8
"""Neighbours of each picture that are kept: some for those that leave."""
_ROW = np.dtype([("id", "<i8"), ("near", "<i8", KEPT), ("cosine", "<f2", KEPT)])
_CHECKED_BYTES = 256 << 20  # up to here it is compared whenever a file is opened: 0.3 s
_BLOCK = 1024
# A new picture takes its place in the lists of so many of its own nearest ones; it could belong
# into lists of others only where these are no near ones of its own.
_LOOKED_AT = 64
_REBUILD = 0.3  # share of changed pictures above which all is made anew


class Neighbours:
    """The neighbours that a file holds."""

    def __init__(self, rows: npt.NDArray[np.void], generation: int) -> None:
        self._rows = rows
        self.generation = generation
        self.ids: Ids = np.array(rows["id"], np.int64)
        """Of the pictures with a row, ascending."""

    @classmethod
    def open(cls, folder: Path, gallery: Gallery) -> Neighbours | None:
        """Those of a gallery's space from a folder; None where there is no such file."""
        space = gallery.fingerprint
        newest = gallery.source.generation()
        for path in reversed(own_files(folder, NEIGHBOURS)):
            with suppress(OSError, ValueError):
                generation = generation_of(path)
                if generation <= newest and path.stem.partition("-")[2] == space:
                    return cls(_rows_of(path), generation)
        return None

    def of(self, ids: Ids) -> tuple[Ids, Vectors]:
        """Neighbours and cosines ``(n, KEPT)`` of pictures, best first; -1 where there are none."""
        near = np.full((len(ids), KEPT), -1, np.int64)
        cosines = np.full((len(ids), KEPT), -1, np.float32)
        if len(self.ids):
            rows = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
            there = self.ids[rows] == ids
            found = self._rows[rows[there]]
            near[there], cosines[there] = found["near"], found["cosine"]
        return near, cosines


def update(folder: Path, gallery: Gallery, index: NearestIndex) -> Neighbours:
    """Bring the file up to date with the index, which sees the gallery; the neighbours.

    Only what changed is looked for, unless much did.  Being a cache, the file may fail to be
    written.
    """
    before = Neighbours.open(folder, gallery)
    ids, generation = index.ids(), index.generation
    if before is not None and before.generation == generation:
        return before
    changed = _find_changes(gallery, before, ids)
    if before is None or len(changed) > _REBUILD * len(ids):
        rows = np.zeros(len(ids), _ROW)
        rows["id"] = ids
        for start in range(0, len(ids), _BLOCK):
            block = slice(start, start + _BLOCK)
            near, cosines = nearest(index, ids[block], gallery.of(ids[block].tolist())[1])
            rows["near"][block], rows["cosine"][block] = near, cosines
    else:
        rows = _grow(before, gallery, index, ids, changed)
    kept = Neighbours(rows, generation)
    path = folder / f"{gallery.file_name(generation)}.npy"
    try:
        make_folder(folder)
        with replacing(path, NEIGHBOURS.is_made) as file:
            np.lib.format.write_array(file, rows, (1, 0))
            digest = blake2b(_header(len(rows)), digest_size=32)
            digest.update(np.ascontiguousarray(rows).view(np.uint8).data)
            file.write(TAIL.pack(digest.digest(), SEAL))
        remove_own(folder, NEIGHBOURS, keep={path.name})
    except OSError as error:
        _log.warning("The neighbours could not be cached (%s); no harm done.", error)
    return kept


def _rows_of(path: Path) -> npt.NDArray[np.void]:
    """The rows of a file, memory-mapped.  Raises ``ValueError`` for what is no whole file."""
    head, size = len(_header(0)), path.stat().st_size
    count, rest = divmod(size - head, _ROW.itemsize)
    with path.open("rb") as file:
        # compared, not parsed: NumPy's parser of headers runs Python's tokenizer on what lies there
        if rest not in (0, TAIL.size) or count < 0 or file.read(head) != _header(count):
            raise ValueError("it is incomplete or damaged")
    # those of before they were sealed have nothing behind their rows
    if rest and size <= _CHECKED_BYTES and not is_sound(path):
        raise ValueError("it is damaged")
    return np.memmap(path, _ROW, "r", head, (count,))


def is_sound(path: Path) -> bool:
    """Whether a file is what was written; of one without a seal, whether it is whole."""
    head = len(_header(0))
    digest, left = blake2b(digest_size=32), path.stat().st_size - TAIL.size
    count, rest = divmod(left + TAIL.size - head, _ROW.itemsize)
    with path.open("rb") as file:
        if rest == 0 and count >= 0:
            return file.read(head) == _header(count)
        while left > 0 and (piece := file.read(min(1 << 20, left))):
            digest.update(piece)
            left -= len(piece)
        return file.read() == TAIL.pack(digest.digest(), SEAL)


def _header(count: int) -> bytes:
    """With which NumPy begins a file of so many rows."""
    header = io.BytesIO()
    facts = {"descr": np.lib.format.dtype_to_descr(_ROW), "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(header, facts)
    return header.getvalue()


def nearest(index: NearestIndex, ids: Ids, vectors: Vectors, k: int = KEPT) -> tuple[Ids, Vectors]:
    """Neighbours and cosines ``(n, k)`` of pictures ``(n,)`` themselves left out, best first."""
    near = np.full((len(ids), k), -1, np.int64)
    cosines = np.full((len(ids), k), -1, np.float32)
    found, scores, _ = index.search(vectors, k + 1, threads=0)
    for row, (own, others, values) in enumerate(zip(ids, found, scores, strict=True)):
        keep = np.flatnonzero((others != own) & (others >= 0))[:k]
        near[row, : len(keep)], cosines[row, : len(keep)] = others[keep], values[keep]
    return near, np.clip(cosines, -1, 1)


def _find_changes(gallery: Gallery, before: Neighbours | None, ids: Ids) -> Ids:
    """Pictures of the index that have no row, or were given another descriptor since."""
    if before is None:
        return ids
    pages = gallery.source.read_after(before.generation)
    newer = np.concatenate([np.empty(0, np.int64), *(page for page, _ in pages)])
    missing = np.setdiff1d(ids, before.ids, assume_unique=True)
    return np.union1d(missing, np.intersect1d(newer, ids))


def _grow(
    before: Neighbours, gallery: Gallery, index: NearestIndex, ids: Ids, changed: Ids
) -> npt.NDArray[np.void]:
    """Rows of the pictures of the index, from those before and what changed."""
    rows = np.zeros(len(ids), _ROW)
    rows["id"] = ids
    rows["near"], rows["cosine"] = before.of(ids)
    # A list always holds the very nearest, and all that are as near as its last: without those
    # that were changed or left, it does too.
    stays = np.isin(rows["near"], np.setdiff1d(ids, changed, assume_unique=True))
    rows["cosine"] = np.where(stays, rows["cosine"], -1)
    rows["near"] = np.where(stays, rows["near"], -1)
    short = stays.sum(axis=1) < min(USED, len(ids) - 1)
    again = np.union1d(changed, ids[short])
    entering: list[tuple[Ids, Ids, Vectors]] = []
    for start in range(0, len(again), _BLOCK):
        some = again[start : start + _BLOCK]
        near, cosines = nearest(index, some, gallery.of(some.tolist())[1], _LOOKED_AT)
        places = np.searchsorted(ids, some)
        rows["near"][places], rows["cosine"][places] = near[:, :KEPT], cosines[:, :KEPT]
        new = np.isin(some, changed)
        others = near[new].ravel()
        there = others >= 0
        own = np.repeat(some[new], _LOOKED_AT)
        entering.append((others[there], own[there], cosines[new].ravel()[there]))
    if entering:
        into, who, cosine = (np.concatenate(parts) for parts in zip(*entering, strict=True))
        outside = ~np.isin(into, again)
        _enter(rows, ids, into[outside], who[outside], cosine[outside])
    order = np.argsort(-rows["cosine"], axis=1, kind="stable")
    rows["near"] = np.take_along_axis(rows["near"], order, 1)
    rows["cosine"] = np.take_along_axis(rows["cosine"], order, 1)
    return rows


def _enter(rows: npt.NDArray[np.void], ids: Ids, into: Ids, who: Ids, cosine: Vectors) -> None:
    """Let pictures into the lists of others where they are nearer than the last one there.

    Beyond the last one there may be others, nearer than they, that the list does not record.
    """
    last = np.where(rows["near"] >= 0, rows["cosine"], 1).min(axis=1)
    places = np.searchsorted(ids, into)
    nearer = cosine > last[places]
    for place, newcomer, value in zip(places[nearer], who[nearer], cosine[nearer], strict=True):
        farthest = int(np.argmin(rows["cosine"][place]))  # what is missing has -1
        if value > rows["cosine"][place, farthest]:
            rows["near"][place, farthest], rows["cosine"][place, farthest] = newcomer, value
