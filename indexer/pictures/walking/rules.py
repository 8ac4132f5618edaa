"""Which rule leaves something out, of all that hold where it lies."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from parecido.indexer.errors import InvalidRequest
from parecido.indexer.pictures.walking.ignore_files import (
    IGNORE_FILE,
    MARKS,
    read_ignore_file,
)
from parecido.indexer.pictures.walking.names import (
    find_in_bundle,
    is_kept_by_program,
    is_made_by_program,
    is_plain_file,
)
from parecido.indexer.pictures.walking.patterns import Decision, PatternFault, Patterns, as_text
from parecido.indexer.records.left_out import EXCLUDED, HIDDEN, IGNORED, KNOWN, MARKED
from parecido.indexer.records.rules import RootRules
from parecido.indexer.system.paths import SEPARATOR, list_above

__all__ = ["ANYWHERE", "Here", "Rules"]


class _From(NamedTuple):
    """Patterns, and how long the part of a path is that they do not look at."""

    length: int
    patterns: Patterns


class Here(NamedTuple):
    """What holds in one folder, beside what holds everywhere; the innermost first."""

    kept: tuple[_From, ...] = ()
    """Of roots."""
    ignoring: tuple[_From, ...] = ()
    """Of ignore files."""
    bundle: frozenset[bytes] = frozenset()
    """Names of folders that are no originals."""
    only: str = ""
    """Why the folder is left out, where it is entered for what is taken in below it."""
    is_taken_in: bool = False
    """Whether a root's pattern takes the folder in, and so what lies below it."""


ANYWHERE = Here()


class Rules:
    """The rules of a walk.

    ``kept`` are the patterns of roots by their paths, and ``named`` is what no rule from above it
    leaves out, for somebody named it.  ``tell`` is called with what is odd.  Of what a rule leaves
    out, nothing below is looked at; so what lies there cannot be taken in again, but by a pattern
    that names it.
    """

    def __init__(
        self,
        kept: Mapping[bytes, RootRules],
        hidden: bool,
        tell: Callable[[str], None],
        named: Collection[bytes],
    ) -> None:
        self._kept = {
            path: _From(len(_prefix(path)), _compile(rules)) if rules.patterns else None
            for path, rules in kept.items()
        }
        self._seen: dict[bytes, tuple[Here, str]] = {}
        self._hidden = hidden
        self._named = frozenset(named)
        self._tell = tell

    def find_above(self, path: bytes) -> tuple[Here, str]:
        """What holds in the folder around a path, and which rule leaves the path out.

        By the rules between it and the outermost root or name that it lies below; ``""`` where none
        does.  Raises ``OSError`` where a rule cannot be read.
        """
        above = [top for top in list_above(path) if top in self._kept or top in self._named]
        if not above:
            return ANYWHERE, ""
        top = above[-1]
        names = path[len(_prefix(top)) :].split(SEPARATOR)
        folder, (here, why) = top, self._look_into(ANYWHERE, top)
        for name in names[:-1]:
            inner = os.path.join(folder, name)
            why = why or self.judge(here, inner, name, True)
            here, mark = self._look_into(here, inner)
            folder, why = inner, "" if inner in self._named else why or mark
        if path in self._named:
            return here, ""
        is_folder = os.path.isdir(path)
        why = why or self.judge(here, path, names[-1], is_folder)
        if is_folder and not why:
            why = self._look_into(here, path)[1]
        return here, why

    def _look_into(self, here: Here, folder: bytes) -> tuple[Here, str]:
        """As :meth:`enter`, once for each folder."""
        if folder not in self._seen:
            dotted = [name for name in os.listdir(folder) if name.startswith(b".")]
            self._seen[folder] = self.enter(here, folder, dotted, folder in self._named)
        return self._seen[folder]

    def enter(
        self, here: Here, folder: bytes, dotted: Collection[bytes], is_named: bool
    ) -> tuple[Here, str]:
        """What holds in a folder, and why it is left out; ``""`` where it is not.

        ``dotted`` are those names in it that begin with a dot.  What somebody named is entered
        whatever lies in it.  Raises ``OSError`` where a rule in it cannot be read.
        """
        name = os.path.basename(folder)
        why = ""
        if not is_named:
            if any(one.lower() in MARKS for one in dotted):
                why = MARKED
            elif is_made_by_program(folder):
                why = KNOWN
        is_taken_in = self._is_taken_in(here, self._decide(here.kept, folder, True))
        if is_taken_in:
            why = ""
        kept, ignoring = here.kept, here.ignoring
        if own := self._kept.get(folder):
            kept = (own, *kept)
        if IGNORE_FILE in dotted:
            found = read_ignore_file(os.path.join(folder, IGNORE_FILE), self._tell)
            if found is not None:
                ignoring = (_From(len(_prefix(folder)), found), *ignoring)
        return Here(kept, ignoring, find_in_bundle(name), here.only, is_taken_in), why

    def judge(self, here: Here, path: bytes, name: bytes, is_folder: bool) -> str:
        """Why something in a folder is left out; ``""`` where nothing speaks against it."""
        is_plain = not is_folder and is_plain_file(name)
        if is_plain and not (here.kept or here.ignoring or here.only):
            return ""
        decision = Decision.NOTHING
        if here.kept:
            decision = self._decide(here.kept, path, is_folder)
            if self._is_taken_in(here, decision):
                return ""
        if here.only:
            return here.only
        if not is_plain and is_kept_by_program(name, is_folder):
            return KNOWN
        if here.bundle and is_folder and name.lower() in here.bundle:
            return KNOWN
        if not self._hidden and name.startswith(b"."):
            return HIDDEN
        if decision is Decision.OUT:
            return EXCLUDED
        if here.ignoring and self._decide(here.ignoring, path, is_folder) is Decision.OUT:
            return IGNORED
        return ""

    def may_take_in_below(self, here: Here, folder: bytes) -> bool:
        """Whether a root's pattern takes something in that lies below a folder left out."""
        return any(
            one.patterns.may_take_in_below(as_text(folder[one.length :])) for one in here.kept
        )

    def _is_taken_in(self, here: Here, decision: Decision) -> bool:
        return decision is Decision.IN or (here.is_taken_in and decision is Decision.NOTHING)

    def _decide(self, levels: tuple[_From, ...], path: bytes, is_folder: bool) -> Decision:
        for length, patterns in levels:
            decision = patterns.decide(as_text(path[length:]), is_folder)
            if decision is not Decision.NOTHING:
                return decision
        return Decision.NOTHING


def _prefix(folder: bytes) -> bytes:
    return folder.rstrip(SEPARATOR) + SEPARATOR


def _compile(rules: RootRules) -> Patterns:
    try:
        return Patterns(rules.patterns)
    except PatternFault as fault:
        given = ", ".join(repr(one.text) for one in rules.patterns)
        raise InvalidRequest(
            f"A pattern among {given} cannot be read: {fault}.", "Write it as in a .gitignore."
        ) from fault
