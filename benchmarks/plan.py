"""What a run of the benchmarks is asked to do, and how it measures things side by side."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["HERE", "ROOT", "Plan", "alternate", "say"]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


@dataclass(frozen=True)
class Plan:
    """The options of a run."""

    quick: bool = False
    """Small sizes and one round: whether everything works, not how fast."""
    pictures: Path | None = None
    """A folder of the user's own pictures instead of generated ones."""
    work: Path = HERE / "work"
    """Scratch data, kept between runs: pictures, libraries, random weights."""
    parts: tuple[str, ...] = ()
    """Only the cases in whose names one of these occurs; all where there is none."""

    @property
    def rounds(self) -> int:
        """How often each thing is measured."""
        return 1 if self.quick else 3

    def wants(self, case: str) -> bool:
        """Whether a case was asked for."""
        return not self.parts or any(part in case for part in self.parts)

    def folder(self, name: str) -> Path:
        """A scratch folder of that name, made where it is missing."""
        path = self.work / name
        path.mkdir(parents=True, exist_ok=True)
        return path


def alternate(
    what: str, measures: Mapping[str, Callable[[], float]], rounds: int
) -> dict[str, list[float]]:
    """Measure several things in turn, A B C A B C …, and give each one's values by round.

    In turn, because a machine's speed drifts: what is compared should lie close together in time.
    """
    series: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(1, rounds + 1):
        for name, measure in measures.items():
            value = measure()
            series[name].append(value)
            say(f"{what}: {name}, round {number} of {rounds}: {value:.4g}")
    return series


def say(text: str) -> None:
    """Tell on stderr what goes on."""
    print(text, file=sys.stderr, flush=True)
