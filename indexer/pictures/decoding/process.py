"""A process that decodes, as its owner sees it."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import parecido.indexer.errors
from parecido.indexer.errors import PictureUnreadable
from parecido.indexer.pictures.decoding.allowance import after_header, before_header
from parecido.indexer.pictures.decoding.decoder import Claim
from parecido.indexer.pictures.decoding.messages import (
    ANSWER,
    BYTES,
    DRAWN,
    JOB,
    OPENED,
    REFUSED,
    Channel,
    Ended,
    Message,
)
from parecido.indexer.pictures.decoding.orders import Order
from parecido.indexer.pictures.wanted import Drawn
from parecido.indexer.records.details import Details
from parecido.indexer.records.pictures import Taken

__all__ = ["CannotStart", "DecoderProcess"]

_START_SECONDS = 60.0  # 0.06 on a quiet machine
_END_SECONDS = 1.0
# -I and -S: neither the environment nor the current folder choose what is imported, and .pth files,
# which take as long as all other imports, are not read
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); "
    "from parecido.indexer.pictures.decoding.program import main; main()"
)
# large pictures are decoded one at a time, by whatever process
_large = threading.Lock()


class CannotStart(Exception):
    """No process can be started, and why."""


class DecoderProcess:
    """One process, for one thread at a time.  Made when it has started.

    Raises :class:`CannotStart`.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._channel = Channel(ours)
        try:
            with theirs:
                self._process: subprocess.Popen[bytes] = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _PROGRAM, json.dumps(_search_path())],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    # decoders print remarks on damaged files
                    stderr=None if _is_debugging() else subprocess.DEVNULL,
                    env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
                    start_new_session=True,  # Ctrl-C is for its owner
                )
        except OSError as error:
            self._channel.close()
            raise CannotStart(str(error)) from error
        try:
            self._channel.receive(_START_SECONDS)
        except Exception as error:
            self.kill()
            raise CannotStart(f"{sys.executable} ended at once") from error
        self.orders = 0
        """How many it was given."""
        self.is_at_rest = True
        """Whether it waits for an order, and not for a word on the last one."""

    @property
    def pid(self) -> int:
        """The system's number of it."""
        return self._process.pid

    def interrupt(self) -> None:
        """End it whatever it does, from another thread than the one that works with it."""
        self._process.kill()

    def kill(self) -> None:
        """End it whatever it does."""
        self._process.kill()
        self.end()

    def end(self) -> int | None:
        """Let it end, if it was not killed; its exit status, None where it does not end.

        A process that waits for a disk that does not answer cannot even be killed.
        """
        self._channel.close()
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(_END_SECONDS)
        return None

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def work(
        self, order: Order, content: bytes, claim: Claim | None, stop: Callable[[], bool]
    ) -> Drawn | None:
        """What was wanted of a picture; None where ``claim`` says no to the hash of its bytes.

        Raises this project's errors, and ``Ended`` or ``TookTooLong`` where the process is of no
        use any more.
        """
        self.orders += 1
        self.is_at_rest = False
        size = len(content) or order.file_bytes
        self._channel.send(JOB, {"order": order.to_header(), "hash": claim is not None}, content)
        seconds = before_header(size).wall_seconds
        message = self._channel.receive(seconds, stop)
        if message.letter == BYTES:
            assert claim is not None
            goes_on = claim(bytes.fromhex(message.header["hash"]))
            self._channel.send(ANSWER, {"go": goes_on})
            if not goes_on:
                self.is_at_rest = True
                return None
            message = self._channel.receive(seconds, stop)
        if message.letter != OPENED:
            return self._end_order(message)
        seconds = after_header(size, message.header["pixels"]).wall_seconds
        if not message.header["large"]:  # it goes on, and told only what it may take
            return self._end_order(self._channel.receive(seconds, stop))
        with _large:
            self._channel.send(ANSWER, {})
            return self._end_order(self._channel.receive(seconds, stop))

    def _end_order(self, message: Message) -> Drawn:
        self.is_at_rest = message.letter in (DRAWN, REFUSED)
        return _read_end(message)


def _read_end(message: Message) -> Drawn:
    """What was drawn; raises what the process raised."""
    header = message.header
    if message.letter == DRAWN:
        told = {
            "taken": Taken(*header["taken"]),
            "details": Details.from_json(header["details"]),
            "size": tuple(header["size"]),
            "box": tuple(header["box"]),
        }
        return Drawn(message.body, **{**header, **told})
    if message.letter != REFUSED:
        raise Ended  # it does not speak as it should
    if "reason" in header:
        raise PictureUnreadable(header["reason"], header["kind"])
    if "module" in header:
        raise ImportError(header["message"], name=header["module"])
    raise getattr(parecido.indexer.errors, header["error"])(header["message"], header["remedy"])


def _search_path() -> list[str]:
    """Where this process imports from, but for the current folder, which may be anybody's."""
    here = str(Path(parecido.__file__).parent.parent)
    return [here, *(os.path.abspath(folder) for folder in sys.path if folder)]


def _is_debugging() -> bool:
    return logging.getLogger().isEnabledFor(logging.DEBUG)
