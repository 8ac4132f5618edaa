"""A server under attack: ``python -m benchmarks.server.attacks [--seconds 300]``.

An honest client searches all the while: without attack, under all attacks of
:mod:`benchmarks.server.attackers` at once, and beside an idle load that takes as much CPU as the
attackers did.  Attackers and load have the lowest priority (nice 19), so what is lost is what the
server itself does for them.  At the end of the attack the server is told to stop.
"""

from __future__ import annotations

import http.client
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil

from benchmarks.children import ask
from benchmarks.material.pictures import SETS
from benchmarks.plan import Plan, say
from benchmarks.server.attackers import ATTACKS, TOKEN
from benchmarks.server.serving import server
from parecido import IndexOptions, Library, index

_PICTURES = 200
_PAUSE = 0.1


class _Honest:
    """A client that searches by pictures and by ids, each on a connection of its own."""

    def __init__(self, port: int, bodies: list[bytes]) -> None:
        self._port = port
        self._bodies = bodies
        self._rng = random.Random(3)
        self.waits: list[float] = []
        self.wrong: list[str] = []

    def search_for(self, seconds: float) -> None:
        """Search until so many seconds are over."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            began = time.monotonic()
            try:
                status = self._search()
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append(repr(error))
            else:
                self.waits.append(time.monotonic() - began)
                if status != 200:
                    self.wrong.append(str(status))
            time.sleep(_PAUSE)

    def _search(self) -> int:
        headers = {"Authorization": f"Bearer {TOKEN}", "Host": "localhost"}
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            if self._rng.random() < 0.5:
                number = self._rng.randint(1, _PICTURES)
                connection.request("GET", f"/v1/pictures/{number}/similar", headers=headers)
            else:
                body = self._rng.choice(self._bodies) + self._rng.randbytes(8)
                typed = {**headers, "Content-Type": "image/jpeg"}
                connection.request("POST", "/v1/search", body, typed)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def percentile(self, share: float) -> float:
        """Milliseconds that so many of a hundred searches waited at most."""
        return float(np.percentile(self.waits, share)) * 1000


class _Memory:
    """What a process and its children hold, looked at now and then."""

    def __init__(self, process: int) -> None:
        self._process = psutil.Process(process)
        self.peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def now(self) -> int:
        """Bytes, what is shared counted once for each."""
        found = 0
        for one in (self._process, *self._process.children(recursive=True)):
            try:
                found += one.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return found

    def cpu(self) -> float:
        """Seconds that the process itself has used."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note the peak while the block lasts."""
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            try:
                self.peak = max(self.peak, self.now())
            except psutil.NoSuchProcess:
                return


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seconds", type=float, default=300.0, show_default=True, help="Of the attack.")
@click.option("--calm", type=float, default=60.0, show_default=True, help="Seconds without it.")
@click.option("--only", multiple=True, type=click.Choice(list(ATTACKS)), help="These attacks.")
def main(seconds: float, calm: float, only: tuple[str, ...]) -> None:
    """Measure what attacks cost an honest client of a server."""
    chosen = only or tuple(ATTACKS)
    plan = Plan(quick=True)
    folder = plan.work / "attacks"
    files = [Path(file) for file in SETS[0].files(plan.folder("pictures"), _PICTURES)]
    _make_library(folder, files)
    bodies = [file.read_bytes() for file in files[:64]]
    say(f"load of the machine before: {_load()}")
    with server(folder / "library", ["--token", TOKEN]) as (port, _, process):
        memory = _Memory(process.pid)
        _Honest(port, bodies).search_for(min(10.0, calm))  # it warms up
        used = memory.cpu()
        quiet = _searched("without attack", port, bodies, calm)
        print(f"  the server used {(memory.cpu() - used) / calm:.2f} cores")
        before = memory.now()
        with memory.watching(), ThreadPoolExecutor(len(chosen)) as pool:
            attacks = {name: pool.submit(_attack, name, port, seconds + 10) for name in chosen}
            time.sleep(3)
            used = memory.cpu()
            attacked = _searched("under attack", port, bodies, seconds)
            print(f"  the server used {(memory.cpu() - used) / seconds:.2f} cores")
            after = memory.now()
            ended = _stop(process)
        cpu = _tell(attacks, seconds + 10)
    with server(folder / "library", ["--token", TOKEN]) as (port, _, _):
        _Honest(port, bodies).search_for(min(10.0, calm))
        with ThreadPoolExecutor(8) as pool:
            for share in (min(1.0, cpu - n) for n in range(int(np.ceil(cpu)))):
                pool.submit(_attack, "nothing", 0, calm, share)
            loaded = _searched(f"beside an idle load of {cpu:.2f} cores", port, bodies, calm)
    base = quiet.percentile(99)
    print(f"99th percentile: {attacked.percentile(99) / base:.1f} x under attack, ", end="")
    print(f"{loaded.percentile(99) / base:.1f} x beside the idle load")
    print(f"memory, MB: {before / 1e6:.0f} before, {memory.peak / 1e6:.0f} at most, ", end="")
    print(f"{after / 1e6:.0f} after")
    print(f"ended {ended:.2f} s after SIGTERM, with {process.returncode}; load {_load()}")


def _make_library(folder: Path, files: list[Path]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "pictures").mkdir(parents=True)
    for number, file in enumerate(files):
        shutil.copy(file, folder / "pictures" / f"{number:04d}.jpg")
    with Library.create(folder / "library") as library:
        index(library, [folder / "pictures"], IndexOptions(device="cpu"))


def _searched(name: str, port: int, bodies: list[bytes], seconds: float) -> _Honest:
    honest = _Honest(port, bodies)
    honest.search_for(seconds)
    told = ", ".join(f"{share}% {honest.percentile(share):.0f}" for share in (50, 95, 99, 100))
    print(f"{name}: {len(honest.waits)} searches, ms: {told}", flush=True)
    for wrong in sorted(set(honest.wrong)):
        print(f"  not answered: {wrong}, {honest.wrong.count(wrong)} times", flush=True)
    return honest


def _attack(name: str, port: int, seconds: float, share: float = 0.0) -> dict[str, Any]:
    request = {"attack": name, "port": port, "seconds": seconds, "share": share}
    return ask("server.attackers", request)


def _stop(process: subprocess.Popen[bytes]) -> float:
    """Seconds until a server ends that is told to."""
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    return time.monotonic() - began


def _tell(attacks: Mapping[str, Future[dict[str, Any]]], seconds: float) -> float:
    """Print what the attackers did; how many cores they used."""
    cpu = 0.0
    for name, attack in attacks.items():
        found = attack.result()
        cpu += found["cpu"] / seconds
        told = ", ".join(f"{what} {count:,}" for what, count in sorted(found["told"].items()))
        print(f"  {name}, {ATTACKS[name][1]} at once: {told}; {found['cpu'] / seconds:.2f} cores")
    return cpu


def _load() -> str:
    return " ".join(f"{load:.1f}" for load in psutil.getloadavg())


if __name__ == "__main__":
    main()
