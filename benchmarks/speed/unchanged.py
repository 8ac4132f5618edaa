"""A run over 100,000 files that are all as they were, beside a bare look at each of them.

The files are tiny pictures, indexed once with an encoder that needs no network; what a run over
unchanged files does has nothing to do with either.  The library is of the size that a real one has.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.baselines.scan import scan
from benchmarks.children import ask, peak_bytes, serve, timed
from benchmarks.figures import Comparison, Figure, median
from benchmarks.plan import Plan, alternate, say
from parecido import Library, index
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.records.encoder import EncoderSpec, SizePolicy

__all__ = ["measure"]

_FILES, _QUICK_FILES, _IN_A_FOLDER = 100_000, 2_000, 500
_DIMENSION, _CLASSES = 1280, 1000
_OF_SCAN = 3.0


def measure(plan: Plan) -> list[Figure]:
    """Time and memory of a run, inside one process and from the shell."""
    count = _QUICK_FILES if plan.quick else _FILES
    home = plan.folder("unchanged") / str(count)
    folder, library = home / "pictures", home / "library"
    request = {"folder": str(folder), "library": str(library), "files": count}
    say(f"unchanged: {count:,} files; the first time they are made and indexed")
    ask("speed.unchanged", {**request, "do": "fill"})
    inside = ask("speed.unchanged", {**request, "do": "measure", "rounds": plan.rounds + 2})
    ours, bare = inside["run"], inside["scan"]
    words = [
        sys.executable,
        "-m",
        "parecido.search.cli",
        "index",
        str(folder),
        "--library",
        str(library),
    ]
    shell = alternate(
        "unchanged, from the shell",
        {
            "parecido": lambda: timed(words),
            "scan": lambda: timed([sys.executable, "-m", "benchmarks.baselines.scan", str(folder)]),
        },
        plan.rounds,
    )
    over = f"{count:,} files"
    return [
        Figure(
            "unchanged",
            f"{over}, in one process",
            median(ours),
            "s",
            Comparison.of("scandir and stat", ours, bare, _OF_SCAN, at_least=False),
            note=f"{median(ours) / count * 1e6:.1f} µs a file",
            rounds={"parecido": ours, "scan": bare},
        ),
        Figure("unchanged", f"{over}, memory that a run adds", inside["growth"] / 1e6, "MB"),
        Figure(
            "unchanged",
            f"{over}, from the shell",
            median(shell["parecido"]),
            "s",
            Comparison.of("Python that scans", shell["parecido"], shell["scan"]),
            rounds=shell,
        ),
    ]


def _fill(request: dict[str, Any]) -> Mapping[str, object]:
    """Make the files and the library, or what an earlier attempt left undone of them."""
    folder, count = Path(request["folder"]), request["files"]
    done = folder.with_name("done")
    if done.exists():
        return {}
    for first in range(0, count, _IN_A_FOLDER):
        below = folder / f"{first // _IN_A_FOLDER:04d}"
        below.mkdir(parents=True, exist_ok=True)
        for number in range(first, min(count, first + _IN_A_FOLDER)):
            path, pixels = below / f"{number:06d}.ppm", number.to_bytes(12, "big")
            if not path.exists():
                path.write_bytes(b"P6 2 2 255\n" + pixels)
    with Library.create(request["library"]) as library:
        index(library, [folder], encoder=Encoder(_SPEC, _Colours()))
    done.touch()
    return {}


def _measure(request: dict[str, Any]) -> Mapping[str, object]:
    """Seconds of runs and of scans in turn, and the bytes that the first run adds to the peak."""
    runs, scans = [], []
    with Library.open(request["library"]) as library:
        scan(request["folder"])
        before = peak_bytes()
        for _ in range(request["rounds"]):
            started = time.perf_counter()
            report = index(library, [request["folder"]])
            between = time.perf_counter()
            found = scan(request["folder"])
            runs.append(between - started)
            scans.append(time.perf_counter() - between)
            if not report.unchanged == found == request["files"]:
                raise RuntimeError(f"Expected {request['files']} unchanged files, got {report}")
        return {"run": runs, "scan": scans, "growth": peak_bytes() - before}


class _Colours:
    """Stands for a network: descriptors and probabilities that come from the mean colour."""

    name, batch_size, bucket_size = "colours", 64, 64

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._weights = rng.standard_normal((3, _DIMENSION + _CLASSES)).astype(np.float32)

    def run(
        self, batch: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        colours = batch.mean(axis=(1, 2), dtype=np.float32) / 255 + 0.1
        features = colours @ self._weights
        probabilities = np.exp(features[:, _DIMENSION:])
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        return features[:, :_DIMENSION], probabilities


_SPEC = EncoderSpec(
    model="colours",
    pooling="avg",
    dimension=_DIMENSION,
    weights_sha256="0" * 64,
    preprocessing="none",
    size=SizePolicy(32, 32, step=8),
)


if __name__ == "__main__":
    serve(lambda request: {"fill": _fill, "measure": _measure}[request["do"]](request))
