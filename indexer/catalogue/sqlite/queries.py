"""How long questions are cut into pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

__all__ = ["chunks", "marks", "pages"]

_CHUNK = 500  # values in one IN (…), below every SQLite's limit
_PAGE = 4096  # rows of a long answer that are read together
_T = TypeVar("_T")


def chunks(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Pieces short enough for one ``IN (…)``."""
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]


def marks(values: Sequence[Any]) -> str:
    """A question mark for each value, for what stands between the brackets."""
    return ", ".join("?" * len(values))


def pages(
    ask: Callable[[Any, int], list[Any]], first: Any, *, size: int = 0, key: int = 0
) -> Iterator[list[Any]]:
    """A long answer in pieces, so that no transaction lasts longer than one of them.

    ``ask(last, size)`` gives at most ``size`` rows behind ``last``: behind ``first``, and then
    behind what the last row has in its column ``key``, by which rows are ordered.
    """
    size = size or _PAGE
    last = first
    while rows := ask(last, size):
        yield rows
        if len(rows) < size:
            return
        last = rows[-1][key]
