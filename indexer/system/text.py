"""Words for people."""

from __future__ import annotations

import os

__all__ = ["plural", "printable", "relative"]


def printable(text: str) -> str:
    """A path or label as one line of plain text: nothing in it can steer a terminal.

    Undecodable bytes and control characters appear as escapes.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def plural(count: int, one: str, many: str = "") -> str:
    """``1 picture``, ``1,212 pictures``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def relative(path: str, start: str) -> str:
    """The path as seen from the folder ``start`` where it lies below it, else as it is."""
    return path.removeprefix(start.rstrip(os.sep) + os.sep) if start else path
