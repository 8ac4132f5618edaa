"""What a disk may hold after a power cut, made of the record of a run's calls.

A file has everything up to its last sync, and of what was written later any blocks; what happened
to names is there up to the last sync of a folder, and then up to any later moment.  So a disk may
keep later writes and lose earlier ones, as ext4 does, and lose more than ext4 would: there a sync
of any file keeps all names.  The memory that readers share, ``-shm``, is lost.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.support.system_calls import Call, Kind

__all__ = ["SYNCS", "Disk"]

_BLOCK = 4096
SYNCS = (Kind.FSYNC, Kind.FDATASYNC)


class Piece(NamedTuple):
    """A block or less that was written to a file; without data the length that it was cut to."""

    where: int
    data: bytes | None


class Naming(NamedTuple):
    """What happened to a name in a folder: a file has it now, or none has."""

    names: tuple[tuple[str, int | None], ...]


@dataclass
class File:
    """A file as it is on the disk, and what was written since."""

    kept: bytearray = field(default_factory=bytearray)
    pending: list[Piece] = field(default_factory=list)

    def sync(self) -> None:
        """Everything written is on the disk."""
        for piece in self.pending:
            _put(self.kept, piece)
        self.pending.clear()

    def after_cut(self, rng: random.Random, share: float) -> bytes:
        """What it may hold: of the later pieces each with that probability."""
        content = bytearray(self.kept)
        for piece in self.pending:
            if rng.random() < share:
                _put(content, piece)
        return bytes(content)


class Disk:
    """The folder of a library, through the calls of a run."""

    def __init__(self, folder: Path, before: Path | None) -> None:
        self._folder = str(folder)
        self._files: list[File] = []
        self._names: dict[str, int] = {}
        self._kept: dict[str, int] = {}
        """Names that are on the disk for certain."""
        self._pending: list[Naming] = []
        self._folders: list[str] = []
        for path in sorted(before.rglob("*")) if before is not None else ():
            name = str(path.relative_to(before or path))
            if path.is_dir():
                self._folders.append(name)
            else:
                self._names[name] = self._add(path.read_bytes())
        self._kept = dict(self._names)

    def _add(self, content: bytes = b"") -> int:
        self._files.append(File(bytearray(content)))
        return len(self._files) - 1

    def apply(self, call: Call) -> None:
        """Go on by one call."""
        name, other = (os.path.relpath(p, self._folder) if p else "" for p in call[2:4])
        own = self._names.get(name)
        match call.kind:
            case Kind.MKDIR:
                self._folders.append(name)
            case Kind.CREATE:
                self._name((name, self._add()))
            case Kind.EMPTY if own is not None:
                self._files[own].pending.append(Piece(0, None))
            case Kind.WRITE | Kind.PWRITE if own is not None:
                self._files[own].pending += _cut(call.where, call.data)
            case Kind.FTRUNCATE if own is not None:
                self._files[own].pending.append(Piece(call.where, None))
            case Kind.RENAME:
                self._name((name, None), (other, own))
            case Kind.LINK:
                self._name((other, own))
            case Kind.UNLINK:
                self._name((name, None))
            case Kind.FSYNC | Kind.FDATASYNC:
                self._sync(name)

    def _name(self, *names: tuple[str, int | None]) -> None:
        _rename(self._names, Naming(names))
        self._pending.append(Naming(names))

    def _sync(self, name: str) -> None:
        if name in self._names:
            self._files[self._names[name]].sync()
            return
        # a journal keeps the order: with the last change in this folder, all before it are kept
        last = [i for i, one in enumerate(self._pending) if _is_in(one, name)][-1:] or [-1]
        for one in self._pending[: last[0] + 1]:
            _rename(self._kept, one)
        del self._pending[: last[0] + 1]

    def cut(self, rng: random.Random, target: Path) -> str:
        """Write what the disk may hold into a new folder; in words what was lost."""
        names = dict(self._kept)
        lasting = rng.randint(0, len(self._pending))
        for one in self._pending[:lasting]:
            _rename(names, one)
        share = rng.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        target.mkdir()
        for folder in self._folders:
            (target / folder).mkdir(exist_ok=True)
        for name, own in names.items():
            if not name.endswith("-shm"):
                (target / name).write_bytes(self._files[own].after_cut(rng, share))
        return f"{share:.0%} of what was not synced, {lasting} of {len(self._pending)} names"


def _cut(where: int, data: bytes) -> Sequence[Piece]:
    """What is written, at the borders of blocks."""
    pieces, end = [], where + len(data)
    while where < end:
        border = min(end, (where // _BLOCK + 1) * _BLOCK)
        pieces.append(Piece(where, data[len(data) - (end - where) : len(data) - (end - border)]))
        where = border
    return pieces


def _put(content: bytearray, piece: Piece) -> None:
    if piece.data is None:
        del content[piece.where :]
    content.extend(bytes(max(0, piece.where - len(content))))
    if piece.data is not None:
        content[piece.where : piece.where + len(piece.data)] = piece.data


def _rename(names: dict[str, int], naming: Naming) -> None:
    for name, own in naming.names:
        if own is None:
            names.pop(name, None)
        else:
            names[name] = own


def _is_in(naming: Naming, folder: str) -> bool:
    return any((os.path.dirname(name) or ".") == folder for name, _ in naming.names)
