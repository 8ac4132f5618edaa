"""Measures of retrieval against hand-worked cases, scikit-learn and statistics."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import average_precision_score

from parecido.indexer.errors import InvalidRequest
from parecido.search.evaluating.measures import (
    average_precision,
    bootstrap_interval,
    nister_stewenius,
    precision_at,
    recall_at,
)

RIGHT_IN_FIRST_THIRD_AND_SIXTH = [1, 0, 1, 0, 0, 1]


def rows(*lines: list[int]) -> np.ndarray:
    return np.array(lines, bool)


def test_average_precision_is_the_mean_of_the_precisions_at_the_right_ones() -> None:
    relevant = rows(RIGHT_IN_FIRST_THIRD_AND_SIXTH, [0, 0, 0, 0, 0, 1], [1, 1, 0, 0, 0, 0])
    expected = [(1 / 1 + 2 / 3 + 3 / 6) / 3, 1 / 6, 1]
    np.testing.assert_allclose(average_precision(relevant), expected, rtol=1e-15)


@given(
    arrays.arrays(bool, st.tuples(st.integers(1, 8), st.integers(1, 40))), st.integers(0, 2**32 - 1)
)
def test_average_precision_is_scikit_learns_where_no_scores_are_equal(
    truth: np.ndarray, seed: int
) -> None:
    truth[:, 0] = True  # each query has a relevant picture
    generator = np.random.default_rng(seed)
    scores = generator.permuted(
        np.tile(np.linspace(-1, 1, truth.shape[1]), (len(truth), 1)), axis=1
    )
    expected = [average_precision_score(t, s) for t, s in zip(truth, scores, strict=True)]
    ranked = np.take_along_axis(truth, np.argsort(-scores, axis=1), 1)
    np.testing.assert_allclose(average_precision(ranked), expected, rtol=1e-12)


def test_of_equal_scores_the_order_counts_where_scikit_learn_makes_one_step() -> None:
    # scores 0.9, 0.5, 0.5, 0.1; the right ones are a 0.5 and the 0.1
    first, second = average_precision(rows([0, 1, 0, 1], [0, 0, 1, 1]))
    assert (first, second) == ((1 / 2 + 2 / 4) / 2, (1 / 3 + 2 / 4) / 2)
    one_step = average_precision_score([0, 1, 0, 1], [0.9, 0.5, 0.5, 0.1])
    assert one_step == pytest.approx((1 / 3 + 2 / 4) / 2)


def test_a_query_without_a_right_picture_has_no_average_precision() -> None:
    with pytest.raises(InvalidRequest, match="no relevant picture"):
        average_precision(rows([1, 0], [0, 0]))


def test_recall_asks_for_one_right_picture_among_the_first() -> None:
    relevant = rows(RIGHT_IN_FIRST_THIRD_AND_SIXTH, [0, 0, 0, 0, 1, 1], [0, 1, 1, 1, 1, 1])
    assert [recall_at(relevant, k).tolist() for k in (1, 2, 5, 100)] == [
        [1, 0, 0],
        [1, 0, 1],
        [1, 1, 1],
        [1, 1, 1],
    ]


def test_precision_is_the_share_of_right_ones_among_the_first() -> None:
    relevant = rows(RIGHT_IN_FIRST_THIRD_AND_SIXTH, [0, 1, 1, 1, 1, 1])
    assert precision_at(relevant, 1).tolist() == [1, 0]
    assert precision_at(relevant, 5).tolist() == [2 / 5, 4 / 5]
    # a short gallery is no excuse: what is not there is not right
    assert precision_at(relevant, 12).tolist() == [3 / 12, 5 / 12]


def test_k_must_be_positive() -> None:
    for measure in (recall_at, precision_at):
        with pytest.raises(InvalidRequest, match="k must be 1 or more, got 0"):
            measure(rows([1]), 0)


def test_the_query_counts_among_its_own_first_four() -> None:
    relevant = rows([1, 1, 1, 0, 0], [0, 1, 0, 1, 1], [0, 0, 0, 1, 1], [1, 0, 1, 1, 0])
    assert nister_stewenius(relevant).tolist() == [4, 2, 1, 3]


def test_the_interval_is_the_same_whenever_it_is_asked_for() -> None:
    values = np.random.default_rng(1).random((50, 3))
    first, second = bootstrap_interval(values), bootstrap_interval(values)
    other = bootstrap_interval(values, seed=1)
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_a_measure_gets_the_same_interval_alone_and_beside_others() -> None:
    values = np.random.default_rng(1).random((50, 3))
    low, high = bootstrap_interval(values)
    for column in range(3):
        alone = bootstrap_interval(values[:, [column]])
        np.testing.assert_allclose([low[column], high[column]], np.ravel(alone), rtol=1e-12)


def test_the_interval_of_many_queries_is_the_normal_one() -> None:
    # the mean's own distribution is normal by then: ± 1.96 standard errors
    values = np.random.default_rng(2).beta(2, 1, (4000, 1))
    low, high = bootstrap_interval(values, resamples=4000)
    error = values.std() / 4000**0.5
    np.testing.assert_allclose(
        [low[0] - values.mean(), high[0] - values.mean()], [-1.96 * error, 1.96 * error], rtol=0.1
    )


def test_a_95_percent_interval_covers_the_truth_about_95_times_in_100() -> None:
    draw = np.random.default_rng(3)
    covered = 0
    for _ in range(300):
        low, high = bootstrap_interval(draw.random((60, 1)), resamples=300)
        covered += low[0] <= 0.5 <= high[0]
    assert 0.90 <= covered / 300 <= 0.98


@given(st.integers(1, 30), st.floats(0, 1))
def test_queries_that_agree_leave_no_interval(count: int, value: float) -> None:
    low, high = bootstrap_interval(np.full((count, 1), value), resamples=20)
    np.testing.assert_allclose([low[0], high[0]], value, rtol=1e-12)


def test_an_interval_needs_little_memory() -> None:
    values = np.random.default_rng(4).random((20_000, 6))
    tracemalloc.start()
    try:
        bootstrap_interval(values, resamples=200)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * values.nbytes  # 32 MB would be all the draws at once


@pytest.mark.parametrize(
    ("count", "level", "resamples"), [(0, 0.95, 10), (3, 1.0, 10), (3, 0.0, 10), (3, 0.95, 0)]
)
def test_an_interval_of_nothing_is_refused(count: int, level: float, resamples: int) -> None:
    with pytest.raises(InvalidRequest, match=r"An interval needs values.*resample"):
        bootstrap_interval(np.zeros((count, 1)), level=level, resamples=resamples)
