"""Filters: a plain look at every picture is the oracle; k hits come back when k exist."""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal
from unicodedata import normalize

import numpy as np
import pytest

from parecido import Library
from parecido.indexer.catalogue.changes import Add
from parecido.indexer.catalogue.sqlite.reading.descriptors import pack
from parecido.indexer.errors import InvalidRequest
from parecido.indexer.records.details import Details
from parecido.indexer.records.filters import Filter
from parecido.indexer.records.pictures import Described, FileEntry, Label, Picture, Taken
from parecido.search.engine import Engine
from tests.ranking.test_search import Vectors, oracle
from tests.support.fakes import DIMENSION, fake_spec

COUNT = 400
NAMES = ("tabby", "Egyptian cat", 'a "quoted" name', "crème brûlée", "tiger")


def add(i: int, vector: Vectors) -> Add:
    folder = ("/p/holiday", "/p/holiday2", "/p/wörk", "/q")[i % 4]
    date = f"20{10 + i % 15:02d}-{1 + i % 12:02d}-{1 + i % 28:02d}T{i % 24:02d}:30:00"
    return Add(
        FileEntry(os.fsencode(f"{folder}/{i % 7}/IMG_{i:04d}.{'jpg' if i % 3 else 'PNG'}"), i, i),
        i.to_bytes(16, "big"),
        Described(
            width=100 + i,
            height=900 - i,
            format="JPEG" if i % 3 else "PNG",
            labels=(
                Label(NAMES[i % 5], 0.5, i % 5),
                Label(NAMES[(i + 1) % 5], 0.04 + 0.02 * (i % 2), 9),
            ),
            vector=pack(vector / np.linalg.norm(vector)),
            taken=Taken(None if i % 10 == 0 else date, "Canon EOS 5D" if i % 2 else ""),
        ),
    )


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Library:
    rows = np.random.default_rng(7).normal(size=(COUNT, DIMENSION)).astype(np.float32)
    library = Library.create(tmp_path_factory.mktemp("filters") / "library")
    with library.writer() as writing:
        writing.catalogue.write([add(i, row) for i, row in enumerate(rows)], encoder=fake_spec())
    return library


def labelled(word: str) -> Callable[[Picture], bool]:
    return lambda p: any(word in n.lower() and c >= 0.05 for n, c, _ in p.labels)


CASES: list[tuple[Filter, Callable[[Picture], bool]]] = [
    (Filter(), lambda p: True),
    (Filter(path="/p/holiday"), lambda p: p.path.startswith("/p/holiday/")),
    (Filter(path="/p/holiday/"), lambda p: p.path.startswith("/p/holiday/")),
    (Filter(path="/p/wörk/3"), lambda p: p.path.startswith("/p/wörk/3/")),
    (Filter(path="/"), lambda p: True),
    (Filter(path="/q/3/IMG_0003.PNG"), lambda p: p.path == "/q/3/IMG_0003.PNG"),
    (
        Filter(path="*/IMG_00?[1-3].jpg"),
        lambda p: fnmatch.fnmatchcase(p.path, "*/IMG_00?[1-3].jpg"),
    ),
    (Filter(path="/p/w*"), lambda p: p.path.startswith("/p/w")),
    (Filter(path="/nowhere"), lambda p: False),
    (Filter(label="CAT"), labelled("cat")),
    (Filter(label="brûlée"), labelled("brûlée")),
    (Filter(label='"quoted"'), labelled('"quoted"')),
    (Filter(label="%"), lambda p: False),
    (Filter(label="0.5"), lambda p: False),
    (Filter(format="png"), lambda p: p.format == "PNG"),
    (Filter(camera="eos"), lambda p: p.camera != ""),
    (Filter(min_width=300, max_width=310), lambda p: 300 <= p.width <= 310),
    (Filter(min_height=700, max_height=702), lambda p: 700 <= p.height <= 702),
    (Filter(taken_from="2015"), lambda p: (p.taken_at or "") >= "2015"),
    (Filter(taken_to="2015"), lambda p: "0" < (p.taken_at or "") < "2016"),
    (
        Filter(taken_from="2012-03", taken_to="2012-03"),
        lambda p: (p.taken_at or "").startswith("2012-03"),
    ),
    (Filter(taken_to="2014-12"), lambda p: "0" < (p.taken_at or "") < "2015"),
    (
        Filter(taken_from="2011-02-02", taken_to="2011-02-02"),
        lambda p: (p.taken_at or "").startswith("2011-02-02"),
    ),
    (
        Filter(taken_to="2011-02-02T01:30:00"),
        lambda p: "0" < (p.taken_at or "") <= "2011-02-02T01:30:00",
    ),
    (Filter(added_since="2020-01-01"), lambda p: True),
    (Filter(added_since="2999-01-01T00:00:00+00:00"), lambda p: False),
    (
        Filter(path="/p", label="tiger", format="JPEG", min_width=200),
        lambda p: (
            p.path.startswith("/p/")
            and labelled("tiger")(p)
            and p.format == "JPEG"
            and p.width >= 200
        ),
    ),
]


