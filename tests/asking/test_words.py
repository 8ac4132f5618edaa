"""Asking by label, and filters that few pictures pass: a plain scan of them all is the oracle."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from parecido.indexer.catalogue.changes import Add
from parecido.indexer.catalogue.sqlite.reading.descriptors import pack
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.encoders.imagenet.words import classes_of
from parecido.indexer.errors import InvalidRequest
from parecido.indexer.indexing.pipeline import index
from parecido.indexer.library.library import Library
from parecido.indexer.records.filters import Filter
from parecido.indexer.records.pictures import Described, FileEntry, Label, Picture, Taken
from parecido.search.asking.words import label_filter, require_labels, search_labels
from parecido.search.engine import Engine
from tests.ranking.test_search import Vectors, oracle
from tests.support.fakes import fake_spec, save_pictures
from tests.support.serving import picture_bytes, refused, serving

DIMENSION = 48
COUNT = 6000
EACH = 1000  # one picture in so many has what is rare
DOGS = sorted(classes_of("dog"))
OTHERS = [n for n in range(1000) if n not in classes_of("dog")]


def labels(n: int) -> tuple[Label, ...]:
    """Five labels of picture n; dogs where n % 1000 is 6, and too unlikely ones near there."""
    random = np.random.default_rng(n)
    classes = random.choice(OTHERS, 5, replace=False).tolist()
    chances = [0.5, 0.2, 0.03, 0.025, 0.02]
    if n % EACH == 6:  # only together are they likely enough
        classes[2:4] = [DOGS[n % 7], DOGS[-1]]
    elif n % EACH in (7, 8, 9):
        classes[3:] = [DOGS[n % 7], DOGS[-1]]  # 0.045 together
    elif n % 10 == 0:
        classes[4] = DOGS[3]
    return tuple(Label(str(c), p, c) for c, p in zip(classes, chances, strict=True))


def fake(n: int, vector: Vectors) -> Add:
    """Picture n: something about it is rare where n % 1000 is 1 to 6."""
    rare = n % EACH
    taken = f"{2019 if rare == 4 else 2010 + n % 9}-06-{1 + n % 28:02d}T12:00:00"
    folder = "rare" if rare == 1 else f"common {n % 7}"
    return Add(
        FileEntry(os.fsencode(f"/p/{folder}/{n:05d}"), n, n),
        n.to_bytes(16, "big"),
        Described(
            width=5000 if rare == 5 else 100 + n % 900,
            height=400,
            format="QOI" if rare == 2 else "JPEG",
            labels=labels(n),
            vector=pack(vector),
            taken=Taken(taken if rare % 3 else None, "Leica M6" if rare == 3 else "Canon"),
        ),
    )


def scenes(seed: int, count: int) -> Vectors:
    """Unit rows in groups about 300 centres, as pictures of scenes are."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(300, DIMENSION))
    rows = centres[random.integers(0, 300, count)] + 0.7 * random.normal(size=(count, DIMENSION))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Vectors = rows.astype(np.float32)
    return unit


