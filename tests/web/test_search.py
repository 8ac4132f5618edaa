"""Searches over HTTP: the engine and plain scans of the catalogue are the oracle."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from parecido.indexer.catalogue.changes import Remove
from parecido.indexer.indexing.pipeline import index
from parecido.indexer.library.library import Library
from parecido.indexer.library.summary import summarise
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.records.regions import Region
from parecido.search.asking.request import Request
from parecido.search.asking.terms import DEFAULT_K
from parecido.search.engine import Engine
from parecido.search.results import Hit
from parecido.web import Settings
from tests.support.fakes import DIMENSION, fake_encoder, fake_spec, save_pictures
from tests.support.harness import in_child, put
from tests.support.serving import (
    COUNT,
    PNG,
    Client,
    all_pictures,
    hits_json,
    ids_of,
    labelled_encoder,
    picture_bytes,
    refused,
    serving,
)
from tests.support.waiting import PATIENCE

# -- by picture ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["image/png", "image/whatever", "application/octet-stream", None])
def test_a_picture_as_the_body_is_searched_for(
    client: Client, engine: Engine, kind: str | None
) -> None:
    data = picture_bytes(3)
    headers = {"Content-Type": kind} if kind else {}
    response = client.ask("POST", "/v1/search?k=20", content=data, headers=headers)
    results = response.json()
    assert set(results) == {"query", "encoder", "took_ms", "offset", "more", "hits"}
    assert results["hits"] == hits_json(engine.search_bytes(data, k=20).hits)
    assert (results["query"], results["encoder"]) == ("-", engine.spec.title)
    assert (results["offset"], results["more"]) == (0, True)
    assert results["took_ms"] > 0


def test_a_picture_in_a_form_is_searched_for_and_named(client: Client, engine: Engine) -> None:
    data = picture_bytes(100, "JPEG", (900, 700))
    files = {"image": ("été <b>.jpg", data, "image/jpeg")}
    response = client.ask("POST", "/v1/search", files=files)
    assert response.json()["hits"] == hits_json(engine.search_bytes(data).hits)
    assert response.json()["query"] == "été <b>.jpg"


def test_a_path_that_no_picture_has_is_told(client: Client) -> None:
    found = client.send("/v1/search", picture_bytes(3), path="/nowhere").json()
    assert (found["hits"], found["note"]) == ([], "No picture has a path like /nowhere.")
    # by vector, by id, and where another filter leaves nothing
    similar = client.ask("GET", "/v1/pictures/1/similar?path=/nowhere").json()
    assert similar["note"] == "No picture has a path like /nowhere."
    other = client.send("/v1/search", picture_bytes(3), path="/", min_width=99999).json()
    assert (other["hits"], "note" in other) == ([], False)


def test_an_animation_is_searched_for_by_its_first_frame(client: Client) -> None:
    frames = [Image.open(io.BytesIO(picture_bytes(n))).convert("P") for n in (5, 6)]
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    found = client.send("/v1/search", stream.getvalue(), k=3).json()
    assert found["hits"][0]["path"].endswith("/05.webp")


def test_no_picture_is_refused_for_what_it_is(client: Client) -> None:
    def post(path: str = "/v1/search", **options: Any) -> Any:
        return client.ask("POST", path, **options)

    refused(post(), 400, "no_picture")
    refused(post(content=b"words", headers={"Content-Type": "text/plain"}), 415)
    refused(post(content=b"{}", headers={"Content-Type": "application/json"}), 415)
    refused(post(content=b"not a picture", headers=PNG), 422, "picture_unreadable")
    refused(post(content=picture_bytes(1)[:-100], headers=PNG), 422, "picture_unreadable")
    refused(post(files={"other": picture_bytes(1)}), 400, "no_picture")
    refused(post(data={"image": "words"}), 415)
    refused(post(files=[("image", picture_bytes(n)) for n in (1, 2)]), 400)
    broken = {"Content-Type": "multipart/form-data; boundary=x"}
    refused(post(content=b"--y\r\nnonsense", headers=broken), 400)
    refused(post(content=b"", headers={"Content-Type": "multipart/form-data"}), 400)
    refused(post("/v1/labels", content=b"", headers=PNG), 400, "no_picture")


def test_a_picture_of_too_many_pixels_is_refused(gallery: Library, fakes: None) -> None:
    with serving(gallery.folder, Settings(pixels=10_000)) as client:
        data = picture_bytes(1, size=(101, 100))
        refused(client.send("/v1/search", data), 413, "picture_unreadable")
        assert client.send("/v1/search", picture_bytes(1, size=(100, 100))).status_code == 200


@pytest.mark.parametrize(
    "region", ["0,0,24,20", "10%,20%,50%,50%", "12, 10, 20, 15", "0.5,0.5,1.5,1", "0%,0%,100%,100%"]
)
def test_a_region_is_searched_for(client: Client, engine: Engine, region: str) -> None:
    data = picture_bytes(7)
    found = client.send("/v1/search", data, region=region).json()
    expected = engine.search_bytes(data, region=Region.parse(region))
    assert found["hits"] == hits_json(expected.hits)
    (picture,) = engine.library.catalogue.pictures([7])
    found = client.read("/v1/pictures/7/similar", region=region)
    expected = engine.search(picture.path, region=Region.parse(region))
    assert found["hits"] == hits_json(expected.hits)


@pytest.mark.parametrize(
    "region",
    [
        *("0,0,49,40", "48,0,1,1", "0,0,10,41", "60%,0%,50%,10%", "100%,0%,1%,1%"),
        *("0,0,0,10", "-1,0,5,5", "1,2,3", "1,2,3,4,5", "1%,2,3%,4", "a,b,c,d", "nan,0,1,1"),
        *("1e3,0,1,1", "0,0,inf,1", ",,,,,,,", "१,०,१,१"),
    ],
)
def test_a_region_that_is_outside_or_no_region_is_refused(client: Client, region: str) -> None:
    refused(client.send("/v1/search", picture_bytes(7), region=region), 400, "invalid_request")


# -- by id and by vector ---------------------------------------------------------------------------


def test_an_indexed_picture_is_searched_for_by_its_id(client: Client, engine: Engine) -> None:
    for picture in all_pictures(engine.library)[:6]:
        found = client.read(f"/v1/pictures/{picture.id}/similar", k=COUNT)
        assert found["hits"] == hits_json(engine.search(picture.path, k=COUNT).hits)
        assert picture.id not in ids_of(found)
        assert (found["query"], len(found["hits"])) == (picture.path, COUNT - 1)
        assert found["more"] is False
        with_itself = client.read(f"/v1/pictures/{picture.id}/similar", include_self=True)
        assert with_itself["hits"] == hits_json(engine.search(picture.path, include_self=True).hits)
        assert ids_of(with_itself)[0] == picture.id


@pytest.mark.parametrize("picture_id", ["0", "-1", "x", "1.5", str(2**63), "1%00"])
def test_an_id_that_is_none_is_refused(client: Client, picture_id: str) -> None:
    for path in ("", "/similar", "/thumbnail", "/original"):
        refused(client.get(f"/v1/pictures/{picture_id}{path}"), 400, "invalid_request")


def test_an_unknown_id_is_not_found(client: Client) -> None:
    for path in ("", "/similar", "/thumbnail", "/original"):
        refused(client.get(f"/v1/pictures/{2**63 - 1}{path}"), 404, "picture_not_found")


@pytest.mark.parametrize("exact", [False, True])
def test_vectors_are_answered_with_numpys_sorted_inner_products(
    client: Client, gallery: Library, exact: bool
) -> None:
    ids, rows = gallery.catalogue.descriptors.of(gallery.catalogue.descriptors.ids().tolist())
    for query in np.random.default_rng(1).normal(size=(5, DIMENSION)) * 1000:
        params = {"k": 7, "exact": exact}
        response = client.ask(
            "POST", "/v1/search/vector", params=params, json={"vector": query.tolist()}
        )
        scores = (rows.astype(np.float64) @ (query / np.linalg.norm(query))).astype(np.float32)
        best = np.lexsort((ids, -scores))[:7]
        assert ids_of(response.json()) == ids[best].tolist()
        told = [hit["score"] for hit in response.json()["hits"]]
        assert told == pytest.approx(scores[best].tolist(), abs=2e-6)
        assert response.json()["query"] == "vector"


@pytest.mark.parametrize(
    "body",
    [
        *('{"vector": [1, 2, 3]}', '{"vector": []}', '{"vector": [[1]]}', '{"vector": "x"}'),
        *('{"vector": [0,0,0,0,0,0,0,0,0,0,0,0]}', '{"vector": [1,1,1,1,1,1,1,1,1,1,1,NaN]}'),
        *('{"vector": [1e308,1e308,1,1,1,1,1,1,1,1,1,1e999]}', '{"vectors": [1]}', "{}", "[", ""),
        *('{"vector": [1,1,1,1,1,1,1,1,1,1,1,1], "k": 3}', "[" * 100_000, "\ud800", "null"),
        '{"vector": [1,1,1,1,1,1,1,1,1,1,1,' + "9" * 5000 + "]}",
    ],
)
def test_what_is_no_vector_of_the_library_is_refused(client: Client, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    content = body.encode("utf-8", "surrogatepass")
    response = client.ask("POST", "/v1/search/vector", content=content, headers=headers)
    refused(response, 400, "invalid_request")


# -- several at once -------------------------------------------------------------------------------


def test_a_batch_answers_each_query_or_says_what_is_wrong_with_it(client: Client) -> None:
    data = picture_bytes(400)
    vector = np.random.default_rng(2).normal(size=DIMENSION).tolist()
    queries = [
        {"id": 3},
        {"vector": vector},
        {"image": base64.b64encode(data).decode()},
        {"id": 9999},
        {"vector": [1, 2]},
        {"image": "no base64!"},
        {"image": base64.b64encode(b"no picture").decode()},
        {"image": ""},
    ]
    response = client.ask("POST", "/v1/search/batch?k=4&format=PNG", json={"queries": queries})
    results = response.json()["results"]
    by_id = client.read("/v1/pictures/3/similar", k=4, format="PNG")
    by_vector = client.ask("POST", "/v1/search/vector?k=4&format=PNG", json={"vector": vector})
    by_picture = client.send("/v1/search", data, k=4, format="PNG")
    for result, alone in zip(results, (by_id, by_vector.json(), by_picture.json()), strict=False):
        assert {**result, "took_ms": 0} == {**alone, "took_ms": 0}
    codes = [result["error"]["code"] for result in results[3:]]
    assert codes == ["picture_not_found", *["invalid_request"] * 2, *["picture_unreadable"] * 2]
    assert [result["query"] for result in results[3:]] == ["9999", "vector", "-", "-", "-"]


def test_a_batch_of_pictures_comes_as_a_form(client: Client) -> None:
    pictures = [picture_bytes(n) for n in range(500, 515)]
    files = [("image", (f"{n}.png", data)) for n, data in enumerate([*pictures, b"no picture"])]
    response = client.ask("POST", "/v1/search/batch?k=2", files=files)
    *results, failed = response.json()["results"]
    assert [r["query"] for r in results] == [f"{n}.png" for n in range(15)]
    assert [ids_of(r) for r in results] == [
        ids_of(client.send("/v1/search", data, k=2).json()) for data in pictures
    ]
    assert (failed["query"], failed["error"]["code"]) == ("15.png", "picture_unreadable")
    files.append(("image", ("16.png", pictures[0])))
    refused(client.ask("POST", "/v1/search/batch", files=files), 400)


@pytest.mark.parametrize(
    "queries",
    [
        *([], [{}], [{"id": 1, "vector": [1]}], [{"id": 0}], [{"id": "x"}], [{"name": "x"}], "x"),
        *([{"image": "aa"}] * 17, [{"id": 1}] * 1001, [1], [{"vector": []}], None),
    ],
)
def test_a_batch_that_cannot_be_understood_is_refused_whole(client: Client, queries: Any) -> None:
    response = client.ask("POST", "/v1/search/batch", json={"queries": queries})
    refused(response, 400)


def test_a_batch_that_is_neither_json_nor_a_form_is_refused(client: Client) -> None:
    refused(client.send("/v1/search/batch", picture_bytes(1)), 415, "unsupported_media_type")
    headers = {"Content-Type": "application/json"}
    for body in (b"", b"{", b"\xff", b"[" * 100_000):
        refused(client.ask("POST", "/v1/search/batch", content=body, headers=headers), 400)


def test_many_callers_at_once_get_their_own_answers(client: Client, engine: Engine) -> None:
    def ask(n: int) -> tuple[Any, Any]:
        size = (48 + n % 3 * 30, 40)
        data, terms = picture_bytes(600 + n, size=size), {"k": 1 + n % 7, "offset": n % 3}
        found = client.send("/v1/search", data, **terms).json()["hits"]
        return found, hits_json(engine.search_bytes(data, **terms).hits)

    with ThreadPoolExecutor(12) as pool:
        for found, expected in pool.map(ask, range(60)):
            assert found == expected


# -- labels and facts ------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 5, 1000])
def test_labels_are_the_encoders_likeliest_classes(client: Client, k: int) -> None:
    pixels = np.asarray(Image.open(io.BytesIO(picture_bytes(2, size=(32, 32)))))
    (expected,) = labelled_encoder().encode([pixels], k).labels
    files = {"image": ("two.png", picture_bytes(2, size=(32, 32)))}
    told = client.ask("POST", f"/v1/labels?k={k}", files=files).json()
    assert told["image"] == "two.png"
    assert [(name, index) for name, _, index in told["labels"]] == [
        (label.name, label.class_index) for label in expected
    ]
    assert told["labels"][0][1] == pytest.approx(0.7, abs=1e-5)


def test_the_encoder_and_the_library_are_told(client: Client, gallery: Library) -> None:
    spec = gallery.encoder
    assert isinstance(spec, EncoderSpec)
    encoder = client.read("/v1/encoder")
    names = encoder.pop("labels")
    assert (len(names), names[0]) == (1000, "tench")
    fields = ("title", "model", "dimension", "pooling", "fingerprint")
    assert encoder == {name: getattr(spec, name) for name in fields}
    info, facts = client.read("/v1/info"), summarise(gallery)
    assert info.pop("bytes") > 0  # thumbnails and SQLite's journal come and go
    del facts["bytes"]
    assert facts.items() <= info.items()
    assert (info["read_only"], info["uploads"], info["index_roots"]) == (False, True, [])
    assert info["limits"] == {
        "upload_bytes": Settings().upload_bytes,
        "pixels": 100_000_000,
        "pictures_per_request": 16,
        "hits": 1000,
    }


# -- the library changes ---------------------------------------------------------------------------


def test_an_empty_library_says_so_everywhere(library: Library, fakes: None) -> None:
    with serving(library.folder) as client:
        vector = {"vector": [1] * DIMENSION}
        refused(client.send("/v1/search", picture_bytes(1)), 404, "library_not_found")
        refused(client.ask("POST", "/v1/search/vector", json=vector), 404, "library_not_found")
        batch = {"queries": [vector]}
        refused(client.ask("POST", "/v1/search/batch", json=batch), 404, "library_not_found")
        refused(client.send("/v1/labels", picture_bytes(1)), 404, "library_not_found")
        refused(client.get("/v1/encoder"), 404, "library_not_found")
        refused(client.get("/v1/pictures/1/similar"), 404)
        assert client.read("/v1/pictures") == {"pictures": [], "total": 0, "more": False}
        assert client.read("/v1/pictures", order="random")["pictures"] == []
        info = client.read("/v1/info")
        assert (info["pictures"], info["encoder"]) == (0, None)
        assert client.read("/v1/jobs") == {"jobs": []}
        assert b"parecido_library_pictures 0.0" in client.get("/metrics").content


def _index(folder: Path, pictures: Path) -> None:
    with Library.create(folder) as library:
        index(library, [pictures], encoder=fake_encoder())


def test_what_another_process_commits_is_found_at_once(
    library: Library, tmp_path: Path, fakes: None
) -> None:
    pictures = tmp_path / "pictures"
    with serving(library.folder) as client:
        refused(client.send("/v1/search", picture_bytes(25)), 404, "library_not_found")
        for count in (20, 30):
            save_pictures(pictures, count)
            in_child(_index, library.folder, pictures)
            found = client.send("/v1/search", picture_bytes(25), k=1000).json()["hits"]
            assert len(found) == count == client.read("/v1/pictures")["total"]
        assert (found[0]["path"], found[0]["score"]) == (str(pictures / "0025.png"), 1.0)
        (pictures / "0025.png").unlink()
        in_child(_index, library.folder, pictures)
        found = client.send("/v1/search", picture_bytes(25), k=1000).json()["hits"]
        assert len(found) == 29
        assert client.read("/v1/pictures", format="PNG")["total"] == 29


def test_a_library_that_was_emptied_and_filled_with_another_encoder_is_searched(
    library: Library, fakes: None
) -> None:
    rows = np.random.default_rng(1).normal(size=(5, 24)).astype(np.float32)
    put(library, rows[:, :12])
    with serving(library.folder) as client:
        path = "/v1/search/vector"
        first = client.ask("POST", path, json={"vector": rows[0, :12].tolist()})
        assert len(first.json()["hits"]) == 5
        with library.writer() as writing:
            writing.catalogue.write([Remove(library.catalogue.descriptors.ids().tolist())])
        put(library, rows, spec=fake_spec(dimension=24))
        refused(client.ask("POST", path, json={"vector": rows[0, :12].tolist()}), 400)
        second = client.ask("POST", path, json={"vector": rows[2].tolist()}).json()["hits"]
        assert [len(second), second[0]["score"]] == [5, pytest.approx(1, abs=1e-3)]


@pytest.mark.parametrize(
    "terms", ["k=101", "k=9&exact=true", "k=9&format=PNG", "k=9&offset=100", "several"]
)
def test_what_takes_long_holds_up_no_other_search(
    terms: str, indexed: Library, fakes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, begun = threading.Event(), threading.Event()
    answer = Engine.answer

    def wait_and_answer(engine: Engine, requests: Sequence[Request]) -> list[tuple[Hit, ...]]:
        if requests[0].terms.count != DEFAULT_K:
            begun.set()
            assert go.wait(PATIENCE)
        return answer(engine, requests)

    monkeypatch.setattr(Engine, "answer", wait_and_answer)
    with serving(indexed.folder) as client:
        if terms == "several":
            queries = {"queries": [{"id": 1}] * 40}
            slow = client.begin("POST", "/v1/search/batch?k=9", json=queries)
        else:
            slow = client.begin("GET", f"/v1/pictures/1/similar?{terms}")
        assert begun.wait(PATIENCE)
        assert client.read("/v1/pictures/1/similar")["hits"]
        assert client.send("/v1/search", picture_bytes(1)).status_code == 200
        assert not slow.done()
        go.set()
        assert slow.result().status_code == 200
