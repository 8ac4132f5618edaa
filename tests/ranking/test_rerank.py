"""The second thought: a slow reference from the papers' definitions, and whole searches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parecido.indexer.catalogue.changes import Remove
from parecido.indexer.library.library import Library
from parecido.indexer.library.upkeep import bring_up_to_date
from parecido.indexer.records.filters import Filter
from parecido.indexer.vectors.neighbours import USED
from parecido.search.asking.request import Request
from parecido.search.asking.terms import Terms
from parecido.search.engine import Engine
from parecido.search.ranking import ranking
from parecido.search.ranking.rerank import NEIGHBOURS, SHORTLIST, Neighbourhood, second_scores
from parecido.search.results import Hit
from tests.vectors.test_neighbours import DIMENSION, add, groups

Vectors = npt.NDArray[np.float32]
Row = npt.NDArray[np.float64]
BOTH = [(True, False), (False, True), (True, True)]

# -- the papers, in plain Python -------------------------------------------------------------------


def dot(one: Row, other: Row) -> float:
    return sum(float(a) * float(b) for a, b in zip(one, other, strict=True))


def moved(own: Row, neighbours: list[Row]) -> Row:
    """α-weighted expansion (Radenović et al. 2019, 3.4): a descriptor counts 1, α is 3."""
    whole = np.array(own, np.float64)
    for neighbour in neighbours:
        whole += max(dot(own, neighbour), 0.0) ** 3 * neighbour
    return whole / math.sqrt(dot(whole, whole))


def nearest_to(own: Row, others: list[Row]) -> list[Row]:
    return sorted(others, key=lambda row: -dot(own, row))[:5]


def expanded(query: Row, shortlist: list[Row], library: list[list[Row]]) -> list[Row]:
    """Query and shortlist, moved; ``library`` has the other pictures for each of the shortlist.

    For them the query is one picture more.
    """
    pictures = [
        moved(own, nearest_to(own, [query, *others]))
        for own, others in zip(shortlist, library, strict=True)
    ]
    return [moved(query, nearest_to(query, shortlist)), *pictures]


def reciprocal_scores(
    rows: list[Row], k1: int = 10, k2: int = 3, share: float = 0.5
) -> list[float]:
    """k-reciprocal encoding (Zhong et al. 2017), the distance half the squared Euclidean one's.

    N(p, k) are p itself and its k nearest, as in the authors' program; which also lets a set join
    where more than two thirds are shared, where the paper's (3) has at least two thirds.
    """
    everybody = range(len(rows))
    cosine = [[dot(a, b) for b in rows] for a in rows]
    ranked = [sorted(everybody, key=lambda g, p=p: (g != p, -cosine[p][g])) for p in everybody]
    k1 = min(k1, len(rows) - 1)

    def reciprocal(p: int, k: int) -> set[int]:
        return {g for g in ranked[p][: k + 1] if p in ranked[g][: k + 1]}

    encoded = []
    for p in everybody:
        members = set(reciprocal(p, k1))
        for q in reciprocal(p, k1):
            half = reciprocal(q, round(k1 / 2))
            if 3 * len(reciprocal(p, k1) & half) > 2 * len(half):
                members |= half
        weights = {g: math.exp(-(1 - cosine[p][g])) for g in members if g != p} | {p: 1.0}
        total = sum(weights.values())
        encoded.append([weights.get(g, 0.0) / total for g in everybody])
    # local query expansion: the average over the nearest, itself included
    near = [ranked[p][:k2] for p in everybody]
    averaged = [[sum(encoded[n][g] for n in ns) / len(ns) for g in everybody] for ns in near]
    scores = []
    for p in everybody[1:]:
        least = sum(min(a, b) for a, b in zip(averaged[0], averaged[p], strict=True))
        most = sum(max(a, b) for a, b in zip(averaged[0], averaged[p], strict=True))
        distance = (1 - share) * (1 - least / most) + share * (1 - cosine[0][p]) / 2
        scores.append(1 - distance)
    return scores


class Scene:
    """A library, a query, its shortlist, and the neighbours of the pictures in it."""

    def __init__(self, seed: int, count: int, listed: int) -> None:
        rows = groups(seed, count + 1)
        self.query, self.pictures = rows[0], rows[1:]
        order = np.argsort(-(self.pictures @ self.query), kind="stable")[:listed]
        self.shortlist = self.pictures[order]
        self.others = [np.delete(self.pictures, i, axis=0) for i in order]
        kept = [
            np.argsort(-(o @ s))[:NEIGHBOURS]
            for s, o in zip(self.shortlist, self.others, strict=True)
        ]
        cosines = np.full((listed, NEIGHBOURS), -1, np.float32)
        vectors = np.full((listed, NEIGHBOURS, DIMENSION), 7, np.float32)  # anything
        for row, (own, others, near) in enumerate(
            zip(self.shortlist, self.others, kept, strict=True)
        ):
            cosines[row, : len(near)] = others[near] @ own
            vectors[row, : len(near)] = others[near]
        self.around = Neighbourhood(cosines, vectors)

    def expected(self, expand: bool, rerank: bool) -> list[float]:
        query, shortlist = self.query.astype(np.float64), list(self.shortlist.astype(np.float64))
        rows = [query, *shortlist]
        if expand:
            rows = expanded(query, shortlist, [list(o.astype(np.float64)) for o in self.others])
        if rerank:
            return reciprocal_scores(rows)
        return [dot(rows[0], row) for row in rows[1:]]

    def scores(self, expand: bool, rerank: bool) -> Vectors:
        around = self.around if expand else None
        return second_scores(self.query, self.shortlist, around, rerank=rerank)


@pytest.mark.parametrize(("expand", "rerank"), [(False, False), *BOTH])
@pytest.mark.parametrize(
    ("count", "listed"), [(150, 60), (60, 60), (40, 11), (40, 10), (12, 7), (9, 3), (5, 2), (1, 1)]
)
def test_second_scores_are_the_papers(count: int, listed: int, expand: bool, rerank: bool) -> None:
    for seed in range(3):
        scene = Scene(seed, count, listed)
        scores = scene.scores(expand, rerank)
        assert (scores.dtype, scores.shape) == (np.float32, (listed,))
        assert scores.tolist() == pytest.approx(scene.expected(expand, rerank), abs=2e-5)


def test_one_picture_alone_is_computed_by_hand() -> None:
    query, picture = np.eye(2, dtype=np.float32)[0], np.array([[0.5, 0.75**0.5]], np.float32)
    nobody = Neighbourhood(
        np.full((1, NEIGHBOURS), -1, np.float32), np.ones((1, NEIGHBOURS, 2), np.float32)
    )
    assert second_scores(query, picture, None, rerank=False) == pytest.approx([0.5])
    # each is the other's only neighbour, with a weight of 1/8: (q + p/8) · (p + q/8) / |q + p/8|²
    expected = (0.5 + 0.25 + 0.5 / 64) / (1 + 2 * 0.5 / 8 + 1 / 64)
    assert second_scores(query, picture, nobody, rerank=False) == pytest.approx([expected])
    # all neighbours are shared: half of 1, and half of (1 + cosine) / 2
    assert second_scores(query, picture, None, rerank=True) == pytest.approx([0.5 + 0.25 * 1.5])
    both = second_scores(query, picture, nobody, rerank=True)
    assert both == pytest.approx([0.5 + 0.25 * (1 + expected)])


def test_as_many_neighbours_are_used_as_the_file_answers_for() -> None:
    assert NEIGHBOURS == USED


def test_what_points_away_moves_nothing() -> None:
    query, away = np.eye(3, dtype=np.float32)[0], -np.eye(3, dtype=np.float32)
    around = Neighbourhood(
        np.full((3, NEIGHBOURS), -0.5, np.float32), np.ones((3, NEIGHBOURS, 3), np.float32)
    )
    scores = second_scores(query, away[[1, 2, 0]], around, rerank=False)
    assert scores == pytest.approx([0, 0, -1], abs=1e-6)


def test_the_query_takes_the_last_neighbours_place_where_it_is_nearer() -> None:
    axes = np.eye(8, dtype=np.float32)
    picture = axes[:1]
    near = 0.8 * axes[0] + 0.6 * axes[1:6]  # five neighbours of cosine 0.8
    for cosine, comes_in in [(0.7, False), (0.9, True)]:
        query = cosine * axes[0] + (1 - cosine**2) ** 0.5 * axes[7]
        around = Neighbourhood(np.full((1, 5), 0.8, np.float32), near[None])
        whole = axes[0] + 0.8**3 * near[: 4 if comes_in else 5].sum(axis=0)
        whole += cosine**3 * query if comes_in else 0
        own = query + cosine**3 * axes[0]
        expected = whole @ own / np.linalg.norm(whole) / np.linalg.norm(own)
        assert second_scores(query, picture, around, rerank=False) == pytest.approx([expected])


@settings(max_examples=40)
@given(seed=st.integers(0, 2**20), listed=st.integers(1, 60), both=st.sampled_from(BOTH))
def test_the_order_of_a_shortlist_does_not_matter(
    seed: int, listed: int, both: tuple[bool, bool]
) -> None:
    scene = Scene(seed, 70, listed)
    scores = scene.scores(*both)
    order = np.random.default_rng(seed).permutation(listed)
    scene.shortlist = scene.shortlist[order]
    scene.around = Neighbourhood(scene.around.cosines[order], scene.around.vectors[order])
    assert scene.scores(*both) == pytest.approx(scores[order], abs=1e-5)
    assert (np.abs(scores) <= 1 + 1e-6).all()


@pytest.mark.parametrize("twins", [2, 12, 40])
def test_pictures_equal_to_the_query_stay_before_all_others(twins: int) -> None:
    scene = Scene(3, 80, 60)
    shortlist = np.concatenate([np.repeat(scene.query[None], twins, axis=0), scene.shortlist])
    scores = second_scores(scene.query, shortlist, None, rerank=True)
    assert np.isfinite(scores).all()
    assert scores[:twins].min() > scores[twins:].max()


# -- through a library -----------------------------------------------------------------------------


@pytest.fixture
def library_of_groups(library: Library) -> Library:
    """400 pictures with a space and a file of neighbours."""
    add(library, groups(1, 400))
    with library.writer() as writing:
        writing.catalogue.rerank_by_default(True)
        bring_up_to_date(writing)
    return library


def ask(
    library: Library, vector: Vectors, leave_out: int | None = None, **terms: Any
) -> tuple[Hit, ...]:
    with Engine(library) as engine:
        given = {"expand": True, "rerank": True, **terms}
        out = frozenset() if leave_out is None else frozenset([leave_out])
        (hits,) = engine.answer([Request((vector[None],), Terms(**given), out)])
    return hits


def same(hits: tuple[Hit, ...], others: tuple[Hit, ...], within: float) -> None:
    """Assert that hits are those, but for pictures that score as good as equal."""
    assert len(hits) == len(others)
    known = {hit.id: hit.second for hit in others}
    for hit, other in zip(hits, others, strict=True):
        assert hit.second == pytest.approx(other.second, abs=within)
        assert hit.id == other.id or known.get(hit.id, hit.second) == pytest.approx(
            hit.second, abs=within
        )


@pytest.mark.parametrize(("expand", "rerank"), BOTH)
def test_an_answer_is_the_papers_over_the_whole_library(
    expand: bool, rerank: bool, library_of_groups: Library
) -> None:
    library = library_of_groups
    gallery = library.gallery()
    ids, vectors = gallery.of(library.catalogue.descriptors.ids().tolist())
    for vector in groups(2, 3):
        query = gallery.project(vector[None])[0].astype(np.float64)
        order = np.argsort(-(vectors @ query), kind="stable")[:SHORTLIST]
        shortlist = list(vectors[order].astype(np.float64))
        rows = [query, *shortlist]
        if expand:
            others = []
            for i in order:  # the nearest will do for the reference
                near = np.argsort(-(vectors @ vectors[i]), kind="stable")
                others.append(list(vectors[near[near != i][:8]].astype(np.float64)))
            rows = expanded(query, shortlist, others)
        scores = reciprocal_scores(rows) if rerank else [dot(rows[0], row) for row in rows[1:]]
        expected = dict(zip(ids[order].tolist(), scores, strict=True))
        hits = ask(library, vector, k=SHORTLIST, expand=expand, rerank=rerank)
        assert {hit.id for hit in hits} == set(expected)
        seconds = [hit.second for hit in hits]
        assert seconds == pytest.approx([expected[hit.id] for hit in hits], abs=1e-4)
        assert seconds == sorted(seconds, reverse=True)  # type: ignore[type-var]
        cosines = dict(zip(ids.tolist(), (vectors @ query).tolist(), strict=True))
        assert [hit.score for hit in hits] == pytest.approx(
            [cosines[hit.id] for hit in hits], abs=1e-6
        )


@pytest.mark.parametrize(("expand", "rerank"), BOTH)
def test_a_file_finds_the_same_whether_it_is_indexed_or_not(
    expand: bool, rerank: bool, library_of_groups: Library
) -> None:
    library = library_of_groups
    for vector in groups(5, 6):
        add(library, vector[None])
        own = library.catalogue.largest_id()
        with library.writer() as writing:
            bring_up_to_date(writing)
        _, stored = library.catalogue.descriptors.of([own])
        indexed = ask(library, stored[0], own, expand=expand, rerank=rerank)
        with library.writer() as writing:
            writing.catalogue.write([Remove([own])])
            bring_up_to_date(writing)
        unindexed = ask(library, vector, expand=expand, rerank=rerank)
        same(indexed, unindexed, 1e-3)


@pytest.mark.parametrize("leave_out", [None, 17])
def test_answers_do_not_depend_on_the_file_of_neighbours(
    leave_out: int | None, library_of_groups: Library
) -> None:
    library = library_of_groups
    queries = [*groups(2, 4), library.catalogue.descriptors.of([17])[1][0]]
    with_file = [ask(library, query, leave_out, k=50) for query in queries]
    for path in (library.folder / "neighbours").iterdir():
        path.unlink()
    without = [ask(library, query, leave_out, k=50) for query in queries]
    for one, other in zip(with_file, without, strict=True):
        same(one, other, 1e-5)


@pytest.mark.parametrize(("expand", "rerank"), BOTH)
def test_pages_are_parts_of_one_order_also_beyond_the_shortlist(
    expand: bool, rerank: bool, library_of_groups: Library
) -> None:
    (query,) = groups(2, 1)
    named = {"expand": expand, "rerank": rerank}
    whole = ask(library_of_groups, query, k=150, **named)
    assert [hit.rank for hit in whole] == list(range(1, 151))
    pages = [
        hit
        for offset in range(0, 150, 30)
        for hit in ask(library_of_groups, query, k=30, offset=offset, **named)
    ]
    assert [(hit.rank, hit.id) for hit in pages] == [(hit.rank, hit.id) for hit in whole]
    assert all(hit.second is not None for hit in whole[:SHORTLIST])
    plain = ask(library_of_groups, query, k=150, expand=False, rerank=False)
    assert {hit.id for hit in plain[:SHORTLIST]} == {hit.id for hit in whole[:SHORTLIST]}
    assert [hit.id for hit in plain[SHORTLIST:]] == [hit.id for hit in whole[SHORTLIST:]]
    assert all(hit.second is None for hit in [*whole[SHORTLIST:], *plain])


def test_the_least_score_is_a_cosine_still(library_of_groups: Library) -> None:
    (query,) = groups(2, 1)
    whole = ask(library_of_groups, query, k=60)
    limit = sorted(hit.score for hit in whole)[30]
    kept = ask(library_of_groups, query, k=60, min_score=limit)
    assert [hit.id for hit in kept] == [hit.id for hit in whole if hit.score >= limit]


def test_what_a_filter_leaves_out_is_no_answer(library_of_groups: Library) -> None:
    wanted = Filter(path="/v/0*")
    passing = set(library_of_groups.catalogue.find_matches(wanted).tolist())
    assert 5 < len(passing) < 100
    (query,) = groups(2, 1)
    hits = ask(library_of_groups, query, k=200, wanted=wanted)
    assert {hit.id for hit in hits} == passing
    assert [hit.second for hit in hits] == sorted((hit.second for hit in hits), reverse=True)  # type: ignore[type-var]


@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_a_library_of_a_few_answers(count: int, library: Library) -> None:
    add(library, groups(1, count))
    for left_out in (None, 1):
        hits = ask(library, groups(2, 1)[0], left_out)
        assert len(hits) == count - (left_out is not None)
        assert all(-1 <= hit.score <= 1 for hit in hits)


@pytest.mark.parametrize("change", ["space", "removal"])
def test_a_change_between_two_looks_mixes_nothing(
    change: str, library_of_groups: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = library_of_groups
    (query,) = groups(2, 1)
    before = ask(library, query, k=20)
    real = ranking._rank
    with Engine(library) as engine:

        def changing(*given: Any) -> Any:
            monkeypatch.setattr(ranking, "_rank", real)
            with library.writer() as writing:
                if change == "space":
                    writing.catalogue.ask_dimension("9")
                else:
                    writing.catalogue.write([Remove([hit.id for hit in before[::2]])])
                bring_up_to_date(writing)
            engine.answer(
                [Request((query[None],), Terms(5))]
            )  # another question comes to see it first
            return real(*given)

        monkeypatch.setattr(ranking, "_rank", changing)
        (hits,) = engine.answer([Request((query[None],), Terms(20, expand=True, rerank=True))])
    if change == "space":
        same(hits, before, 1e-5)
    else:
        assert {hit.id for hit in hits} >= {hit.id for hit in before[1::2]} - {before[-1].id}
