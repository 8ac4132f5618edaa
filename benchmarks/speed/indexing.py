"""How many pictures a second an indexing run takes, beside the plain recipe and the limit.

Every run goes into a fresh library in a process of its own.  Opening the encoder is left out, as
the run itself reports it; compiling it for the pictures' shapes is not.  (While the encoder opens,
the first few files are decoded already: eight of thousands.)  The run lasts about a minute (with
4 GB of files half of that), so that what happens once, learning the library's space and compiling
for seven shapes, weighs as little as it does on a collection of a few thousand pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from itertools import product
from math import ceil
from pathlib import Path
from typing import Any

from benchmarks.children import ask
from benchmarks.figures import Comparison, Figure, median
from benchmarks.material.encoders import MODELS, Model, exported_model, model
from benchmarks.material.pictures import SETS, copies, own_set
from benchmarks.plan import Plan, alternate, say

__all__ = ["Case", "cases", "index_once", "measure"]

_SECONDS = 60.0  # that a run should last
_MOST_BYTES = 4e9  # of copies for one run
_OWN = "own pictures"
_OF_LIMIT = 0.9
_OF_PLAIN = {
    ("efficientnet-lite0", "320 px"): 2.5,
    ("resnet50", "320 px"): 1.8,
    ("efficientnet-lite0", "12 MP"): 3.0,
    ("resnet50", "12 MP"): 3.0,
}


@dataclass(frozen=True)
class Case:
    """A network and a picture set."""

    model: Model
    pictures: str
    """The set's name."""
    originals: tuple[Path, ...]
    work: Path

    @property
    def name(self) -> str:
        """As ``--only indexing:PART`` matches it."""
        return f"{self.model.name}, {self.pictures}"

    def folders(self, plan: Plan) -> list[Path]:
        """Folders with pictures for a run that lasts long enough, all of different bytes."""
        if plan.quick:
            return self._copies(2 * len(self.originals))
        return self._copies(_SECONDS * self.bare()["pictures_per_second"])

    def _copies(self, count: float) -> list[Path]:
        found = [path.stat() for path in self.originals]
        size = sum(status.st_size for status in found)
        times = min(ceil(count / len(self.originals)), int(_MOST_BYTES / size))
        named = [
            (str(p), s.st_size, s.st_mtime_ns) for p, s in zip(self.originals, found, strict=True)
        ]
        key = blake2b(repr(named).encode(), digest_size=6).hexdigest()
        return copies(self.originals, max(1, times), self.work / "copies" / key)

    def bare(self) -> dict[str, Any]:
        """Decoding alone and the network alone; see :mod:`benchmarks.baselines.bare`."""
        spec = self.model.spec()
        files = [str(path) for path in self.originals[:160]]
        network = str(exported_model(spec))
        return ask("baselines.bare", {"spec": spec.to_json(), "network": network, "files": files})

    def plain(self) -> dict[str, Any]:
        """The plain recipe over the originals."""
        files = [str(path) for path in self.originals]
        names = {"model": self.model.name, "weights": self.model.weights}
        return ask("baselines.plain", {"do": "index", "files": files, **names})


def cases(plan: Plan) -> list[Case]:
    """What was asked for: every network with every set."""
    models, sets = MODELS, [_OWN] if plan.pictures else [s.name for s in SETS]
    if plan.quick:
        models, sets = models[:1], sets[:1]
    found = []
    for name, pictures in product(models, sets):
        if plan.wants(f"{name}, {pictures}"):
            originals = tuple(_originals(plan, pictures))
            found.append(Case(model(name, plan), pictures, originals, plan.work))
    return found


def _originals(plan: Plan, pictures: str) -> list[Path]:
    if plan.pictures:
        return own_set(plan.pictures, 64 if plan.quick else 640)
    chosen = next(s for s in SETS if s.name == pictures)
    say(f"{pictures}: making what is missing of the pictures")
    return chosen.files(plan.folder("pictures"), 64 if plan.quick else None)


def index_once(case: Case, folders: list[Path], *, watch: bool = False) -> dict[str, Any]:
    """One run into a fresh library; see :mod:`benchmarks.speed.index_once`."""
    request = {
        "folders": [str(folder) for folder in folders],
        "library": str(case.work / "library-of-one-run"),
        "model": case.model.name,
        "weights": case.model.weights,
        "watch": watch,
    }
    return ask("speed.index_once", request)


def measure(plan: Plan) -> list[Figure]:
    """Pictures a second for each case."""
    return [_measure(case, plan) for case in cases(plan)]


def _measure(case: Case, plan: Plan) -> Figure:
    folders = case.folders(plan)
    bares: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []

    def ours() -> float:
        runs.append(index_once(case, folders))
        return float(runs[-1]["pictures"] / runs[-1]["seconds"])

    def plain() -> float:
        answer = case.plain()
        return float(answer["pictures"] / answer["seconds"])

    def limit() -> float:
        bares.append(case.bare())
        return float(bares[-1]["pictures_per_second"])

    series = alternate(
        case.name, {"parecido": ours, "plain recipe": plain, "limit": limit}, plan.rounds
    )
    target = _OF_PLAIN.get((case.model.name, case.pictures))
    reference = Comparison.of("plain recipe", series["parecido"], series["plain recipe"], target)
    bound = Comparison.of("decode + network", series["parecido"], series["limit"], _OF_LIMIT)
    bare, run = bares[-1], runs[-1]
    ways = ", ".join(f"{way} {cpu * 1e3:.1f}" for way, cpu in bare["ways"].items())
    note = (
        f"{run['pictures']} pictures in {run['seconds']:.1f} s, "
        f"{run['cpu'] / run['wall'] / run['cores']:.0%} of the cores busy; "
        f"bare: decode {bare['decode']['cpu'] * 1e3:.1f} ms "
        f"({bare['decode']['wall'] * 1e3:.1f} by wall), "
        f"network {bare['forward']['cpu'] * 1e3:.1f} ms "
        f"({bare['forward']['wall'] * 1e3:.1f} by wall), {bare['shapes']} shapes; one shape: {ways}"
    )
    value = median(series["parecido"])
    return Figure("indexing", case.name, value, "pictures/s", reference, bound, note, rounds=series)
