"""How often chance reaches a cosine: on pairs whose groups are known, and at its edges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parecido import Engine, IndexOptions, Library, index
from parecido.indexer.arithmetic import cosines, to_grid
from parecido.indexer.errors import InvalidRequest
from parecido.indexer.learning.chance import (
    BACKGROUND,
    LEAST_PICTURES,
    Chance,
    background,
    learn_chance,
)
from tests.support.fakes import fake_encoder, save_pictures

Vectors = npt.NDArray[np.float32]


def grouped(groups: int, each: int, dimension: int = 24, seed: int = 0) -> tuple[Vectors, Vectors]:
    """Unit rows in groups around centres that chance alone has placed, and their groups."""
    random = np.random.default_rng(seed)
    # few directions matter much and many little, as in the spaces of real libraries
    spread = 1 / np.sqrt(np.arange(1, dimension + 1))
    centres = np.repeat(random.standard_normal((groups, dimension)) * spread, each, axis=0)
    rows = centres + 0.4 * random.standard_normal(centres.shape) * spread
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), np.repeat(np.arange(groups), each)


def test_no_more_comes_than_twice_what_is_promised() -> None:
    # on photographs it is within a factor of two either way, see tests/evaluating/test_sets.py; the
    # tails of these rows are lighter
    rows, group = grouped(200, 6)
    chance = learn_chance(rows, len(rows))
    assert chance is not None
    table = rows @ rows.T
    promised = []
    for number in range(len(rows)):
        others = np.delete(table[number], number)
        shares = chance.tail(others).shares(table[number])
        promised.append(shares[group != group[number]])
    found = np.concatenate(promised)
    for share in (0.5, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0001):
        ratio = (found <= share).mean() / share
        assert ratio <= 2, f"at {share} came {ratio:.2f} times what was promised"
        assert share < 0.03 or ratio >= 0.5, f"at {share} came {ratio:.2f} of what was promised"


def test_what_belongs_to_a_query_does_not_count_as_chance() -> None:
    alone, _ = grouped(300, 1)
    together, group = grouped(100, 6)
    few, many = (learn_chance(rows, len(rows)) for rows in (alone, together))
    assert few is not None
    assert many is not None
    own = together @ together[0]
    tail = many.tail(np.delete(own, 0))
    of_group, of_others = tail.shares(own[group == 0][1:]), tail.shares(own[group != 0])
    assert of_group.max() < np.quantile(of_others, 0.02)
    assert of_group.max() < 0.02
    assert many.slope == pytest.approx(few.slope, rel=0.5)


@given(
    st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=50),
    st.integers(0, 10_000),
)
def test_a_higher_cosine_is_never_likelier(scores: list[float], seed: int) -> None:
    rows, _ = grouped(40, 3, seed=seed)
    chance = learn_chance(rows, len(rows))
    assert chance is not None
    shares = chance.tail(rows[1:] @ rows[0]).shares(np.sort(scores))
    assert (np.diff(shares) <= 1e-12).all()
    assert ((shares >= 0) & (shares <= 1)).all()


@given(st.integers(0, 10_000))
def test_a_picture_reaches_its_own_score_in_whatever_order_it_is_summed(seed: int) -> None:
    rows = to_grid(grouped(100, 1, seed=3)[0])
    chance = learn_chance(rows, len(rows))
    assert chance is not None
    order = np.random.default_rng(seed).permutation(rows.shape[1])
    scores = cosines(rows[0], rows[1:])
    drawn = cosines(rows[:1, order], rows[1:, order])[0]
    np.testing.assert_array_equal(
        chance.tail(drawn).shares(scores), chance.tail(scores).shares(scores)
    )
    place = np.argsort(scores)[50]  # in the body, where shares are counted
    assert chance.tail(drawn).shares(scores)[place] == pytest.approx(49 / 99)


def test_the_very_same_is_no_chance_at_all() -> None:
    rows, _ = grouped(100, 4)
    chance = learn_chance(rows, len(rows))
    assert chance is not None
    assert chance.tail(rows[1:] @ rows[0]).shares([1.0])[0] * len(rows) < 1e-6


def test_it_is_read_as_it_was_written_and_nothing_else_is() -> None:
    known = Chance(8.25, 0.0125, 1212, "95094ea9c14423f2")
    assert Chance.from_json(known.to_json()) == known
    for text in ("", "{}", "[1]", '{"slope": 1}'):
        with pytest.raises((ValueError, TypeError)):
            Chance.from_json(text)


def test_too_few_pictures_tell_nothing() -> None:
    rows, _ = grouped(LEAST_PICTURES - 1, 1)
    assert learn_chance(rows, len(rows)) is None


def test_the_background_is_all_of_a_small_library_and_a_fixed_draw_from_a_large_one() -> None:
    small, large = np.arange(5, 100), np.arange(100_000)
    assert np.array_equal(background(small), small)
    drawn = background(large)
    assert len(np.unique(drawn)) == BACKGROUND
    assert np.array_equal(drawn, np.sort(drawn))
    assert np.array_equal(drawn, background(large))


@pytest.fixture
def library(tmp_path: Path) -> Library:
    save_pictures(tmp_path / "pictures", 120)
    with Library.create(tmp_path / "library") as made:
        index(made, [tmp_path / "pictures"], encoder=fake_encoder())
        yield made


def test_hits_tell_it_and_a_maximum_leaves_out_what_is_above(
    library: Library, tmp_path: Path
) -> None:
    query = tmp_path / "pictures" / "0007.png"
    with Engine(library, encoder=fake_encoder()) as engine:
        hits = engine.search(query, k=40).hits
        chances = [hit.chance for hit in hits]
        assert all(chance is not None for chance in chances)
        assert chances == sorted(chances, key=lambda chance: chance or 0)
        most = chances[5] or 0.0
        kept = engine.search(query, k=40, max_chance=most).hits
        assert [hit.id for hit in kept] == [h.id for h in hits if (h.chance or 0) <= most]
        for wrong in (0, -1, float("nan")):
            with pytest.raises(InvalidRequest, match="above 0"):
                engine.search(query, max_chance=wrong)


def test_the_expected_number_grows_with_the_library(tmp_path: Path) -> None:
    expected = []
    for count in (100, 400):
        folder = tmp_path / f"{count}"
        save_pictures(folder / "pictures", count)
        with Library.create(folder / "library") as library:
            # the encoder's own space, so that the cosines are of the same numbers
            options = IndexOptions(dimension="full")
            index(library, [folder / "pictures"], options, encoder=fake_encoder())
            with Engine(library, encoder=fake_encoder()) as engine:
                hits = engine.search(folder / "pictures" / "0000.png", k=count - 1).hits
        expected.append(hits[count // 2].chance)
    assert expected[1] == pytest.approx(4 * (expected[0] or 0), rel=0.3)


def test_a_library_too_small_to_tell_says_so(tmp_path: Path) -> None:
    save_pictures(tmp_path / "pictures", 10)
    with Library.create(tmp_path / "library") as library:
        index(library, [tmp_path / "pictures"], encoder=fake_encoder())
        with Engine(library, encoder=fake_encoder()) as engine:
            query = tmp_path / "pictures" / "0001.png"
            assert {hit.chance for hit in engine.search(query).hits} == {None}
            with pytest.raises(InvalidRequest, match="too small to tell"):
                engine.search(query, max_chance=1)
