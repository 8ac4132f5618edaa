"""Jobs over HTTP, what a read-only server refuses, metrics and readiness."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.errors import EncoderUnavailable, ParecidoError, WeightsInvalid
from parecido.indexer.library.library import Library
from parecido.web import Settings
from tests.support.fakes import DIMENSION, FakeRuntime, fake_spec, save_pictures
from tests.support.harness import snapshot
from tests.support.serving import PNG, Client, picture_bytes, refused, serving, use_fakes
from tests.support.waiting import PATIENCE, until

COUNT = 60


class HeldRuntime(FakeRuntime):
    """Waits for leave before each picture but the first few."""

    def __init__(self, free: int) -> None:
        super().__init__(batch_size=1)
        self.free = free
        self.reached, self.leave = threading.Event(), threading.Event()

    def run(
        self, batch: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
        if self.pictures >= self.free:
            self.reached.set()
            assert self.leave.wait(PATIENCE)
        return super().run(batch)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    save_pictures(tmp_path / "pictures" / "some", 12)
    save_pictures(tmp_path / "elsewhere", 3)
    (tmp_path / "pictures" / "out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "pictures" / "in").symlink_to(tmp_path / "pictures" / "some")
    (tmp_path / "pictures" / "loop").symlink_to(tmp_path / "pictures" / "loop")
    return tmp_path / "pictures"


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fakes(monkeypatch)


@pytest.fixture
def client(library: Library, pictures: Path, fakes: None) -> Iterator[Client]:
    """An empty library, and one folder that may be indexed."""
    with serving(library.folder, Settings(index_roots=(pictures,))) as client:
        yield client


def _index(client: Client, path: Path | str) -> dict[str, Any]:
    response = client.ask("POST", "/v1/index", json={"path": str(path)})
    assert response.status_code == 202, response.text
    job: dict[str, Any] = response.json()
    assert response.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["kind"], job["path"]) == ("index", str(path))
    return job


def _counts(job: dict[str, Any]) -> dict[str, int]:
    names = ("added", "updated", "unchanged", "moved", "removed", "skipped")
    return {name: job[name] for name in names if job[name]}


# -- indexing --------------------------------------------------------------------------------------


def test_a_folder_is_indexed_and_followed(client: Client, pictures: Path) -> None:
    job = client.ended(_index(client, pictures / "some"))
    assert (job["state"], job["error"], job["picture"]) == ("done", None, None)
    assert _counts(job) == {"added": 12}
    moments = [
        datetime.fromisoformat(job[f"{name}_at"]) for name in ("created", "started", "ended")
    ]
    assert moments == sorted(moments)
    (pictures / "some" / "0000.png").write_bytes(b"no picture")
    (pictures / "some" / "0001.png").write_bytes(picture_bytes(50))
    (pictures / "some" / "0002.png").unlink()
    (pictures / "some" / "0003.png").rename(pictures / "some" / "moved.png")
    again = client.ended(_index(client, pictures / "some"))
    changed = {"updated": 1, "unchanged": 8, "moved": 1, "removed": 1, "skipped": 1}
    assert _counts(again) == changed
    assert [told["id"] for told in client.read("/v1/jobs")["jobs"]] == [again["id"], job["id"]]
    info = client.read("/v1/info")
    assert (info["pictures"], info["skipped"]) == (10, 1)
    assert info["index_roots"] == [str(pictures)]
    hit = client.send("/v1/search", picture_bytes(50), k=1).json()["hits"][0]
    assert hit["path"] == str(pictures / "some" / "0001.png")


def test_one_picture_is_indexed_and_links_within_the_folder_are_followed(
    client: Client, pictures: Path
) -> None:
    assert _counts(client.ended(_index(client, pictures / "some" / "0003.png"))) == {"added": 1}
    assert _counts(client.ended(_index(client, pictures / "in"))) == {"added": 12}
    for name, count in (("some", 1), ("in", 12)):  # by the names that were given
        assert client.read("/v1/pictures", path=str(pictures / name))["total"] == count


@pytest.mark.parametrize(
    "path",
    [
        *("{}/..", "{}/../elsewhere", "{}/out", "{}/out/0000.png", "{}/in/../../elsewhere"),
        *("{}x", "{}/../pictures2", "pictures", ".", "..", "~", "$HOME", "/", "//", "/etc/passwd"),
        *("{}\0", "{}/some\0/../../elsewhere", "file://{}", "\udcff", "{}/\udcff/../..", " {}"),
        *(
            "/" + "../" * 1000 + "etc",
            "{}/" + "x/" * 500 + "../" * 502,
            "C:\\",
            "{}\\..\\elsewhere",
        ),
    ],
)
def test_paths_outside_the_allowed_folders_are_refused(
    client: Client, pictures: Path, path: str
) -> None:
    body = json.dumps({"path": path.replace("{}", str(pictures))})
    headers = {"Content-Type": "application/json"}
    response = client.ask("POST", "/v1/index", content=body, headers=headers)
    if response.status_code == 400:  # no text at all, or there is nothing inside the folder
        assert "\udcff" in path
        refused(response, 400)
    else:
        refused(response, 403, "path_not_allowed")
    assert client.read("/v1/jobs")["jobs"] == []


@pytest.mark.parametrize("path", ["{}/missing", "{}/some/0001.png/x", "{}/loop", "{}/" + "x" * 300])
def test_what_is_not_there_is_refused(client: Client, pictures: Path, path: str) -> None:
    given = {"path": path.replace("{}", str(pictures))}
    refused(client.ask("POST", "/v1/index", json=given), 400, "path_not_found")


@pytest.mark.parametrize("body", ["{}", '{"path": ""}', '{"path": 3}', '{"paths": ["/"]}', "x", ""])
def test_a_body_that_names_no_path_is_refused(client: Client, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    refused(client.ask("POST", "/v1/index", content=body, headers=headers), 400, "invalid_request")
    long = {"path": "/" * 4097}
    refused(client.ask("POST", "/v1/index", json=long), 400, "invalid_request")


def test_without_allowed_folders_nothing_is_indexed(
    library: Library, pictures: Path, fakes: None
) -> None:
    with serving(library.folder) as client:
        given = {"path": str(pictures)}
        refused(client.ask("POST", "/v1/index", json=given), 403, "path_not_allowed")


# -- jobs ------------------------------------------------------------------------------------------


def _hold(monkeypatch: pytest.MonkeyPatch, free: int) -> HeldRuntime:
    runtime = HeldRuntime(free)
    for module in ("parecido.indexer.indexing.workers", "parecido.search.engine"):
        monkeypatch.setattr(
            f"{module}.open_encoder", lambda *_, **__: Encoder(fake_spec(), runtime)
        )
    monkeypatch.setattr("parecido.indexer.indexing.run.COMMIT_SECONDS", 0.0)
    return runtime


def test_a_job_tells_how_far_it_is_and_can_be_stopped(
    client: Client, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_pictures(pictures / "some", COUNT)  # more than are on their way at once
    runtime = _hold(monkeypatch, 4)
    job = _index(client, pictures / "some")
    waiting = _index(client, pictures / "some")
    assert runtime.reached.wait(PATIENCE)
    address = f"/v1/jobs/{job['id']}"
    while (told := client.read(address))["added"] == 0:
        assert told["state"] == "running"
    assert 0 < told["added"] <= 4
    assert told["ended_at"] is None
    assert client.read(f"/v1/jobs/{waiting['id']}")["state"] == "waiting"
    # what is committed can be listed meanwhile; a commit may be a moment behind what is told
    while (total := client.read("/v1/pictures")["total"]) == 0:
        assert client.read(address)["state"] == "running"
    assert 0 < total <= 4
    for stopped in (job, waiting):
        response = client.ask("DELETE", f"/v1/jobs/{stopped['id']}")
        assert (response.status_code, response.json()["id"]) == (202, stopped["id"])
    runtime.leave.set()
    told = client.ended(job)
    assert told["state"] == "stopped"
    assert 4 <= told["added"] < COUNT
    assert client.read("/v1/pictures")["total"] == told["added"]
    assert client.ended(waiting)["state"] == "stopped"
    assert _counts(client.ended(waiting)) == {}
    assert client.ended(waiting)["started_at"] is None
    rest = client.ended(_index(client, pictures / "some"))
    assert _counts(rest) == {"added": COUNT - told["added"], "unchanged": told["added"]}
    # one that has ended stays as it is
    assert client.ask("DELETE", address).status_code == 202
    assert client.ended(job) == told


def test_a_server_that_stops_commits_what_is_ready_and_goes_on_later(
    library: Library, pictures: Path, fakes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_pictures(pictures / "some", COUNT)  # more than are on their way at once
    runtime = _hold(monkeypatch, 4)
    settings = Settings(index_roots=(pictures,))
    with serving(library.folder, settings) as client:
        _index(client, pictures / "some")
        assert runtime.reached.wait(PATIENCE)
        jobs = client.service.jobs
        close = jobs.close

        def close_and_leave() -> None:
            closing = threading.Thread(target=close)
            closing.start()
            while not jobs._closed:
                pass
            runtime.leave.set()
            closing.join()

        monkeypatch.setattr(jobs, "close", close_and_leave)
    count = library.catalogue.counts()[0]
    assert 4 <= count < COUNT
    with serving(library.folder, settings) as client:
        job = client.ended(_index(client, pictures / "some"))
        assert _counts(job) == {"added": COUNT - count, "unchanged": count}


def test_a_job_that_fails_says_why_and_the_next_one_runs(
    client: Client, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = {
        "encoder_unavailable": EncoderUnavailable("There is none.", "Get one."),
        "error": ZeroDivisionError("a secret"),
    }
    for code, error in errors.items():

        def fail(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr("parecido.indexer.indexing.workers.open_encoder", fail)
            job = client.ended(_index(client, pictures / "some"))
        assert (job["state"], job["error"]["code"]) == ("failed", code)
        assert "secret" not in str(job)
    assert _counts(client.ended(_index(client, pictures / "some"))) == {"added": 12}


def test_jobs_that_are_none_are_not_found(client: Client) -> None:
    for method in ("GET", "DELETE"):
        refused(client.ask(method, "/v1/jobs/unknown"), 404, "job_not_found")
        refused(client.ask(method, "/v1/jobs/" + "x" * 41), 400, "invalid_request")


def test_two_hundred_jobs_that_ended_are_remembered(client: Client, pictures: Path) -> None:
    path = pictures / "some" / "0000.png"
    first = client.ended(_index(client, path))
    for _ in range(205):
        last = _index(client, path)
    client.ended(last)
    client.ended(_index(client, path))
    assert len(client.read("/v1/jobs")["jobs"]) == 200
    refused(client.get(f"/v1/jobs/{first['id']}"), 404, "job_not_found")


# -- read-only -------------------------------------------------------------------------------------


def test_a_read_only_server_answers_and_changes_nothing(
    indexed: Library, tmp_path: Path, fakes: None
) -> None:
    before = snapshot(tmp_path / "pictures")
    settings = Settings(read_only=True, index_roots=(tmp_path,))
    with serving(indexed.folder, settings) as client:
        refused(client.send("/v1/pictures", picture_bytes(1)), 403, "read_only")
        refused(client.send("/v1/pictures/1", picture_bytes(1), method="PUT"), 403, "read_only")
        refused(client.ask("DELETE", "/v1/pictures/1"), 403, "read_only")
        refused(client.ask("DELETE", "/v1/pictures/999"), 403, "read_only")
        path = {"path": str(tmp_path)}
        refused(client.ask("POST", "/v1/index", json=path), 403, "read_only")
        refused(client.ask("DELETE", "/v1/jobs/x"), 403, "read_only")
        info = client.read("/v1/info")
        assert (info["read_only"], info["uploads"], info["index_roots"]) == (True, False, [])
        assert info["pictures"] == 20
        best = client.send("/v1/search", picture_bytes(1)).json()["hits"][0]
        assert best["score"] == pytest.approx(1, abs=2e-7)
        assert client.get("/v1/pictures/1/thumbnail").status_code == 200
        assert client.read("/v1/jobs") == {"jobs": []}
    assert snapshot(tmp_path / "pictures") == before


# -- metrics and readiness -------------------------------------------------------------------------


def test_metrics_count_what_was_asked(indexed: Library, fakes: None) -> None:
    def metric(name: str) -> float:
        text = client.get("/metrics").text
        (value,) = re.findall(rf"^parecido_{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(value)

    with serving(indexed.folder) as client:
        for seed in (1, 2, 3):
            client.send("/v1/search", picture_bytes(seed))
        client.get("/v1/pictures/1/similar")
        client.get("/v1/pictures/2/similar")
        vectors = [{"vector": [1] * DIMENSION}] * 5
        client.ask("POST", "/v1/search/batch", json={"queries": vectors})
        client.send("/v1/search", b"no picture")
        client.get("/v1/nothing/here")
        client.ask("BREW", "/v1/search")
        assert metric('queries_total{by="picture"}') == 3
        assert metric('queries_total{by="id"}') == 2
        assert metric('queries_total{by="vector"}') == 5
        requests = 'requests_total{{method="{}",route="{}",status="{}"}}'
        assert metric(requests.format("POST", "/v1/search", 200)) == 3
        assert metric(requests.format("POST", "/v1/search", 422)) == 1
        assert metric(requests.format("GET", "/v1/pictures/{picture_id}/similar", 200)) == 2
        assert metric(requests.format("GET", "", 404)) == 1
        assert metric(requests.format("other", "/v1/search", 405)) == 1
        assert metric('stage_seconds_count{stage="decode"}') == 4
        assert metric('stage_seconds_count{stage="encode"}') == 3
        assert metric('stage_seconds_count{stage="search"}') == 6  # several vectors are one look
        assert metric('batch_size_sum{stage="encode"}') == 3
        assert metric('batch_size_sum{stage="search"}') == 10
        assert metric("library_pictures") == 20
        assert metric("requests_in_flight") == 1  # this very one
        assert metric("request_seconds_count") >= 9
        response = client.get("/metrics")
        assert response.headers["content-type"].startswith("text/plain; version=")
        assert "nothing" not in response.text
        assert "BREW" not in response.text


def test_a_server_is_ready_when_its_encoder_is_open(
    indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave = threading.Event()

    def slowly(*_: object, **__: object) -> Encoder:
        assert leave.wait(PATIENCE)
        return Encoder(fake_spec(), FakeRuntime())

    monkeypatch.setattr("parecido.search.engine.open_encoder", slowly)
    with serving(indexed.folder) as client:
        response = client.get("/readyz")
        refused(response, 503, "starting")
        assert response.headers["retry-after"] == "1"
        assert client.read("/healthz") == {"status": "alive"}
        searching = client.begin("POST", "/v1/search", content=picture_bytes(1), headers=PNG)
        leave.set()
        assert searching.result().status_code == 200
        while (response := client.get("/readyz")).status_code == 503:
            refused(response, 503, "starting")
        assert response.json() == {"status": "ready"}


@pytest.mark.parametrize("error", [EncoderUnavailable("None."), WeightsInvalid("Damaged.")])
def test_a_server_whose_encoder_does_not_open_is_not_ready(
    indexed: Library, monkeypatch: pytest.MonkeyPatch, error: ParecidoError
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("parecido.search.engine.open_encoder", fail)
    with serving(indexed.folder) as client:
        while (told := refused(client.get("/readyz"), 503))["code"] == "starting":
            pass
        assert told["code"] == error.code
        assert client.read("/healthz") == {"status": "alive"}
        assert client.read("/v1/pictures/1/similar")["hits"]  # needs none


def test_a_server_of_an_empty_library_is_ready_for_its_first_picture(client: Client) -> None:
    while (response := client.get("/readyz")).status_code == 503:
        refused(response, 503, "starting")
    assert response.json() == {"status": "ready"}


# -- links -----------------------------------------------------------------------------------------


def test_no_link_leads_clients_out_of_the_allowed_folder(
    fakes: None, indexed: Library, pictures: Path, tmp_path: Path
) -> None:
    save_pictures(tmp_path / "secret", 2)
    (pictures / "some" / "one.png").symlink_to(tmp_path / "secret" / "0000.png")
    settings = Settings(index_roots=(pictures,))
    with serving(indexed.folder, settings) as client:
        before = client.read("/v1/info")["pictures"]
        job = client.ended(client.ask("POST", "/v1/index", json={"path": str(pictures)}).json())
        assert (job["state"], job["added"]) == ("done", 12)
        assert job["skipped"] >= 2
        listed = client.read("/v1/pictures", limit=200)["pictures"]
        assert len(listed) == before + 12
        assert not [one for one in listed if "/out/" in one["path"] or "one.png" in one["path"]]
        for path in (
            pictures / "out",
            pictures / "out" / "0000.png",
            pictures / "some" / "one.png",
        ):
            refused(client.ask("POST", "/v1/index", json={"path": str(path)}), 403)


def test_what_its_owner_indexed_through_a_link_stays_and_is_shown(
    fakes: None, indexed: Library, pictures: Path
) -> None:
    from parecido.indexer.indexing.pipeline import index
    from tests.support.serving import labelled_encoder

    (pictures / "loop").unlink()
    index(indexed, [pictures], encoder=labelled_encoder())
    found = indexed.catalogue.picture_at(str(pictures / "out" / "0000.png"))
    assert found is not None
    (pictures / "some" / "0000.png").unlink()
    with serving(indexed.folder, Settings(index_roots=(pictures,))) as client:
        job = client.ended(client.ask("POST", "/v1/index", json={"path": str(pictures)}).json())
        assert (job["state"], job["removed"]) == ("done", 1)
        assert client.get(f"/v1/pictures/{found.id}/original").status_code == 200
        assert client.get(f"/v1/pictures/{found.id}/thumbnail").status_code == 200


# -- waiting ---------------------------------------------------------------------------------------


def test_whoever_waits_for_a_job_takes_no_place_of_a_search(
    fakes: None, indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(indexed.folder, Settings(concurrent=2)) as client:
        with indexed.writer():  # so that every job waits
            adding = [
                client.begin("POST", "/v1/pictures", content=picture_bytes(100 + n), headers=PNG)
                for n in range(2)
            ]
            turns = client.app.state.callers.turns
            until(lambda: turns.waiting == 2)
            for n in range(5):
                assert client.send("/v1/search", picture_bytes(n)).status_code == 200
            # one more is not kept waiting
            assert client.send("/v1/pictures", picture_bytes(300)).status_code == 202
        assert [answer.result().status_code for answer in adding] == [201] * 2
        until(lambda: turns.waiting == 0 and turns.working == 0)
