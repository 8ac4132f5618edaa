"""Two ways to run one encoder: OpenVINO on a CPU, Keras on a GPU or where OpenVINO is missing.

Both run the model that :mod:`indexer.encoders.assemble` makes, in float32, and agree to a cosine of
0.9999 or better.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import threading
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from indexer.encoders.build import run_in_child
from indexer.encoders.cache import cached_folder
from indexer.encoders.devices import has_amx
from indexer.encoders.frameworks import import_openvino
from indexer.encoders.registry import weights_of
from indexer.spec import EncoderSpec

_log = logging.getLogger("parecido")

# The first inference of a process must be alone: OpenVINO's binding sets up its NumPy types in it,
# and two threads that do so at once wait for each other for ever, one with the interpreter's lock
# and one with the variable's (seen with 2026.4).
_first = threading.Lock()
_first_is_done = threading.Event()

__all__ = [
    "OpenVINORuntime",
    "Output",
    "Pixels",
    "Runtime",
    "exported",
    "joined",
    "openvino_installed",
]

Pixels = npt.NDArray[np.uint8]
Output = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]


class Runtime(Protocol):
    """Runs batches of any length; safe to call from several threads."""

    name: str
    batch_size: int
    """Pictures in a full batch."""

    def run(self, batch: Pixels) -> Output:
        """Descriptors ``(n, dimension)`` and class probabilities, if any, of ``(n, h, w, 3)``."""
        ...


def openvino_installed() -> bool:
    """Whether OpenVINO can be imported, without importing it."""
    return importlib.util.find_spec("openvino") is not None


class OpenVINORuntime:
    """OpenVINO on the CPU, from a model exported once and cached under the fingerprint.

    One compiled model takes every shape; full batches of shapes that come often get one of their
    own.  All have as many streams as there are cores: a stream is one core that works on one batch,
    so whoever calls from as many threads uses every core.  Measured on two cores with the shapes of
    a photo library, EfficientNet-Lite0: 253 pictures/s in batches of 4 on fixed shapes, 237 on free
    ones, 230 one by one; but a fixed shape takes 0.15 s to compile and 75 MB.
    """

    name = "openvino"
    _BATCH = 4
    # How many pictures of a shape come before it is compiled.  That takes 0.15 s and then saves
    # 1.2 ms a picture: 3,200 pictures of 7 shapes go in at 178 a second with 256, at 187 with 64.
    _OFTEN = 64
    # each compiled shape has its own copy of the weights; together they stay below this
    _COMPILED_BYTES = 512 << 20
    # of activations, measured between EfficientNet-Lite0 (130) and VGG16 (500)
    _BYTES_PER_PIXEL = 256

    def __init__(
        self,
        spec: EncoderSpec,
        batch_size: int = 0,
        streams: int = 0,
        library: Path | None = None,
    ) -> None:
        self._streams = streams or os.cpu_count() or 1
        # one stream is for the soonest answer to a single picture
        self.batch_size = batch_size or (self._BATCH if self._streams > 1 else 1)
        # of int8 only the library has a model; what it leaves in floating point is float32
        if spec.precision == "int8":
            from indexer.encoders.quantise import quantised_model

            folder = quantised_model(spec, library)
        else:
            folder = exported(spec)
        openvino = import_openvino()
        self._core = openvino.Core()
        self._model = self._core.read_model(folder / "model.xml")
        self._precision = "bf16" if spec.precision == "half" and has_amx() else "f32"
        self._any_shape = self._compile(self._model)
        weights = (folder / "model.bin").stat().st_size
        area = spec.size.height * spec.size.width
        activations = area * self._BYTES_PER_PIXEL * self._streams * self.batch_size // 2
        self._keep = self._COMPILED_BYTES // (weights * 3 // 2 + activations)
        self._often: dict[tuple[int, ...], _Compiled] = {}
        self._seen: Counter[tuple[int, ...]] = Counter()
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def run(self, batch: Pixels) -> Output:
        size = self.batch_size
        pieces = [batch[i : i + size] for i in range(0, len(batch), size)]
        if len(pieces) == 1:
            return self._infer(batch)
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._streams, thread_name_prefix="stream")
        return joined(list(self._pool.map(self._infer, pieces)))

    def _infer(self, batch: Pixels) -> Output:
        if not _first_is_done.is_set():
            with _first:
                output = self._inferred(batch)
            _first_is_done.set()
            return output
        return self._inferred(batch)

    def _inferred(self, batch: Pixels) -> Output:
        compiled = self._compiled_for(batch.shape)
        request = compiled.take()
        request.infer([batch], share_inputs=True)
        outputs = [request.get_output_tensor(i).data.copy() for i in range(compiled.outputs)]
        compiled.requests.append(request)
        return outputs[0], outputs[1] if len(outputs) > 1 else None

    def _compiled_for(self, shape: tuple[int, ...]) -> _Compiled:
        if shape[0] < self.batch_size or self.batch_size == 1:
            return self._any_shape
        with self._lock:
            self._seen[shape] += shape[0]
            is_new = (
                shape not in self._often
                and self._seen[shape] > self._OFTEN
                and len(self._often) < self._keep
            )
            if not is_new:
                return self._often.get(shape, self._any_shape)
            self._often[shape] = self._any_shape  # for the others, until this thread is done
        model = self._model.clone()
        model.reshape({model.inputs[0]: list(shape)})
        self._often[shape] = self._compile(model)
        return self._often[shape]

    def _compile(self, model: Any) -> _Compiled:
        options = {
            "INFERENCE_PRECISION_HINT": self._precision,
            "NUM_STREAMS": self._streams,
            # pinned, two models at once land on the same core: 171 pictures/s instead of 246
            "ENABLE_CPU_PINNING": False,
        }
        return _Compiled(self._core.compile_model(model, "CPU", options))


class _Compiled:
    """A compiled model with its idle requests: one for each thread that is inside."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.outputs = len(model.outputs)
        self.requests: deque[Any] = deque()

    def take(self) -> Any:
        try:
            return self.requests.pop()
        except IndexError:
            return self.model.create_infer_request()


def exported(spec: EncoderSpec) -> Path:
    """The folder with the encoder in OpenVINO's format, exported from Keras where it is missing."""

    def fill(folder: Path) -> None:
        weights = weights_of(spec)
        _log.info("Building %s for this machine; it is done once.", spec.title)
        run_in_child(
            {
                "do": "export",
                "spec": spec.to_json(),
                "weights": str(weights),
                "folder": str(folder),
            }
        )

    # the same network, whatever the precision it is run in
    plain = replace(spec, precision="float32") if spec.precision == "half" else spec
    return cached_folder(plain.fingerprint, fill)


def joined(pieces: list[Output]) -> Output:
    if len(pieces) == 1:
        return pieces[0]
    descriptors = np.concatenate([d for d, _ in pieces])
    probabilities = [p for _, p in pieces if p is not None]
    return descriptors, np.concatenate(probabilities) if probabilities else None
