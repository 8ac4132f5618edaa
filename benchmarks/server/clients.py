"""Clients of a server, all at once: how many answers a second, and how long each waits.

``python -m benchmarks.server.clients REQUEST``, the request naming ``port``, ``connections``,
``seconds`` and either ``ids`` (each asks for the neighbours of pictures by id) or ``files`` (each
uploads pictures); ``warming`` is for how many seconds nothing is counted, 1 by default.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import uvloop

from benchmarks.children import serve

__all__ = ["load"]


async def load(request: Mapping[str, Any]) -> dict[str, object]:
    """Answers a second and percentiles of the waiting time, after some seconds of warming up."""
    bodies = [Path(file).read_bytes() for file in request.get("files", [])]
    rng = random.Random(5)
    until = time.perf_counter() + request.get("warming", 1) + request["seconds"]
    waits: list[tuple[float, float]] = []
    wrong: list[int] = []

    def words() -> bytes:
        if bodies:
            # a number behind a JPEG's end changes nothing but its hash: no answer is remembered
            body = rng.choice(bodies) + rng.randbytes(8)
            head = f"POST /v1/search?k=10 HTTP/1.1\r\nContent-Length: {len(body)}\r\n"
            return (head + "Content-Type: image/jpeg\r\nHost: localhost\r\n\r\n").encode() + body
        number = rng.randint(1, request["ids"])
        head = f"GET /v1/pictures/{number}/similar?k=10 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        return head.encode()

    async def client() -> None:
        over = asyncio.get_running_loop().create_future()

        class Client(asyncio.Protocol):
            """Asks again as soon as it is answered; lean, for it runs on the server's cores."""

            transport: asyncio.Transport
            began = 0.0
            held = b""

            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport = cast(asyncio.Transport, transport)
                self.ask()

            def ask(self) -> None:
                self.held, self.began = b"", time.perf_counter()
                self.transport.write(words())

            def data_received(self, data: bytes) -> None:
                self.held += data
                head, ended, body = self.held.partition(b"\r\n\r\n")
                if not ended:
                    return
                length = head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]
                if len(body) < int(length):
                    return
                now = time.perf_counter()
                waits.append((now, now - self.began))
                status = int(head.split(b" ", 2)[1])
                if status != 200:
                    wrong.append(status)
                if now < until:
                    self.ask()
                else:
                    self.transport.close()

            def connection_lost(self, error: Exception | None) -> None:
                if not over.done():
                    over.set_result(None) if error is None else over.set_exception(error)

        await asyncio.get_running_loop().create_connection(Client, "127.0.0.1", request["port"])
        await over

    await asyncio.gather(*(client() for _ in range(request["connections"])))
    counted = np.array([wait for ended, wait in waits if ended > until - request["seconds"]])
    return {
        "per_second": len(counted) / request["seconds"],
        "wrong": wrong[:5],
        "median": float(np.median(counted)),
        "p99": float(np.percentile(counted, 99)),
    }


if __name__ == "__main__":
    serve(lambda request: uvloop.run(load(request)))
