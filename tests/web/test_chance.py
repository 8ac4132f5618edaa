"""Chance, a second thought and any orientation over HTTP; the engine is the oracle."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from parecido.indexer.indexing.options import IndexOptions
from parecido.indexer.indexing.pipeline import index
from parecido.indexer.library.library import Library
from parecido.indexer.records.regions import Region
from parecido.search.engine import Engine
from parecido.web import Settings
from tests.support.fakes import DIMENSION, save_pictures
from tests.support.serving import (
    Client,
    hits_json,
    ids_of,
    labelled_encoder,
    picture_bytes,
    refused,
    serving,
    use_fakes,
)

COUNT = 90
SEARCHES = [{"expand": True}, {"rerank": True}, {"expand": True, "rerank": True}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, and a library of them with a space of its own."""
    folder = tmp_path_factory.mktemp("chance")
    save_pictures(folder / "pictures", COUNT)
    with Library.create(folder / "library") as library:
        index(library, [folder / "pictures"], encoder=labelled_encoder())
        assert library.catalogue.settings.chance() is not None
    return folder


@pytest.fixture(scope="module")
def asked(folder: Path) -> Iterator[Client]:
    """A client of a server with that library."""
    with pytest.MonkeyPatch.context() as patch:
        use_fakes(patch)
        with serving(folder / "library") as client:
            yield client


@pytest.fixture(scope="module")
def oracle(folder: Path) -> Iterator[Engine]:
    with (
        Library.open(folder / "library") as library,
        Engine(library, encoder=labelled_encoder()) as engine,
    ):
        yield engine


def everywhere(client: Client, data: bytes, **terms: Any) -> list[dict[str, Any]]:
    """What is answered to these terms by each way to ask for pictures like these bytes."""
    vector = client.service.engine.encoder.encode(
        [client.service.engine.describer.look(data).pixels]
    ).descriptors[0]
    given = {"vector": vector.tolist()}
    queries = {"queries": [{"image": base64.b64encode(data).decode()}, given]}
    by_vector = client.ask("POST", "/v1/search/vector", params=terms, json=given)
    batch = client.ask("POST", "/v1/search/batch", params=terms, json=queries)
    return [client.send("/v1/search", data, **terms).json(), by_vector.json()] + (
        batch.json()["results"]
    )


# -- chance ----------------------------------------------------------------------------------------


def test_every_hit_tells_its_chance_and_a_maximum_leaves_out_what_is_above(
    asked: Client, oracle: Engine
) -> None:
    data = picture_bytes(300)
    whole = asked.send("/v1/search", data, k=COUNT).json()["hits"]
    assert whole == hits_json(oracle.search_bytes(data, k=COUNT).hits)
    chances = [hit["chance"] for hit in whole]
    assert chances == sorted(chances)
    assert 0 < chances[0] < chances[-1] <= COUNT
    for most in (1e-9, chances[3] * 1.001, 20, 1e9):
        expected = [hit for hit in whole if hit["chance"] <= most]
        found = asked.send("/v1/search", data, k=COUNT, max_chance=most).json()
        assert found["hits"] == expected
        assert found["hits"] == hits_json(oracle.search_bytes(data, k=COUNT, max_chance=most).hits)
        for answer in everywhere(asked, data, k=COUNT, max_chance=most):
            assert ids_of(answer) == [hit["id"] for hit in expected]


def test_a_maximum_of_chance_holds_for_pictures_of_the_library(
    asked: Client, oracle: Engine
) -> None:
    for picture in oracle.library.catalogue.pictures([1, 30, 60]):
        found = asked.read(f"/v1/pictures/{picture.id}/similar", k=20, max_chance=3)
        assert found["hits"] == hits_json(oracle.search(picture.path, k=20, max_chance=3).hits)
        assert picture.id not in ids_of(found)


