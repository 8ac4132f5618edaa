"""Which patterns a root keeps: what was excluded from it, and what was taken in again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Pattern", "RootRules"]


class Pattern(NamedTuple):
    """One pattern as in a ``.gitignore``, relative to the root."""

    text: str
    takes_in: bool = False
    """Whether what it matches is taken in, whatever else would leave it out."""


@dataclass(frozen=True)
class RootRules:
    """The patterns of a root, oldest first; the last that matches a path decides on it."""

    patterns: tuple[Pattern, ...] = ()

    @property
    def exclude(self) -> tuple[str, ...]:
        """Patterns of what is left out."""
        return tuple(one.text for one in self.patterns if not one.takes_in)

    @property
    def include(self) -> tuple[str, ...]:
        """Patterns of what is taken in."""
        return tuple(one.text for one in self.patterns if one.takes_in)

    def merge(self, exclude: Iterable[str], include: Iterable[str]) -> RootRules:
        """These with more of both; one that was there already, of either kind, gives way."""
        fresh = [*(Pattern(text) for text in exclude), *(Pattern(text, True) for text in include)]
        kept = {_compare(one.text): one for one in self.patterns}
        for one in fresh:
            kept.pop(_compare(one.text), None)
            kept[_compare(one.text)] = one
        return RootRules(tuple(kept.values()))

    def to_json(self) -> str:
        """For the catalogue; ``""`` where there is no pattern."""
        if not self.patterns:
            return ""
        # ASCII, so that names of any bytes survive
        return json.dumps([["include" if p.takes_in else "exclude", p.text] for p in self.patterns])

    @classmethod
    def from_json(cls, text: str | None) -> RootRules:
        """What :meth:`to_json` wrote; raises ``ValueError`` for anything else."""
        if not text:
            return cls()
        patterns = []
        for one in json.loads(text):
            kind, pattern = one
            if kind not in ("exclude", "include") or not isinstance(pattern, str):
                raise ValueError(f"{one!r} is no rule of a root")
            patterns.append(Pattern(pattern, kind == "include"))
        return cls(tuple(patterns))


def _compare(text: str) -> str:
    """By which two spellings of a folder's pattern are told to be the same."""
    return text.strip().rstrip("/") or text