def told(wanted: Filter) -> str:
    given = dataclasses.asdict(wanted).items()
    return " ".join(f"{name}={value}" for name, value in given if value is not None) or "all"


@pytest.mark.parametrize(("wanted", "passes"), CASES, ids=[told(wanted) for wanted, _ in CASES])
def test_a_filter_lets_through_what_a_look_at_each_picture_does(
    filled: Library, wanted: Filter, passes: Callable[[Picture], bool]
) -> None:
    everything = filled.catalogue.pictures(filled.catalogue.descriptors.ids().tolist())
    expected = [p.id for p in everything if passes(p)]
    assert filled.catalogue.find_matches(wanted).tolist() == expected
    listed = filled.catalogue.list_pictures(wanted, "path", 1000)
    by_path = sorted(expected, key=lambda i: os.fsencode(everything[i - 1].path))
    assert [p.id for p in listed] == by_path
    some = filled.catalogue.handful(wanted, 5)
    assert {p.id for p in some} <= set(expected)
    assert len({p.id for p in some}) == min(5, len(expected))
    query = np.random.default_rng(3).normal(size=DIMENSION).astype(np.float32)
    query /= np.linalg.norm(query)
    with Engine(filled) as engine:
        hits = engine.search_vector(query, k=9, wanted=wanted)
        assert engine.count(wanted) == len(expected)
    nearest = [i for i, _ in oracle(filled, query) if i in set(expected)]
    assert [hit.id for hit in hits] == nearest[:9]


def test_pages_put_together_are_one_long_answer(filled: Library) -> None:
    query = np.ones(DIMENSION, np.float32)
    with Engine(filled) as engine:
        whole = engine.search_vector(query, k=100)
        pages = [engine.search_vector(query, k=7, offset=start) for start in range(0, 100, 7)]
    assert [hit for page in pages for hit in page][:100] == list(whole)
    assert [hit.rank for hit in pages[3]] == list(range(22, 29))


def test_listings_go_newest_first_and_in_pages(filled: Library) -> None:
    pages = [
        filled.catalogue.list_pictures(Filter(), "added", 90, start) for start in range(0, 450, 90)
    ]
    assert [p.id for page in pages for p in page] == list(range(COUNT, 0, -1))


def test_what_a_filter_lets_through_follows_the_library(library: Library) -> None:
    rows = np.eye(DIMENSION, dtype=np.float32)[:4]
    with library.writer() as writing:
        writing.catalogue.write(
            [add(i, row) for i, row in enumerate(rows[:2])], encoder=fake_spec()
        )
    with Engine(library) as engine:
        wanted = Filter(path="/p")
        assert len(engine.search_vector(rows[0], wanted=wanted)) == 2
        before = time.time()
        with library.writer() as writing:
            writing.catalogue.write([add(2, rows[2])])
        assert len(engine.search_vector(rows[0], wanted=wanted)) == 3
        newest = filter(
            lambda p: p.added_at >= before, library.catalogue.list_pictures(wanted, "added", 9)
        )
        assert [p.id for p in newest] == [3]


def test_a_date_known_in_part_passes_where_all_of_it_lies_within_the_bounds(
    library: Library,
) -> None:
    dates = ["2019", "2019-07", "2019-07-21", "2019-07-21T10:11:12", None]
    rows = np.eye(DIMENSION, dtype=np.float32)
    added = [add(i + 1, rows[i]) for i in range(len(dates))]
    added = [
        dataclasses.replace(
            one, described=dataclasses.replace(one.described, taken=Taken(date, ""))
        )
        for one, date in zip(added, dates, strict=True)
    ]
    with library.writer() as writing:
        writing.catalogue.write(added, encoder=fake_spec())

    def find(first: str | None, last: str | None) -> list[str | None]:
        found = library.catalogue.find_matches(Filter(taken_from=first, taken_to=last))
        return [dates[i - 1] for i in found.tolist()]

    assert find("2019", "2019") == dates[:4]
    assert find("2019-07", "2019-07") == dates[1:4]
    assert find("2019-07-01", "2019-07-31") == dates[1:4]
    assert find("2019-07-21", "2019-07-21") == dates[2:4]
    assert find("2019-07-21T10:11:12", "2019-07-21T10:11:12") == dates[3:4]
    assert find(None, "2019-11") == dates[1:4]
    assert find("2019-02", None) == dates[1:4]
    assert find("2020", None) == find(None, "2018") == []


