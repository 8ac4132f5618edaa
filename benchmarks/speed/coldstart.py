"""From the shell to the hits of a new picture, in a library of 100,000 descriptors.

Everything is timed from outside, from starting the program to its end, with its files in the page
cache.  The limit is a program that only starts Python, imports what the work needs, decodes the
picture, reads the compiled network, describes the picture and asks the mapped index once.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np

from benchmarks.children import timed
from benchmarks.figures import Comparison, Figure, median
from benchmarks.material.encoders import Model, exported_model, model
from benchmarks.material.libraries import fill_library
from benchmarks.material.pictures import SETS
from benchmarks.material.synthetic import descriptors
from benchmarks.plan import Plan, alternate, say
from parecido import Library

__all__ = ["filled_library", "measure"]

_COUNT, _QUICK_COUNT = 100_000, 2_000
_ROUNDS = 5
_OF_PLAIN = 1 / 8
_OF_LIMIT = 1.3


def measure(plan: Plan) -> list[Figure]:
    """Seconds from the shell to the hits."""
    count = _QUICK_COUNT if plan.quick else _COUNT
    network = model("efficientnet-lite0", plan)
    library, matrix = filled_library(plan, network, count)
    picture = str(SETS[1].files(plan.folder("pictures"), 1)[0])
    python = [sys.executable, "-m"]
    search = [*python, "parecido.search.cli", "search", picture, "--library", str(library)]
    do = {"do": "search", "model": network.name, "weights": network.weights}
    do |= {"picture": picture, "matrix": str(matrix)}
    plain = [*python, "benchmarks.baselines.plain", json.dumps(do)]
    spec = network.spec()
    must = {
        "picture": picture,
        "size": list(spec.size.target(*SETS[1].size(0))),
        "network": str(exported_model(spec)),
        "cache": _compiled(exported_model(spec)),
        "space": _space(library),
        "index": str(next((library / "vectors").glob("*.faiss"))),
    }
    limit = [*python, "benchmarks.baselines.least", json.dumps(must)]
    series = alternate(
        "cold start",
        {
            "parecido": lambda: timed(search),
            "plain recipe": lambda: timed(plain),
            "limit": lambda: timed(limit),
        },
        1 if plan.quick else _ROUNDS,
    )
    ours = series["parecido"]
    return [
        Figure(
            "coldstart",
            f"search among {count:,}",
            median(ours),
            "s",
            Comparison.of("plain recipe", ours, series["plain recipe"], _OF_PLAIN, at_least=False),
            Comparison.of("what must be done", ours, series["limit"], _OF_LIMIT, at_least=False),
            "the network read as compiled" if must["cache"] else "the network compiled anew",
            rounds=series,
        )
    ]


def filled_library(plan: Plan, network: Model, count: int) -> tuple[Path, Path]:
    """A library and a NumPy file with the same descriptors, kept from an earlier run."""
    spec = network.spec()
    folder = plan.folder("search") / f"{spec.fingerprint[:8]}-{count}"
    library, matrix = folder / "library", folder / "matrix.npy"
    if not matrix.exists():  # written last
        say(f"filling a library with {count:,} descriptors")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        vectors = descriptors(count, spec.dimension, seed=1)
        fill_library(library, np.array_split(vectors, max(1, count // 4096)), spec)
        np.save(folder / "new.npy", vectors)
        (folder / "new.npy").replace(matrix)
    return library, matrix


def _space(library: Path) -> str:
    """A file with what brings descriptors into the library's space; empty where it has none."""
    with Library.open(library) as opened:
        space = opened.catalogue.settings.space()
    if space is None:
        return ""
    file = library.parent / "space.npz"
    np.savez(file, mean=space.mean, matrix=space.matrix)
    return str(file)


def _compiled(network: Path) -> str:
    """The folder in which parecido keeps compiled networks; empty where it keeps none.

    OpenVINO names what it caches ``*.blob``.
    """
    for folder in (network.parent, network.parent.parent):
        blob = next(folder.rglob("*.blob"), None)
        if blob is not None:
            return str(blob.parent)
    return ""
