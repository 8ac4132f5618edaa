"""Paths → the files below them, in a stable order, each once."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from parecido.indexer.errors import PathNotFound
from parecido.indexer.pictures.walking.ignore_files import is_rule
from parecido.indexer.pictures.walking.places import Places
from parecido.indexer.pictures.walking.rules import ANYWHERE, Here, Rules
from parecido.indexer.pictures.walking.tally import Tally
from parecido.indexer.records.pictures import FileEntry
from parecido.indexer.records.rules import RootRules
from parecido.indexer.system.kinds import ARRIVALS
from parecido.indexer.system.paths import SEPARATOR, signed64, within

__all__ = ["Walk"]


# Windows tells there when a file was made
_KEEPS_CHANGE_TIME = os.name != "nt"
_ON_THEIR_WAY = re.compile(ARRIVALS.while_writing().names.pattern.encode())
_MOST_NOTES = 50


def _entry(path: bytes, status: os.stat_result) -> FileEntry:
    changed = signed64(status.st_ctime_ns) if _KEEPS_CHANGE_TIME else None
    return FileEntry(path, status.st_size, signed64(status.st_mtime_ns), changed)


class _Folder(NamedTuple):
    """A folder that is to be walked."""

    path: bytes
    real: bytes
    """Its path without links."""
    status: os.stat_result
    here: Here
    """What holds around it, and once it is open, in it."""
    is_named: bool


class _Open(NamedTuple):
    """A folder that is being walked."""

    folder: _Folder
    entries: Iterator[os.DirEntry[bytes]]


@dataclass
class Walk:
    """Walks roots in byte order of the paths, and tells what it could not see.

    What rules leave out is counted in ``left_out``: names that programs give to their own things,
    what is hidden, marked or excluded.  None of them holds for what is named as a root.  ``avoid``
    (the library itself) is left out always, and uploads that are on their way to their place.
    Symbolic links are followed, unless they lead out of all of ``inside``; a folder is entered
    once, by its own place rather than by a link where both lie under one root, so loops end.
    """

    roots: Sequence[str]
    exclude: Sequence[str] = ()
    """Patterns as in a ``.gitignore``, relative to each root."""
    hidden: bool = False
    avoid: Path | None = None
    inside: Sequence[bytes] = ()
    """Real paths of folders, if links may not lead out of them."""
    closed: Sequence[bytes] = ()
    """Folders that are not entered."""
    include: Sequence[str] = ()
    """Patterns of what is taken in, whatever else would leave it out."""
    kept: Mapping[bytes, RootRules] = field(default_factory=dict)
    """Roots of earlier runs, with the patterns that they keep."""
    unreadable: list[bytes] = field(default_factory=list)
    """What could not be looked at; it, and what lies below it, is unknown, not gone."""
    broken: list[bytes] = field(default_factory=list)
    """Symbolic links without a target; what lies behind them is unknown too."""
    outside: list[bytes] = field(default_factory=list)
    """Symbolic links that lead out of ``inside``; what lies behind them is unknown too."""
    empty: list[bytes] = field(default_factory=list)
    """Folders below the roots in which there was nothing at all, as in a mount point of a drive
    that is unplugged."""
    mounts: list[tuple[bytes, int, int]] = field(default_factory=list)
    """Folders on which other file systems are mounted, the roots among them, each with its device
    and inode."""
    left_out: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self._places = Places()
        self._notes: list[str] = []
        self._files: set[bytes] = set()
        self._named = {os.fsencode(root) for root in self.roots}
        exclude = [self.exclude] if isinstance(self.exclude, str) else self.exclude
        include = [self.include] if isinstance(self.include, str) else self.include
        rules = dict(self.kept)
        if exclude or include:
            for root in self._named:
                rules[root] = rules.get(root, RootRules()).merge(exclude, include)
        self.rules = Rules(rules, self.hidden, self._note, (*rules, *self.inside))
        self._avoided: dict[tuple[int, int], Path] = {}
        if self.avoid is not None and self.avoid.exists():
            self._places.enter(os.fsencode(os.path.realpath(self.avoid)), self.avoid.stat())
            # Not even read, be it by a link: when a process closes a file, all locks that it holds
            # on it are gone, SQLite's too.
            for path in self.avoid.glob("catalogue.sqlite*"):
                with suppress(OSError):
                    status = path.stat()
                    self._avoided[status.st_dev, status.st_ino] = path

    def __iter__(self) -> Iterator[FileEntry]:
        for _, entries in self.segments():
            yield from entries

    def list_notes(self) -> list[str]:
        """What somebody should know of these folders: rules that cannot be read as they are, and
        inode numbers that repeat."""
        if self._places.repeated is None:
            return self._notes
        one, other = (os.fsdecode(path) for path in self._places.repeated)
        note = "The file system gives one inode number to several folders, as to"
        return [*self._notes, f"{note} {one} and {other}; they were told apart by their paths."]

    def segments(self) -> Iterator[tuple[bytes | None, Iterable[FileEntry]]]:
        """The walk in pieces: a folder with the files below it, in byte order of their paths.

        Files that were given as roots come first, with None for a folder.  A segment must be used
        up before the next is asked for.
        """
        folders: list[_Folder] = []
        for root in dict.fromkeys(self.roots):
            try:
                status = os.stat(root)
            except OSError as error:
                raise PathNotFound(
                    f"{root} is not there.", "Check the path; nothing was removed."
                ) from error
            path = os.fsencode(root)
            if self._leads_out(path):
                continue
            if stat.S_ISDIR(status.st_mode):
                folders.append(_Folder(path, os.path.realpath(path), status, ANYWHERE, True))
            else:
                self._files.add(path)
                if not self._is_avoided(status) and not _is_on_its_way(os.path.basename(path)):
                    yield None, [_entry(path, status)]
        # links last: what they point at may lie under a root and belongs there
        folders.sort(key=lambda folder: os.path.islink(folder.path))
        links: list[_Folder] = []
        for folder in folders:
            if os.path.ismount(folder.path):
                self.mounts.append(_identify(folder.path, folder.status))
            yield folder.path, self._below(folder, links)
        for link in links:  # and those that are found on the way
            try:
                status = os.stat(link.path)
            except OSError:
                self.broken.append(link.path)
            else:
                real = os.path.realpath(link.path)
                yield link.path, self._below(link._replace(real=real, status=status), links)

    def _below(self, top: _Folder, links: list[_Folder]) -> Iterator[FileEntry]:
        # a stack of listings, not recursion: folders may lie deeper than Python's limit
        stack = [self._open(top, is_start=True)]
        while stack:
            (_, real, status, here, _), entries = stack[-1]
            for entry in entries:
                name, path = entry.name, entry.path
                if name.startswith(b".") and (_is_on_its_way(name) or is_rule(name)):
                    continue
                try:
                    is_folder = entry.is_dir()
                    why = self.rules.judge(here, path, name, is_folder)
                    if why and not self._is_entered_anyway(path, is_folder, why, here):
                        continue
                    found = entry.stat()
                except OSError as error:
                    self._unseen(path, error)
                    continue
                if entry.is_symlink() and self._leads_out(path):
                    continue
                if not is_folder:
                    if (
                        stat.S_ISREG(found.st_mode)
                        and path not in self._files
                        and not (self._avoided and self._is_avoided(found))
                    ):
                        yield _entry(path, found)
                    continue
                inner = here if why == here.only else here._replace(only=why)
                folder = _Folder(path, os.path.join(real, name), found, inner, False)
                if entry.is_symlink():
                    links.append(folder)
                else:
                    if found.st_dev != status.st_dev:
                        self.mounts.append(_identify(path, found))
                    stack.append(self._open(folder))
                    break
            else:
                stack.pop()

    def _open(self, folder: _Folder, is_start: bool = False) -> _Open:
        """A folder with what is in it, of which nothing is told where it is not to be entered."""
        closed = _Open(folder, iter(()))
        path, real, status, here, is_named = folder
        if self._places.has(real):
            return closed
        try:
            with os.scandir(path) as listing:
                entries = sorted(listing, key=_place)
            dotted = [entry.name for entry in entries if entry.name.startswith(b".")]
            if is_named:
                here, _ = self.rules.find_above(path)
            here, why = self.rules.enter(here, path, dotted, is_named)
        except OSError:
            if self._places.enter(real, status, is_start):
                self.unreadable.append(path)
            return closed
        if why and not self._is_entered_anyway(path, True, why, here):
            return closed
        if not self._places.enter(real, status, is_start) or path in self.closed:
            return closed
        if not entries and not is_named:
            self.empty.append(path)
        return _Open(folder._replace(here=here._replace(only=why or here.only)), iter(entries))

    def _is_entered_anyway(self, path: bytes, is_folder: bool, why: str, here: Here) -> bool:
        """Whether a folder that is left out holds something that is taken in; it is counted."""
        if path in self._named:
            return False  # it has a place of its own in this walk
        if not here.only:
            self.left_out.add(why, path, is_folder, path in self.kept)
        return is_folder and self.rules.may_take_in_below(here, path)

    def _is_avoided(self, status: os.stat_result) -> bool:
        """Whether a file is one of the library's catalogue, under whatever name."""
        own = self._avoided.get((status.st_dev, status.st_ino))
        if own is None:
            return False
        try:
            now = own.stat()
        except OSError:
            return True
        # the number alone does not tell, where a file system gives it to several files
        same = (now.st_size, now.st_mtime_ns) == (status.st_size, status.st_mtime_ns)
        return same or status.st_nlink > 1

    def _leads_out(self, path: bytes) -> bool:
        """Whether a path ends where it may not, which is noted."""
        if not self.inside:
            return False
        real = os.path.realpath(path)
        if any(real == folder or within(real, folder) for folder in self.inside):
            return False
        self.outside.append(path)
        return True

    def _unseen(self, path: bytes, error: OSError) -> None:
        if os.path.islink(path):
            self.broken.append(path)
        elif not isinstance(error, FileNotFoundError):  # else it went a moment ago
            self.unreadable.append(path)

    def _note(self, note: str) -> None:
        if note not in self._notes and len(self._notes) < _MOST_NOTES:
            self._notes.append(note)


def _identify(path: bytes, status: os.stat_result) -> tuple[bytes, int, int]:
    return path, signed64(status.st_dev), signed64(status.st_ino)


def _is_on_its_way(name: bytes) -> bool:
    """Whether a server keeps an upload under that name until it has its place."""
    return name.startswith(b".") and _ON_THEIR_WAY.fullmatch(name) is not None


def _place(entry: os.DirEntry[bytes]) -> bytes:
    """By which names are sorted so that the paths of all files below come in byte order."""
    try:
        return entry.name + SEPARATOR if entry.is_dir(follow_symlinks=False) else entry.name
    except OSError:
        return entry.name
