"""The child of :mod:`benchmarks.speed.million`: build a large library's index, then ask it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.children import peak_bytes, serve
from benchmarks.material.libraries import fill_library
from benchmarks.material.synthetic import stream
from benchmarks.speed.million import queries
from parecido import Engine, Library
from parecido.indexer.records.encoder import EncoderSpec, SizePolicy

_HITS = 10


def answer(request: dict[str, Any]) -> Mapping[str, object]:
    """``build``: seconds and bytes; ``ask``: milliseconds, recall, seconds of opening."""
    folder, dimension = Path(request["folder"]), request["dimension"]
    if request["do"] == "build":
        return _build(folder, request["count"], dimension)
    return _ask(folder, request["count"], dimension, request["queries"])


def _build(folder: Path, count: int, dimension: int) -> Mapping[str, object]:
    spec = EncoderSpec(
        "synthetic", "avg", dimension, "0" * 64, "none", SizePolicy(224, 224), precision="float32"
    )
    started = time.perf_counter()
    fill_library(folder, stream(count, dimension, seed=1), spec, index=False)
    filled = time.perf_counter()
    with Library.open(folder) as library, library.writer() as writing:
        index = writing.vectors()
        index.save_if_worthwhile()
        built = time.perf_counter()
        facts = index.facts
        assert facts is not None
        return {
            "fill_seconds": filled - started,
            "build_seconds": built - filled,
            "kind": facts.kind,
            "index_bytes": index.file_bytes,
            "own_recall": facts.recall,
            "nprobe": facts.nprobe,
            "candidates": facts.candidates,
            "peak_bytes": peak_bytes(),
        }


def _ask(folder: Path, size: int, dimension: int, count: int) -> Mapping[str, object]:
    import faiss  # noqa: F401  # its import is no part of opening a library

    rows = queries(count, size, dimension)
    started = time.perf_counter()
    with Library.open(folder) as library, Engine(library) as engine:
        engine.search_vector(rows[0], k=_HITS)
        opened = time.perf_counter() - started
        times, found = [], []
        for row in rows:
            begun = time.perf_counter()
            found.append([hit.id for hit in engine.search_vector(row, k=_HITS)])
            times.append(time.perf_counter() - begun)
        return {
            "open_seconds": opened,
            "recall": _recall(library, rows, found),
            "median_ms": float(np.median(times)) * 1000,
            "p95_ms": float(np.percentile(times, 95)) * 1000,
            "pass_ms": _pass(library.catalogue.counts()[0], dimension, rows[0]) * 1000,
        }


def _recall(library: Library, rows: np.ndarray[Any, Any], found: list[list[int]]) -> float:
    """recall@10: which share of the ten best by exact search was found."""
    from parecido.indexer.vectors.scan import Nearest

    truth = Nearest(rows, _HITS)
    for ids, vectors in library.catalogue.descriptors.read_after(-1):
        truth.see(ids, vectors)
    pairs = zip(truth.best()[1].tolist(), found, strict=True)
    return sum(len(set(best) & set(ids)) for best, ids in pairs) / (_HITS * len(rows))


def _pass(count: int, dimension: int, row: np.ndarray[Any, Any]) -> float:
    """Seconds of NumPy's matrix product with one query: one pass of memory over the vectors.

    Of at most 2 GB, and scaled up from there.
    """
    rows = min(count, (2 << 30) // (4 * dimension))
    matrix = np.ones((rows, dimension), np.float32)
    times = []
    for _ in range(5):
        started = time.perf_counter()
        matrix @ row
        times.append(time.perf_counter() - started)
    return float(np.median(times)) * count / rows


if __name__ == "__main__":
    serve(answer)
