"""Wrong tokens: whoever gives many waits longer and longer until the next is looked at."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from parecido.search.web.errors import Refused

__all__ = ["Guesses"]

_FREE = 5  # slips of the pen
_FIRST, _LONGEST = 0.1, 5.0  # seconds between two that are looked at; doubled with each
_QUEUE = 10.0  # seconds that anybody is let wait
_FORGOTTEN = 900.0
_REMEMBERED = 4096  # peers


@dataclass
class _Peer:
    wrong: int = 0
    last: float = 0.0
    turn: float = 0.0
    """When the next token may be looked at."""


class Guesses:
    """Who has given wrong tokens.  Touched by the event loop alone.

    Tokens of a peer who has given many are looked at one after the other, right or wrong, so that
    asking on many connections gains nothing.  Other peers wait for nothing.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._peers: OrderedDict[str, _Peer] = OrderedDict()

    async def wait(self, peer: str) -> None:
        """Until it is a peer's turn.  Raises ``Refused`` where that is far away."""
        seconds = self.book(peer)
        if seconds > 0:
            await asyncio.sleep(seconds)

    def book(self, peer: str) -> float:
        """Take the next turn; in how many seconds it is."""
        known = self._peers.get(peer)
        now = self._clock()
        if known is None or known.wrong <= _FREE:
            return 0.0
        if now - known.last > _FORGOTTEN:
            del self._peers[peer]
            return 0.0
        turn = max(now, known.turn)
        if turn - now > _QUEUE:
            raise Refused(
                429,
                "too_many_guesses",
                "Too many wrong tokens came from this address.",
                "Wait, and send the right one.",
                {"Retry-After": str(round(turn - now))},
            )
        known.turn = turn + min(_FIRST * 2 ** min(known.wrong - _FREE - 1, 16), _LONGEST)
        return turn - now

    def note_wrong(self, peer: str) -> None:
        """A peer has given a wrong one."""
        known = self._peers.setdefault(peer, _Peer())
        self._peers.move_to_end(peer)
        now = self._clock()
        if now - known.last > _FORGOTTEN:
            known.wrong = 0
        known.wrong += 1
        known.last = now
        if known.wrong == _FREE + 1:
            known.turn = now + _FIRST
        while len(self._peers) > _REMEMBERED:
            self._peers.popitem(last=False)