@pytest.mark.parametrize("most", ["0", "-1", "nan", "inf", "-inf", "thing", "", "1e999"])
def test_what_is_no_maximum_of_chance_is_refused(asked: Client, most: str) -> None:
    refused(asked.get("/v1/pictures/1/similar", max_chance=most), 400, "invalid_request")
    data = picture_bytes(1)
    refused(asked.send("/v1/search", data, max_chance=most), 400, "invalid_request")
    params, vector = {"max_chance": most}, {"vector": [1] * DIMENSION}
    for path, body in (("vector", vector), ("batch", {"queries": [vector]})):
        response = asked.ask("POST", f"/v1/search/{path}", params=params, json=body)
        refused(response, 400, "invalid_request")


def test_a_library_too_small_to_tell_says_so(client: Client) -> None:
    (hit,) = client.read("/v1/pictures/1/similar", k=1)["hits"]
    assert "chance" not in hit
    answers = [
        client.get("/v1/pictures/1/similar", max_chance=1),
        client.send("/v1/search", picture_bytes(1), max_chance=1),
    ]
    for response in answers:
        error = refused(response, 400, "invalid_request")
        assert "too small to tell what is chance" in error["message"]
        assert "minimum score" in error["remedy"]
    batch = client.ask("POST", "/v1/search/batch?max_chance=1", json={"queries": [{"id": 1}]})
    (result,) = batch.json()["results"]
    assert result["error"]["code"] == "invalid_request"


# -- a second thought ------------------------------------------------------------------------------


@pytest.mark.parametrize("terms", SEARCHES, ids=str)
def test_a_second_thought_is_the_engines(
    terms: dict[str, bool], asked: Client, oracle: Engine
) -> None:
    data = picture_bytes(301)
    found = asked.send("/v1/search", data, k=COUNT, **terms).json()["hits"]
    assert found == hits_json(oracle.search_bytes(data, k=COUNT, **terms).hits)
    assert [hit["second"] for hit in found] == sorted((h["second"] for h in found), reverse=True)
    once = asked.send("/v1/search", data, k=COUNT).json()["hits"]
    assert not any("second" in hit for hit in once)
    ids = [hit["id"] for hit in found]
    assert ids != [hit["id"] for hit in once]
    assert sorted(ids) == sorted(hit["id"] for hit in once)
    for answer in everywhere(asked, data, k=COUNT, **terms):
        assert ids_of(answer) == ids
    (picture,) = oracle.library.catalogue.pictures([5])
    similar = asked.read("/v1/pictures/5/similar", **terms)
    assert similar["hits"] == hits_json(oracle.search(picture.path, **terms).hits)


def test_pages_of_a_second_thought_put_together_are_one_long_answer(asked: Client) -> None:
    data, terms = picture_bytes(302), {"expand": True, "rerank": True}
    whole = asked.send("/v1/search", data, k=COUNT, **terms).json()["hits"]
    pages: list[Any] = []
    for offset in range(0, COUNT, 20):
        pages += asked.send("/v1/search", data, k=20, offset=offset, **terms).json()["hits"]
    assert pages == whole


def test_the_least_score_and_chance_go_by_the_cosine(asked: Client) -> None:
    data = picture_bytes(303)
    whole = asked.send("/v1/search", data, k=COUNT, rerank=True).json()["hits"]
    found = asked.send("/v1/search", data, k=COUNT, rerank=True, min_score=0.1, max_chance=20)
    expected = [hit for hit in whole if hit["score"] >= 0.1 and hit["chance"] <= 20]
    assert 0 < len(expected) < COUNT
    assert found.json()["hits"] == [{**hit, "rank": n} for n, hit in enumerate(expected, 1)]


def test_a_library_that_was_told_to_thinks_twice_unless_it_is_told_not_to(
    folder: Path, tmp_path: Path, fakes: None
) -> None:
    with Library.create(tmp_path / "library") as library:
        options = IndexOptions(think_twice=True)
        index(library, [folder / "pictures"], options, encoder=labelled_encoder())
    with serving(tmp_path / "library") as client:
        data = picture_bytes(304)

        def hits(**terms: Any) -> Any:
            return client.send("/v1/search", data, **terms).json()["hits"]

        assert client.read("/v1/info")["think_twice"] is True
        twice = hits(expand=True, rerank=True)
        assert hits() == twice
        assert all("second" in hit for hit in twice)
        assert not any("second" in hit for hit in hits(expand=False, rerank=False))
        assert hits(expand=False) == hits(expand=False, rerank=True) != twice


