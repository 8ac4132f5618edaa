"""Patterns in the language of a ``.gitignore``, and the paths that they match.

As git matches them (gitignore(5)) for a walk that comes to a folder before what lies in it: what
lies below a folder is asked for only where the folder was not left out.
"""

from __future__ import annotations

import enum
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from parecido.indexer.records.rules import Pattern

__all__ = ["Decision", "PatternFault", "Patterns", "as_text", "find_fault"]


class Decision(enum.Enum):
    """What patterns say of a path."""

    NOTHING = 0
    OUT = 1
    """It is left out."""
    NOT_OUT = 2
    """A negated pattern, ``!name``, takes an exclusion back."""
    IN = 3
    """It is taken in, whatever else would leave it out."""


class PatternFault(ValueError):
    """A pattern cannot be read."""


_Name = re.Pattern[str] | None
"""How one name of a path has to be; None stands for any number of names."""


class _Line(NamedTuple):
    """One pattern."""

    decision: Decision
    names: tuple[_Name, ...]
    is_anywhere: bool
    """Whether it is matched with the last name of a path alone."""
    folders_only: bool


class Patterns:
    """A list of patterns, of which the last that matches a path decides on it.

    Raises :class:`PatternFault` for one that cannot be read.
    """

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        wanted = list(patterns)
        lines = [_read(one) for one in wanted]
        self._lines = [line for line in reversed(lines) if line is not None]
        self._leads = [_lead(one.text) for one in wanted if one.takes_in]

    def decide(self, path: str, is_folder: bool) -> Decision:
        """What they say of a path relative to their folder."""
        name, names = path.rpartition("/")[2], None
        for line in self._lines:
            if line.folders_only and not is_folder:
                continue
            if line.is_anywhere:
                (wanted,) = line.names
                if wanted is None or wanted.fullmatch(name):
                    return line.decision
            else:
                names = names or path.split("/")
                if _matches(line.names, names):
                    return line.decision
        return Decision.NOTHING

    def may_take_in_below(self, folder: str) -> bool:
        """Whether one names something that lies below that folder, and is taken in."""
        parts = folder.split("/")
        return any(len(lead) > len(parts) and lead[: len(parts)] == parts for lead in self._leads)


def find_fault(patterns: Sequence[str]) -> str:
    """Why one of these cannot be read; empty where all can."""
    try:
        Patterns(Pattern(text) for text in patterns)
    except PatternFault as fault:
        return str(fault)
    return ""


def as_text(path: bytes) -> str:
    """A path as patterns see it: in one normal form of Unicode, with ``/`` between its names."""
    text = os.fsdecode(path)
    return _fold(text if os.sep == "/" else text.replace(os.sep, "/"))


def _fold(text: str) -> str:
    """Names that look the same are the same: macOS writes é as two characters."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _read(pattern: Pattern) -> _Line | None:
    """A pattern taken apart; None for a blank line, or a comment."""
    text = _strip_end(_fold(pattern.text))
    decision = Decision.IN if pattern.takes_in else Decision.OUT
    if not pattern.takes_in:
        if text.startswith("#"):
            return None
        if text.startswith("!"):
            decision, text = Decision.NOT_OUT, text[1:]
            if not text:
                raise PatternFault(f"{pattern.text!r} names nothing")
    folders_only = text.endswith("/")
    names = text.rstrip("/").lstrip("/").split("/")
    if names == [""]:
        if text:
            raise PatternFault(f"{pattern.text!r} names nothing")
        return None
    is_anywhere = "/" not in text.rstrip("/")
    try:
        return _Line(decision, tuple(map(_compile, names)), is_anywhere, folders_only)
    except re.error as error:
        raise PatternFault(f"{pattern.text!r}: {error}") from error


def _strip_end(text: str) -> str:
    """Without blanks at the end, but those behind a backslash."""
    stripped = text.rstrip(" \t\r")
    behind = len(stripped) - len(stripped.rstrip("\\"))
    return text[: len(stripped) + 1] if behind % 2 and len(stripped) < len(text) else stripped


def _compile(name: str) -> _Name:
    """One name of a pattern, in which ``*``, ``?`` and ``[…]`` stand for other characters."""
    if name == "**":
        return None
    parts: list[str] = []
    at = 0
    while at < len(name):
        character = name[at]
        at += 1
        if character == "*":
            if not parts or parts[-1] != ".*":
                parts.append(".*")
        elif character == "?":
            parts.append(".")
        elif character == "[" and (found := _CLASS.match(name, at)):
            parts.append(_translate_class(found[1]))
            at = found.end()
        elif character == "\\":
            if at == len(name):
                raise PatternFault(f"{name!r} ends with a backslash")
            parts.append(re.escape(name[at]))
            at += 1
        else:
            parts.append(re.escape(character))
    return re.compile(_without_backtracking(parts), re.DOTALL)


# a "]" that comes first stands for itself
_CLASS = re.compile(r"([!^]?\]?(?:\[:[a-z]+:\]|\\.|[^\]\\])*)\]")
_NAMED = {
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "alnum": "a-zA-Z0-9",
    "upper": "A-Z",
    "lower": "a-z",
    "space": r"\s",
    "punct": r"!-/:-@\[-`{-~",
    "xdigit": "0-9a-fA-F",
}


def _translate_class(inner: str) -> str:
    negated = inner[:1] in ("!", "^")
    inner = inner[1:] if negated else inner
    parts, at = [], 0
    while at < len(inner):
        if found := re.compile(r"\[:([a-z]+):\]").match(inner, at):
            parts.append(_NAMED.get(found[1], ""))
            at = found.end()
        elif inner[at] == "\\" and at + 1 < len(inner):
            parts.append(re.escape(inner[at + 1]))
            at += 2
        else:
            parts.append("-" if inner[at] == "-" else re.escape(inner[at]))
            at += 1
    return f"[{'^' if negated else ''}{''.join(parts)}]"


def _without_backtracking(parts: Sequence[str]) -> str:
    """A regular expression that looks for what follows each ``*`` once, at its first place.

    That is enough, as in :func:`fnmatch.translate`; else a name that nearly matches many of them
    would take time without end.
    """
    pieces: list[str] = [""]
    for part in parts:
        if part == ".*":
            pieces.append("")
        else:
            pieces[-1] += part
    if len(pieces) == 1:
        return pieces[0]
    first, *middle, last = pieces
    return first + "".join(f"(?>.*?{piece})" for piece in middle) + ".*" + last


def _matches(wanted: Sequence[_Name], names: Sequence[str]) -> bool:
    """Whether a path has names as wanted, where None stands for any number of them.

    At the end of a pattern it stands for one at least.
    """
    here = at = 0
    star, resumed = -1, 0
    while at < len(names):
        if here < len(wanted) and (one := wanted[here]) is None:
            if here == len(wanted) - 1:
                return True
            star, resumed = here, at
            here += 1
        elif here < len(wanted) and one is not None and one.fullmatch(names[at]):
            here, at = here + 1, at + 1
        elif star >= 0:  # what follows the last ** begins one later
            resumed += 1
            here, at = star + 1, resumed
        else:
            return False
    return here == len(wanted)


def _lead(pattern: str) -> list[str]:
    """The names before the first wildcard of a pattern that begins at its folder, else none."""
    names = _fold(pattern).strip().rstrip("/")
    if "/" not in names:
        return []
    lead = []
    for name in names.lstrip("/").split("/"):
        lead.append(name)
        if any(character in name for character in "*?[\\"):
            break
    return lead
