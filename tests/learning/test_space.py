"""The learned space: a plain NumPy reference, degenerate libraries, storage, damage."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parecido.indexer.catalogue.changes import Remove
from parecido.indexer.checkup.repair import repair
from parecido.indexer.checkup.verify import verify
from parecido.indexer.errors import LibraryDamaged
from parecido.indexer.learning.space import LEAST_PICTURES, Space, has_outgrown, learn
from parecido.indexer.library.layout import CATALOGUE
from parecido.indexer.library.library import Library
from parecido.indexer.library.upkeep import bring_up_to_date
from parecido.search.engine import Engine
from tests.support.fakes import DIMENSION, fake_spec
from tests.support.harness import put, seal_anew

Vectors = npt.NDArray[np.float32]


def scenes(seed: int, count: int, dimension: int = DIMENSION) -> Vectors:
    """Unit rows about a common centre, some directions wider than others."""
    rng = np.random.default_rng(seed)
    widths = np.random.default_rng(0).uniform(0.05, 0.6, dimension)
    rows = 1 + widths * rng.normal(size=(count, dimension))
    return unit(rows)


def unit(rows: npt.NDArray[np.floating]) -> Vectors:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def reference(vectors: Vectors, dimension: int) -> npt.NDArray[np.float64]:
    """The rows of the matrix, from the formula in the module's first lines, all in float64."""
    variances, directions = np.linalg.eigh(np.cov(vectors.astype(np.float64).T, bias=True))
    total = variances.sum()
    rows = []
    for place in np.argsort(-variances)[:dimension]:
        variance = max(variances[place], 0)
        weight = variance**0.75 / (variance + 0.0045 * total)
        rows.append(weight * directions[:, place])
    return np.array(rows)


@pytest.mark.parametrize("dimension", [1, 5, DIMENSION])
def test_a_space_is_what_the_covariance_says(dimension: int) -> None:
    vectors = scenes(1, 400)
    space = learn([vectors], dimension, 400)
    expected = reference(vectors, dimension)
    assert space.mean == pytest.approx(vectors.mean(axis=0, dtype=np.float64), abs=1e-6)
    signs = np.sign((space.matrix * expected).sum(axis=1, keepdims=True))
    assert signs * space.matrix == pytest.approx(expected, abs=1e-4)
    assert (space.dimension, space.pictures) == (dimension, 400)
    turned = (vectors - vectors.mean(axis=0, dtype=np.float64)) @ expected.T
    applied = space.apply(vectors)
    assert applied.dtype == np.float32
    assert signs.T * applied == pytest.approx(
        turned / np.linalg.norm(turned, axis=1, keepdims=True), abs=1e-3
    )


