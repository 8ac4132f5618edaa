"""Searches within pictures over HTTP; the engine is the engine."""

from __future__ import annotations

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
from tests.support.fakes import save_picture, save_pictures
from tests.support.serving import (
    Client,
    hits_json,
    ids_of,
    labelled_encoder,
    picture_bytes,
    refused,
    serving,
)

COUNT = 80
REGION = "10%,20%,50%,50%"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, and a library of them that keeps regions and has learned their space."""
    folder = tmp_path_factory.mktemp("within")
    save_pictures(folder / "pictures", COUNT)
    with Library.create(folder / "library") as library:
        options = IndexOptions(within=True)
        index(library, [folder / "pictures"], options, encoder=labelled_encoder())
    return folder


@pytest.fixture(scope="module")
def gallery(folder: Path) -> Iterator[Library]:
    """The library that the shared client and engine ask."""
    with Library.open(folder / "library") as library:
        yield library


def corner(folder: Path, name: str) -> bytes:
    """The upper left quarter of a picture in its place, all else black: a part, to the fake."""
    stream = io.BytesIO()
    with Image.open(folder / "pictures" / name) as picture:
        quarter = picture.crop((0, 0, picture.width // 2, picture.height // 2))
        alone = Image.new("RGB", picture.size)
        alone.paste(quarter, (0, 0))
        alone.save(stream, "PNG")
    return stream.getvalue()


def test_a_part_finds_what_the_engine_finds_and_tells_where(
    folder: Path, client: Client, engine: Engine
) -> None:
    for name in ("0007.png", "0042.png", "0063.png"):
        data = corner(folder, name)
        found = client.send("/v1/search", data, k=5, within=True).json()
        assert found["hits"] == hits_json(engine.search(data, k=5, within=True).hits)
        assert found["hits"][0]["box"] == [0, 0, 0.5, 0.5]
        plain = client.send("/v1/search", data, k=5).json()["hits"]
        assert not any("box" in hit for hit in plain)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"any_orientation": True},
        {"region": REGION},
        {"region": REGION, "any_orientation": True},
        {"min_score": 0.9},
    ],
    ids=str,
)
def test_within_goes_with_a_region_orientations_and_terms(
    more: dict[str, Any], client: Client, engine: Engine
) -> None:
    as_engine = {**more, "within": True}
    if "region" in more:
        as_engine["region"] = Region.parse(REGION)
    data = picture_bytes(305)
    found = client.send("/v1/search", data, within=True, **more).json()
    assert found["hits"] == hits_json(engine.search(data, **as_engine).hits)
    (picture,) = engine.library.catalogue.pictures([9])
    for itself in (False, True):
        found = client.read("/v1/pictures/9/similar", within=True, include_self=itself, **more)
        expected = engine.search(picture.path, include_self=itself, **as_engine)
        assert (found["query"], found["hits"]) == (picture.path, hits_json(expected.hits))
        if not itself:
            assert 9 not in ids_of(found)
        elif "region" not in more:
            assert ids_of(found)[0] == 9


def test_pages_put_together_are_one_long_answer_and_filters_hold(
    client: Client, engine: Engine
) -> None:
    data = picture_bytes(306)
    whole = client.send("/v1/search", data, k=40, within=True).json()["hits"]
    pages: list[Any] = []
    for offset in range(0, 40, 8):
        page = client.send("/v1/search", data, k=8, offset=offset, within=True).json()
        assert page["more"] is True
        pages += page["hits"]
    assert pages == whole
    pattern = "*/000*.png"
    found = client.send("/v1/search", data, k=40, within=True, path=pattern).json()
    names = sorted(Path(hit["path"]).name for hit in found["hits"])
    assert names == [f"000{n}.png" for n in range(10)]
    assert found["more"] is False


@pytest.mark.parametrize("more", [{"expand": True}, {"rerank": True}, {"max_chance": 1}], ids=str)
def test_what_does_not_go_together_is_told(more: dict[str, Any], client: Client) -> None:
    data = picture_bytes(1)
    refused(client.send("/v1/search", data, within=True, **more), 400, "invalid_request")
    refused(client.get("/v1/pictures/1/similar", within=True, **more), 400, "invalid_request")


def test_vectors_and_batches_are_not_searched_for_within_pictures(client: Client) -> None:
    for path, body in (
        ("vector", {"vector": [1.0]}),
        ("batch", {"queries": [{"id": 1}]}),
    ):
        response = client.ask("POST", f"/v1/search/{path}?within=true", json=body)
        refused(response, 400, "invalid_request")


def test_a_library_without_regions_says_how_to_get_them(tmp_path: Path, fakes: None) -> None:
    save_pictures(tmp_path / "pictures", 3)
    with Library.create(tmp_path / "library") as library:
        index(library, [tmp_path / "pictures"], encoder=labelled_encoder())
    with serving(tmp_path / "library") as client:
        response = client.send("/v1/search", picture_bytes(1), within=True)
        assert "--within" in refused(response, 400, "invalid_request")["remedy"]
        refused(client.get("/v1/pictures/1/similar", within=True), 400, "invalid_request")
        refused(client.get("/v1/pictures/99/similar", within=True), 404, "picture_not_found")


def test_an_empty_library_and_a_file_that_is_gone_or_changed_are_told_as_elsewhere(
    tmp_path: Path, fakes: None
) -> None:
    save_pictures(tmp_path / "pictures", 2)
    with Library.create(tmp_path / "library") as library:
        with serving(tmp_path / "library") as client:
            response = client.send("/v1/search", picture_bytes(1), within=True)
            refused(response, 404, "library_not_found")
        options = IndexOptions(within=True)
        index(library, [tmp_path / "pictures"], options, encoder=labelled_encoder())
        ids = {Path(p.path).name: p.id for p in library.catalogue.pictures([1, 2])}
    (tmp_path / "pictures" / "0000.png").unlink()
    save_picture(tmp_path / "pictures" / "0001.png", 77)
    with serving(tmp_path / "library") as client:
        for more in ({"within": True}, {"any_orientation": True}, {"region": REGION}):
            for name, code in (("0000.png", "file_not_found"), ("0001.png", "picture_changed")):
                refused(client.get(f"/v1/pictures/{ids[name]}/similar", **more), 404, code)


def test_a_search_within_pictures_goes_so_far_and_no_further(client: Client) -> None:
    data = picture_bytes(306)
    found = client.send("/v1/search", data, within=True, k=1000, offset=1000).json()
    assert (found["hits"], found["more"]) == ([], False)
    response = client.send("/v1/search", data, within=True, k=1000, offset=1001)
    assert "2000" in refused(response, 400, "invalid_request")["message"]


def test_a_large_picture_of_the_library_is_read_where_large_uploads_are_refused(
    folder: Path, fakes: None
) -> None:
    with serving(folder / "library", Settings(pixels=1000)) as client:
        assert len(client.read("/v1/pictures/3/similar", within=True)["hits"]) == 10
        response = client.send("/v1/search", picture_bytes(3), within=True)
        refused(response, 413, "picture_unreadable")
