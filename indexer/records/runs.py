"""What an indexing run did, and what a check of a library found."""

from __future__ import annotations

from dataclasses import dataclass, field

from parecido.indexer.records.pictures import Skip

__all__ = ["IndexReport", "Problem"]


@dataclass(frozen=True)
class Problem:
    """Something that ``verify`` found."""

    what: str
    """What is wrong, in one line."""
    repairable: bool
    """Whether ``verify --repair`` mends it."""


@dataclass
class IndexReport:
    """What an indexing run did.  Every file that it saw is counted in exactly one group."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    moved: int = 0
    removed: int = 0
    skipped: list[Skip] = field(default_factory=list)
    seconds: float = 0.0
    encoded: int = 0
    """Pictures that went through the network (copies of known bytes do not)."""
    interrupted: bool = False
    preparing_seconds: float = 0.0
    """Part of ``seconds`` spent on opening the encoder: building it where it was not cached."""
    missing_roots: list[str] = field(default_factory=list)
    """Roots that were not there; their pictures were kept."""

    @property
    def pictures_per_second(self) -> float:
        """Pictures added or updated a second, the opening of the encoder left out."""
        working = self.seconds - self.preparing_seconds
        return (self.added + self.updated) / working if working > 0 else 0.0