def distance(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Kilometres over the sphere, by vectors."""
    ends = []
    for latitude, longitude in (one, other):
        up, across = np.radians(latitude), np.radians(longitude)
        ends.append([np.cos(up) * np.cos(across), np.cos(up) * np.sin(across), np.sin(up)])
    a, b = np.array(ends)
    return float(6371.0088 * np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b))


def put_told(library: Library, told: list[Details]) -> None:
    """Pictures of which that is told, their ids from 1."""
    row = np.eye(DIMENSION, dtype=np.float32)[0]
    added = [add(i + 1, row) for i in range(len(told))]
    with library.writer() as writing:
        writing.catalogue.write(
            [
                dataclasses.replace(
                    one, described=dataclasses.replace(one.described, details=details)
                )
                for one, details in zip(added, told, strict=True)
            ],
            encoder=fake_spec(),
        )


def test_near_is_a_distance_over_the_sphere_wherever_on_it(library: Library) -> None:
    chance = np.random.default_rng(5)
    around = (48.858, 2.294)
    places = [
        *zip(
            np.degrees(np.arcsin(chance.uniform(-1, 1, 300))),
            chance.uniform(-180, 180, 300),
            strict=True,
        ),
        *((around[0] + up, around[1] + across) for up, across in chance.normal(0, 0.1, (200, 2))),
        *((chance.uniform(-18, -16), side * chance.uniform(179, 180)) for side in (-1, 1) * 30),
        *((90.0, 0.0), (-90.0, 120.0), (89.9, -170.0)),
    ]
    places = [(float(latitude), float(longitude)) for latitude, longitude in places]
    told = [Details(latitude=latitude, longitude=longitude) for latitude, longitude in places]
    put_told(library, [*told, Details(), Details(rating=3)])
    centres = [around, (-17.0, 179.95), (90.0, 0.0), (-89.0, 30.0), (0.0, 0.0), (35.0, -180.0)]
    for centre in centres:
        for kilometres in (0.5, 5, 20, 300, 5000, 19_000, 30_000):
            found = library.catalogue.find_matches(Filter(near=(*centre, kilometres))).tolist()
            expected = [
                i for i, place in enumerate(places, 1) if distance(centre, place) <= kilometres
            ]
            assert found == expected


def test_keywords_are_whole_words_in_any_case_and_ratings_at_least(library: Library) -> None:
    told = [
        Details(keywords=("Meer", "Ägypten"), rating=5),
        Details(keywords=("meerkat", 'a "quoted" word'), rating=-1),
        Details(keywords=("MEER",), rating=3),
        Details(rating=0),
        Details(),
    ]
    put_told(library, told)

    def find(**wanted: object) -> list[int]:
        ids: list[int] = library.catalogue.find_matches(Filter(**wanted)).tolist()  # type: ignore[arg-type]
        return ids

    assert find(keyword="meer") == [1, 3]
    assert find(keyword="ägypten") == find(keyword="ÄGYPTEN") == [1]
    assert find(keyword='A "quoted" WORD') == [2]
    assert find(keyword="%") == find(keyword="mee") == []
    assert find(min_rating=3) == [1, 3]
    assert find(min_rating=0) == [1, 3, 4]
    assert find(min_rating=-1) == [1, 2, 3, 4]
    assert find(min_rating=3, keyword="meer", format="PNG") == [3]


@pytest.mark.parametrize("field", ["taken_from", "taken_to", "added_since"])
@pytest.mark.parametrize("text", ["soon", "2024-13", "2024-02-30", "24", "", "2024-05-01 25:00"])
def test_what_is_no_date_is_told(field: str, text: str) -> None:
    with pytest.raises(InvalidRequest, match="is no date"):
        dataclasses.replace(Filter(), **{field: text})


def test_a_pattern_with_many_stars_is_refused_before_it_takes_for_ever() -> None:
    with pytest.raises(InvalidRequest, match="8 stars"):
        Filter(path="*a" * 20)


NAMED = ("Málaga", "Año", "été.jpg")


@pytest.mark.parametrize("asked", ["NFC", "NFD"])
@pytest.mark.parametrize(
    "pattern", ["/p/Málaga/Año/été.jpg", "/p/Málaga", "/p/M*/Año/*", "*été.jpg"]
)
def test_either_spelling_of_a_name_finds_the_other(
    tmp_path: Path, asked: Literal["NFC", "NFD"], pattern: str
) -> None:
    # names of one path may come from several systems
    forms: list[tuple[Literal["NFC", "NFD"], ...]] = [
        ("NFC",) * 3,
        ("NFD",) * 3,
        ("NFC", "NFD") * 2,
    ]
    changes = []
    for i, several in enumerate(forms):
        names = [normalize(form, name) for form, name in zip(several, NAMED, strict=False)]
        one = add(i, np.ones(DIMENSION, np.float32))
        entry = FileEntry(os.fsencode("/".join(["/p", *names])), i, i)
        changes.append(dataclasses.replace(one, entry=entry))
    with Library.create(tmp_path / "library") as library:
        with library.writer() as writing:
            writing.catalogue.write(changes, encoder=fake_spec())
        wanted = Filter(path=normalize(asked, pattern))
        assert len(library.catalogue.find_matches(wanted)) == 3
        many = Filter(path=normalize(asked, "/p/" + "é/" * 40))
        assert len(library.catalogue.find_matches(many)) == 0
