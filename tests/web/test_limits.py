"""How much a server takes at once, how large, and for how long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.library.library import Library
from parecido.web import Settings
from tests.support.fakes import FakeRuntime, fake_spec
from tests.support.serving import PNG, Client, exchange, picture_bytes, refused, serving, use_fakes
from tests.support.waiting import PATIENCE


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fakes(monkeypatch)


@pytest.fixture
def client(indexed: Library) -> Iterator[Client]:
    with serving(indexed.folder) as client:
        yield client


def test_a_body_that_tells_its_size_is_refused_before_it_comes(indexed: Library) -> None:
    with serving(indexed.folder, Settings(upload_bytes=2000)) as client:
        for length, status in (("2001", 413), ("9" * 5000, 413), ("2000", 200)):
            headers = {"content-length": length, **PNG}
            messages = []
            if status == 200:
                body = picture_bytes(1)
                messages = [{"type": "http.request", "body": body, "more_body": False}]
            told = client.run(exchange(client.app, "POST", "/v1/search", headers, messages))
            assert told[0] == status
            if status == 413:
                assert told[1]["connection"] == "close"
                assert b'"too_large"' in told[2]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        *(("/v1/search", "image/png"), ("/v1/pictures", "application/octet-stream")),
        *(("/v1/search", "multipart/form-data; boundary=x"), ("/v1/labels", "image/png")),
        *(("/v1/search/vector", "application/json"), ("/v1/search/batch", "application/json")),
        *(
            ("/v1/search/batch", "multipart/form-data; boundary=x"),
            ("/session", "application/json"),
        ),
        ("/v1/index", "application/json"),
    ],
)
def test_a_body_that_grows_too_large_on_its_way_is_refused(
    indexed: Library, path: str, kind: str
) -> None:
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for n in range(1000):
            sent += 100
            yield (
                b'--x\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
                + (b"x" * 100)
                if n == 0
                else b"x" * 100
            )

    with serving(indexed.folder, Settings(upload_bytes=2000)) as client:
        response = client.ask("POST", path, content=chunks(), headers={"Content-Type": kind})
        refused(response, 413, "too_large")
        assert sent < 3000
        assert client.send("/v1/search", picture_bytes(1)).status_code == 200


@pytest.mark.parametrize("kind", ["image/png", "multipart/form-data; boundary=x"])
def test_a_body_that_does_not_come_is_not_waited_for(indexed: Library, kind: str) -> None:
    with serving(indexed.folder, Settings(seconds=0.1)) as client:
        head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
        part = {"type": "http.request", "body": head, "more_body": True}
        headers = {"content-type": kind}
        told = client.run(exchange(client.app, "POST", "/v1/search", headers, [part]))
        assert told[0] == 408
        assert told[1]["connection"] == "close"
        assert b'"body_timeout"' in told[2]


@pytest.mark.parametrize("path", ["/v1/search", "/v1/search/batch", "/v1/search/vector"])
@pytest.mark.parametrize(
    "kind", ["image/png", "multipart/form-data; boundary=x", "application/json"]
)
def test_a_client_that_goes_away_is_no_failure(
    client: Client, caplog: pytest.LogCaptureFixture, path: str, kind: str
) -> None:
    part = {"type": "http.request", "body": b"--x\r\n", "more_body": True}
    gone = {"type": "http.disconnect"}
    headers = {"content-type": kind}
    told = client.run(exchange(client.app, "POST", path, headers, [part, gone]))
    assert told[0] in (400, 415)
    assert caplog.records == []


class Held:
    """An encoder that waits, from its second call on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.leave = threading.Event(), threading.Event()
        runtime, self.is_holding = FakeRuntime(), False

        def run(batch: Any) -> Any:
            if self.is_holding:
                self.reached.set()
                assert self.leave.wait(PATIENCE)
            return FakeRuntime.run(runtime, batch)

        monkeypatch.setattr(runtime, "run", run)
        monkeypatch.setattr(
            "parecido.search.engine.open_encoder", lambda *_, **__: Encoder(fake_spec(), runtime)
        )


def _wait_ready(client: Client) -> None:
    while client.get("/readyz").status_code != 200:
        pass


def test_a_busy_server_says_so_and_lives(indexed: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)
    with serving(indexed.folder, Settings(concurrent=3)) as client:
        _wait_ready(client)
        held.is_holding = True
        waiting = [
            client.begin("POST", "/v1/search", content=picture_bytes(n), headers=PNG)
            for n in range(3)
        ]
        assert held.reached.wait(PATIENCE)
        while (response := client.get("/v1/info")).status_code == 200:
            pass  # until the third has come, too
        refused(response, 503, "busy")
        assert response.headers["retry-after"] == "1"
        refused(client.send("/v1/search", picture_bytes(1)), 503, "busy")
        refused(client.get("/"), 503, "busy")
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 200
        held.leave.set()
        assert [answer.result().status_code for answer in waiting] == [200] * 3
        assert client.get("/v1/info").status_code == 200


def test_an_answer_that_takes_too_long_is_given_up(
    indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, limits = Held(monkeypatch), []

    def noted(seconds: float) -> asyncio.Timeout:
        assert seconds == PATIENCE
        limits.append(asyncio.timeout(seconds))
        return limits[-1]

    async def pass_the_time() -> None:
        now = asyncio.get_running_loop().time()
        limits[-1].reschedule(now)

    own = SimpleNamespace(timeout=noted, get_running_loop=asyncio.get_running_loop)
    monkeypatch.setattr("parecido.search.web.guard.asyncio", own)
    with serving(indexed.folder, Settings(seconds=PATIENCE)) as client:
        _wait_ready(client)
        held.is_holding = True
        waiting = client.begin("POST", "/v1/search", content=picture_bytes(1), headers=PNG)
        assert held.reached.wait(PATIENCE)
        client.run(pass_the_time())
        response = waiting.result()
        refused(response, 503, "timeout")
        assert response.headers["retry-after"] == "1"
        held.leave.set()
        assert client.get("/healthz").status_code == 200
