"""A measured figure, and what it is measured against."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Comparison", "Figure", "median"]


@dataclass(frozen=True)
class Comparison:
    """Something measured beside a figure, in the same unit and the same rounds."""

    name: str
    value: float
    """Median over the rounds."""
    ratio: float
    """The figure divided by this, round by round; the median of these.

    Neighbouring measurements share the machine's mood, so this is steadier than the ratio of the
    medians, and may differ from it in the last digit.
    """
    target: float | None = None
    """What the ratio should reach; None where nothing is promised."""
    at_least: bool = True
    """Whether the target is a floor (rates) or a ceiling (times)."""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None where there is none."""
        if self.target is None:
            return None
        return self.ratio >= self.target if self.at_least else self.ratio <= self.target

    @classmethod
    def of(
        cls,
        name: str,
        ours: list[float],
        theirs: list[float],
        target: float | None = None,
        *,
        at_least: bool = True,
    ) -> Comparison:
        """Compare two series that were measured alternately, one value a round."""
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        return cls(name, median(theirs), median(ratios), target, at_least)


@dataclass(frozen=True)
class Figure:
    """One line of the report."""

    benchmark: str
    """Name of the benchmark, as ``--only`` takes it."""
    name: str
    """Unique within its benchmark."""
    value: float
    """Median over the rounds."""
    unit: str
    reference: Comparison | None = None
    """What one would write by hand."""
    limit: Comparison | None = None
    """What cannot be beaten on this machine."""
    note: str = ""
    rounds: dict[str, list[float]] = field(default_factory=dict)
    """Every value of every series, in the order in which they were measured."""

    @property
    def comparisons(self) -> list[Comparison]:
        """The reference and the limit, as far as there are such."""
        return [c for c in (self.reference, self.limit) if c is not None]

    @property
    def met(self) -> bool | None:
        """Whether all targets are met; None where there is none."""
        answers = [c.met for c in self.comparisons if c.met is not None]
        return all(answers) if answers else None

    def to_json(self) -> dict[str, Any]:
        """Plain data for the results file, with the verdicts."""
        data = asdict(self)
        for name in ("reference", "limit"):
            comparison: Comparison | None = getattr(self, name)
            if comparison is not None:
                data[name]["met"] = comparison.met
        return {**data, "met": self.met}


def median(values: list[float]) -> float:
    """The middle value, or the mean of the two in the middle."""
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2
