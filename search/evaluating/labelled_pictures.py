"""A collection with known groups: a folder for each class, or a CSV of paths and groups."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from parecido.indexer.errors import InvalidRequest, PathNotFound
from parecido.indexer.pictures.walking.names import is_kept_by_program
from parecido.indexer.pictures.walking.walk import Walk
from parecido.indexer.system.paths import absolute
from parecido.indexer.system.text import plural, printable

__all__ = ["COLUMNS", "Collection", "few", "load_collection"]

COLUMNS = ("path", "group")
"""What the header of a CSV must name."""

_NAMED = 5  # offenders that a message names
_SHOWN = 80  # characters of a foreign header that a message shows


@dataclass(frozen=True)
class Collection:
    """Pictures and the group that each belongs to; at least two groups of at least two pictures."""

    source: str
    """The folder or CSV that it came from, absolute."""
    groups: Mapping[str, str]
    """The picture's absolute path → the name of its group, in the order of the source.

    An empty name is a distractor's: it is in the gallery, never a query, and never right.
    """

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """The group's name → how many pictures it has; without the distractors."""
        return Counter(group for group in self.groups.values() if group)


def load_collection(path: str | os.PathLike[str]) -> Collection:
    """The collection in a folder with a subfolder for each class, or in a CSV.

    A class is everything in its subfolder, at any depth; hidden files are left out.  A CSV is in
    UTF-8 and has the columns ``path`` and ``group``; paths are relative to the CSV's own folder,
    and a line with an empty group names a distractor.
    Whether the files are pictures is not looked at here.

    Raises :class:`~parecido.PathNotFound` for a path that is not there, also one that a CSV
    names, and :class:`~parecido.InvalidRequest` for a file that is no such CSV, a path named
    twice, groups of a single picture, or fewer than two groups.
    """
    source = absolute(path)
    if not os.path.lexists(source):
        raise PathNotFound(f"{source} is not there.", "Check the path.")
    if os.path.isdir(source):
        groups = _from_folder(source)
        remedy = f"Make a subfolder for each class, with its pictures; or give {_a_csv(source)}."
    else:
        groups = _from_csv(source)
        remedy = "A line for each picture: its path and the name of its group."
    sizes = Counter(group for group in groups.values() if group)
    if len(sizes) < 2:
        found = f"only one group ({next(iter(sizes))})" if sizes else "no groups"
        raise InvalidRequest(f"{source} has {found}; at least two are needed.", remedy)
    single = [name for name, size in sizes.items() if size == 1]
    if single:
        raise InvalidRequest(
            f"{plural(len(single), 'group')} of {source} {_has(single)} a single picture: "
            f"{few(single)}.",
            "Such a picture has nothing to find: add another of its group, or leave it out.",
        )
    return Collection(source, groups)


def few(names: Sequence[str]) -> str:
    """The first of some names for a message, and how many more there are."""
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED:,} more"


def _a_csv(folder: str) -> str:
    """How to name the CSV that may lie in a folder instead of classes."""
    found = sorted(name for name in os.listdir(folder) if name.lower().endswith(".csv"))
    return os.path.join(folder, found[0]) if found else "a CSV of paths and groups"


def _has(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"


def _from_folder(folder: str) -> dict[str, str]:
    groups = {}
    unreadable: list[bytes] = []
    broken: list[bytes] = []
    for name in _subfolders(folder):
        walk = Walk([os.path.join(folder, name)])
        for entry in walk:
            groups[os.fsdecode(entry.path)] = name
        unreadable += walk.unreadable
        broken += walk.broken
    if unreadable:
        raise InvalidRequest(
            f"{plural(len(unreadable), 'place')} in {folder} cannot be looked into: "
            f"{few(_decode_paths(unreadable))}.",
            "Check the permissions.",
        )
    if broken:
        raise PathNotFound(
            f"{plural(len(broken), 'link')} in {folder} {'leads' if len(broken) == 1 else 'lead'} "
            f"nowhere: {few(_decode_paths(broken))}.",
            "Mend or remove them.",
        )
    return groups


def _subfolders(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_dir()]
    except OSError as error:
        raise InvalidRequest(
            f"{folder} cannot be listed: {error.strerror or error}.", "Check its permissions."
        ) from error
    return sorted(
        name
        for name in names
        if not name.startswith(".") and not is_kept_by_program(os.fsencode(name), True)
    )


def _decode_paths(paths: Iterable[bytes]) -> list[str]:
    return [os.fsdecode(path) for path in paths]


def _from_csv(source: str) -> dict[str, str]:
    folder = os.path.dirname(source)
    groups: dict[str, str] = {}
    lines: dict[str, int] = {}
    missing = []
    for line, path, group in _rows(source):
        if "\0" in path:
            raise InvalidRequest(f"Line {line} of {source} has a NUL in its path.", "Correct it.")
        place = os.path.normpath(os.path.join(folder, path))
        if place in groups:
            raise InvalidRequest(
                f"{source} names {path} twice, in lines {lines[place]} and {line}.",
                "Keep one of them: a picture belongs to one group.",
            )
        if not os.path.isfile(place):
            missing.append(path)
        groups[place] = group
        lines[place] = line
    if missing:
        raise PathNotFound(
            f"{len(missing):,} of the {plural(len(groups), 'picture')} that {source} names "
            f"{'is' if len(missing) == 1 else 'are'} not there: {few(missing)}.",
            "Paths are relative to the CSV's own folder; correct them, or leave these lines out.",
        )
    return groups


def _rows(source: str) -> Iterator[tuple[int, str, str]]:
    """Line number, path and group of each line of a CSV; empty lines are passed over."""
    try:
        # what is no UTF-8 becomes what Python makes of such file names everywhere
        with open(source, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            columns = _columns(source, header)
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise InvalidRequest(
                        f"Line {reader.line_num} of {source} has {plural(len(cells), 'cell')}, and "
                        f"the header {len(header)}.",
                        "Put a path that holds a comma in double quotes.",
                    )
                path, group = (cells[column] for column in columns)
                if not path.strip():
                    raise InvalidRequest(
                        f"Line {reader.line_num} of {source} has no path.",
                        "Fill it in, or remove the line.",
                    )
                yield reader.line_num, path, group.strip()
    except OSError as error:
        raise InvalidRequest(
            f"{source} cannot be read: {error.strerror or error}.", "Check its permissions."
        ) from error
    except csv.Error as error:
        raise InvalidRequest(
            f"Line {reader.line_num} of {source} is no CSV: {error}.",
            f"Give a text file whose first line is {','.join(COLUMNS)}.",
        ) from error


def _columns(source: str, header: list[str]) -> list[int]:
    if any(header.count(name) != 1 for name in COLUMNS):
        shown = printable(",".join(header))
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
        raise InvalidRequest(
            f"The first line of {source} should name the columns {' and '.join(COLUMNS)}, and is "
            f"{shown!r}.",
            f"Write {','.join(COLUMNS)} as the first line; other columns are passed over.",
        )
    return [header.index(name) for name in COLUMNS]
