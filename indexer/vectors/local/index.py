"""The vector index: FAISS over the catalogue's descriptors, a cache that can always be rebuilt.

On disk it is one file named after the catalogue's generation that it holds.  In memory it is that
file (the *base*, memory-mapped), the descriptors written since (the *tail*), and the ids of the
base that are gone or were replaced (the *dropped*).  So a search sees every committed picture
however old the file is, and a small change never rewrites a large file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from parecido.indexer.arithmetic import GRID, rounding
from parecido.indexer.arrays import Ids, Vectors, is_in
from parecido.indexer.errors import LibraryDamaged
from parecido.indexer.system.memory import memory
from parecido.indexer.system.own_files import make_folder
from parecido.indexer.vectors.gallery import Gallery
from parecido.indexer.vectors.local import compressed
from parecido.indexer.vectors.local import file as vectorfile
from parecido.indexer.vectors.local.faiss_tools import (
    best_of,
    flat,
    ids_of,
    is_float32,
    on_threads,
    only,
    prefer_products,
)
from parecido.indexer.vectors.local.folder import VectorFolder
from parecido.indexer.vectors.local.seal import Facts
from parecido.indexer.vectors.nearest import Candidates

__all__ = ["VectorIndex"]

_log = logging.getLogger("parecido")


# Up to here a library is searched exhaustively in float32: 62,500 descriptors of 256 numbers, which
# take 5 ms on one core.
_FLAT_BYTES = 64 << 20
# Below these changes since the file was written, reading the tail from the catalogue is cheaper
# than writing the file: 2048 descriptors of 2048 numbers are 8 MB.
_SAVE_ROWS = 2048
_SAVE_SHARE = 0.1
# The tail of a compressed index is searched exhaustively, so it is kept short: 4096 rows of 2048
# numbers take 2 ms.  Adding them to a file of a million takes a second.
_SAVE_ROWS_COMPRESSED = 4096
# So many that have left are asked for in excess; a selector would keep several queries from going
# through the index as one matrix product.
_FEW_DROPPED = 256
# Share of itself by which a number in float16 is wrong.
_HALF_ROUNDING = 2.0**-11


class VectorIndex:
    """Inner-product search over a gallery's descriptors.

    Exhaustive for libraries that this suits, and for those that asked for it; a compressed index
    (see :mod:`parecido.indexer.vectors.local.compressed`) for others.  Not safe for a refresh
    during a search: let one thread do both, or lock.  ``keeps_exact`` tells whether the library
    asked to be searched exhaustively at any size.  Only a writer's makes files by itself; a
    reader's holds in memory what there is no file of.
    """

    def __init__(
        self,
        folder: Path,
        gallery: Gallery,
        dimension: int,
        keeps_exact: Callable[[], bool] = lambda: False,
        *,
        is_writer: bool = False,
    ) -> None:
        self._files = VectorFolder(folder, gallery)
        self.gallery = gallery
        self._source = gallery.source
        self._dimension = dimension
        self._keeps_exact = keeps_exact
        self._is_writer = is_writer
        self._forget_base()
        self.generation = -1
        """The catalogue's generation that searches see."""
        self._load()
        self.refresh()

    def _forget_base(self) -> None:
        self._base: Any = None
        self._facts: Facts | None = None
        self._base_ids: Ids | None = None
        self._places: compressed.ListPositions | None = None
        self._base_generation = 0
        self._is_held = False
        self._forget_changes()

    def _forget_changes(self) -> None:
        self._tail: Any = None
        self._tail_ids = np.empty(0, np.int64)
        self._dropped = np.empty(0, np.int64)
        self.generation = self._base_generation if self._base is not None else -1

    @property
    def folder(self) -> Path:
        """Where its file lies."""
        return self._files.folder

    @property
    def count(self) -> int:
        """Descriptors that a search sees."""
        base = self._facts.count if self._facts is not None else 0
        return base - len(self._dropped) + len(self._tail_ids)

    @property
    def facts(self) -> Facts | None:
        """What is known of the file in use; None where there is none."""
        return self._facts

    @property
    def kind(self) -> str:
        """``flat``, ``flat16`` or ``compressed``, as in
        :class:`~parecido.indexer.vectors.local.seal.Facts`.
        """
        return self._facts.kind if self._facts is not None else "flat"

    @property
    def is_exhaustive(self) -> bool:
        """Whether a search looks at every descriptor."""
        return self.kind != "compressed"

    @property
    def file_bytes(self) -> int:
        """Size of the file on disk, 0 where there is none."""
        path = self._files.path(self._base_generation)
        is_there = self._base is not None and not self._is_held and path.exists()
        return path.stat().st_size if is_there else 0

    @property
    def misses_file(self) -> bool:
        """Whether there is no file, and reading the catalogue instead takes time."""
        return self.count > _SAVE_ROWS and (self._base is None or self._is_held)

    # -- what searches see -----------------------------------------------------------------------

    def refresh(self) -> None:
        """Make every committed picture, and none that is gone, visible to searches."""
        if self._is_held:
            self._take_up_file()
        generation = self._source.generation()
        if generation == self.generation:
            return
        if generation < self.generation or self._may_shorten_tail():
            self._load()  # the catalogue was put back to an older state; or a writer saved a file
        if self._base is None and self._bytes() > _FLAT_BYTES:
            if self._is_writer:
                self.save()  # too much to hold beside the file
                return
            self._hold()
        # Rows are told by their generation alone, and what left is asked for last, so commits in
        # between are harmless: what they changed is read again with the next refresh.
        fresh: list[tuple[Ids, Vectors]] = []
        since = self.generation
        for ids, vectors in self.gallery.read_after(since):
            if vectors.shape[1] != self._dimension:
                raise LibraryDamaged(
                    f"Expected descriptors of {self._dimension} numbers, got {vectors.shape[1]}.",
                    "Run: parecido verify --repair.",
                )
            fresh.append((ids, vectors))
        left = self._source.list_removals_after(since) if since >= 0 else np.empty(0, np.int64)
        self._drop(np.unique(np.concatenate([left, *(ids for ids, _ in fresh)])))
        for ids, vectors in fresh:
            stayed = np.isin(ids, left, invert=True)
            if self._tail is None:
                self._tail = flat(self._dimension, half=self.kind != "flat")
            self._tail.add_with_ids(vectors[stayed], ids[stayed])
            self._tail_ids = np.concatenate([self._tail_ids, ids[stayed]])
        self.generation = generation

    def _may_shorten_tail(self) -> bool:
        """Whether the tail is long and a writer has saved a newer file."""
        if len(self._tail_ids) <= _SAVE_ROWS_COMPRESSED:
            return False
        return any(path > self._files.path(self._base_generation) for path in self._files.own())

    def _drop(self, gone: Ids) -> None:
        """Take ids out of what searches see; those that are not in it do no harm."""
        if not len(gone):
            return
        if self._tail is not None and np.isin(gone, self._tail_ids).any():
            self._tail.remove_ids(faiss.IDSelectorBatch(gone))
            self._tail_ids = np.setdiff1d(self._tail_ids, gone)
        if self._base is not None:
            held = np.intersect1d(gone, self._list_ids(), assume_unique=True)
            self._dropped = np.union1d(self._dropped, held)

    def _list_ids(self) -> Ids:
        """The ids in the file, ascending."""
        if self._base_ids is None:
            self._base_ids = np.sort(ids_of(self._base))
        return self._base_ids

    @property
    def _tolerance(self) -> float:
        """By how much an exhaustive index's scores may be wrong.

        Each number of a descriptor in float16 is wrong by 2⁻¹¹ of itself at most, and so is the
        sum of their products.
        """
        return rounding(self._dimension) + (0 if self.kind == "flat" else _HALF_ROUNDING)

    def search(
        self, queries: Vectors, k: int, allowed: Ids | None = None, *, threads: int = 1
    ) -> Candidates:
        """Candidates for the ``k`` largest inner products with each row of ``queries``.

        Queries are ``(n, dimension)`` float32; only ``allowed`` ids, if given, are looked at.
        An exhaustive index gives the ``k`` best and a bound.  A compressed one gives more than
        ``k``, with rough scores, or less where few are allowed, and knows no bound.  ``threads``
        0 is for many queries at once: as many as there are cores.
        """
        scores, ids = self._search(np.ascontiguousarray(queries, np.float32), k, allowed, threads)
        if not self.is_exhaustive:
            return Candidates(ids, scores, None)
        most = self.count if allowed is None else len(allowed)
        left_out = k < most and ids.shape[1] > 0
        last = scores[:, -1].astype(np.float64) + self._tolerance if left_out else -np.inf
        return Candidates(ids, scores, np.broadcast_to(np.float64(last), len(ids)))

    def _search(
        self, queries: Vectors, k: int, allowed: Ids | None, threads: int
    ) -> tuple[Vectors, Ids]:
        parts = []
        chosen = None if allowed is None else only(allowed)
        prefer_products(queries.shape[1])
        with on_threads(threads):
            if self._facts is not None and self._facts.count > len(self._dropped):
                parts.append(self._search_base(queries, k, chosen))
            if len(self._tail_ids):
                parameters = chosen and faiss.SearchParameters(sel=chosen)  # type: ignore[call-arg]
                k_tail = min(k, len(self._tail_ids))
                parts.append(self._tail.search(queries, k_tail, params=parameters))
        if not parts:
            shape = (len(queries), k)
            return np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int64)
        if len(parts) == 1:
            return parts[0]
        scores = np.concatenate([part[0] for part in parts], axis=1)
        ids = np.concatenate([part[1] for part in parts], axis=1)
        return best_of(scores, ids, scores.shape[1] if not self.is_exhaustive else k)

    def _search_base(self, queries: Vectors, k: int, chosen: Any) -> tuple[Vectors, Ids]:
        """As :meth:`search`, among what is in the file and still stands."""
        assert self._facts is not None
        dropped = self._dropped
        if self.is_exhaustive and chosen is None and 0 < len(dropped) <= _FEW_DROPPED:
            wanted = min(k + len(dropped), self._facts.count)
            scores, ids = self._base.search(queries, wanted)
            scores[np.isin(ids, dropped)] = -np.inf
            ids[np.isneginf(scores)] = -1
            return best_of(scores, ids, k)
        selector = chosen
        if len(dropped):
            standing = faiss.IDSelectorNot(faiss.IDSelectorBatch(dropped))
            selector = faiss.IDSelectorAnd(chosen, standing) if chosen else standing
        if self.is_exhaustive:
            parameters = selector and faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        else:
            lists = faiss.extract_index_ivf(self._base).nlist
            nprobe, k = compressed.search_effort(self._facts, lists, k)
            parameters = compressed.parameters(nprobe, selector)
        found: Any = self._base.search(queries, min(k, self.count), params=parameters)
        return found[0], found[1]

    def vectors_of(self, ids: Ids, *, exact: bool = False) -> tuple[Ids, Vectors]:
        """Ids ``(n,)``, ascending, with their descriptors ``(n, dimension)``, float32.

        From the index where it has them in full, which is ten times as quick as the catalogue;
        ``exact`` ones never from float16.
        """
        if not self.is_exhaustive or (exact and self.kind != "flat"):
            return self.gallery.of(ids.tolist())
        ids = np.unique(ids)
        in_tail = np.isin(ids, self._tail_ids)
        held = self._list_ids() if self._base is not None else np.empty(0, np.int64)
        stands = in_tail | (is_in(ids, held) & ~is_in(ids, self._dropped))
        ids, in_tail = ids[stands], in_tail[stands]
        vectors = np.empty((len(ids), self._dimension), np.float32)
        for index, part in ((self._tail, in_tail), (self._base, ~in_tail)):
            if part.any():
                vectors[part] = index.reconstruct_batch(np.ascontiguousarray(ids[part]))
        return ids, vectors

    # -- checking --------------------------------------------------------------------------------

    def ids(self) -> Ids:
        """The ids that a search sees, ascending."""
        held = self._list_ids() if self._base is not None else np.empty(0, np.int64)
        standing = np.setdiff1d(held, self._dropped, assume_unique=True)
        return np.sort(np.concatenate([standing, self._tail_ids]))

    def find_differing(self, ids: Ids, vectors: Vectors) -> Ids:
        """Those of the ids ``(n,)`` that a search does not see with these descriptors."""
        in_tail = np.isin(ids, self._tail_ids)
        wrong = [np.empty(0, np.int64)]
        for index, part in ((self._tail, in_tail), (self._base, ~in_tail)):
            if not part.any():
                continue
            if index is self._base and not self.is_exhaustive:
                if self._places is None:
                    self._places = compressed.ListPositions(index)
                wrong.append(self._places.find_differing(ids[part], vectors[part]))
                continue
            seen = index.reconstruct_batch(np.ascontiguousarray(ids[part]))
            given = vectors[part]
            # float32 holds what is compared to the last bit; float16 rounds it, below 2⁻¹⁴ to 2⁻²⁵
            error = 0 if is_float32(index) else _HALF_ROUNDING * np.abs(given) + 2.0**-25
            alike = (np.abs(seen - given) <= error).all(axis=1)
            wrong.append(ids[part][~alike])
        return np.concatenate(wrong)

    def is_file_sound(self) -> bool:
        """Whether the file in use, if any, is all that was written."""
        path = self._files.path(self._base_generation)
        if self._base is None or not path.exists():
            return True
        try:
            return vectorfile.is_sound(path)
        except RuntimeError:
            return False

    # -- the file --------------------------------------------------------------------------------

    def save_if_worthwhile(self, *, hurry: bool = False) -> None:
        """Write the file anew if much has changed since it was written.

        In a ``hurry`` only if that is a matter of seconds.
        """
        self.refresh()
        if hurry and self._must_learn():
            return
        changed = len(self._tail_ids) + len(self._dropped)
        if self.is_exhaustive:
            enough = max(_SAVE_ROWS, _SAVE_SHARE * (self._facts.count if self._facts else 0))
        else:
            enough = _SAVE_ROWS_COMPRESSED
        is_missing = self._facts is None or self._is_held
        if is_missing or changed > enough or self._is_of_another_kind():
            self.save()

    def save(self) -> None:
        """Write everything that a search sees into one file.

        Being a cache, it may fail: a warning is logged, and the index serves from memory.
        """
        generation = self._source.generation()
        if self._source.count() == 0:
            self._files.remove()
            self._forget_base()
            self.generation = generation
            return
        index, facts = self._whole()
        try:
            make_folder(self._files.folder)
            vectorfile.write(self._files.path(generation), index, facts)
        except (OSError, RuntimeError) as error:
            _log.warning("The vector index could not be cached (%s); no harm done.", error)
            self._use(index, facts, generation)
            return
        self._files.remove(keep=generation)  # those of another space may still be in use
        self._load()
        if self._base is None:  # what was written cannot be read
            self._use(index, facts, generation)
        self.refresh()

    def _whole(self) -> tuple[Any, Facts]:
        """An index of everything in the catalogue, grown from the file's where that can be."""
        if self._suits_flat():
            # float16 loses nothing but a rounding: it is what the catalogue stores
            return self._read_whole(half=self._bytes() > max(_FLAT_BYTES, memory() // 4))
        if self._facts and not self._must_learn():
            with suppress(OSError, RuntimeError, ValueError):
                index, facts = vectorfile.read(self._files.path(self._base_generation), change=True)
                return compressed.extend(
                    index, facts, self.gallery, self._base_generation, self._dropped
                )
        return compressed.build(self.gallery, self._dimension)

    def _read_whole(self, *, half: bool) -> tuple[Any, Facts]:
        """An exhaustive index of everything, in float16 or float32."""
        whole = flat(self._dimension, half=half)
        for ids, vectors in self.gallery.read_after(-1):
            whole.add_with_ids(vectors, ids)
        kind, space = "flat16" if half else "flat", self.gallery.fingerprint
        return whole, Facts(kind, self._dimension, whole.ntotal, space=space, grid=GRID)

    def _suits_flat(self) -> bool:
        """Whether an exhaustive search is quick enough, or asked for."""
        # a library that shrinks keeps its compressed index for a while, not to go to and fro
        limit = _FLAT_BYTES if self.is_exhaustive else _FLAT_BYTES // 2
        return self._bytes() <= limit or self._keeps_exact()

    def _bytes(self) -> int:
        """What the descriptors take in float32."""
        return self._source.count() * self._dimension * 4

    def _is_of_another_kind(self) -> bool:
        """Whether the library has grown, shrunk or been told so that another index suits it."""
        return self._suits_flat() != self.is_exhaustive or self._must_learn()

    def _must_learn(self) -> bool:
        """Whether a new file would be a compressed one that is trained anew."""
        if self._suits_flat():
            return False
        if self._facts is None or self.is_exhaustive:
            return True
        return compressed.has_outgrown(self._facts, self._source.count())

    def _load(self) -> None:
        self._forget_base()
        self._seen = self._files.look()
        found = self._files.open_newest(self._dimension)
        if found is not None:
            self._use(*found)

    def _hold(self) -> None:
        """Keep an index of everything in memory alone, until a writer has written one.

        Reading all descriptors of 100,000 pictures takes 5 s, and making a compressed index 40 s;
        so an exhaustive one is held where it takes no more than a quarter of the memory.
        """
        generation = self._source.generation()
        if self._bytes() // 2 <= memory() // 4:
            self._use(*self._read_whole(half=True), generation)
        else:
            self._use(*compressed.build(self.gallery, self._dimension), generation)
        self._is_held = True

    def _take_up_file(self) -> None:
        """Go over to a writer's file, where one came since the last look."""
        seen = self._files.look()
        if seen != self._seen:
            self._seen = seen
            found = self._files.open_newest(self._dimension)
            if found is not None:
                self._use(*found)

    def _use(self, index: Any, facts: Facts, generation: int) -> None:
        self._base, self._facts, self._base_ids, self._places = index, facts, None, None
        self._base_generation, self._is_held = generation, False
        self._forget_changes()

    def remove_files(self) -> None:
        """Remove the files of this space; the index serves on from memory."""
        self._files.remove()

    def remove_others(self) -> None:
        """Remove the files of every other space."""
        self._files.remove_others()