@pytest.mark.parametrize("name", ["expand", "rerank", "any_orientation"])
def test_a_switch_is_on_or_off(name: str, asked: Client) -> None:
    refused(asked.get("/v1/pictures/1/similar", **{name: "perhaps"}), 400, "invalid_request")
    data = picture_bytes(1)
    refused(asked.send("/v1/search", data, **{name: "2"}), 400, "invalid_request")


# -- any orientation -------------------------------------------------------------------------------


@pytest.mark.parametrize("alteration", [None, *Image.Transpose], ids=str)
def test_a_turned_or_mirrored_picture_finds_its_source(
    alteration: Image.Transpose | None, folder: Path, asked: Client, oracle: Engine
) -> None:
    for name in ("0007.png", "0042.png"):
        stream = io.BytesIO()
        with Image.open(folder / "pictures" / name) as picture:
            altered = picture if alteration is None else picture.transpose(alteration)
            altered.save(stream, "PNG")
        data = stream.getvalue()
        found = asked.send("/v1/search", data, k=5, any_orientation=True).json()
        assert found["hits"] == hits_json(oracle.search(data, k=5, any_orientation=True).hits)
        assert Path(found["hits"][0]["path"]).name == name
        assert found["hits"][0]["score"] == pytest.approx(1, abs=1e-3)
        assert len(set(ids_of(found))) == 5


def test_a_part_and_a_picture_of_the_library_may_be_turned(asked: Client, oracle: Engine) -> None:
    data = picture_bytes(305)
    region = "10%,20%,50%,50%"
    found = asked.send("/v1/search", data, region=region, any_orientation=True).json()
    turned = {"any_orientation": True, "region": Region.parse(region)}
    assert found["hits"] == hits_json(oracle.search(data, **turned).hits)
    (picture,) = oracle.library.catalogue.pictures([9])
    for given, part in (({}, {}), ({"region": region}, {"region": Region.parse(region)})):
        path = f"/v1/pictures/{picture.id}/similar"
        found = asked.read(path, any_orientation=True, **given)
        expected = oracle.search(picture.path, any_orientation=True, **part)
        assert (found["query"], found["hits"]) == (picture.path, hits_json(expected.hits))
        assert picture.id not in ids_of(found)
        itself = asked.read(path, k=COUNT, any_orientation=True, include_self=True, **given)
        assert len(itself["hits"]) == COUNT
        assert picture.id in ids_of(itself)
        if not given:
            assert ids_of(itself)[0] == picture.id


def test_pages_of_any_orientation_put_together_are_one_long_answer(asked: Client) -> None:
    data = picture_bytes(306)
    whole = asked.send("/v1/search", data, k=40, any_orientation=True).json()["hits"]
    pages: list[Any] = []
    for offset in range(0, 40, 8):
        page = asked.send("/v1/search", data, k=8, offset=offset, any_orientation=True).json()
        assert page["more"] is True
        pages += page["hits"]
    assert pages == whole
    assert len({hit["id"] for hit in pages}) == 40


def test_a_large_picture_of_the_library_may_be_turned_where_large_uploads_are_refused(
    folder: Path, fakes: None
) -> None:
    with serving(folder / "library", Settings(pixels=1000)) as client:
        found = client.read("/v1/pictures/3/similar", any_orientation=True)
        assert len(found["hits"]) == 10
        response = client.send("/v1/search", picture_bytes(3), any_orientation=True)
        refused(response, 413, "picture_unreadable")


def test_vectors_and_batches_have_no_orientation(asked: Client) -> None:
    vector = {"vector": [1] * DIMENSION}
    for path, body in (("vector", vector), ("batch", {"queries": [{"id": 1}]})):
        response = asked.ask("POST", f"/v1/search/{path}?any_orientation=true", json=body)
        refused(response, 400, "invalid_request")
