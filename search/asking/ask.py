"""What a query is made of: one picture or several, with and without, whole or in part, turned."""

from __future__ import annotations

from dataclasses import dataclass

from parecido.indexer.errors import InvalidRequest
from parecido.indexer.pictures.in_memory import Source
from parecido.indexer.records.choices import TOGETHER, Together
from parecido.indexer.records.regions import Region
from parecido.search.asking.sources import name_of
from parecido.search.asking.terms import Terms

__all__ = ["Ask", "Together", "check_within"]


@dataclass(frozen=True, eq=False)
class Ask:
    """Given pictures, and how they are meant."""

    like: tuple[Source, ...]
    unlike: tuple[Source, ...] = ()
    """What hits should have nothing of."""
    together: Together = "mean"
    """Whether hits should be like all of the pictures (like their mean), or like any one."""
    region: Region | None = None
    """The part that is meant, of a single picture."""
    any_orientation: bool = False
    """Whether hits may be turned by quarters or mirrored."""

    @property
    def name(self) -> str:
        """For people: ``a.jpg + b.jpg - c.jpg``."""
        signs = [" + " if self.together == "mean" else " | "] * len(self.like)
        parts = list(zip(signs, self.like, strict=True)) + [(" - ", one) for one in self.unlike]
        return "".join(sign + name_of(one) for sign, one in parts)[3:]

    def check(self) -> None:
        """Raise :class:`~parecido.InvalidRequest` for what cannot be asked."""
        if not self.like:
            raise InvalidRequest(
                "There are pictures that hits should be unlike, and none that they should be like."
                if self.unlike
                else "No picture was given.",
                "Give at least one picture to look for.",
            )
        if self.region is not None and len(self.like) > 1:
            raise InvalidRequest(
                f"A region of one picture is meant, and {len(self.like)} were given.",
                "Give one picture with its region.",
            )
        if self.together not in TOGETHER:
            raise InvalidRequest(
                f"Expected together to be {' or '.join(TOGETHER)}, got {self.together!r}.",
                "mean: like all of them; any: like one of them.",
            )


def check_within(ask: Ask, terms: Terms) -> None:
    """Raise :class:`~parecido.InvalidRequest` for what no search within pictures can do."""
    several = len(ask.like) > 1 and ask.together == "mean"
    refused = {
        "a mean of several pictures": several,
        "pictures that hits should be unlike": bool(ask.unlike),
        "expansion": bool(terms.expand),
        "re-ranking": bool(terms.rerank),
        "a maximum of chance": terms.max_chance is not None,
        "the same picture only": terms.same,
    }
    for what, given in refused.items():
        if given:
            raise InvalidRequest(
                f"A search within pictures cannot be combined with {what}.",
                "Leave out one of them.",
            )
