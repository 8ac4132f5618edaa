"""The connections of a server: how many, how long and slow their heads may be, and their end.

An HTTP parser takes a head of any length, and a server as many connections as there are.  Here a
head has so many bytes, lines and seconds; and where all connections are taken, one goes that waits
for nothing, of the peer who has most.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from types import FrameType
from typing import Any, cast

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from parecido.search.web.callers.places import ABORT, is_local, peer_of
from parecido.search.web.errors import Refused, error_response

__all__ = ["Bounds", "Connections", "Server"]

_PIPELINED = 64  # requests that a client may send ahead of their answers
_SETTLED = 1.0  # seconds after which a head that is not there is not on its way
_LINGER = 30.0  # seconds to take what is left of an answer
_SWEEP, _SWEPT = 0.25, 100  # seconds from one to the next, and how many each ends at most
_ABORTING = 0.2  # seconds between the last answers and the end of all connections
_LEAVING = 0.7  # seconds for the library, once all requests have ended
_RETRY = {"Retry-After": "1", "Connection": "close"}


@dataclass(frozen=True)
class Bounds:
    """How much of each there may be."""

    connections: int = 1000
    of_peer: int | None = None
    """Connections of one address; None: 128, and any number of this machine itself, where a proxy
    may stand for all callers."""
    head_bytes: int = 32_768
    head_lines: int = 100
    head_seconds: float = 10.0
    discarded_bytes: int = 32_000_000
    """Of a body whose request has been answered already."""

    def most_of(self, host: str) -> int:
        """Connections that an address may have."""
        if self.of_peer is not None:
            return self.of_peer or self.connections
        return self.connections if is_local(host) else 128


class _State(Enum):
    HEAD = "head"
    """A head is waited for, or the rest of a body that has been answered already."""
    IDLE = "idle"
    BUSY = "busy"


@dataclass(eq=False)
class _Peer:
    """The connections of one peer, by what they wait for; the longest waiting first."""

    count: int = 0
    heads: dict[_Bounded, float] = field(default_factory=dict)
    idle: dict[_Bounded, float] = field(default_factory=dict)

    def longest_waiting(self, now: float) -> _Bounded | None:
        """Who is to go: one that never asks before one that may ask again."""
        head = next(iter(self.heads.items()), None)
        if head is not None and now - head[1] > _SETTLED:
            return head[0]
        return next(iter(self.idle), head and head[0])


class Connections:
    """All connections of a server.  Touched by its event loop alone."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._peers: dict[str, _Peer] = {}
        self._all: set[_Bounded] = set()
        self._closing: dict[_Bounded, float] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    def make_protocol(self, *args: Any, **options: Any) -> asyncio.Protocol:
        """For :class:`uvicorn.Config`'s ``http``."""
        return _Bounded(self, *args, **options)

    def __len__(self) -> int:
        return len(self._all)

    def admit(self, one: _Bounded, host: str) -> bool:
        """Whether a connection finds a place; another one may go for it."""
        now = one.loop.time()
        mine = self._peers.get(one.peer)
        if mine is not None and mine.count >= self.bounds.most_of(host):
            if not self._drop(mine.longest_waiting(now)):
                return False
        elif len(self._all) >= self.bounds.connections:
            by_count = sorted(self._peers.values(), key=lambda peer: -peer.count)
            found = (peer.longest_waiting(now) for peer in by_count)
            if not self._drop(next((one for one in found if one is not None), None)):
                return False
        self._all.add(one)
        mine = self._peers.setdefault(one.peer, _Peer())
        mine.count += 1
        mine.heads[one] = now
        if self._sweeping is None:
            self._sweeping = one.loop.call_later(_SWEEP, self._sweep, one.loop)
        return True

    def note(self, one: _Bounded, state: _State) -> None:
        """What a connection waits for now."""
        peer = self._peers.get(one.peer)
        if peer is None or one not in self._all:
            return
        peer.heads.pop(one, None)
        peer.idle.pop(one, None)
        if state is _State.HEAD:
            peer.heads[one] = one.loop.time()
        elif state is _State.IDLE:
            peer.idle[one] = one.loop.time()

    def forget(self, one: _Bounded) -> None:
        """A connection is gone."""
        if one not in self._all:
            return
        self._all.discard(one)
        self._closing.pop(one, None)
        peer = self._peers[one.peer]
        peer.heads.pop(one, None)
        peer.idle.pop(one, None)
        peer.count -= 1
        if not peer.count:
            del self._peers[one.peer]

    def abort_all(self) -> None:
        """End every connection, whatever is under way."""
        for one in list(self._all):
            one.abort()

    def _late(self, now: float) -> Iterator[_Bounded]:
        """Those whose heads did not come in time."""
        for peer in self._peers.values():
            for one, since in peer.heads.items():
                if now - since <= self.bounds.head_seconds:
                    break
                yield one

    def _drop(self, one: _Bounded | None) -> bool:
        if one is None:
            return False
        self.forget(one)
        one.abort()
        return True

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """End those whose heads do not come, and those that do not take what is left for them."""
        now = loop.time()
        for one in list(islice(self._late(now), _SWEPT)):  # all at once they would stop the rest
            one.give_up()
        for one in list(self._all):
            if one.transport.is_closing():
                since = self._closing.setdefault(one, now)
                if now - since > _LINGER:
                    one.abort()
        self._sweeping = loop.call_later(_SWEEP, self._sweep, loop) if self._all else None