@pytest.mark.parametrize("count", [DIMENSION, 40, 79, 80, 81])
def test_a_space_of_few_pictures_is_what_the_covariance_says(count: int) -> None:
    vectors = scenes(1, count, 80)
    vectors[count // 2] = vectors[0]  # one direction less
    space = learn([vectors[:7], vectors[7:]], 80, count)
    expected = reference(vectors, 80)[: count - 1]
    assert space.mean == pytest.approx(vectors.mean(axis=0, dtype=np.float64), abs=1e-6)
    # directions of equal variance may be turned: what descriptors do to each other may not
    centred = vectors - vectors.mean(axis=0, dtype=np.float64)
    turned = [centred @ matrix.T for matrix in (space.matrix, expected)]
    ours, theirs = (rows @ rows.T for rows in turned)
    assert ours == pytest.approx(theirs, abs=1e-4 * np.abs(theirs).max())
    assert space.matrix.shape == (min(count - 1, 80), 80)


def test_wide_directions_are_half_whitened_and_narrow_ones_fade_out() -> None:
    rng = np.random.default_rng(3)
    deviations = np.array([0.3, 0.1, 0.03, 0.001])
    vectors = (deviations * rng.normal(size=(5000, 4))).astype(np.float32)
    variances = (learn([vectors], 4).matrix.astype(np.float64) @ vectors.T).var(axis=1)
    # half-whitening leaves the square root of a variance, the standard deviation
    assert variances[:2] / variances[0] == pytest.approx([1, 1 / 3], rel=0.1)
    assert variances[3] / variances[0] < 1e-6  # not 1 / 300


@pytest.mark.parametrize("size", [1, 7, 64, 399])
def test_blocks_of_any_size_teach_the_same_space(size: int) -> None:
    vectors = scenes(2, 400)
    blocks = [vectors[start : start + size] for start in range(0, 400, size)]
    whole, parts = learn([vectors], 6), learn([*blocks, vectors[:0]], 6)
    assert parts.mean == pytest.approx(whole.mean, abs=1e-6)
    signs = np.sign((parts.matrix * whole.matrix).sum(axis=1, keepdims=True))
    assert signs * parts.matrix == pytest.approx(whole.matrix, abs=1e-4)


def test_blocks_are_left_as_they_were() -> None:
    vectors = scenes(2, 100)
    before = vectors.copy()
    learn([vectors], 6).apply(vectors)
    assert np.array_equal(vectors, before)


@pytest.mark.parametrize(
    ("count", "asked", "given"), [(5, 12, 4), (2, 8, 1), (1, 8, 1), (90, 99, 12)]
)
def test_a_space_has_no_more_dimensions_than_pictures_allow(
    count: int, asked: int, given: int
) -> None:
    vectors = scenes(4, count)
    space = learn([vectors], asked, count)
    assert space.matrix.shape == (given, DIMENSION)
    assert np.linalg.norm(space.apply(vectors), axis=1) == pytest.approx(np.ones(count), abs=1e-6)


@pytest.mark.parametrize("dimension", [DIMENSION, 320])
@pytest.mark.parametrize("count", [64, 333])
def test_equal_pictures_stay_equal_where_there_is_nothing_else(count: int, dimension: int) -> None:
    vectors = np.repeat(scenes(5, 1, dimension), count, axis=0)
    space = learn([vectors[:50], vectors[50:]], 128, count)
    applied = space.apply(vectors)
    for rows in (1, 2, 3, 33):  # of other sums for other shapes
        assert space.apply(vectors[:rows]) @ applied[-1] == pytest.approx(1, abs=1e-6)
    other = space.apply(scenes(6, 1, dimension))
    assert np.linalg.norm(other) == pytest.approx(1, abs=1e-6)


def test_a_descriptor_at_the_mean_gets_the_first_direction() -> None:
    vectors = scenes(7, 200)
    space = learn([vectors], 6)
    both = space.apply(np.stack([space.mean, vectors[0]]))
    assert both[0] == pytest.approx(np.eye(6)[0], abs=1e-5)
    assert both[1] == pytest.approx(space.apply(vectors[:1])[0], abs=1e-5)


@settings(max_examples=50)
@given(seed=st.integers(0, 2**20), count=st.integers(1, 40), dimension=st.integers(1, 12))
def test_unit_rows_come_out_whatever_lies_beside_them(
    seed: int, count: int, dimension: int
) -> None:
    space = learn([scenes(seed, 80)], dimension)
    vectors = scenes(seed + 1, count)
    applied = space.apply(vectors)
    assert applied.shape == (count, dimension)
    assert np.linalg.norm(applied, axis=1) == pytest.approx(np.ones(count), abs=1e-6)
    order = np.random.default_rng(seed).permutation(count)
    assert space.apply(vectors[order]) == pytest.approx(applied[order], abs=1e-5)
    assert space.apply(vectors[:1])[0] == pytest.approx(applied[0], abs=1e-5)


def test_a_library_outgrows_its_space_at_twice_and_at_a_quarter() -> None:
    assert [has_outgrown(None, n) for n in (0, LEAST_PICTURES - 1, LEAST_PICTURES)] == [
        False,
        False,
        True,
    ]
    space = learn([scenes(8, 100)], 4, 100)
    told = {n: has_outgrown(space, n) for n in (24, 25, 99, 100, 199, 200)}
    assert told == {24: True, 25: False, 99: False, 100: False, 199: False, 200: True}


# -- in the catalogue ------------------------------------------------------------------------------


@pytest.fixture
def spaced(library: Library) -> Library:
    """A library of 80 descriptors that has a space."""
    put(library, scenes(10, 80))
    with library.writer() as writing:
        bring_up_to_date(writing)
    assert library.catalogue.settings.space() is not None
    return library


def test_a_space_is_read_as_it_was_stored(library: Library) -> None:
    space = learn([scenes(9, 100, 48)], 20, 100)
    with library.writer() as writing:
        writing.catalogue.use_space(space)
        assert writing.catalogue.settings.space_fingerprint() == space.fingerprint
    stored = library.catalogue.settings.space()
    assert stored is not None
    assert np.array_equal(stored.mean, space.mean)
    assert np.array_equal(stored.matrix, space.matrix)
    assert (stored.fingerprint, stored.pictures) == (space.fingerprint, 100)
    assert (stored.mean.dtype, stored.matrix.dtype) == (np.float32, np.float32)
    with library.writer() as writing:
        writing.catalogue.use_space(None)
    assert (library.catalogue.settings.space(), library.catalogue.settings.space_fingerprint()) == (
        None,
        "",
    )


def test_a_fingerprint_tells_spaces_apart() -> None:
    space = learn([scenes(9, 100)], 6)
    moved = Space(space.mean + np.float32(1e-6), space.matrix)
    turned = Space(space.mean, space.matrix[::-1].copy())
    again = Space(space.mean.copy(), space.matrix.copy(), 7)
    assert len({space.fingerprint, moved.fingerprint, turned.fingerprint}) == 3
    assert again.fingerprint == space.fingerprint


def damage(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / CATALOGUE)) as connection, connection:
        connection.execute(statement)
    seal_anew(folder)  # as a version before seals may have left it


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE spaces SET matrix = substr(matrix, 1, length(matrix) - 4)",
        "UPDATE spaces SET matrix = substr(matrix, 1, length(matrix) - 3)",
        "UPDATE spaces SET mean = zeroblob(length(mean))",
        "UPDATE spaces SET mean = x''",
        "UPDATE spaces SET matrix = x''",
    ],
)
def test_a_damaged_space_is_told_and_learned_again(spaced: Library, statement: str) -> None:
    space = spaced.catalogue.settings.space()
    assert space is not None
    damage(spaced.folder, statement)
    assert [str(problem) for problem in verify(spaced)] != []
    with Engine(spaced) as engine, pytest.raises(LibraryDamaged) as caught:
        engine.search_vector(scenes(11, 1)[0])
    assert "verify --repair" in caught.value.remedy
    assert "learned the library's own space again" in repair(spaced.folder)
    assert verify(spaced) == []
    again = spaced.catalogue.settings.space()
    assert again is not None
    assert again.fingerprint == space.fingerprint
    with Engine(spaced) as engine:
        assert len(engine.search_vector(scenes(11, 1)[0])) == 10


def test_a_lost_space_is_learned_again_and_never_missed(spaced: Library) -> None:
    damage(spaced.folder, "DELETE FROM spaces")
    with Engine(spaced) as engine:
        assert len(engine.search_vector(scenes(11, 1)[0])) == 10
    repair(spaced.folder)
    assert spaced.catalogue.settings.space() is not None
    assert verify(spaced) == []


def test_another_encoder_in_an_emptied_library_drops_the_space(spaced: Library) -> None:
    with spaced.writer() as writing:
        writing.catalogue.write([Remove(writing.catalogue.descriptors.ids().tolist())])
    put(spaced, scenes(12, 5), spec=fake_spec(weights_sha256="1" * 64))
    assert (spaced.catalogue.settings.space(), spaced.catalogue.settings.space_fingerprint()) == (
        None,
        "",
    )
    with Engine(spaced) as engine:
        (hit,) = engine.search_vector(scenes(12, 5)[2], k=1)
    assert hit.score == pytest.approx(1, abs=1e-3)  # in the encoder's own space
    assert verify(spaced) == []
