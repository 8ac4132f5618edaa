"""Words for people."""

from __future__ import annotations

__all__ = ["plural", "printable"]


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
