"""The HTTP server in this process: an application with its lifespan, behind a plain client."""

from __future__ import annotations

import asyncio
import io
import sqlite3
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi import FastAPI
from PIL import Image

import parecido.search.web.routes.pictures
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.indexing.pipeline import index
from parecido.indexer.library.layout import CATALOGUE
from parecido.indexer.library.library import Library
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.records.filters import Filter
from parecido.indexer.records.pictures import Picture
from parecido.search.results import Hit, hit_dict
from parecido.search.web.jobs import Job
from parecido.search.web.service import Service
from parecido.web import Settings, create_app
from tests.support.fakes import FakeRuntime, fake_spec
from tests.support.waiting import PATIENCE

_T = TypeVar("_T")
HOST = "http://localhost:8000"

# an upload is answered when it is in the library, unless a test lets it become a job
parecido.search.web.routes.pictures._PATIENCE = PATIENCE
PNG = {"Content-Type": "image/png"}


class LabelledRuntime(FakeRuntime):
    """The fake runtime with an ImageNet head: the pixels' sum names the likeliest class."""

    def run(
        self, batch: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
        probabilities = np.full((len(batch), 1000), 0.0001, np.float32)
        for row, pixels in zip(probabilities, batch, strict=True):
            likeliest = int(pixels.sum(dtype=np.int64)) % 20
            row[likeliest], row[likeliest + 1] = 0.7, 0.2
        return super().run(batch)[0], probabilities


def labelled_encoder(spec: EncoderSpec | None = None, **_: object) -> Encoder:
    """The fake encoder with labels, in the place of any."""
    return Encoder(spec or fake_spec(), LabelledRuntime())


def use_fakes(patch: pytest.MonkeyPatch) -> None:
    """New libraries get the fake encoder, and so does whoever opens one."""
    patch.setattr("parecido.indexer.indexing.encoder_choice.resolve", lambda *_, **__: fake_spec())
    for module in ("parecido.indexer.indexing.workers", "parecido.search.engine"):
        patch.setattr(f"{module}.open_encoder", labelled_encoder)


class Client:
    """Asks an application that runs on another thread's event loop, and waits for the answers."""

    def __init__(self, app: FastAPI, portal: BlockingPortal, http: httpx.AsyncClient) -> None:
        self.app = app
        self._portal = portal
        self._http = http

    @property
    def service(self) -> Service:
        service: Service = self.app.state.service
        return service

    def begin(self, method: str, path: str, /, **options: Any) -> Future[httpx.Response]:
        """Send a request; the answer comes later."""

        async def ask() -> httpx.Response:
            return await self._http.request(method, path, **options)

        return self._portal.start_task_soon(ask)

    def ask(self, method: str, path: str, /, **options: Any) -> httpx.Response:
        """Send a request and wait for its answer."""
        return self.begin(method, path, **options).result()

    def get(self, path: str, /, **params: Any) -> httpx.Response:
        return self.ask("GET", path, params=params)

    def read(self, path: str, /, **params: Any) -> Any:
        """The JSON at a path that answers."""
        response = self.get(path, **params)
        assert response.status_code == 200, response.text
        return response.json()

    def send(
        self, path: str, data: bytes, /, method: str = "POST", **params: Any
    ) -> httpx.Response:
        """Send a picture as the whole body."""
        return self.ask(method, path, content=data, headers=PNG, params=params)

    def forget_cookies(self) -> None:
        self._http.cookies.clear()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine on the application's loop."""

        async def wait() -> _T:
            return await work

        return self._portal.call(wait)

    def ended(self, told: dict[str, Any]) -> dict[str, Any]:
        """A job as it is told of when it has ended."""
        job: Job = self.service.jobs.get(told["id"])
        assert job.ended.wait(PATIENCE)
        document: dict[str, Any] = self.read(f"/v1/jobs/{job.id}")
        return document


@contextmanager
def serving(
    library: Path, settings: Settings | None = None, *, raises: bool = True
) -> Iterator[Client]:
    """An application that answers from a library; what it does not catch is raised.

    It takes its time, unless the settings say how long it may.
    """
    settings = settings or Settings()
    if settings.seconds == Settings.seconds:
        settings = replace(settings, seconds=2 * PATIENCE)
    app = create_app(library, settings)
    with running(app, raises=raises) as client:
        yield client


@contextmanager
def running(app: FastAPI, *, raises: bool = True) -> Iterator[Client]:
    """A client of an application, its lifespan included."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=raises)
    http = httpx.AsyncClient(transport=transport, base_url=HOST, timeout=PATIENCE)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(app.router.lifespan_context(app)),
        portal.wrap_async_context_manager(http),
    ):
        yield Client(app, portal, http)


def refused(response: httpx.Response, status: int, code: str | None = None) -> dict[str, str]:
    """The error in an answer, which has that status and the one shape of all errors."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"error"}
    error: dict[str, str] = response.json()["error"]
    assert set(error) == {"code", "message", "remedy"}
    assert all(isinstance(text, str) for text in error.values())
    assert error["code"]
    assert error["message"]
    assert code in (None, error["code"]), error
    return error


def picture_bytes(seed: int, form: str = "PNG", size: tuple[int, int] = (48, 40)) -> bytes:
    """A file with four coloured quadrants, different for each seed."""
    colours = np.random.default_rng(seed).integers(0, 256, (2, 2, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(colours).resize(size, Image.Resampling.NEAREST).save(stream, form)
    return stream.getvalue()


async def exchange(
    app: Any, method: str, path: str, headers: dict[str, str], messages: list[dict[str, Any]]
) -> tuple[int, dict[str, str], bytes]:
    """Speak ASGI by hand: bodies in any pieces, and none at all after the last message."""
    waiting, answer = list(messages), []

    async def receive() -> dict[str, Any]:
        if waiting:
            return waiting.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        answer.append(message)

    given = {"host": "localhost", **headers}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in given.items()],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 8000),
    }
    await app(scope, receive, send)
    begin, *rest = answer
    came = {name.decode(): value.decode("latin-1") for name, value in begin["headers"]}
    return begin["status"], came, b"".join(message.get("body", b"") for message in rest)


