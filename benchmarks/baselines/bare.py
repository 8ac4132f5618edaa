"""What one picture cannot cost less than: decoding alone and the network alone, in core-seconds.

``python -m benchmarks.baselines.bare REQUEST`` measures both in a process that does nothing else.

**Which clock.**  Process CPU time, while all cores are busy.  Wall seconds × cores would count
cores that stand idle at the end of a pass, or that another program took, as a cost that cannot be
avoided, and so make the limit easier; it is reported beside.  All cores must be busy while it is
measured, because a core that runs alone is quicker (clock, caches, memory) than one of several, and
an indexer never has the others idle.

**The limit** is cores / (decoding + network) pictures a second: both share the cores ideally and
nothing else costs anything.
"""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.children import cores, serve
from parecido.indexer.encoders.machine.imports import import_openvino
from parecido.indexer.records.encoder import EncoderSpec, SizePolicy

_SECONDS = 0.6  # that a network runs on one shape
_DECODING_SECONDS = 3.0

Pixels = npt.NDArray[np.uint8]


class Cost(NamedTuple):
    """Of one picture, with every core at it."""

    cpu: float
    """CPU seconds."""
    wall: float
    """Wall seconds × cores."""


class Way(NamedTuple):
    """One way to run a network: pictures at once in a call, and calls at once."""

    batch: int
    streams: int

    @property
    def name(self) -> str:
        """In words."""
        return f"batch {self.batch} on {self.streams} stream{'s' if self.streams > 1 else ''}"


def decode(content: bytes, size: SizePolicy) -> Pixels:
    """A JPEG at the network's size, with nothing checked and nothing else done."""
    with Image.open(io.BytesIO(content)) as image:
        target = size.target(*image.size)
        image.draft("RGB", target)
        resized = image.resize(target, Image.Resampling.BICUBIC, reducing_gap=2.0)
        return np.asarray(resized.convert("RGB"))


def decoding(contents: Sequence[bytes], size: SizePolicy) -> tuple[Cost, list[Pixels]]:
    """The cost of decoding, as often as takes some seconds, and the pictures."""
    count, pictures = 0, []
    with ThreadPoolExecutor(cores()) as pool:
        cpu, wall = time.process_time(), time.perf_counter()
        while time.perf_counter() - wall < _DECODING_SECONDS:
            pictures = list(pool.map(lambda content: decode(content, size), contents))
            count += len(pictures)
        return _cost(cpu, wall, count), pictures


def forward(network: Path, pictures: Sequence[Pixels]) -> tuple[Cost, dict[Way, Cost]]:
    """The cost of the network over pictures of these shapes, and of each way, cheapest first.

    The ways are compared on the commonest shape; the cheapest one runs them all, and counts as
    often as a shape occurs.
    """
    shapes = Counter(picture.shape for picture in pictures)
    of_shape = {shape: np.stack([p for p in pictures if p.shape == shape][:16]) for shape in shapes}
    commonest = of_shape[shapes.most_common(1)[0][0]]
    ways = [Way(1, cores()), Way(4, cores()), Way(8, cores()), Way(8, 1)]
    of_way = {way: _run(network, commonest, way) for way in ways}
    ordered = dict(sorted(of_way.items(), key=lambda way: way[1].cpu))
    costs = {shape: _run(network, of_shape[shape], next(iter(ordered))) for shape in shapes}
    cpu, wall = (
        sum(costs[shape][i] * count for shape, count in shapes.items()) / len(pictures)
        for i in range(2)
    )
    return Cost(cpu, wall), ordered


def _run(network: Path, pictures: Pixels, way: Way) -> Cost:
    """The cost of a picture of one shape, the network compiled for that shape alone."""
    openvino = import_openvino()
    core = openvino.Core()
    free = core.read_model(network)
    free.reshape({free.inputs[0]: openvino.PartialShape([way.batch, *pictures.shape[1:]])})
    options = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": way.streams}
    compiled = core.compile_model(free, "CPU", options)
    queue = openvino.AsyncInferQueue(compiled, way.streams)
    batches = [
        np.ascontiguousarray(np.take(pictures, range(i, i + way.batch), 0, mode="wrap"))
        for i in range(0, max(way.batch, len(pictures)), way.batch)
    ]

    def go(seconds: float) -> Cost:
        count, cpu, wall = 0, time.process_time(), time.perf_counter()
        while time.perf_counter() - wall < seconds or count == 0:
            for batch in batches * way.streams:
                queue.start_async([batch], share_inputs=True)
                count += way.batch
        queue.wait_all()
        return _cost(cpu, wall, count)

    go(0.0)  # the first pass also allocates
    return go(_SECONDS)


def _cost(cpu: float, wall: float, count: int) -> Cost:
    """Since these readings of the clocks, for each of so many pictures."""
    spent = time.process_time() - cpu
    return Cost(spent / count, (time.perf_counter() - wall) * cores() / count)


def _answer(request: dict[str, Any]) -> Mapping[str, object]:
    spec = EncoderSpec.from_json(request["spec"])
    contents = [Path(file).read_bytes() for file in request["files"]]
    decoded, pictures = decoding(contents, spec.size)
    run, ways = forward(Path(request["network"]), pictures)
    return {
        "decode": decoded._asdict(),
        "forward": run._asdict(),
        "ways": {way.name: cost.cpu for way, cost in ways.items()},
        "shapes": len({picture.shape for picture in pictures}),
        "pictures_per_second": cores() / (decoded.cpu + run.cpu),
        "pictures_per_second_by_wall": cores() / (decoded.wall + run.wall),
    }


if __name__ == "__main__":
    serve(_answer)
