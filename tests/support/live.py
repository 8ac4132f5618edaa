"""A ``parecido serve`` in a process of its own, and raw connections to it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.places import REPOSITORY
from tests.support.serving import picture_bytes
from tests.support.waiting import PATIENCE, PATIENT


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    """A raw connection, which reads answers as they come."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def end(self) -> None:
        """Say that nothing more comes."""
        self._socket.shutdown(socket.SHUT_WR)

    def status(self) -> int:
        """The status of the next answer, of which nothing more is read."""
        return int(self._file.readline().split()[1])

    def answer(self) -> Answer | None:
        """The next answer; None where the server closed."""
        try:
            first = self._file.readline()
            if not first:
                return None
            headers = {}
            while line := self._file.readline().strip():
                name, _, value = line.decode("latin-1").partition(":")
                headers[name.lower()] = value.strip()
            body = self._file.read(int(headers.get("content-length", 0)))
        except ConnectionResetError:
            return None
        found = Answer(int(first.split()[1]), headers, body)
        assert b"root:" not in body
        assert found.status < 500 or found.status == 503, found
        return found


class Server:
    """The process, and what one asks it."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], log: Path) -> None:
        self.folder, self.process, self.log = folder, process, log
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)/", log.read_text())):
            assert process.poll() is None, log.read_text()
            time.sleep(0.01)
        self.port = int(found[1])
        while not self.listens() or self.ask("GET", "/readyz").status != 200:
            assert process.poll() is None, log.read_text()
            time.sleep(0.01)

    def listens(self) -> bool:
        try:
            Connection(self.port).close()
        except ConnectionRefusedError:
            return False
        return True

    def ask(self, method: str, path: str, body: bytes = b"", kind: str = "image/png") -> Answer:
        with Connection(self.port) as connection:
            connection.send(request(method, path, body, kind))
            answer = connection.answer()
        assert answer is not None
        return answer

    def try_raw(self, data: bytes) -> Answer | None:
        """Send bytes, and nothing more; the first answer to them, if there is one."""
        with Connection(self.port) as connection:
            try:
                connection.send(data)
                connection.end()
            except OSError:  # it has heard enough
                pass
            return connection.answer()

    def assert_well(self) -> None:
        assert self.process.poll() is None
        assert self.ask("GET", "/readyz").status == 200
        found = self.ask("POST", "/v1/search?k=1", picture_bytes(3))
        (hit,) = json.loads(found.body)["hits"]
        assert hit["score"] == pytest.approx(1, abs=2e-7)
        assert "Traceback" not in self.log.read_text()

    def peak_bytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def request(method: str, path: str, body: bytes = b"", kind: str = "image/png") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


@contextmanager
def started(
    folder: Path, *options: str, gate: Path | None = None, hurried: bool = False
) -> Iterator[Server]:
    """``parecido serve`` with the fake encoder, killed at the end unless it has ended.

    It takes its time for each request, unless an option says how long it may, and when it stops,
    unless it is ``hurried``.
    """
    log = folder / "log.txt"
    command = [
        sys.executable,
        "-m",
        "tests.support.fake_cli",
        "serve",
        "--port",
        "0",
        *PATIENT,
        *options,
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--library", str(folder / "library")],
            cwd=REPOSITORY,
            stderr=output,
            env={
                **os.environ,
                **({"FAKE_GATE": str(gate)} if gate else {}),
                **({"FAKE_HURRY": "yes"} if hurried else {}),
            },
        )
    try:
        yield Server(folder, process, log)
    finally:
        process.kill()
        process.wait()
