"""What places contribute: closed forms by hand, and sums that are the score for any feature map."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parecido.indexer.errors import InvalidRequest
from parecido.indexer.learning.space import Space
from parecido.search.explaining.contributions import contributions, parts_of, why

Floats = npt.NDArray[np.float32]
POOLINGS = ("avg", "gem", "rgem", "max")
SEEDS = st.integers(0, 2**32 - 1)
SIDES = st.integers(1, 9)


class Seen(NamedTuple):
    descriptor: Floats
    features: Floats


def pooled(features: Floats, pooling: str, window: int) -> Floats:
    """A descriptor as the network's own layers make it: pooled and brought to unit length."""
    maps = features.astype(np.float64)
    if pooling == "rgem":
        rows, columns = maps.shape[0] - window + 1, maps.shape[1] - window + 1
        corners = [(y, x) for y in range(rows) for x in range(columns)]
        regions = [unit(gem(maps[y : y + window, x : x + window])) for y, x in corners]
        vector = unit(np.mean(regions, axis=0)) + unit(gem(maps))
    elif pooling == "gem":
        vector = gem(maps)
    else:
        vector = maps.mean(axis=(0, 1)) if pooling == "avg" else maps.max(axis=(0, 1))
    return unit(vector).astype(np.float32)


def gem(maps: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    vector: npt.NDArray[np.float64] = np.mean(np.maximum(maps, 1e-6) ** 3, axis=(0, 1)) ** (1 / 3)
    return vector


def unit(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    one: npt.NDArray[np.float64] = vector / np.linalg.norm(vector)
    return one


def drawn(rng: np.random.Generator, rows: int, columns: int, channels: int) -> Floats:
    """A feature map: rectified or not, with ties, of any magnitude."""
    found = rng.normal(size=(rows, columns, channels)) * 10.0 ** rng.uniform(-3, 3)
    if rng.random() < 0.7:
        found = np.maximum(found, 0)
    if rng.random() < 0.3:
        found = np.round(found, 1)  # equal values, as ReLU6 gives them
    found[0, 0, 0] = np.abs(found).max() + 1  # some direction
    features: Floats = found.astype(np.float32)
    return features


def drawn_space(rng: np.random.Generator, channels: int, kept: int) -> Space:
    matrix = rng.normal(size=(kept, channels)) * rng.uniform(0.1, 10, (kept, 1))
    mean = np.abs(rng.normal(size=channels)) / channels**0.5 * rng.uniform(0, 1)
    return Space(mean.astype(np.float32), matrix.astype(np.float32))


@pytest.mark.parametrize("pooling", POOLINGS)
@settings(max_examples=80)
@given(SEEDS, SIDES, SIDES, st.integers(2, 40), st.booleans())
def test_what_the_places_add_sums_to_the_cosine(
    pooling: str, seed: int, rows: int, columns: int, channels: int, in_space: bool
) -> None:
    rng = np.random.default_rng(seed)
    one, other = drawn(rng, rows, columns, channels), drawn(rng, columns, rows + 1, channels)
    window = max(1, min(rows, columns) // 2)
    query, hit = pooled(one, pooling, window), pooled(other, pooling, window)
    space = drawn_space(rng, channels, max(1, channels // 2)) if in_space else None
    found = why(Seen(query, one), Seen(hit, other), pooling, space, window)

    pair = np.stack([query, hit]) if space is None else space.apply(np.stack([query, hit]))
    assert found.score == pytest.approx(float(pair[0] @ pair[1]), abs=1e-5)
    assert found.query.cells.shape == (rows, columns)
    assert found.hit.cells.shape == (columns, rows + 1)
    for side in (found.query, found.hit):
        assert side.sum == pytest.approx(found.score, abs=1e-4)
        assert side.sum + side.residual == pytest.approx(found.score, abs=1e-12)
    assert abs(found.residual) == max(abs(found.query.residual), abs(found.hit.residual))


@pytest.mark.parametrize("pooling", POOLINGS)
@settings(max_examples=80)
@given(SEEDS, SIDES, SIDES, st.integers(2, 40))
def test_the_parts_of_a_descriptor_sum_to_it(
    pooling: str, seed: int, rows: int, columns: int, channels: int
) -> None:
    features = drawn(np.random.default_rng(seed), rows, columns, channels)
    window = max(1, seed % (1 + min(rows, columns)))
    parts = parts_of(features, pooling, window)
    assert parts.shape == features.shape
    assert parts.sum(axis=(0, 1)) == pytest.approx(pooled(features, pooling, window), abs=1e-6)


def test_with_average_pooling_a_place_adds_its_product_with_the_other_picture() -> None:
    # the mean is (3, 4) / 2, of length 2.5
    features = np.array([[[3, 0], [0, 4]]], np.float32)
    assert parts_of(features, "avg") == pytest.approx(np.array([[[0.6, 0], [0, 0.8]]]))
    against = np.array([0.8, 0.6])
    assert contributions(features, against, "avg") == pytest.approx(np.array([[0.48, 0.48]]))
    assert contributions(features, np.array([0, 1]), "avg") == pytest.approx(np.array([[0, 0.8]]))


def test_with_gem_a_place_adds_by_the_third_power() -> None:
    # one channel of 1 and 2: shares of 1 : 8, whatever the length
    features = np.array([[[1], [2]]], np.float32)
    assert parts_of(features, "gem") == pytest.approx(np.array([[[1 / 9], [8 / 9]]]))
    # a channel that is zero everywhere is clipped to 1e-6 as in the network, and shared evenly
    features = np.array([[[1, 0], [1, -5]]], np.float32)
    parts = parts_of(features, "gem")
    assert parts[..., 0] == pytest.approx(np.array([[0.5, 0.5]]))
    assert parts[..., 1] == pytest.approx(np.array([[0.5e-6, 0.5e-6]]))


def test_with_regional_gem_a_place_adds_by_the_windows_that_hold_it() -> None:
    # windows of one cell: each has length 1 whatever its features, and the whole is GeM
    features = np.array([[[1, 0], [0, 2]]], np.float32)
    parts = parts_of(features, "rgem", 1)
    whole = np.array([1, 2]) / 5**0.5
    regions = np.array([1, 1]) / 2**0.5
    expected = (whole + regions) / np.linalg.norm(whole + regions)
    assert parts[0, 0] == pytest.approx((expected[0], 0), abs=1e-5)
    assert parts[0, 1] == pytest.approx((0, expected[1]), abs=1e-5)
    # of three cells in a row the middle one is in both windows of two
    row = np.ones((2, 3, 1), np.float32)
    parts = parts_of(row, "rgem", 2)
    regional, of_all = np.array([1, 2, 1]) / 8, np.ones(3) / 6
    assert parts[0, :, 0] == pytest.approx((regional + of_all) / 2)


def test_with_maximum_pooling_only_the_places_that_have_the_maximum_add() -> None:
    features = np.array([[[3, 1], [3, 4], [0, 4]]], np.float32)  # (3, 4), of length 5
    expected = np.array([[[0.3, 0], [0.3, 0.4], [0, 0.4]]])
    assert parts_of(features, "max") == pytest.approx(expected)


def test_an_average_place_adds_nothing_in_a_space() -> None:
    # two cells; the mean of the library is what the first of them holds, times two
    features = np.array([[[0.5, 0.5], [0.1, 0.7]]], np.float32)
    parts = parts_of(features, "avg")
    space = Space((2 * parts[0, 0]).astype(np.float32), np.eye(2, dtype=np.float32))
    against = space.apply(pooled(features, "avg", 0)[None])[0]
    cells = contributions(features, against, "avg", space)
    assert cells[0, 0] == pytest.approx(0, abs=1e-6)
    assert cells[0, 1] == pytest.approx(1, abs=1e-5)


def test_a_place_that_tells_the_pictures_apart_is_below_zero() -> None:
    space = Space(np.zeros(2, np.float32), np.array([[1, -1], [0, 0.1]], np.float32))
    features = np.array([[[1, 0], [0, 0.4]]], np.float32)
    cells = contributions(features, np.array([1.0, 0.0]), "avg", space)
    assert cells[0, 0] > 0 > cells[0, 1]


def test_a_picture_in_which_nothing_is_seen_is_shared_evenly() -> None:
    blank = np.zeros((2, 2, 4), np.float32)
    for pooling in ("avg", "max"):
        parts = parts_of(blank, pooling)
        assert parts == pytest.approx(np.full((2, 2, 4), 0.125))  # of (1/2, 1/2, 1/2, 1/2)
    unit = np.full(4, 0.5, np.float32)
    found = why(Seen(unit, blank), Seen(unit, blank), "avg")
    assert (found.score, found.query.sum) == (pytest.approx(1), pytest.approx(1))


def test_the_peak_is_the_place_that_adds_most_and_a_residual_is_what_is_left() -> None:
    features = np.array([[[0, 1], [0, 1]], [[0, 1], [9, 1]]], np.float32)
    query = np.array([1, 0], np.float32)
    hit = pooled(features, "avg", 0)
    off = np.array([hit[0] - 0.01, hit[1]], np.float32)  # stored otherwise than it is seen
    found = why(Seen(query, features), Seen(off, features), "avg")
    assert found.hit.peak == (1, 1)
    assert found.hit.residual == pytest.approx(-0.01, abs=1e-6)


def test_what_is_not_made_of_places_is_refused() -> None:
    for pooling in ("fc1", "fc2", "none"):
        with pytest.raises(InvalidRequest, match=f"pooling {pooling}"):
            parts_of(np.ones((1, 1, 3), np.float32), pooling)
