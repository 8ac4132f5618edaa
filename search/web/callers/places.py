"""Places for what callers do that may take long: so many, and no caller keeps others out.

Where all are taken, somebody who has been at it for long gives up his, of those who have most.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["ABORT", "Place", "Places", "is_local", "peer_of"]

ABORT = "parecido.abort"
"""The extension of a request by which its connection can be ended at once."""


@dataclass(eq=False)
class Place:
    """Somebody's."""

    peer: str
    give_up: Callable[[], None]
    """Called, once, when another is to have it."""
    weight: int = 0
    """Bytes that are held for it."""


class Places:
    """At most so many places, and bytes for all of them together.

    Who comes is let in: the one who has had a place for longest gives it up, of the peer who has
    most of what there is too little of.
    """

    def __init__(self, most: int, most_weight: int) -> None:
        self._most = most
        self._most_weight = most_weight
        self._taken: dict[Place, None] = {}  # the oldest first
        self._settled: set[Place] = set()
        self._weight = 0

    def __len__(self) -> int:
        return len(self._taken)

    def take(self, place: Place) -> None:
        """Let somebody in."""
        self._taken[place] = None
        self._weight += place.weight
        while len(self._taken) > self._most:
            self._end(self._longest(Counter(one.peer for one in self._taken), 0))
        self._lighten()

    def add(self, place: Place, weight: int) -> None:
        """More bytes are held for a place; its own may be the one that is given up."""
        if place in self._taken:
            place.weight += weight
            self._weight += weight
            self._lighten()

    def settle(self, place: Place) -> None:
        """Keep the bytes of a place, which takes no place of others any more."""
        if place in self._taken:
            del self._taken[place]
            self._settled.add(place)

    def leave(self, place: Place) -> None:
        """Give a place back, with its bytes, unless it is given up."""
        if place in self._taken or place in self._settled:
            self._taken.pop(place, None)
            self._settled.discard(place)
            self._weight -= place.weight

    def _lighten(self) -> None:
        while self._weight > self._most_weight:
            held: Counter[str] = Counter()
            for one in self._taken:
                held[one.peer] += one.weight
            if not held.total():
                return
            self._end(self._longest(held, 1))

    def _longest(self, had: Counter[str], least: int) -> Place:
        """The one of the peer who has most that has been there for longest, and is so heavy."""
        (peer, _), *_ = had.most_common(1)
        return next(one for one in self._taken if one.peer == peer and one.weight >= least)

    def _end(self, place: Place) -> None:
        self.leave(place)
        place.give_up()


@lru_cache(1024)
def peer_of(host: str) -> str:
    """Who counts as one: an address; of IPv6 the network that a household has (64 bits)."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((int(address), 64), strict=False))
    return str(getattr(address, "ipv4_mapped", None) or address)


@lru_cache(1024)
def is_local(host: str) -> bool:
    """Whether this machine itself calls: a person, or a proxy that stands for many."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host in ("", "localhost")
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
