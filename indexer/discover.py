"""Paths → the files below them, in a stable order, each once."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from indexer.errors import InvalidRequest, PathNotFound

__all__ = ["SEPARATOR", "FileEntry", "Walk", "absolute"]

SEPARATOR = os.fsencode(os.sep)


@dataclass(frozen=True)
class FileEntry:
    """A file as the walk saw it."""

    path: bytes
    """Absolute, as the file system's bytes."""
    file_size: int
    mtime_ns: int


def absolute(path: str | os.PathLike[str]) -> str:
    """The absolute path without ``.``, ``..`` and ``~``; symbolic links are kept."""
    return os.path.abspath(os.path.expanduser(os.fspath(path)))


@dataclass
class Walk:
    """Walks roots depth first, names in byte order, and tells what it could not see.

    Hidden names are left out, unless named as a root or asked for; so are excluded ones and
    ``avoid`` (the library itself).  Symbolic links are followed; a folder is entered once, by its
    own place rather than by a link where both lie under one root, so loops end.
    """

    roots: Sequence[str]
    exclude: Sequence[str] = ()
    """Patterns as in a ``.gitignore``, relative to each root."""
    hidden: bool = False
    avoid: Path | None = None
    unreadable: list[bytes] = field(default_factory=list)
    """Folders that could not be listed; what lies below them is unknown, not gone."""
    broken: list[bytes] = field(default_factory=list)
    """Symbolic links without a target, and files that vanished."""

    def __post_init__(self) -> None:
        self._visited: set[tuple[int, int]] = set()
        self._files: set[str] = set()
        self._spec = None
        if self.exclude:
            import pathspec

            try:
                self._spec = pathspec.GitIgnoreSpec.from_lines(self.exclude)
            except (ValueError, re.error) as error:
                raise InvalidRequest(
                    f"An exclusion pattern among {', '.join(map(repr, self.exclude))} cannot be "
                    f"read: {error}.",
                    "Write it as in a .gitignore.",
                ) from error
        if self.avoid is not None and self.avoid.exists():
            status = self.avoid.stat()
            self._visited.add((status.st_dev, status.st_ino))

    def __iter__(self) -> Iterator[FileEntry]:
        folders: list[tuple[str, os.stat_result]] = []
        for root in dict.fromkeys(self.roots):
            try:
                status = os.stat(root)
            except OSError as error:
                raise PathNotFound(
                    f"{root} is not there.", "Check the path; nothing was removed."
                ) from error
            if stat.S_ISDIR(status.st_mode):
                folders.append((root, status))
            else:
                self._files.add(root)
                yield FileEntry(os.fsencode(root), status.st_size, status.st_mtime_ns)
        for root, status in folders:
            links: list[str] = []
            yield from self._below(root, root, status, links)
            # links last: what they point at may lie under this root and belongs there
            for link in links:
                try:
                    yield from self._below(root, link, os.stat(link), links)
                except OSError:
                    self.broken.append(os.fsencode(link))

    def _below(
        self, root: str, folder: str, status: os.stat_result, links: list[str]
    ) -> Iterator[FileEntry]:
        # a stack of listings, not recursion: folders may lie deeper than Python's limit
        stack = [self._listing(folder, status)]
        while stack:
            entry = next(stack[-1], None)
            if entry is None:
                stack.pop()
                continue
            if entry.name.startswith(".") and not self.hidden:
                continue
            try:
                is_folder = entry.is_dir()
                if self._excluded(root, entry.path, is_folder) or entry.path in self._files:
                    continue
                found = entry.stat()
            except OSError:
                self.broken.append(os.fsencode(entry.path))
                continue
            if not is_folder:
                if stat.S_ISREG(found.st_mode):
                    yield FileEntry(os.fsencode(entry.path), found.st_size, found.st_mtime_ns)
            elif entry.is_symlink():
                links.append(entry.path)
            else:
                stack.append(self._listing(entry.path, found))

    def _listing(self, folder: str, status: os.stat_result) -> Iterator[os.DirEntry[str]]:
        identity = (status.st_dev, status.st_ino)
        if identity in self._visited:
            return iter(())
        self._visited.add(identity)
        try:
            with os.scandir(folder) as listing:
                return iter(sorted(listing, key=lambda entry: os.fsencode(entry.name)))
        except OSError:
            self.unreadable.append(os.fsencode(folder))
            return iter(())

    def _excluded(self, root: str, path: str, is_folder: bool) -> bool:
        if self._spec is None:
            return False
        # patterns become regular expressions, in which "." and "$" take a line's end for special
        relative = os.path.relpath(path, root).replace(os.sep, "/").replace("\n", "\0")
        return bool(self._spec.match_file(relative + "/" if is_folder else relative))
