"""Codes of a compressed index: sound ones of any processor pass, others do not."""

from __future__ import annotations

from typing import Any, NamedTuple

import faiss
import numpy as np
import numpy.typing as npt
import pytest

from parecido.indexer.arithmetic import rounding
from parecido.indexer.vectors.local.rabitq import belong

Exact = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint8]


class Made(NamedTuple):
    """Vectors, the centroids that they were encoded about, and their codes."""

    vectors: npt.NDArray[np.float32]
    centroids: npt.NDArray[np.float32]
    codes: Codes
    index: Any
    lists: npt.NDArray[np.int64]

    def encode(self, vectors: npt.NDArray[np.floating]) -> Codes:
        """The codes of other vectors in the same lists."""
        kinds: Any = faiss
        given = np.ascontiguousarray(vectors, np.float32)
        codes = np.empty_like(self.codes)
        self.index.encode_vectors(
            len(given), *(kinds.swig_ptr(part) for part in (given, self.lists, codes))
        )
        return codes

    def accepts(self, codes: Codes, bits: int) -> npt.NDArray[np.bool_]:
        exact = self.vectors.astype(np.float64)
        error = rounding(exact.shape[1])
        return belong(codes, self.codes, exact, self.centroids.astype(float), bits, error)


def made(dimension: int, bits: int, count: int = 200) -> Made:
    rng = np.random.default_rng(dimension + bits)
    rows = rng.normal(size=(count, dimension))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    rows[-1] = rows[-2]
    kinds: Any = faiss
    flat = kinds.IndexFlatIP(dimension)
    index = kinds.IndexIVFRaBitQ(flat, dimension, 8, faiss.METRIC_INNER_PRODUCT, False, bits)
    index.cp.min_points_per_centroid = 1
    index.train(rows)
    flat.this.own(True)
    _, found = flat.search(rows, 1)
    lists = np.ascontiguousarray(found[:, 0])
    empty = np.empty((count, index.code_size), np.uint8)
    whole = Made(rows, flat.reconstruct_n(0, 8)[lists], empty, index, lists)
    return whole._replace(codes=whole.encode(rows))


SHAPES = [(48, 8), (50, 7), (256, 8), (700, 2), (1024, 2), (128, 3)]


@pytest.mark.parametrize(("dimension", "bits"), SHAPES)
def test_codes_are_those_of_their_vectors_however_these_were_rounded(
    dimension: int, bits: int
) -> None:
    given = made(dimension, bits)
    assert given.accepts(given.codes, bits).all()
    rng = np.random.default_rng(0)
    for _ in range(20):
        # half of what sums in float32 may be off
        off = rng.uniform(-0.5, 0.5, given.vectors.shape) * rounding(dimension)
        assert given.accepts(given.encode(given.vectors + off), bits).all()


@pytest.mark.parametrize(("dimension", "bits"), SHAPES)
def test_codes_of_other_vectors_are_told(dimension: int, bits: int) -> None:
    given = made(dimension, bits)
    rng = np.random.default_rng(1)
    # a cosine of 0.99 with the true ones
    noise = rng.normal(size=given.vectors.shape) / dimension**0.5
    near = given.vectors + 0.14 * noise
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    assert (near * given.vectors).sum(axis=1).max() < 0.995
    assert not given.accepts(given.encode(near), bits).any()


@pytest.mark.parametrize(("dimension", "bits"), SHAPES)
def test_each_part_of_a_code_is_looked_at(dimension: int, bits: int) -> None:
    given = made(dimension, bits)
    size = given.codes.shape[1]
    signs, levels = (dimension + 7) // 8, (dimension * (bits - 1) + 7) // 8
    # the byte with the larger part of the mantissa of each float
    floats = [signs + 2, signs + 6, signs + 10, size - 6, size - 2]
    told = []
    for place in (signs // 2, signs + 12 + levels // 2, *floats):
        other = given.codes.copy()
        other[:, place] ^= 0x5A
        told.append(1 - given.accepts(other, bits).mean())
    # a sign or a level near zero may be either; what is wrong by more never passes
    assert min(told) > 0.8


def test_a_vector_at_its_centroid_has_whatever_code_rounding_gives() -> None:
    given = made(64, 8)
    still = given._replace(vectors=given.centroids.copy())
    codes = still.encode(still.centroids + np.float32(1e-7))
    fresh = still._replace(codes=still.encode(still.vectors))
    assert fresh.accepts(codes, 8).all()


def test_numbers_that_are_none_belong_to_nothing() -> None:
    given = made(48, 8)
    other = given.codes.copy()
    other[:, 6:10] = np.array([np.nan], "<f4").view(np.uint8)
    assert not given.accepts(other, 8).any()
