"""Sums that no order changes, and what rounding may do to others."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parecido.indexer.arithmetic import DIGITS, GRID, cosines, rounding, row_sums, to_grid, unit
from parecido.indexer.learning.space import Space, learn

Vectors = npt.NDArray[np.float32]


def drawn(seed: int, count: int, dimension: int) -> Vectors:
    """Unit rows with a few large numbers and many small ones, on the grid."""
    rng = np.random.default_rng(seed)
    return unit(rng.normal(size=(count, dimension)) ** 3)


def exactly(one: Vectors, other: Vectors) -> Fraction:
    """The inner product, in whole numbers without end."""
    return sum(
        (Fraction(float(a)) * Fraction(float(b)) for a, b in zip(one, other, strict=True)),
        Fraction(0),
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1, 2, 3, 128, 1280]))
def test_cosines_are_the_exact_ones_rounded(seed: int, dimension: int) -> None:
    one, other = drawn(seed, 2, dimension)
    (score,) = cosines(one, other[None])
    true = min(max(exactly(one, other), Fraction(-1)), Fraction(1))
    assert score == np.float32(round(true, DIGITS))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([7, 64, 1280]))
def test_no_order_of_sums_changes_a_product_of_what_lies_on_the_grid(
    seed: int, dimension: int
) -> None:
    rows = drawn(seed, 40, dimension).astype(np.float64)
    query, order = rows[0], np.random.default_rng(seed).permutation(dimension)
    together = rows @ query
    assert np.array_equal(rows[:, order] @ query[order], together)
    assert np.array_equal((rows[:, ::-1] * query[::-1]).sum(axis=1), together)
    assert np.array_equal(np.cumsum(rows * query, axis=1)[:, -1], together)
    assert [float(row @ query) for row in rows] == together.tolist()


def test_the_grid_keeps_what_lies_on_it_and_moves_nothing_far() -> None:
    rows = np.random.default_rng(0).uniform(-1, 1, (50, 40)).astype(np.float32)
    moved = to_grid(rows.copy())
    assert np.abs(moved.astype(np.float64) - rows).max() <= 2.0 ** -(GRID + 1)
    assert (np.ldexp(moved.astype(np.float64), GRID) % 1 == 0).all()
    assert np.array_equal(to_grid(moved.copy()), moved)
    halves = rows.astype(np.float16).astype(np.float32)  # as descriptors are stored
    assert np.array_equal(to_grid(halves.copy()), halves)


def test_rows_come_to_unit_length_whatever_theirs_was() -> None:
    rows = np.array([[3, 4, 0], [1e-30, 0, 0], [-1e30, 1e30, 0], [0, 0, 0]])
    ends = [[0.6, 0.8, 0], [1, 0, 0], [-(0.5**0.5), 0.5**0.5, 0], [0, 0, 0]]
    assert unit(rows) == pytest.approx(np.array(ends), abs=1e-7)


@pytest.mark.parametrize("dimension", [0, 1, 2, 3, 7, 64, 100])
def test_sums_of_rows_are_sums(dimension: int) -> None:
    rows = np.random.default_rng(1).normal(size=(9, dimension))
    before = rows.copy()
    assert row_sums(rows) == pytest.approx(rows.sum(axis=1), abs=1e-12)
    assert np.array_equal(rows, before)


def test_float32_sums_stay_within_what_is_promised_of_them() -> None:
    for dimension in (4, 256, 4096):
        rows = drawn(2, 300, dimension)
        true = rows.astype(np.float64) @ rows[0].astype(np.float64)
        for order in (slice(None), slice(None, None, -1)):
            near = np.cumsum(rows[:, order] * rows[0, order], axis=1, dtype=np.float32)[:, -1]
            assert np.abs(near - true).max() <= rounding(dimension)


@pytest.mark.parametrize("dimension", [5, 64, 300])
def test_a_row_is_placed_in_a_space_alike_whatever_is_placed_with_it(dimension: int) -> None:
    rows = drawn(3, 90, dimension)
    space = learn([rows], 128, 90)
    placed = space.apply(rows)
    for count in (1, 2, 3, 17):
        assert np.array_equal(space.apply(rows[:count]), placed[:count])
    order = np.random.default_rng(0).permutation(dimension)
    turned = Space(space.mean[order], space.matrix[:, order].copy())
    assert np.array_equal(turned.apply(rows[:, order]), placed)


def test_a_space_is_applied_as_float64_has_it() -> None:
    rows = drawn(4, 200, 96)
    space = learn([rows], 40, 200)
    turned = (rows - space.mean.astype(np.float64)) @ space.matrix.astype(np.float64).T
    turned /= np.linalg.norm(turned, axis=1, keepdims=True)
    assert np.abs(space.apply(rows) - turned).max() < 1e-7
