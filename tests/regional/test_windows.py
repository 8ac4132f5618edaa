"""Windows of a feature map: where they lie, what is pooled from them, and how it is stored."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from parecido.indexer.encoders.pooling import pool_gem
from parecido.indexer.records.regions import Box
from parecido.indexer.regional.codes import (
    REGIONS,
    blob_bytes,
    box,
    describe,
    is_sound,
    pack,
    unpack,
    windows,
)

sides = st.integers(1, 40)


def test_windows_of_a_square_map_are_half_of_its_side_and_overlap_by_half() -> None:
    assert windows(8, 8) == [
        *((0, 0, 4, 4), (0, 2, 4, 4), (0, 4, 4, 4)),
        *((2, 0, 4, 4), (2, 2, 4, 4), (2, 4, 4, 4)),
        *((4, 0, 4, 4), (4, 2, 4, 4), (4, 4, 4, 4)),
    ]


def test_windows_of_an_odd_side_are_rounded_up_and_their_middle_is_too() -> None:
    assert [(left, width) for _, left, _, width in windows(7, 9)[:3]] == [(0, 5), (2, 5), (4, 5)]
    assert [(top, height) for top, _, height, _ in windows(7, 9)[::3]] == [(0, 4), (2, 4), (3, 4)]


@given(rows=sides, columns=sides)
def test_windows_reach_every_edge_leave_none_out_and_lie_inside(rows: int, columns: int) -> None:
    covered = np.zeros((rows, columns), bool)
    for top, left, height, width in windows(rows, columns):
        assert height >= 1
        assert width >= 1
        assert top + height <= rows
        assert left + width <= columns
        covered[top : top + height, left : left + width] = True
    assert covered.all()


@given(rows=sides, columns=sides, region=st.integers(0, REGIONS - 1))
def test_a_box_is_its_window_as_fractions_of_the_picture(
    rows: int, columns: int, region: int
) -> None:
    top, left, height, width = windows(rows, columns)[region]
    x, y, across, down = box(region, rows, columns)
    assert (x * columns, y * rows) == pytest.approx((left, top))
    assert (across * columns, down * rows) == pytest.approx((width, height))
    assert x + across <= 1 + 1e-12
    assert y + down <= 1 + 1e-12


def test_the_last_region_is_the_lower_right_quarter() -> None:
    assert box(8, 8, 8) == Box(0.5, 0.5, 0.5, 0.5)
    assert box(0, 8, 8) == Box(0, 0, 0.5, 0.5)


def test_a_region_is_the_generalised_mean_of_its_window_and_of_nothing_else() -> None:
    features = np.zeros((8, 8, 3), np.float32)
    features[:4, :4, 0] = 2  # the upper left quarter
    features[0, 0, 1] = 4  # 4³ in one of 16 cells: a mean of 4
    regions = describe(features)
    length = np.hypot(2, 4 ** (1 / 3))
    expected = np.array([2 / length, 4 ** (1 / 3) / length, 0])
    np.testing.assert_allclose(regions[0], expected, atol=1e-5)
    # the middle has a quarter of the cells of the first channel, and no cell of the second
    np.testing.assert_allclose(regions[4], [1, 0, 0], atol=1e-5)
    # where nothing is seen, no channel is preferred
    np.testing.assert_allclose(regions[8], np.full(3, 3**-0.5), atol=1e-6)


def test_pooling_a_whole_map_is_what_pooling_its_only_window_gives() -> None:
    features = np.random.default_rng(0).random((4, 6, 16), np.float32)
    alone = pool_gem(features[2:4, 3:6])
    np.testing.assert_allclose(describe(features)[8], alone, atol=1e-6)
    powered = (features.astype(np.float64) ** 3).mean(axis=(0, 1)) ** (1 / 3)
    np.testing.assert_allclose(pool_gem(features), powered / np.linalg.norm(powered), atol=1e-6)


descriptors = st.integers(1, 33).flatmap(
    lambda dimension: arrays.arrays(
        np.float32,
        (REGIONS, dimension),
        elements=st.floats(0, 1, width=32, allow_subnormal=False),
    )
)


@given(vectors=descriptors)
def test_what_is_stored_keeps_its_direction_to_four_bits(
    vectors: np.ndarray[tuple[int, int], np.dtype[np.float32]],
) -> None:
    vectors = vectors + np.float32(1e-3)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    dimension = vectors.shape[1]
    blob = pack(vectors)
    assert len(blob) == blob_bytes(dimension)
    assert is_sound(blob, dimension)
    found = unpack(blob, dimension)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    # half a step of fifteen in each number
    largest = vectors.max(axis=1, keepdims=True)
    error = np.linalg.norm(found - vectors, axis=1)
    assert (error <= 2 * np.sqrt(dimension) * largest[:, 0] / 30 + 1e-6).all()
    # what was stored once is stored the same again
    assert pack(found) == blob


def test_what_is_no_blob_of_these_descriptors_is_told() -> None:
    vectors = np.random.default_rng(1).random((REGIONS, 11), np.float32)
    blob = pack(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    assert len(blob) == 50  # 99 numbers
    for other in (b"", blob[:-1], blob + b"\0", bytes(len(blob)), blob[:-6] + bytes(6)):
        assert not is_sound(other, 11)
    for other in (b"", blob[:-1], blob + b"\0"):
        with pytest.raises(ValueError, match="expected 50 bytes"):
            unpack(other, 11)
