"""What a server tells of itself: metrics for Prometheus, and a line for each request."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["AccessLog", "Metrics"]

_log = logging.getLogger("parecido.access")

# seconds: from a search in a small library to a picture of 100 megapixels
_LATENCIES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BATCHES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The numbers of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.queries = Counter(
            "parecido_queries", "Queries answered.", ["by"], registry=self.registry
        )
        self.requests = Counter(
            "parecido_requests",
            "Requests by route and status.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._stages = Histogram(
            "parecido_stage_seconds",
            "Time spent in each stage of a query, waiting included.",
            ["stage"],
            buckets=_LATENCIES,
            registry=self.registry,
        )
        self.seconds = Histogram(
            "parecido_request_seconds",
            "Time from a request to the end of its answer.",
            buckets=_LATENCIES,
            registry=self.registry,
        )
        self._batches = Histogram(
            "parecido_batch_size",
            "How many were gathered into one call.",
            ["stage"],
            buckets=_BATCHES,
            registry=self.registry,
        )
        self.pictures = Gauge(
            "parecido_library_pictures", "Pictures in the library.", registry=self.registry
        )
        self.in_flight = Gauge(
            "parecido_requests_in_flight", "Requests being answered.", registry=self.registry
        )

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._stages.labels(name).observe(time.perf_counter() - started)

    def batch(self, stage: str, size: int) -> None:
        """A call answered so many at once."""
        self._batches.labels(stage).observe(size)

    def text(self) -> bytes:
        """In Prometheus's own text format."""
        return generate_latest(self.registry)


class AccessLog:
    """A JSON line on the log for each request, and its metrics.

    The line names the path, the metrics only the route, so that they stay few.  Neither has what
    stands behind the question mark, headers or bodies.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status, size = 500, 0

        async def note_answer(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                size += len(message.get("body", b""))
            await send(message)

        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, note_answer)
        finally:
            self._metrics.in_flight.dec()
            took = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "")
            self._metrics.requests.labels(_method(scope), route, status).inc()
            self._metrics.seconds.observe(took)
            if _log.isEnabledFor(logging.INFO):
                _log.info("%s", _line(scope, status, size, took))


def _method(scope: Scope) -> str:
    """The method; clients may send any word as one, and each would be a series of its own."""
    known = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
    return scope["method"] if scope["method"] in known else "other"


def _line(scope: Scope, status: int, size: int, took: float) -> str:
    client = scope.get("client") or ("-", 0)
    return json.dumps(
        {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "client": client[0],
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "bytes": size,
            "ms": round(took * 1000, 1),
        }
    )
