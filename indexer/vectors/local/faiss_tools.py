"""What the vector index needs of FAISS beside the indexes themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import faiss
import numpy as np

from parecido.indexer.arrays import Ids, Vectors
from parecido.indexer.vectors.local import compressed

__all__ = [
    "best_of",
    "flat",
    "ids_of",
    "is_float32",
    "on_threads",
    "only",
    "prefer_products",
]


def flat(dimension: int, *, half: bool) -> Any:
    """An empty exhaustive index with ids, in float16 or float32."""
    if half:
        made: Any = faiss.IndexScalarQuantizer(
            dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
    else:
        made = faiss.IndexFlatIP(dimension)
    return faiss.IndexIDMap2(made)


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    """Search on so many threads; as a rule on the calling one alone.

    FAISS's threads wait for each other in busy loops: of 10,000 descriptors of 1280 numbers one
    thread finds the nearest in 1.9 ms, two in 2.7 on an idle machine; of a compressed 100,000 in
    0.5 ms, two in 6 where other programs want the cores.
    """
    usual = faiss.omp_get_max_threads()
    if count:
        faiss.omp_set_num_threads(count)  # for this thread; others keep theirs
    try:
        yield
    finally:
        faiss.omp_set_num_threads(usual)


def prefer_products(dimension: int) -> None:
    """Let searches of four queries or more go through an exhaustive index as matrix products.

    FAISS 1.15 compares row by row below a threshold of queries × dimension, for all of the process,
    which was set for machines with many threads; on one thread, 16 queries of 256 numbers among
    100,000 take 116 ms so, and 26 as products.  A single one takes 7 ms, and 20 as a product.
    """
    faiss.cvar.distance_compute_blas_threshold = 4 * dimension


def only(ids: Ids) -> Any:
    """A selector of these ids: a bit for each, which is looked up in no time."""
    bits = np.zeros(int(ids.max(initial=0)) + 1, bool)
    bits[ids] = True
    kinds: Any = faiss
    return kinds.IDSelectorBitmap(np.packbits(bits, bitorder="little"))


def best_of(scores: Vectors, ids: Ids, k: int) -> tuple[Vectors, Ids]:
    """The ``k`` best of each row of scores, both ``(n, m)``, best first."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, best, axis=1), np.take_along_axis(ids, best, axis=1)


def ids_of(index: Any) -> Ids:
    """The ids in an index of this module, in its order."""
    if isinstance(index, faiss.IndexIDMap2):
        ids: Ids = faiss.vector_to_array(index.id_map)
        return ids
    return compressed.ListPositions(index).ids


def is_float32(index: Any) -> bool:
    return isinstance(faiss.downcast_index(index.index), faiss.IndexFlat)
