"""A server that is searched by many clients while its library is indexed and pruned.

What counts is not speed: no request may fail, no hit may name a picture that has been gone for more
than two seconds, and memory must stay where it is.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from benchmarks.figures import Comparison, Figure
from benchmarks.material.pictures import SETS
from benchmarks.plan import Plan, say
from benchmarks.server.serving import server
from parecido import IndexOptions, Library, index

__all__ = ["measure"]

_CLIENTS = 16
_SECONDS, _QUICK_SECONDS = 300.0, 10.0
_GONE_FOR = 2.0
_GROWTH = 1.05


class _Churn:
    """What has become of the pictures, as the clients compare it with their hits."""

    def __init__(self) -> None:
        self.gone: dict[int, float] = {}
        self.standing: list[int] = []
        self.wrong: list[str] = []
        self.answers = 0
        self.changes = 0

    def check(self, answer: httpx.Response, asked: float) -> None:
        self.answers += 1
        if answer.status_code == 404 and "picture_not_found" in answer.text:
            return  # asked for by an id that has just gone
        if answer.status_code != 200:
            self.wrong.append(f"{answer.status_code}: {answer.text[:200]}")
            return
        for hit in answer.json()["hits"]:
            if asked - self.gone.get(hit["id"], np.inf) > _GONE_FOR:
                self.wrong.append(f"picture {hit['id']} has been gone for long")


def measure(plan: Plan) -> list[Figure]:
    """Requests that failed, and how memory grew."""
    seconds = _QUICK_SECONDS if plan.quick else _SECONDS
    files = [
        str(path) for path in SETS[0].files(plan.folder("pictures"), 64 if plan.quick else None)
    ]
    folder = plan.work / "soak"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "pictures").mkdir(parents=True)
    for number, file in enumerate(files):
        shutil.copy(file, folder / "pictures" / f"{number:04d}.jpg")
    with Library.create(folder / "library") as library:
        index(library, [folder / "pictures"], IndexOptions(device="cpu"))
    say(f"soak: {len(files)} pictures, {_CLIENTS} clients, {seconds:.0f} s")
    allowed = ["--allow-index", str(folder / "pictures")]
    with server(folder / "library", allowed) as (port, _, process):
        found = asyncio.run(_soak(port, process.pid, files, folder / "pictures", seconds))
    shutil.rmtree(folder)
    for line in found["wrong"][:5]:
        say(f"soak: {line}")
    settled = found["settled"]
    return [
        Figure(
            "soak",
            "requests that failed",
            float(len(found["wrong"])),
            f"of {found['answers']:,}",
            Comparison("target", 0.0, float(len(found["wrong"])), 0.0, at_least=False),
            note=f"while {found['changes']:,} pictures came and went in {seconds:.0f} s",
        ),
        Figure(
            "soak",
            "memory at the end",
            found["end"] / 1e6,
            "MB",
            Comparison.of("settled", [found["end"]], [settled], _GROWTH, at_least=False),
        ),
    ]


async def _soak(
    port: int, pid: int, files: list[str], folder: Path, seconds: float
) -> Mapping[str, Any]:
    churn = _Churn()
    until = time.monotonic() + seconds
    memory: list[int] = []
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
    url = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
        listed = (await client.get("/v1/pictures", params={"limit": 200})).json()
        churn.standing = [picture["id"] for picture in listed["pictures"]]
        bodies = [Path(file).read_bytes() for file in files[:64]]

        async def search(number: int) -> None:
            rng = random.Random(number)
            while time.monotonic() < until:
                asked = time.monotonic()
                if rng.random() < 0.25:
                    answer = await client.post("/v1/search", content=rng.choice(bodies))
                else:
                    picture = rng.choice(churn.standing)
                    answer = await client.get(f"/v1/pictures/{picture}/similar")
                churn.check(answer, asked)

        async def watch() -> None:
            process = psutil.Process(pid)
            while time.monotonic() < until:
                memory.append(process.memory_info().rss)
                await asyncio.sleep(0.5)

        clients = [search(number) for number in range(_CLIENTS)]
        await asyncio.gather(
            *clients,
            watch(),
            _uploads(client, churn, bodies, until),
            _files(client, churn, folder, until),
        )
    third = len(memory) // 3
    return {
        "wrong": churn.wrong,
        "answers": churn.answers,
        "changes": churn.changes,
        "settled": float(np.mean(memory[third : 2 * third])),
        "end": float(np.mean(memory[2 * third :])),
    }


async def _uploads(
    client: httpx.AsyncClient, churn: _Churn, bodies: list[bytes], until: float
) -> None:
    """Add pictures through the server and take them out again."""
    number = 0
    while time.monotonic() < until:
        number += 1
        # bytes behind a JPEG's end change nothing but its hash
        body = bodies[number % len(bodies)] + str(number).encode()
        added = await client.post("/v1/pictures", content=body)
        picture = await _settled(client, churn, added)
        if picture is None:
            continue
        await asyncio.sleep(0.2)
        removed = await client.delete(f"/v1/pictures/{picture}")
        await _settled(client, churn, removed)
        churn.gone[picture] = time.monotonic()
        churn.changes += 2


async def _files(client: httpx.AsyncClient, churn: _Churn, folder: Path, until: float) -> None:
    """Take files away and put new ones there, and have the folder indexed."""
    number = 0
    while time.monotonic() < until:
        number += 1
        files = sorted(folder.iterdir())
        away = random.Random(number).sample(files, 5)
        ids = [await _id_of(client, path) for path in away]
        for path in away:
            (folder / f"new-{number:05d}-{path.name[-20:]}").write_bytes(
                path.read_bytes() + f"-{number}".encode()
            )
            path.unlink()
        job = await client.post("/v1/index", json={"path": str(folder)})
        await _settled(client, churn, job)
        for picture in filter(None, ids):
            churn.gone[picture] = time.monotonic()
        wanted: dict[str, str | int] = {"limit": 200, "path": str(folder)}
        listed = (await client.get("/v1/pictures", params=wanted)).json()
        churn.standing = [picture["id"] for picture in listed["pictures"]]
        churn.changes += 10


async def _id_of(client: httpx.AsyncClient, path: Path) -> int | None:
    found = (await client.get("/v1/pictures", params={"path": str(path)})).json()["pictures"]
    return int(found[0]["id"]) if found else None


async def _settled(client: httpx.AsyncClient, churn: _Churn, answer: httpx.Response) -> int | None:
    """Wait for what an answer began; the picture's id, where it is about one."""
    if answer.status_code in (200, 201):
        return int(answer.json()["id"])
    if answer.status_code == 204:
        return None
    if answer.status_code != 202:
        churn.wrong.append(f"{answer.status_code}: {answer.text[:200]}")
        return None
    job: dict[str, Any] = answer.json()
    while job["state"] in ("waiting", "running"):
        await asyncio.sleep(0.05)
        job = (await client.get(f"/v1/jobs/{job['id']}")).json()
    if job["state"] != "done":
        churn.wrong.append(json.dumps(job)[:300])
    picture: int | None = job["picture"]
    return picture
