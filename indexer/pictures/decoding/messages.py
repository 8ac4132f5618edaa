"""What a process that decodes and its owner say to each other.

A letter, the lengths of what follows, a header in JSON, and bytes.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Channel", "Ended", "Message", "TookTooLong"]

_LENGTHS = struct.Struct("<cII")
_TICK = 0.25  # seconds between two looks at whether to go on waiting

READY = b"r"
"""The process has started."""
JOB = b"j"
"""What is wanted, with the bytes of a picture or the path of one."""
BYTES = b"b"
"""The process has a file's bytes, and their hash: is it to be decoded?"""
OPENED = b"o"
"""The header was read; with the size of the picture, and of what is to be decoded of it."""
ANSWER = b"y"
"""The owner's answer to a hash, and to the header of a large picture: it may go on."""
DRAWN = b"d"
"""The end of a job: what was wanted."""
REFUSED = b"x"
"""The end of a job: an error of this project's."""
CRASHED, TOO_SLOW, TOO_MUCH_MEMORY = "crashed", "too-slow", "too-much-memory"
STOPPING_KINDS = (CRASHED, TOO_SLOW, TOO_MUCH_MEMORY)
"""Kinds of files that brought a process down."""


class Ended(Exception):
    """The other side is not there any more."""


class TookTooLong(Exception):
    """The other side is there, and says nothing."""


class Message(NamedTuple):
    """One of the letters above, with what goes with it."""

    letter: bytes
    header: dict[str, Any]
    body: bytearray


class Channel:
    """One end of a connection, for one thread at a time."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def close(self) -> None:
        """Let go of the connection, which ends a process that waits for a job."""
        self._end.close()

    def send(self, letter: bytes, header: dict[str, Any], body: bytes = b"") -> None:
        """Say something.  Raises :class:`Ended`."""
        told = json.dumps(header).encode()
        try:
            self._end.settimeout(None)
            self._end.sendall(_LENGTHS.pack(letter, len(told), len(body)) + told)
            if body:
                self._end.sendall(body)
        except OSError as error:
            raise Ended from error

    def receive(
        self, seconds: float | None = None, stop: Callable[[], bool] = lambda: False
    ) -> Message:
        """What the other side says.

        Raises :class:`Ended`, also where ``stop`` returns true, and :class:`TookTooLong` after so
        many seconds in which nothing came.
        """
        lengths = self._take(_LENGTHS.size, seconds, stop)
        letter, header, body = _LENGTHS.unpack(lengths)
        told = self._take(header, seconds, stop)
        return Message(letter, json.loads(told), self._take(body, seconds, stop))

    def _take(self, count: int, seconds: float | None, stop: Callable[[], bool]) -> bytearray:
        taken = bytearray(count)
        left = memoryview(taken)
        self._end.settimeout(None if seconds is None else _TICK)
        # counted in ticks, not on a clock: a machine that slept, or a program that was suspended,
        # has not waited
        waited = 0.0
        while left:
            try:
                came = self._end.recv_into(left)
            except TimeoutError:
                waited += _TICK
                if stop():
                    raise Ended from None
                if seconds is not None and waited >= seconds:
                    raise TookTooLong from None
                continue
            except OSError as error:
                raise Ended from error
            if not came:
                raise Ended
            left, waited = left[came:], 0.0
        return taken
