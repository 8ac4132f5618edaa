"""Clients that mean harm, at the lowest priority.

``python -m benchmarks.server.attackers REQUEST``, the request naming the ``attack``, the ``port``
and for how many ``seconds``.  What is answered is how often it was done, what the server said to
it, and the attacker's own CPU.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from benchmarks.children import serve

__all__ = ["ATTACKS", "TOKEN", "attack"]

TOKEN = "the right one"
_HEAD = f"Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
_GONE = (ConnectionError, OSError, asyncio.IncompleteReadError, TimeoutError)
_BATCH = 31_000_000

Told = Counter[str]


@asynccontextmanager
async def _connection(port: int, source: str = "127.0.0.1") -> Any:  # of the reader and the writer
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _pause(seconds: float) -> None:
    """About so long: not all at the same moment."""
    await asyncio.sleep(seconds * random.uniform(0.5, 1.5))


async def _status(reader: asyncio.StreamReader) -> str:
    line = await asyncio.wait_for(reader.readline(), 40)
    return line.split()[1].decode() if line else "closed"


async def _pour_headers(port: int, told: Told) -> None:
    """Header lines without end, and without the token."""
    lines = b"X-Line: of no meaning at all\r\n" * 2000
    async with _connection(port) as (reader, writer):
        writer.write(b"GET /v1/info HTTP/1.1\r\nHost: localhost\r\n")
        try:
            for _ in range(20_000):  # 1.2 GB
                writer.write(lines)
                await writer.drain()
                told["bytes"] += len(lines)
        except _GONE:
            pass
        told[await _status(reader)] += 1
    await asyncio.sleep(0.05)


async def _leave_open(port: int, told: Told) -> None:
    """A head that does not end."""
    async with _connection(port) as (reader, writer):
        writer.write(b"GET /v1/info HTTP/1.1\r\nHost: localhost\r\nX: ")
        await writer.drain()
        told["opened"] += 1
        told[await _status(reader)] += 1
    await _pause(5)


def _batches() -> Iterator[bytes]:
    """JSON of 31 MB: one list, many queries, nesting, and as much as is allowed."""
    numbers = b"0.1," * (_BATCH // 4)
    vector = json.dumps([0.0123456789 + n for n in range(1280)]).encode()
    while True:
        yield b'{"queries":[{"vector":[' + numbers + b"1]}]}"
        yield b'{"queries":[' + b"{}," * (_BATCH // 3) + b"{}]}"
        yield b'{"queries":' + b"[" * _BATCH
        yield b'{"queries":[' + b",".join([b'{"vector":' + vector + b"}"] * 1000) + b"]}"


async def _send_batches(port: int, told: Told) -> None:
    for body in _batches():
        head = f"POST /v1/search/batch?k=10 HTTP/1.1\r\n{_HEAD}Content-Type: application/json\r\n"
        with suppress(*_GONE):
            async with _connection(port) as (reader, writer):
                writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
                with suppress(*_GONE):
                    writer.write(body)
                    await writer.drain()
                told["bytes"] += len(body)
                told[await _status(reader)] += 1
        await asyncio.sleep(1)


async def _upload_slowly(port: int, told: Told) -> None:
    """A picture of 5 MB, a kilobyte a second."""
    head = f"POST /v1/search HTTP/1.1\r\n{_HEAD}Content-Type: image/jpeg\r\n"
    async with _connection(port) as (reader, writer):
        writer.write(f"{head}Content-Length: 5000000\r\n\r\n".encode())
        told["begun"] += 1
        answer = asyncio.ensure_future(_status(reader))
        while not answer.done():
            writer.write(bytes(1000))
            await asyncio.sleep(1)
        told[await answer] += 1
    await _pause(0.5)


async def _hold_bytes(port: int, told: Told) -> None:
    """A picture of 31 MB that comes at once, but for its end."""
    head = f"POST /v1/search HTTP/1.1\r\n{_HEAD}Content-Type: image/jpeg\r\n"
    async with _connection(port) as (reader, writer):
        writer.write(f"{head}Content-Length: 31000000\r\n\r\n".encode() + bytes(30_999_000))
        told["begun"] += 1
        told[await _status(reader)] += 1
    await _pause(5)


async def _read_nothing(port: int, told: Told) -> None:
    """Answers that nobody takes, with no room for them on the way."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.setblocking(False)
    with line:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(line, ("127.0.0.1", port))
        path = "/v1/pictures/1/similar?k=1000"
        await loop.sock_sendall(line, f"GET {path} HTTP/1.1\r\n{_HEAD}\r\n".encode() * 4)
        told["asked"] += 4
        await asyncio.sleep(20)


async def _guess(port: int, told: Told) -> None:
    """Wrong tokens, from another address than the honest client's."""
    async with _connection(port, "127.0.0.2") as (reader, writer):
        wrong = _HEAD.replace("right", os.urandom(4).hex())
        writer.write(f"GET /v1/info HTTP/1.1\r\n{wrong}\r\n".encode())
        told[await _status(reader)] += 1
    await asyncio.sleep(0.2)


ATTACKS: Mapping[str, tuple[Callable[[int, Told], Awaitable[None]], int]] = {
    "header lines": (_pour_headers, 4),
    "half-open connections": (_leave_open, 1100),
    "batches of JSON": (_send_batches, 1),
    "slow uploads": (_upload_slowly, 200),
    "bodies held back": (_hold_bytes, 6),
    "readers of nothing": (_read_nothing, 50),
    "guesses of the token": (_guess, 10),
}
"""Each with how many do it at once, again and again."""


async def _repeat(
    work: Callable[[int, Told], Awaitable[None]], port: int, told: Told, until: float
) -> None:
    while time.monotonic() < until:
        try:
            async with asyncio.timeout(max(0.1, until - time.monotonic())):
                await work(port, told)
        except _GONE as error:
            if time.monotonic() < until:
                told[type(error).__name__] += 1
            await asyncio.sleep(1)


async def attack(request: Mapping[str, Any]) -> Told:
    """What became of it."""
    work, many = ATTACKS[request["attack"]]
    until = time.monotonic() + request["seconds"]
    told: Told = Counter()

    async def begin(number: int) -> None:
        await asyncio.sleep(number / many * min(5.0, request["seconds"] / 4))
        await _repeat(work, request["port"], told, until)

    await asyncio.gather(*(begin(number) for number in range(many)))
    return told


def _answer(request: dict[str, Any]) -> Mapping[str, object]:
    os.nice(19)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if request["attack"] == "nothing":
        _burn(request["share"], request["seconds"])
        told: Told = Counter()
    else:
        told = asyncio.run(attack(request))
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"told": told, "cpu": used.ru_utime + used.ru_stime}


def _burn(share: float, seconds: float) -> None:
    """Use that share of a core for nothing."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic()
        while time.monotonic() - began < 0.01 * share:
            pass
        time.sleep(0.01 * (1 - share))


if __name__ == "__main__":
    serve(_answer)
