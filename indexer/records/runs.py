"""What an indexing run did, and what a check of a library or of its pictures found."""

from __future__ import annotations

from dataclasses import dataclass, field

from parecido.indexer.records.left_out import LeftOut
from parecido.indexer.records.pictures import Note, Skip

__all__ = ["IndexReport", "PictureCheck", "Problem"]


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
    redecoded: int = 0
    """Of those updated, pictures that were indexed when files of their format were shown otherwise;
    most of them are as they were."""
    unchanged: int = 0
    moved: int = 0
    removed: int = 0
    skipped: list[Skip] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    """Of pictures that were added or updated, and are not whole."""
    seconds: float = 0.0
    encoded: int = 0
    """Pictures that went through the network (copies of known bytes do not)."""
    interrupted: bool = False
    preparing_seconds: float = 0.0
    """Part of ``seconds`` spent on opening the encoder: building it where it was not cached."""
    missing_roots: list[str] = field(default_factory=list)
    """Roots, and known folders below them, that were not there or were empty; their pictures were
    kept."""
    replaced_roots: list[str] = field(default_factory=list)
    """Those in whose place there is another drive, which was not walked."""
    relocated: list[tuple[str, str]] = field(default_factory=list)
    """Folders that have another path by now, with that path; their pictures kept their ids."""
    copied: list[tuple[str, str]] = field(default_factory=list)
    """Folders that are not there, and where there are copies of what they held."""
    left_out: list[LeftOut] = field(default_factory=list)
    """What rules left out, by reason.  Files below a folder that was left out are not counted."""
    removed_by_rules: int = 0
    """Part of ``removed``: pictures whose files are there, and that a rule leaves out by now."""
    remarks: list[str] = field(default_factory=list)
    """What else somebody should know of these folders, each a sentence."""

    looks: int = 0
    """Pictures that were indexed before and got the thumbnail by which copies are known."""

    @property
    def pictures_per_second(self) -> float:
        """Pictures added or updated a second, the opening of the encoder left out."""
        working = self.seconds - self.preparing_seconds
        return (self.added + self.updated) / working if working > 0 else 0.0


@dataclass
class PictureCheck:
    """What a check of the pictures' files found.  Paths are absolute.

    Every picture that it came to, and that did not leave the library meanwhile, is among those that
    were ``read``, or in one of ``outdated``, ``gone``, ``unreadable`` and ``away``.
    """

    share: float = 100.0
    """Percent of the library that were asked for."""
    total: int = 0
    """Pictures in the library."""
    wanted: int = 0
    """Pictures that this check was to come to."""
    looked: int = 0
    """Pictures that it came to."""
    read: int = 0
    """Files that were read to their end."""
    bytes: int = 0
    """Of these files."""
    changed: list[str] = field(default_factory=list)
    """Read, and of other bytes than were indexed, though size and times are as they were: damage,
    or, where the change time is not known, an edit that kept both."""
    outdated: list[str] = field(default_factory=list)
    """Other by size, time or change time; the next indexing run sees them."""
    gone: list[str] = field(default_factory=list)
    """Nothing lies there any more; the next indexing run sees that."""
    unreadable: list[Skip] = field(default_factory=list)
    """There, and not to be read; of the kind ``failing`` where the disk is the reason."""
    away: int = 0
    """Pictures below roots that are not there, as on an unplugged disk."""
    first_id: int | None = None
    last_id: int | None = None
    """Of the pictures that it came to, in the order of their ids; None for no picture."""
    resumed: bool = False
    """Whether it went on where another ended or was interrupted."""
    complete: bool = False
    """Whether all pictures were come to, with those before it; the next begins with the first."""
    interrupted: bool = False
    not_kept: str = ""
    """Why the next cannot go on from here; empty where it can."""

    @property
    def is_sound(self) -> bool:
        """Whether no file is other than its size and time say, and no disk failed."""
        return not self.changed and all(one.kind != "failing" for one in self.unreadable)
