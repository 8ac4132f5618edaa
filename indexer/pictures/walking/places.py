"""Which folders a walk has entered, so that it enters each once and every loop ends."""

from __future__ import annotations

import os
import re
from functools import cached_property

from parecido.indexer.system.paths import SEPARATOR, within

__all__ = ["Places"]

_MOUNTS = "/proc/self/mountinfo"


class Places:
    """The folders that were entered, by their real paths.

    The number of an inode does not tell a folder: file systems that put others together, and some
    of the network and of user space, give one number to several.  So two folders with one number
    are the same only where more says so: a mount that shows the one in the other's place, or, where
    a folder would lie in itself, that both hold the same.
    """

    def __init__(self) -> None:
        self._entered: dict[bytes, tuple[int, int]] = {}
        self._first: dict[tuple[int, int], bytes] = {}
        self.repeated: tuple[bytes, bytes] | None = None
        """The first two folders that have one number and are not the same."""

    def has(self, real: bytes) -> bool:
        """Whether the folder with that real path was entered."""
        return real in self._entered

    def enter(self, real: bytes, status: os.stat_result, is_start: bool = False) -> bool:
        """Note that a folder is entered; whether it was not before.

        ``is_start`` is for what was named, or is linked to: one folder may be spelled in two ways
        there, where a file system knows no case.
        """
        if real in self._entered:
            return False
        identity = (status.st_dev, status.st_ino)
        first = self._first.setdefault(identity, real)
        if first != real:
            if self._is_shown_elsewhere(real, identity) or self._is_loop(real, identity):
                return False
            if is_start and _hold_the_same(real, first):
                return False
            if self.repeated is None:
                self.repeated = (first, real)
        self._entered[real] = identity
        return True

    def _is_shown_elsewhere(self, real: bytes, identity: tuple[int, int]) -> bool:
        """Whether a mount shows the same folder at a path that was entered."""
        return any(self._entered.get(name) == identity for name in self._mounts.find_names(real))

    def _is_loop(self, real: bytes, identity: tuple[int, int]) -> bool:
        """Whether a folder is one of those that it lies in."""
        above = os.path.dirname(real)
        while True:
            if self._entered.get(above) == identity and _hold_the_same(real, above):
                return True
            if (higher := os.path.dirname(above)) == above:
                return False
            above = higher

    @cached_property
    def _mounts(self) -> _Mounts:
        return _Mounts()


def _hold_the_same(one: bytes, other: bytes) -> bool:
    """Whether two paths lead to one folder, as far as its times and what is in it tell."""
    try:
        times = [(s.st_mtime_ns, s.st_ctime_ns) for s in (os.stat(one), os.stat(other))]
        return times[0] == times[1] and _list(one) == _list(other) != set()
    except OSError:
        return False


def _list(folder: bytes) -> set[tuple[bytes, int]]:
    with os.scandir(folder) as listing:
        return {(entry.name, entry.inode()) for entry in listing}


class _Mounts:
    """What is mounted where; nothing where a system does not tell it as Linux does."""

    def __init__(self) -> None:
        # (device, folder of its file system that is shown, where): proc(5), of the last line first
        self._mounts: list[tuple[bytes, bytes, bytes]] = []
        try:
            with open(_MOUNTS, "rb") as file:
                lines = file.read().splitlines()
        except OSError:
            return
        for line in reversed(lines):
            fields = line.split(b" ")
            if len(fields) > 4:
                self._mounts.append((fields[2], _plain(fields[3]), _plain(fields[4])))

    def find_names(self, real: bytes) -> list[bytes]:
        """By which other paths the mounts show the same folder."""
        covering = [mount for mount in self._mounts if within(real, mount[2])]
        if not covering:
            return []
        device, shown, at = max(covering, key=lambda mount: len(mount[2]))
        inner = _move(real, at, shown)
        names = [
            _move(inner, other_shown, other_at)
            for other_device, other_shown, other_at in self._mounts
            if other_device == device and within(inner, other_shown)
        ]
        return [name for name in names if name != real]


def _move(path: bytes, old: bytes, new: bytes) -> bytes:
    """A path below one folder as it lies below another."""
    rest = path[len(old.rstrip(SEPARATOR)) :]
    return (new.rstrip(SEPARATOR) + rest) or SEPARATOR


def _plain(field: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), field)