@pytest.fixture(scope="module", params=["exhaustive", "compressed"])
def many(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Library]:
    """6000 pictures, with either kind of index."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "compressed":
            patch.setattr("parecido.indexer.vectors.local.index._FLAT_BYTES", 100 * DIMENSION * 4)
        with Library.create(tmp_path_factory.mktemp("many") / "library") as library:
            with library.writer() as writing:
                rows = scenes(1, COUNT)
                changes = [fake(n, row) for n, row in enumerate(rows)]
                writing.catalogue.write(changes, encoder=fake_spec(dimension=DIMENSION))
                writing.vectors().save()
            assert library.vectors().is_exhaustive == (request.param == "exhaustive")
            yield library


def everything(library: Library) -> list[Picture]:
    return library.catalogue.pictures(library.catalogue.descriptors.ids().tolist())


def chance(picture: Picture, word: str) -> float:
    """How likely a picture shows the thing, by its own labels."""
    total = 0.0
    for _, probability, class_index in picture.labels:
        total += probability if class_index in classes_of(word) else 0
    return total


Scan = Callable[[Picture], bool]
RARE: list[tuple[Filter, Scan]] = [
    (Filter(path="/p/rare"), lambda p: p.path.startswith("/p/rare/")),
    (Filter(path="*/0?006"), lambda p: p.path[-5] == "0" and p.path[-3:] == "006"),
    (Filter(format="qoi"), lambda p: p.format == "QOI"),
    (Filter(camera="leica"), lambda p: "Leica" in p.camera),
    (Filter(taken_from="2019", taken_to="2019-06"), lambda p: (p.taken_at or "")[:4] == "2019"),
    (Filter(min_width=4999, max_width=5001), lambda p: p.width == 5000),
    (label_filter(Filter(), "dogs"), lambda p: chance(p, "dog") >= 0.05),
    (
        label_filter(Filter(path="/p/common 1", max_width=500), "animal"),
        lambda p: (
            p.path.startswith("/p/common 1/") and p.width <= 500 and chance(p, "animal") >= 0.05
        ),
    ),
]


@pytest.mark.parametrize(("wanted", "passes"), RARE)
def test_a_filter_that_one_in_a_thousand_passes_gives_k_hits_where_k_exist(
    many: Library, wanted: Filter, passes: Scan
) -> None:
    expected = {p.id for p in everything(many) if passes(p)}
    if "common" not in (wanted.path or ""):
        assert len(expected) == COUNT // EACH
    with Engine(many) as engine:
        assert engine.count(wanted) == len(expected)
        for query in scenes(2, 5):
            nearest = [pair for pair in oracle(many, query) if pair[0] in expected]
            for k in (1, 5, 20):
                hits = engine.search_vector(query, k=k, wanted=wanted)
                assert [hit.id for hit in hits] == [i for i, _ in nearest[:k]]
                assert len(hits) == min(k, len(expected))
                scores = [score for _, score in nearest[:k]]
                assert [hit.score for hit in hits] == pytest.approx(scores, abs=1e-6)


# -- by label alone --------------------------------------------------------------------------------


@pytest.fixture
def few(library: Library) -> Library:
    """Pictures whose likelihoods are told by hand: ids 1 to 7."""
    shown = (
        [("tabby", 0.6, 281), ("tiger cat", 0.3, 282), ("Egyptian cat", 0.05, 285)],
        [("tiger", 0.9, 292), ("tiger cat", 0.04, 282), ("jaguar", 0.02, 290)],
        [("goldfish", 0.97, 1)],
        [("lynx", 0.5, 287), ("Egyptian cat", 0.25, 285), ("tabby", 0.2, 281)],
        [("bow", 0.5, 456), ("tabby", 0.03, 281), ("Siamese cat", 0.03, 284)],
        [("bow", 0.5, 456), ("tabby", 0.03, 281), ("Siamese cat", 0.01, 284)],
        [("lynx", 0.75, 287), ("tabby", 0.25, 281), ("Egyptian cat", 0.000002, 285)],
    )
    rows = np.eye(12, dtype=np.float32)
    changes = [
        Add(
            FileEntry(f"/p/{n}".encode(), 1, 1),
            n.to_bytes(16, "big"),
            Described(
                width=100 * n,
                height=10,
                format="PNG",
                labels=tuple(Label(*one) for one in found),
                vector=pack(rows[n]),
            ),
        )
        for n, found in enumerate(shown, 1)
    ]
    with library.writer() as writing:
        writing.catalogue.write(changes, encoder=fake_spec())
    return library


def asked(library: Library, word: str, wanted: Filter | None = None, **more: int) -> list[int]:
    return [
        hit.id for hit in search_labels(library, label_filter(wanted or Filter(), word), **more)
    ]


def test_pictures_come_by_the_summed_probability_of_the_words_classes(few: Library) -> None:
    hits = search_labels(few, label_filter(Filter(), "cat"))
    assert [(hit.rank, hit.id) for hit in hits] == [(1, 7), (2, 1), (3, 4), (4, 5)]
    assert [hit.score for hit in hits] == pytest.approx([1, 0.95, 0.95, 0.06])
    assert max(hit.score for hit in hits) <= 1
    assert hits[1].labels[0] == Label("tabby", 0.6, 281)
    assert asked(few, "Siamese cat") == []  # 3 % is no likely cat
    assert asked(few, "tabby") == [1, 7, 4]
    assert asked(few, "tiger") == asked(few, "big cats") == [2]
    assert asked(few, "carnivore") == [7, 2, 1, 4, 5]
    assert asked(few, "animals")[1:3] == [3, 2]
    assert asked(few, "musical instrument") == []


def test_filters_and_pages_hold_for_labels_too(few: Library) -> None:
    assert asked(few, "cat", k=2) == [7, 1]
    assert asked(few, "cat", k=2, offset=2) == [4, 5]
    assert asked(few, "cat", k=2, offset=4) == []
    assert asked(few, "cat", Filter(max_width=400)) == [1, 4]
    assert asked(few, "cat", Filter(max_width=400, path="/p/4"), k=9) == [4]
    second = search_labels(few, label_filter(Filter(), "cat"), k=1, offset=1)
    assert [(hit.rank, hit.id) for hit in second] == [(2, 1)]


@pytest.mark.parametrize("word", ["dog", "bird", "tench", "animal", "artifact", "chair", "sharks"])
def test_the_ranking_is_a_plain_scans(many: Library, word: str) -> None:
    classes = classes_of(word)
    found = [(p.id, sum(q for _, q, c in p.labels if c in classes)) for p in everything(many)]
    likely = sorted(((i, q) for i, q in found if q >= 0.05), key=lambda pair: (-pair[1], pair[0]))
    wanted = label_filter(Filter(), word)
    hits = search_labels(many, wanted, k=200)
    assert [hit.id for hit in hits] == [i for i, _ in likely[:200]]
    assert [hit.score for hit in hits] == pytest.approx([q for _, q in likely[:200]])
    assert many.catalogue.find_matches(wanted).tolist() == sorted(i for i, _ in likely)


def test_indices_come_in_any_order_and_kind_and_are_kept_in_one() -> None:
    one, other = Filter(classes=(3, 1, 2, 1)), Filter(classes=tuple(np.array([2, 3, 1])))
    assert one == other
    assert hash(one) == hash(other)
    assert one.classes == (1, 2, 3)
    assert not Filter(classes=()).passes_all
    for wrong in (("tiger",), (1.5,), (None,)):
        with pytest.raises(InvalidRequest, match="indices of classes"):
            Filter(classes=wrong)  # type: ignore[arg-type]


def test_a_filter_of_no_class_lets_nothing_through(few: Library) -> None:
    assert few.catalogue.find_matches(Filter(classes=())).tolist() == []
    assert search_labels(few, Filter(classes=())) == ()


def test_what_cannot_be_asked_is_told(few: Library) -> None:
    with pytest.raises(InvalidRequest, match="'tigr'"):
        label_filter(Filter(), "tigr")
    with pytest.raises(InvalidRequest, match="nothing to rank by"):
        search_labels(few, Filter(path="/p"))
    cats = label_filter(Filter(), "cat")
    for k, offset in ((0, 0), (-1, 0), (5, -1)):
        with pytest.raises(InvalidRequest, match="or more"):
            search_labels(few, cats, k=k, offset=offset)


def test_an_empty_library_has_no_hits_and_is_not_blamed(library: Library) -> None:
    require_labels(library)
    assert asked(library, "cat") == []


def test_a_library_without_labels_says_so(indexed: Library) -> None:
    with pytest.raises(InvalidRequest, match="no ImageNet classifier") as caught:
        search_labels(indexed, label_filter(Filter(), "cat"))
    assert indexed.encoder is not None
    assert indexed.encoder.title in caught.value.message


@pytest.mark.usefixtures("fakes")
def test_a_server_says_so_too(tmp_path: Path, encoder: Encoder) -> None:
    save_pictures(tmp_path / "pictures", 3)
    with Library.create(tmp_path / "library") as library:
        with serving(library.folder) as client:  # nothing in it yet
            assert client.read("/v1/pictures", label="cat")["pictures"] == []
        index(library, [tmp_path / "pictures"], encoder=encoder)
    with serving(tmp_path / "library") as client:
        for response in (
            client.get("/v1/pictures", label="cat"),
            client.get("/v1/pictures/1/similar", label="cat"),
            client.send("/v1/search", picture_bytes(1), label="cat"),
        ):
            assert "no ImageNet classifier" in refused(response, 400, "invalid_request")["message"]


# -- bounds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bounds",
    [
        {"min_width": 10, "max_width": 9},
        {"min_height": 2, "max_height": 1},
        {"taken_from": "2024", "taken_to": "2023"},
        {"taken_from": "2024-02-01", "taken_to": "2024-01"},
    ],
)
def test_bounds_that_exclude_each_other_are_refused(bounds: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest, match="lower bound is above the upper"):
        Filter(**bounds)  # type: ignore[arg-type]


def test_bounds_that_meet_are_taken() -> None:
    Filter(min_width=10, max_width=10, taken_from="2024-05-03", taken_to="2024-05")
    Filter(taken_from="2024", taken_to="2024-01")
