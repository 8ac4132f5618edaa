"""One indexing run into a fresh library, in a process of its own.

``python -m benchmarks.speed.index_once REQUEST``, the request naming ``folders``, ``library``,
``model``, ``weights`` and whether to ``watch`` where the time goes.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from benchmarks.children import cores, peak_bytes, serve
from benchmarks.speed.stages import watched
from parecido import IndexOptions, Library, index
from parecido.indexer.pictures.decoding.stock import STOCK


def _decoders_seconds() -> float:
    """CPU seconds of the processes that decoded, their start included; ends them."""
    before = os.times()
    STOCK.close()
    after = os.times()
    return (
        after.children_user + after.children_system - before.children_user - before.children_system
    )


def _answer(request: dict[str, Any]) -> Mapping[str, object]:
    shutil.rmtree(request["library"], ignore_errors=True)
    options = IndexOptions(
        model=request["model"],
        weights=request["weights"] or None,
        # the network as the plain recipe runs it, like for like
        pooling="avg",
        quality="fast",
        device="cpu",
        isolate=not request["watch"],  # what is watched decodes where it can be seen
    )
    with ExitStack() as stack:
        library = stack.enter_context(Library.create(request["library"]))
        stages = stack.enter_context(watched()) if request["watch"] else None
        wall, cpu = time.perf_counter(), time.process_time()
        report = index(library, request["folders"], options)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        cpu += _decoders_seconds()
        spent = stages.seconds(cpu) if stages else {}
    shutil.rmtree(request["library"])
    if report.skipped or report.encoded != report.added:
        raise RuntimeError(f"Expected every picture to be new and readable, got {report}")
    return {
        "pictures": report.added,
        "seconds": wall - report.preparing_seconds,
        "preparing": report.preparing_seconds,
        "cpu": cpu,
        "wall": wall,
        "cores": cores(),
        "peak": peak_bytes(),
        "stages": spent,
        "missing": stages.missing if stages else [],
    }


if __name__ == "__main__":
    serve(_answer)
