"""How many hits, which page, which pictures: plain scans of the catalogue are the oracle."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import pytest

from parecido.indexer.library.library import Library
from parecido.indexer.records.pictures import Picture
from tests.support.fakes import DIMENSION
from tests.support.serving import COUNT, Client, all_pictures, ids_of, picture_bytes, refused


@pytest.mark.parametrize(
    "params",
    [
        *({"k": 0}, {"k": 1001}, {"k": "many"}, {"k": -1}, {"k": "1.5"}, {"offset": -1}),
        *({"offset": 100_001}, {"min_score": 1.01}, {"min_score": "nan"}, {"min_score": "-inf"}),
        *({"exact": "perhaps"}, {"knn": 3}, {"min_width": 0}, {"max_height": "wide"}),
        *({"taken_from": "yesterday"}, {"taken_to": "2024-13"}, {"added_since": "2024-02-30"}),
        *({"taken_from": "9999-99-99"}, {"added_since": "0001-01-01"}),
        *({"path": ""}, {"label": ""}, {"format": "x" * 201}, {"path": "*" * 9}),
        *({"label": "tigr"}, {"label": "-"}, {"min_width": 9, "max_width": 8}),
        {"taken_from": "2024", "taken_to": "2023-12"},
        *({"near": "Paris"}, {"near": "91,2,5"}, {"keyword": ""}, {"min_rating": 6}),
    ],
)
def test_terms_outside_their_range_are_refused(client: Client, params: dict[str, Any]) -> None:
    refused(client.get("/v1/pictures/1/similar", **params), 400, "invalid_request")
    refused(client.send("/v1/search", picture_bytes(1), **params), 400, "invalid_request")
    vector = {"vector": [1] * DIMENSION}
    for path, body in (("vector", vector), ("batch", {"queries": [vector]})):
        response = client.ask("POST", f"/v1/search/{path}", params=params, json=body)
        error = refused(response, 400, "invalid_request")
        assert "<" not in error["message"] + error["remedy"]  # no object's name for people


def test_every_number_of_hits_up_to_1000_can_be_asked_for(client: Client) -> None:
    assert len(client.read("/v1/pictures/1/similar", k=1)["hits"]) == 1
    assert len(client.read("/v1/pictures/1/similar", k=1000)["hits"]) == COUNT - 1
    assert client.read("/v1/pictures/1/similar", k=1000, offset=100_000)["hits"] == []


@pytest.mark.parametrize("step", [1, 5, COUNT])
def test_pages_put_together_are_one_long_answer(client: Client, step: int) -> None:
    data = picture_bytes(200)
    whole = client.send("/v1/search", data, k=1000).json()["hits"]
    pages: list[Any] = []
    more = True
    while more:
        page = client.send("/v1/search", data, k=step, offset=len(pages)).json()
        assert page["offset"] == len(pages)
        pages += page["hits"]
        more = page["more"]
    assert pages == whole
    assert [hit["rank"] for hit in pages] == list(range(1, COUNT + 1))


def test_hits_below_the_least_score_are_left_out(client: Client) -> None:
    whole = client.read("/v1/pictures/1/similar", k=1000)["hits"]
    for bound in (-1, 0.5, 0.85, whole[4]["score"] - 1e-6, 1):
        found = client.read("/v1/pictures/1/similar", k=1000, min_score=bound)["hits"]
        assert found == [hit for hit in whole if hit["score"] >= bound]


def shows(picture: Picture, *classes: int) -> bool:
    return any(label.class_index in classes for label in picture.labels[:2])


Scan = Callable[[Picture], bool]
FILTERS: list[tuple[dict[str, Any], Scan]] = [
    ({"path": "{}/group 0"}, lambda p: "/group 0/" in p.path),
    ({"path": "{}/group 0/"}, lambda p: "/group 0/" in p.path),
    ({"path": "{}/group"}, lambda p: False),
    ({"path": "/"}, lambda p: True),
    ({"path": "/elsewhere"}, lambda p: False),
    ({"path": "*/1?.png"}, lambda p: fnmatchcase(p.path, "*/1?.png")),
    ({"path": "*/[[]2]/*"}, lambda p: fnmatchcase(p.path, "*/[[]2]/*")),
    ({"label": "Shark"}, lambda p: shows(p, 2, 3, 4)),  # the hammerhead, too
    ({"label": "birds"}, lambda p: shows(p, *range(7, 25))),
    ({"label": "Carassius_auratus"}, lambda p: shows(p, 1)),
    ({"label": "tiger"}, lambda p: False),  # no part of tiger shark
    ({"format": "jpeg"}, lambda p: p.format == "JPEG"),
    ({"format": "JPE"}, lambda p: False),
    ({"camera": "canon"}, lambda p: "Canon" in p.camera),
    ({"camera": "%"}, lambda p: False),
    ({"min_width": 50}, lambda p: p.width >= 50),
    ({"max_width": 40, "min_height": 55}, lambda p: p.width <= 40 and p.height >= 55),
    ({"max_height": 44}, lambda p: p.height <= 44),
    ({"taken_from": "2020"}, lambda p: (p.taken_at or "") >= "2020"),
    ({"taken_to": "2020-03"}, lambda p: p.taken_at is not None and p.taken_at < "2020-04"),
    (
        {"taken_from": "2019-02-02", "taken_to": "2021-11-24"},
        lambda p: p.taken_at is not None and "2019-02-02" <= p.taken_at < "2021-11-25",
    ),
    (
        {"taken_from": "2021-04-04T12:30:00", "taken_to": "2021-04-04T12:30:00"},
        lambda p: p.taken_at == "2021-04-04T12:30:00",
    ),
    ({"added_since": "2024-03-10"}, lambda p: p.id >= 10),
    ({"added_since": "2024-03-10T12:00:01"}, lambda p: p.id >= 11),
    (
        {"format": "png", "path": "*group 1*", "min_width": 40, "taken_from": "2018"},
        lambda p: (
            (p.format, "group 1" in p.path) == ("PNG", True)
            and p.width >= 40
            and p.taken_at is not None
        ),
    ),
]


@pytest.mark.parametrize(("params", "passes"), FILTERS, ids=[str(f[0]) for f in FILTERS])
def test_filters_let_through_what_a_plain_scan_does(
    client: Client, gallery: Library, params: dict[str, Any], passes: Scan
) -> None:
    everything = all_pictures(gallery)
    folder = everything[0].path.partition("/group")[0]
    params = {k: v.format(folder) if isinstance(v, str) else v for k, v in params.items()}
    wanted = {picture.id for picture in everything if passes(picture)}
    listed = client.read("/v1/pictures", limit=200, **params)
    assert {picture["id"] for picture in listed["pictures"]} == wanted
    assert listed["total"] == len(wanted)
    data = picture_bytes(300)
    whole = client.send("/v1/search", data, k=1000).json()["hits"]
    found = client.send("/v1/search", data, k=1000, **params).json()["hits"]
    expected = [hit for hit in whole if hit["id"] in wanted]
    assert found == [{**hit, "rank": n} for n, hit in enumerate(expected, 1)]
    similar = client.read("/v1/pictures/1/similar", k=5, **params)
    assert set(ids_of(similar)) <= wanted - {1}
    assert len(similar["hits"]) == min(5, len(wanted - {1}))