class _Bounded(HttpToolsProtocol):
    """A connection whose heads are bounded, and which is counted."""

    def __init__(self, connections: Connections, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._connections = connections
        self._bounds = connections.bounds
        self.peer = ""
        self._state = _State.HEAD
        self._lines = self._head = self._stuck = self._discarded = 0
        self._is_whole = True
        self._unanswered: list[RequestResponseCycle] = []
        self._refusal: Refused | None = None

    # -- the connection ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        host = self.client[0] if self.client else ""
        self.peer = peer_of(host)
        if not self._connections.admit(self, host):
            self._answer(Refused(503, "busy", "Too many connections.", "Try again.", _RETRY))

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.forget(self)
        super().connection_lost(exc)

    def give_up(self) -> None:
        """No head came in time: an answer to what began, none to silence."""
        if self._stuck or not self._is_whole:
            words = "The request did not come in time.", "Send it faster.", {"Connection": "close"}
            self._answer(Refused(408, "head_timeout", *words))
        else:
            self.transport.close()
        self._connections.note(self, _State.BUSY)  # it goes by itself, or when it has lingered

    def abort(self) -> None:
        """End it now; nobody is told of what was under way."""
        self._leave()
        self.transport.abort()

    # -- what comes --------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._stuck += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("")
            return
        except httptools.HttpParserUpgrade:
            pass  # it is answered as if it had not asked for another protocol
        if self._stuck > self._bounds.head_bytes:
            self._answer(self._too_long())
        elif self._state is _State.IDLE:
            self._note(_State.HEAD)

    def on_message_begin(self) -> None:
        self._lines = self._head = self._discarded = 0
        super().on_message_begin()
        cast(Any, self.scope)["extensions"] = {ABORT: self.abort}

    def on_url(self, url: bytes) -> None:
        self._count(len(url), 0)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4, 1)  # behind a body, too
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stuck = 0
        if len(self.pipeline) >= _PIPELINED:
            words = "Too many requests were sent ahead of their answers.", "Read the answers."
            self._refusal = Refused(400, "too_many", *words, {"Connection": "close"})
            raise OverflowError
        self._is_whole = False
        self._note(_State.BUSY)
        super().on_headers_complete()
        self._unanswered.append(self.cycle)

    def on_body(self, body: bytes) -> None:
        self._stuck = 0
        if self.cycle.response_complete:
            self._discarded += len(body)
            if self._discarded > self._bounds.discarded_bytes:
                self.abort()
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._stuck = 0
        self._is_whole = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._unanswered = [one for one in self._unanswered if not one.response_complete]
        super().on_response_complete()
        if self.cycle.response_complete:
            self._note(_State.IDLE if self._is_whole else _State.HEAD)

    def _leave(self) -> None:
        """Nobody waits for the answers that are made."""
        for one in self._unanswered:
            one.disconnected = True
            one.message_event.set()

    def _note(self, state: _State) -> None:
        self._state = state
        self._connections.note(self, state)

    def _count(self, size: int, lines: int) -> None:
        self._head += size
        self._lines += lines
        if self._head > self._bounds.head_bytes or self._lines > self._bounds.head_lines:
            self._refusal = self._too_long()
            raise OverflowError

    # -- refusals ----------------------------------------------------------------------------------

    def _too_long(self) -> Refused:
        return Refused(
            431,
            "head_too_large",
            f"The request's head has more than {self._bounds.head_bytes:,} bytes or "
            f"{self._bounds.head_lines} lines.",
            "Send fewer headers and a shorter address.",
            {"Connection": "close"},
        )

    def send_400_response(self, msg: str) -> None:
        words = "This is no HTTP request.", "Look at /docs for what is expected."
        refusal = self._refusal or Refused(400, "invalid_request", *words, {"Connection": "close"})
        self._answer(refusal)

    def _answer(self, refusal: Refused) -> None:
        """Refuse what no application has seen, and close; nothing more of it is read."""
        self._leave()
        if not self._unanswered or (
            self._unanswered == [self.cycle] and not self.cycle.response_started
        ):
            response = error_response(refusal)
            phrase = {400: b"Bad Request", 408: b"Request Timeout", 503: b"Service Unavailable"}
            said = phrase.get(refusal.status, b"Request Header Fields Too Large")
            lines = [b"HTTP/1.1 %d %s" % (refusal.status, said)]
            lines += [name + b": " + value for name, value in response.raw_headers]
            lines += [b"x-content-type-options: nosniff", b"", bytes(response.body)]
            self.transport.write(b"\r\n".join(lines))
        self.transport.close()


class Server(uvicorn.Server):
    """Ends when it is told to, whatever its clients do."""

    def __init__(
        self,
        config: uvicorn.Config,
        connections: Connections,
        grace: float,
        stop: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._connections = connections
        self._grace = grace
        self._stop = stop

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            # what was committed is safe, and what was not is done again by the next server
            last = threading.Timer(self._grace + _LEAVING, os._exit, (128 + signal.Signals(sig),))
            last.daemon = True
            last.start()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(self._grace, self._stop)
        loop.call_later(self._grace + _ABORTING, self._connections.abort_all)
        await super().shutdown(sockets)