COUNT = 36
"""Pictures in the gallery."""
_FORMATS = (("PNG", ".png"), ("JPEG", ".jpg"), ("WEBP", ".webp"))
_CAMERAS = ("", "Canon EOS 5D", "NIKON D90")


def _save_gallery(folder: Path) -> None:
    """Pictures of several folders, formats, sizes, dates and cameras."""
    for n in range(COUNT):
        form, suffix = _FORMATS[n % 3]
        path = folder / f"group {n % 2}" / f"[{n % 4}]" / f"{n:02d}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        if n % 5:
            exif.get_ifd(0x8769)[0x9003] = (
                f"{2018 + n % 5}:{1 + n % 12:02d}:{1 + n % 28:02d} 12:30:00"
            )
        if _CAMERAS[n // 3 % 3]:
            exif[0x0110] = _CAMERAS[n // 3 % 3]
        with Image.open(io.BytesIO(picture_bytes(n, size=(32 + n, 60 - n)))) as picture:
            picture.save(path, form, exif=exif)


def make_gallery(folder: Path) -> Path:
    """A library of many kinds of pictures; the one with id n came on the n-th day of March 2024."""
    _save_gallery(folder / "pictures")
    with Library.create(folder / "library") as library:
        index(library, [folder / "pictures"], encoder=labelled_encoder())
        assert library.catalogue.counts()[0] == COUNT
    with closing(sqlite3.connect(folder / "library" / CATALOGUE)) as connection, connection:
        day = datetime(2024, 2, 29, 12).timestamp()
        connection.execute("UPDATE pictures SET added_at = ? + id * 86400", (day,))
    return folder / "library"


def all_pictures(library: Library) -> list[Picture]:
    """All pictures of a library, by path."""
    return library.catalogue.list_pictures(Filter(), "path", 1000)


def hits_json(found: tuple[Hit, ...]) -> list[dict[str, Any]]:
    """Hits as JSON brings them: pairs are lists there."""
    return [hit_dict(hit) for hit in found]


def ids_of(results: dict[str, Any]) -> list[int]:
    """The ids of an answer's hits, best first."""
    return [hit["id"] for hit in results["hits"]]
