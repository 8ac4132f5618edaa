"""A set of ids that stays small."""

from __future__ import annotations

__all__ = ["IdSet"]


class IdSet:
    """A set of ids up to a known largest one, in a bit for each: a million are 122 KB.

    Ids above the largest were given in this run, so they were seen.
    """

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._bits = bytearray(largest // 8 + 1)

    def add(self, number: int) -> None:
        if number <= self._largest:
            self._bits[number >> 3] |= 1 << (number & 7)

    def __contains__(self, number: int) -> bool:
        return number > self._largest or bool(self._bits[number >> 3] >> (number & 7) & 1)
