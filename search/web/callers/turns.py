"""A request's way: its body comes, it is worked on, its answer goes; how many do each at once.

Slow bodies and slow readers take places of their own, so they never keep others from an answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from parecido.search.web.callers.places import Place, Places
from parecido.search.web.errors import Refused
from parecido.search.web.settings import Settings

__all__ = ["TURN", "Turn", "Turns", "stopping"]

TURN = "parecido.turn"
"""Where a scope holds its request's turn."""

_RETRY = {"Retry-After": "1"}
_BODIES = 4  # of the largest size are held at once, and at least these bytes
_HELD_BYTES = 128 << 20
_READERS = 4  # times as many answers as may be worked on may be on their way


class Turns:
    """Those of all requests.  Touched by the event loop alone."""

    def __init__(self, settings: Settings) -> None:
        self.most = settings.concurrent
        held = max(_HELD_BYTES, _BODIES * settings.upload_bytes)
        self.bodies = Places(self.most, held)
        self.answers = Places(_READERS * self.most, _HELD_BYTES)
        self.working = 0
        self.waiting = 0
        self.running: set[Turn] = set()
        self._stopped: Refused | None = None

    def check(self) -> None:
        """Raise where nothing more is taken on."""
        if self._stopped is not None:
            raise self._stopped
        if self.working >= self.most:
            raise busy()

    def stop(self) -> None:
        """Let every request end now, and take on no other."""
        self._stopped = stopping()
        for turn in list(self.running):
            turn.end(self._stopped)


class Turn:
    """One request's.  ``limit`` is its time."""

    def __init__(self, turns: Turns, limit: asyncio.Timeout, peer: str) -> None:
        self._turns = turns
        self._limit = limit
        self._body = Place(peer, self._make_room)
        self._answer = Place(peer, self._make_room)
        self._is_working = False
        self.is_whole = False
        self.is_begun = False
        self.came = 0
        """Bytes of the body."""
        self.refusal: Refused | None = None
        """Why it is not answered otherwise."""

    def begin(self, has_body: bool) -> None:
        """Raises ``Refused`` where too many are worked on."""
        self._turns.check()
        self._turns.running.add(self)
        if has_body:
            self._turns.bodies.take(self._body)
        else:
            self._work()

    def leave(self) -> None:
        """It is over."""
        self._turns.running.discard(self)
        self._rest()
        self._turns.bodies.leave(self._body)
        self._turns.answers.leave(self._answer)

    def note_body(self, size: int, more: bool) -> None:
        """A part of the body came.  Raises ``Refused`` where there is no room for it."""
        self.came += size
        self.is_whole = not more
        self._turns.bodies.add(self._body, size)
        if self.refusal is None and not more and not self._is_working and not self.is_begun:
            self._turns.bodies.settle(self._body)
            if self._turns.working >= self._turns.most:
                self.refusal = busy()
            else:
                self._work()
        if self.refusal is not None:
            raise busy()  # another one, for it gets a trace that holds what holds it

    def note_answer(self, size: int) -> None:
        """An answer begins, or more of it is held until it is read."""
        if not self.is_begun:
            self.is_begun = True
            self._rest()
            self._turns.answers.take(self._answer)
        self._turns.answers.add(self._answer, size)

    @contextmanager
    def waiting(self) -> Iterator[bool]:
        """Wait for something that others work on, without a place; whether it may wait."""
        if self._turns.waiting >= self._turns.most:
            yield False
            return
        was_working, self._turns.waiting = self._is_working, self._turns.waiting + 1
        self._rest()
        try:
            yield True
        finally:
            self._turns.waiting -= 1
            if was_working and not self.is_begun:
                self._work()

    def end(self, refusal: Refused) -> None:
        """Give it up now."""
        if self.refusal is None:
            self.refusal = refusal
        with suppress(RuntimeError):  # it ends already
            self._limit.reschedule(asyncio.get_running_loop().time())

    def _make_room(self) -> None:
        self.end(busy({"Connection": "close"}))

    def _work(self) -> None:
        self._is_working = True
        self._turns.working += 1

    def _rest(self) -> None:
        self._turns.working -= self._is_working
        self._is_working = False


def stopping() -> Refused:
    """For whoever asks a server that ends."""
    words = "The server is stopping.", "Try again when it runs."
    return Refused(503, "stopping", *words, {**_RETRY, "Connection": "close"})


def busy(headers: dict[str, str] | None = None) -> Refused:
    """For a request that finds all places taken."""
    words = "Too many requests at once.", "Try again."
    return Refused(503, "busy", *words, {**_RETRY, **(headers or {})})
