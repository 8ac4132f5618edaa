"""Why a hit matches, over HTTP: the values sum to the score that a search tells."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.indexing.pipeline import index
from parecido.indexer.library.library import Library
from parecido.web import Settings
from tests.support.fakes import FakeRuntime, fake_spec, quadrants, save_picture, save_pictures
from tests.support.serving import (
    Client,
    labelled_encoder,
    picture_bytes,
    refused,
    serving,
    use_fakes,
)
from tests.support.waiting import PATIENCE


def check(answer: dict[str, Any]) -> None:
    """What holds of every explanation."""
    for side in answer["maps"].values():
        values = np.array(side["values"])
        assert list(values.shape) == side["shape"] == [2, 2]
        assert values.sum() == pytest.approx(side["sum"], abs=1e-6)
        assert side["sum"] + side["residual"] == pytest.approx(answer["score"], abs=1e-6)
        assert abs(side["residual"]) < 1e-4
        left, top, width, height = side["box"]
        boxes = np.array(side["boxes"])
        assert boxes[0, 0, :2] == pytest.approx((left, top))
        assert boxes[-1, -1, :2] + boxes[-1, -1, 2:] == pytest.approx((left + width, top + height))


def test_a_hit_is_explained_by_what_its_quadrants_add_to_the_score(client: Client) -> None:
    for query in (1, 2, 7):
        for hit in client.read(f"/v1/pictures/{query}/similar", k=5)["hits"]:
            answer = client.read(f"/v1/pictures/{hit['id']}/why", query_id=query)
            check(answer)
            assert answer["score"] == pytest.approx(hit["score"], abs=2e-6)
            assert answer["hit"] == hit["path"]
            side = answer["maps"]["hit"]
            assert (side["width"], side["height"]) == (hit["width"], hit["height"])
            assert answer["encoder"] == client.read("/v1/info")["encoder"]


def test_an_uploaded_query_is_explained_as_it_was_searched_for(client: Client) -> None:
    data = picture_bytes(77)
    best = client.send("/v1/search", data, k=1).json()["hits"][0]
    answer = client.send(f"/v1/pictures/{best['id']}/why", data).json()
    check(answer)
    assert answer["query"] == "-"
    assert answer["score"] == pytest.approx(best["score"], abs=1e-4)
    form = client.ask(
        "POST", f"/v1/pictures/{best['id']}/why", files={"image": ("a photo.png", data)}
    )
    assert form.json() == {**answer, "query": "a photo.png"}

    # each quadrant has one colour, so what it adds can be computed from the pixels
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize((32, 32), 0))
    one = quadrants(pixels[None])[0].reshape(4, 3)
    values = np.array(answer["maps"]["query"]["values"]).reshape(4)
    picture = next(
        p for p in client.service.library.catalogue.pictures([best["id"]]) if p.id == best["id"]
    )
    ids, vectors = client.service.library.catalogue.descriptors.of([picture.id])
    assert ids.tolist() == [best["id"]]
    assert values == pytest.approx((one * vectors[0].reshape(4, 3)).sum(axis=1), abs=0.01)


def test_a_part_of_the_query_is_explained_in_its_place(client: Client) -> None:
    part = "25%,0%,50%,50%"
    hit = client.read("/v1/pictures/3/similar", k=1, region=part)["hits"][0]
    answer = client.read(f"/v1/pictures/{hit['id']}/why", query_id=3, region=part)
    check(answer)
    assert answer["score"] == pytest.approx(hit["score"], abs=2e-6)
    side, picture = answer["maps"]["query"], client.read("/v1/pictures/3")
    assert (side["width"], side["height"]) == (picture["width"], picture["height"])
    left, top, width, height = side["box"]
    assert (left, top) == (picture["width"] // 4, 0)
    assert width == pytest.approx(picture["width"] / 2, abs=1)
    assert height == pytest.approx(picture["height"] / 2, abs=1)


def test_what_cannot_be_explained_is_told(client: Client) -> None:
    refused(client.get("/v1/pictures/1/why"), 400, "invalid_request")
    refused(client.get("/v1/pictures/1/why", query_id=0), 400, "invalid_request")
    refused(client.get("/v1/pictures/1/why", query_id=2, k=3), 400, "invalid_request")
    refused(client.get("/v1/pictures/1/why", query_id=2, region="1,2,3"), 400)
    refused(client.get("/v1/pictures/1/why", query_id=2, region="0,0,9999,1"), 400)
    refused(client.get("/v1/pictures/999/why", query_id=1), 404, "picture_not_found")
    refused(client.get("/v1/pictures/1/why", query_id=999), 404, "picture_not_found")
    refused(client.send("/v1/pictures/1/why", b"rubbish"), 422, "picture_unreadable")
    refused(client.send("/v1/pictures/1/why", b""), 400, "no_picture")
    refused(client.ask("POST", "/v1/pictures/1/why", json={}), 415)


@pytest.fixture
def place(tmp_path: Path, fakes: None) -> Iterator[tuple[Client, Path]]:
    """A server with pictures that a test may change, in the order of their ids."""
    with Library.create(tmp_path / "library") as library:
        for number in range(3):  # in one run, workers would end in any order
            save_picture(tmp_path / "pictures" / f"{number:04d}.png", number)
            index(library, [tmp_path / "pictures"], encoder=labelled_encoder())
    with serving(tmp_path / "library") as client:
        yield client, tmp_path / "pictures"


def test_a_file_that_went_or_changed_is_not_explained(place: tuple[Client, Path]) -> None:
    client, folder = place
    assert client.get("/v1/pictures/1/why", query_id=2).status_code == 200
    shutil.copy(folder / "0002.png", folder / "0000.png")
    refused(client.get("/v1/pictures/1/why", query_id=2), 404, "picture_changed")
    refused(client.get("/v1/pictures/2/why", query_id=1), 404, "picture_changed")
    (folder / "0000.png").unlink()
    refused(client.get("/v1/pictures/1/why", query_id=2), 404, "file_not_found")
    assert client.get("/v1/pictures/2/why", query_id=3).status_code == 200


def test_maps_are_remembered_up_to_a_bound(
    place: tuple[Client, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _ = place
    runtime = client.service.engine.encoder._runtime
    assert isinstance(runtime, FakeRuntime)
    assert client.service._readiness.tried.wait(
        PATIENCE
    )  # that takes a picture through the network, too

    def passes(*pairs: tuple[int, int]) -> int:
        before = runtime.pictures
        for hit, query in pairs:
            assert client.get(f"/v1/pictures/{hit}/why", query_id=query).status_code == 200
        return runtime.pictures - before

    with monkeypatch.context() as patch:
        patch.setattr("parecido.search.web.service._MAP_BYTES", 0)
        assert passes((2, 1), (2, 1)) == 4  # each drives the other one out
    assert passes((2, 1), (3, 1)) == 2
    assert passes((2, 1), (3, 2), (1, 1)) == 0


def test_an_encoder_without_a_feature_map_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = replace(fake_spec(), pooling="fc2")
    save_pictures(tmp_path / "pictures", 2)
    with Library.create(tmp_path / "library") as library:
        index(library, [tmp_path / "pictures"], encoder=Encoder(spec, FakeRuntime()))
    use_fakes(monkeypatch)
    with serving(tmp_path / "library", Settings()) as client:
        error = refused(client.get("/v1/pictures/1/why", query_id=2), 400, "invalid_request")
        assert "feature map" in error["message"]
        assert "--pooling" in error["remedy"]
