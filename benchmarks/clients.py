"""Clients of a server, all at once: how many answers a second, and how long each waits.

``python -m benchmarks.clients REQUEST``, the request naming ``port``, ``connections``, ``seconds``
and either ``ids`` (each asks for the neighbours of pictures by id) or ``files`` (each uploads
pictures).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.children import serve

__all__ = ["load"]


async def load(request: Mapping[str, Any]) -> dict[str, object]:
    """Answers a second and percentiles of the waiting time, after a second of warming up."""
    bodies = [Path(file).read_bytes() for file in request.get("files", [])]
    rng = random.Random(5)
    until = time.perf_counter() + 1 + request["seconds"]
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
        reader, writer = await asyncio.open_connection("127.0.0.1", request["port"])
        while time.perf_counter() < until:
            began = time.perf_counter()
            writer.write(words())
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            length = head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]
            await reader.readexactly(int(length))
            ended = time.perf_counter()
            waits.append((ended, ended - began))
            if status != 200:
                wrong.append(status)
        writer.close()

    await asyncio.gather(*(client() for _ in range(request["connections"])))
    counted = np.array([wait for ended, wait in waits if ended > until - request["seconds"]])
    return {
        "per_second": len(counted) / request["seconds"],
        "wrong": wrong[:5],
        "median": float(np.median(counted)),
        "p99": float(np.percentile(counted, 99)),
    }


if __name__ == "__main__":
    serve(lambda request: asyncio.run(load(request)))
