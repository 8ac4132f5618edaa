"""What rules left out of a walk, counted."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["EXCLUDED", "HIDDEN", "IGNORED", "KNOWN", "MARKED", "REASONS", "LeftOut"]

KNOWN = "known-name"
MARKED = "marked"
IGNORED = "ignore-file"
EXCLUDED = "excluded"
HIDDEN = "hidden"

REASONS = {
    KNOWN: "kept by a system or program",
    MARKED: "marked with .nomedia",
    IGNORED: "named in .parecidoignore",
    EXCLUDED: "excluded",
    HIDDEN: "hidden",
}
"""Why something is left out, in the order in which it is told, and in words."""


@dataclass
class LeftOut:
    """What one kind of rule left out.  What lies below a folder is not counted by itself."""

    reason: str
    """One of :data:`REASONS`."""
    folders: int = 0
    files: int = 0
    examples: list[str] = field(default_factory=list)
    """The first few paths."""
