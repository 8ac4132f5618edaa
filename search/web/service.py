"""The library behind a server: opened once, its encoder warm, its questions gathered.

Decoding, encoding and searching each have threads of their own, off the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from indexer.decode import Decoded, decode, pillow_limit, probe
from indexer.encoders import Encoder
from indexer.errors import ParecidoError
from indexer.library import THUMBNAILS, UPLOADS, Library
from indexer.records import Picture
from indexer.region import Region, decode_region
from search.engine import Engine
from search.query import Query
from search.results import Hit
from search.web.answers import Refused
from search.web.gather import Gatherer
from search.web.jobs import Jobs
from search.web.settings import Settings
from search.web.telemetry import Metrics
from search.web.thumbnails import Thumbnails

__all__ = ["Service"]

_T = TypeVar("_T")
_log = logging.getLogger("parecido")

Pixels = npt.NDArray[np.uint8]
Vectors = npt.NDArray[np.float32]
Labels = tuple[tuple[str, float, int], ...]


class Service:
    """What the routes use.  Made and closed within the event loop that serves."""

    def __init__(self, library: Library, settings: Settings, metrics: Metrics) -> None:
        self.library = library
        self.settings = settings
        self.metrics = metrics
        self.uploads = (settings.uploads or library.folder / UPLOADS).absolute()
        cores = os.cpu_count() or 1
        self.engine = Engine(library, device=settings.device, limits=settings.limits, streams=cores)
        self.thumbnails = Thumbnails(
            library.folder / THUMBNAILS, settings.thumbnail_bytes, settings.limits
        )
        self.jobs = Jobs(library, self.uploads, settings, self._encoder_if_open)
        self._pool = ThreadPoolExecutor(cores + 1, thread_name_prefix="decode")
        self._encoding: Gatherer[tuple[Pixels, int], tuple[Vectors, Labels]] = Gatherer(
            "encode",
            self._encode,
            threads=cores,
            most=32 if settings.device != "cpu" else 4,
            kind=lambda asked: (asked[0].shape, asked[1]),
            told=lambda size: metrics.batch("encode", size),
        )
        self._searching: Gatherer[Query, tuple[Hit, ...]] = Gatherer(
            "search", self._search, most=64, told=lambda size: metrics.batch("search", size)
        )
        self._warm = threading.Event()
        self._failed: ParecidoError | None = None
        self._stack = ExitStack()
        self._stack.enter_context(pillow_limit(settings.limits))
        threading.Thread(target=self._warm_up, name="warm-up", daemon=True).start()

    def close(self) -> None:
        """Let running jobs commit and stop, answer what waits, and let go of everything."""
        self.jobs.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._encoding.close()
        self._searching.close()
        self.engine.close()
        self._stack.close()

    # -- readiness -------------------------------------------------------------------------------

    def check_ready(self) -> None:
        """Raise while the encoder is being opened, or where it cannot be."""
        if self._failed is not None:
            raise self._failed
        if not self._warm.is_set():
            raise Refused(
                503, "starting", "The server is starting.", "Come again.", {"Retry-After": "1"}
            )

    def _warm_up(self) -> None:
        """Open what the first query would wait for."""
        try:
            spec = self.library.encoder
            if spec is not None and self.library.catalogue.counts()[0]:
                height, width = spec.size.height, spec.size.width
                blank = np.zeros((height, width, 3), np.uint8)
                vector = self.engine.encoder.encode([blank]).descriptors[0]
                self.engine.search_vector(vector, k=1)
        except ParecidoError as error:
            _log.error("%s", error)
            self._failed = error
        except Exception:
            _log.exception("The server could not warm up")
        self._warm.set()

    def _encoder_if_open(self) -> Encoder | None:
        """For indexing runs: the network is not loaded twice."""
        return self.engine.encoder if self.library.catalogue.counts()[0] else None

    # -- asking ----------------------------------------------------------------------------------

    async def call(self, function: Callable[..., _T], *arguments: object) -> _T:
        """Run what takes a while on a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, function, *arguments)

    async def pixels(self, data: bytes, region: Region | None = None) -> Decoded:
        """A picture's bytes at the encoder's size.  Raises ``PictureUnreadable``."""
        spec = self.engine.spec
        with self.metrics.stage("decode"):
            if region is None:
                return await self.call(decode, data, spec, self.settings.limits)
            return await self.call(decode_region, data, region, spec, self.settings.limits)

    async def describe(
        self, data: bytes, region: Region | None = None, labels: int = 0
    ) -> tuple[Vectors, Labels]:
        """The descriptor of a picture's bytes, and its likeliest classes."""
        decoded = await self.pixels(data, region)
        with self.metrics.stage("encode"):
            return await self._encoding.ask((decoded.pixels, labels))

    async def describe_part(self, picture: Picture, region: Region) -> Vectors:
        """The descriptor of a part of an indexed picture, from its file."""
        data = await self.call(probe, Path(picture.path), self.settings.limits)
        return (await self.describe(data, region))[0]

    async def hits(self, query: Query, by: str) -> tuple[Hit, ...]:
        """The hits of a query; ``by`` is how it was asked, for the metrics."""
        query.terms.check()
        with self.metrics.stage("search"):
            hits = await self._searching.ask(query)
        self.metrics.queries.labels(by).inc()
        return hits

    def _encode(self, asked: Sequence[tuple[Pixels, int]]) -> Sequence[tuple[Vectors, Labels]]:
        encoding = self.engine.encoder.encode([pixels for pixels, _ in asked], asked[0][1])
        return list(zip(encoding.descriptors, encoding.labels, strict=True))

    def _search(self, queries: Sequence[Query]) -> Sequence[tuple[Hit, ...]]:
        return self.engine.answer(queries)
