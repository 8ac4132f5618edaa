"""How busy the Keras runtime keeps a GPU: from memory, and from JPEG files.

The limits are the compiled network alone, on pixels that lie on the device already, and for files
whichever is slower, that or decoding alone on all cores.  ``python -m benchmarks.speed.gpu
REQUEST`` measures all of them in turn in one process, because opening a network takes longer than
measuring it.  Every shape is compiled before.  With ``--quick`` it runs on a CPU where there is no
GPU: both sides then share the cores, so the ratios mean nothing, only that everything works.
"""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.baselines.bare import decoding
from benchmarks.children import ask, cores, serve
from benchmarks.figures import Comparison, Figure, median
from benchmarks.material.encoders import MODELS, model
from benchmarks.material.pictures import SETS, copies
from benchmarks.plan import Plan, alternate
from parecido import Library, index
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.encoders.machine.devices import gpu_visible
from parecido.indexer.encoders.runtimes.keras import KerasRuntime
from parecido.indexer.records.encoder import EncoderSpec

__all__ = ["measure"]

_OF_LIMIT = 0.9
_SECONDS = 5.0
_PICTURES = 32_000  # in a run over files: some seconds of a large GPU
_THREADS = 4
_FORWARD, _DECODE, _MEMORY, _FILES = "forward alone", "decoding alone", "from memory", "from files"


def measure(plan: Plan) -> list[Figure]:
    """Pictures a second for each network; a note where there is no GPU."""
    on_gpu = gpu_visible()
    if not (on_gpu or plan.quick):
        return [Figure("gpu", "GPUs", 0, "", note="no GPU here")]
    names = [name for name in MODELS if plan.wants(name)]
    found = []
    for name in names[:1] if plan.quick else names:
        found += _measure(name, plan, on_gpu)
    return found


def _measure(name: str, plan: Plan, on_gpu: bool) -> list[Figure]:
    originals = SETS[0].files(plan.folder("pictures"), 64 if plan.quick else None)
    times = 1 if plan.quick else ceil(_PICTURES / len(originals))
    folders = copies(originals, times, plan.folder("copies") / "gpu")
    request = {
        "spec": replace(model(name, plan).spec(), precision="half").to_json(),
        "originals": [str(path) for path in originals],
        "folders": [str(folder) for folder in folders],
        "library": str(plan.work / "library-of-one-run"),
        "seconds": 0.5 if plan.quick else _SECONDS,
        "rounds": plan.rounds,
    }
    answer = ask("speed.gpu", request, gpu=True)
    series: dict[str, list[float]] = answer["series"]
    forward = series[_FORWARD]
    either = [min(pair) for pair in zip(forward, series[_DECODE], strict=True)]
    target = _OF_LIMIT if on_gpu else None
    where = answer["backend"] + ("" if on_gpu else ", no GPU here: on the CPU, in float32")
    return [
        Figure(
            "gpu",
            f"{name}: {way}",
            median(series[way]),
            "pictures/s",
            limit=Comparison.of(limit, series[way], values, target),
            note=f"batches of {answer['batch']}, {where}",
            rounds={way: series[way], limit: values},
        )
        for way, limit, values in (
            (_MEMORY, _FORWARD, forward),
            (_FILES, f"slower of {_FORWARD} and {_DECODE}", either),
        )
    ]


def _answer(request: dict[str, Any]) -> Mapping[str, object]:
    spec, seconds = EncoderSpec.from_json(request["spec"]), request["seconds"]
    contents = [Path(file).read_bytes() for file in request["originals"][:160]]
    runtime = KerasRuntime(spec)
    shape = (runtime.batch_size, spec.size.height, spec.size.width, 3)
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)

    def from_files(folders: list[str]) -> float:
        shutil.rmtree(request["library"], ignore_errors=True)
        with Library.create(request["library"]) as library:
            report = index(library, folders, encoder=Encoder(spec, runtime))
        shutil.rmtree(request["library"])
        return report.pictures_per_second

    from_files(request["folders"][:1])  # compiles the shapes
    from_memory = _calls(lambda: runtime.run(pixels))
    forward = _alone(runtime, pixels)
    from_memory(0), forward(0)
    measures: dict[str, Callable[[], float]] = {
        _MEMORY: lambda: from_memory(seconds),
        _FORWARD: lambda: forward(seconds),
        _FILES: lambda: from_files(request["folders"]),
        _DECODE: lambda: cores() / decoding(contents, spec.size)[0].wall,
    }
    series = alternate(spec.model, measures, request["rounds"])

    import keras

    backend = keras.backend.backend()
    return {"series": series, "batch": runtime.batch_size, "backend": backend}


def _calls(run: Callable[[], tuple[np.ndarray[Any, Any], object]]) -> Callable[[float], float]:
    """Pictures a second through a function that several threads call for some seconds."""

    def rate(seconds: float) -> float:
        began = time.perf_counter()

        def work(_: int) -> int:
            count = len(run()[0])
            while time.perf_counter() - began < seconds:
                count += len(run()[0])
            return count

        with ThreadPoolExecutor(_THREADS) as pool:
            count = sum(pool.map(work, range(_THREADS)))
        return count / (time.perf_counter() - began)

    return rate


def _alone(runtime: KerasRuntime, pixels: np.ndarray[Any, Any]) -> Callable[[float], float]:
    """Pictures a second of the network alone, on pixels that are on the device."""
    import keras

    ready = keras.ops.flip(keras.ops.convert_to_tensor(pixels), axis=0)  # computed there

    def rate(seconds: float) -> float:
        began, count, flying = time.perf_counter(), 0, deque[Any]()
        while flying or not count:
            if time.perf_counter() - began < seconds or not count:
                flying.append(runtime.forward.start(ready))
                count += len(pixels)
            if len(flying) > _THREADS or time.perf_counter() - began >= seconds:
                runtime.forward.fetch(flying.popleft())
        return count / (time.perf_counter() - began)

    return rate


if __name__ == "__main__":
    serve(_answer)
