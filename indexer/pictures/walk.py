"""Paths → the files below them, in a stable order, each once."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from parecido.indexer.errors import InvalidRequest, PathNotFound
from parecido.indexer.records.pictures import FileEntry
from parecido.indexer.system.kinds import ARRIVALS
from parecido.indexer.system.paths import SEPARATOR, signed64, within

__all__ = ["Walk"]


# Windows tells there when a file was made
_KEEPS_CHANGE_TIME = os.name != "nt"
_ON_THEIR_WAY = re.compile(ARRIVALS.while_writing().names.pattern.encode())


def _entry(path: bytes, status: os.stat_result) -> FileEntry:
    changed = signed64(status.st_ctime_ns) if _KEEPS_CHANGE_TIME else None
    return FileEntry(path, status.st_size, signed64(status.st_mtime_ns), changed)


@dataclass
class Walk:
    """Walks roots in byte order of the paths, and tells what it could not see.

    Hidden names are left out, unless named as a root or asked for; so are excluded ones,
    ``avoid`` (the library itself), and always uploads that are on their way to their place.
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
    unreadable: list[bytes] = field(default_factory=list)
    """What could not be looked at; it, and what lies below it, is unknown, not gone."""
    broken: list[bytes] = field(default_factory=list)
    """Symbolic links without a target; what lies behind them is unknown too."""
    outside: list[bytes] = field(default_factory=list)
    """Symbolic links that lead out of ``inside``; what lies behind them is unknown too."""
    closed: Sequence[bytes] = ()
    """Folders that are not entered."""
    empty: list[bytes] = field(default_factory=list)
    """Folders below the roots in which there was nothing at all, as in a mount point of a drive
    that is unplugged."""
    mounts: list[tuple[bytes, int, int]] = field(default_factory=list)
    """Folders on which other file systems are mounted, the roots among them, each with its device
    and inode."""

    def __post_init__(self) -> None:
        self._visited: set[tuple[int, int]] = set()
        self._files: set[bytes] = set()
        self._spec = None
        if self.exclude:
            import pathspec

            if isinstance(self.exclude, str):
                self.exclude = [self.exclude]

            try:
                self._spec = pathspec.GitIgnoreSpec.from_lines(self.exclude)
            except (ValueError, re.error) as error:
                raise InvalidRequest(
                    f"An exclusion pattern among {', '.join(map(repr, self.exclude))} cannot be "
                    f"read: {error}.",
                    "Write it as in a .gitignore.",
                ) from error
        self._avoided: set[tuple[int, int]] = set()
        if self.avoid is not None and self.avoid.exists():
            status = self.avoid.stat()
            self._visited.add((status.st_dev, status.st_ino))
            # Not even read, be it by a link: when a process closes a file, all locks that it holds
            # on it are gone, SQLite's too.
            for path in self.avoid.glob("catalogue.sqlite*"):
                with suppress(OSError):
                    status = path.stat()
                    self._avoided.add((status.st_dev, status.st_ino))

    def __iter__(self) -> Iterator[FileEntry]:
        for _, entries in self.segments():
            yield from entries

    def segments(self) -> Iterator[tuple[bytes | None, Iterable[FileEntry]]]:
        """The walk in pieces: a folder with the files below it, in byte order of their paths.

        Files that were given as roots come first, with None for a folder.  A segment must be used
        up before the next is asked for.
        """
        folders: list[tuple[bytes, os.stat_result]] = []
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
                folders.append((path, status))
            else:
                self._files.add(path)
                is_avoided = (status.st_dev, status.st_ino) in self._avoided
                if not is_avoided and not _is_on_its_way(os.path.basename(path)):
                    yield None, [_entry(path, status)]
        # links last: what they point at may lie under a root and belongs there
        folders.sort(key=lambda folder: os.path.islink(folder[0]))
        links: list[tuple[bytes, bytes]] = []
        for folder, status in folders:
            if os.path.ismount(folder):
                self.mounts.append(_identity(folder, status))
            yield folder, self._below(folder, folder, status, links)
        for folder, link in links:
            try:
                status = os.stat(link)
            except OSError:
                self.broken.append(link)
            else:
                yield link, self._below(folder, link, status, links)

    def _below(
        self, root: bytes, folder: bytes, status: os.stat_result, links: list[tuple[bytes, bytes]]
    ) -> Iterator[FileEntry]:
        # a stack of listings, not recursion: folders may lie deeper than Python's limit
        stack, devices = [self._listing(folder, status)], [status.st_dev]
        while stack:
            for entry in stack[-1]:
                is_hidden = entry.name.startswith(b".")
                if is_hidden and (not self.hidden or _is_on_its_way(entry.name)):
                    continue
                path = entry.path
                try:
                    is_folder = entry.is_dir()
                    if self._spec is not None and self._is_excluded(root, path, is_folder):
                        continue
                    found = entry.stat()
                except OSError as error:
                    self._unseen(path, error)
                    continue
                if entry.is_symlink() and self._leads_out(path):
                    continue
                if not is_folder:
                    is_avoided = (found.st_dev, found.st_ino) in self._avoided
                    if stat.S_ISREG(found.st_mode) and path not in self._files and not is_avoided:
                        yield _entry(path, found)
                elif entry.is_symlink():
                    links.append((root, path))
                else:
                    if found.st_dev != devices[-1]:
                        self.mounts.append(_identity(path, found))
                    devices.append(found.st_dev)
                    stack.append(self._listing(path, found))
                    break
            else:
                stack.pop()
                devices.pop()

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

    def _listing(self, folder: bytes, status: os.stat_result) -> Iterator[os.DirEntry[bytes]]:
        identity = (status.st_dev, status.st_ino)
        if identity in self._visited:
            return iter(())
        self._visited.add(identity)
        if folder in self.closed:
            return iter(())
        try:
            with os.scandir(folder) as listing:
                found = sorted(listing, key=_place)
        except OSError:
            self.unreadable.append(folder)
            return iter(())
        if not found and os.fsdecode(folder) not in self.roots:
            self.empty.append(folder)
        return iter(found)

    def _is_excluded(self, root: bytes, path: bytes, is_folder: bool) -> bool:
        # patterns become regular expressions, in which "." and "$" take a line's end for special
        relative = os.fsdecode(os.path.relpath(path, root)).replace(os.sep, "/")
        relative = relative.replace("\n", "\0")
        assert self._spec is not None
        return bool(self._spec.match_file(relative + "/" if is_folder else relative))


def _identity(path: bytes, status: os.stat_result) -> tuple[bytes, int, int]:
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
