"""Two ways to run one encoder: OpenVINO on a CPU, Keras on a GPU or where OpenVINO is missing.

Both run the model that :mod:`indexer.encoders.assemble` makes, in float32, and agree to a cosine of
0.9999 or better.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from indexer.encoders.build import keras_model, run_in_child
from indexer.encoders.cache import cached_folder
from indexer.encoders.frameworks import import_openvino, prepare_keras
from indexer.encoders.registry import weights_of
from indexer.spec import EncoderSpec

_log = logging.getLogger("parecido")

__all__ = ["KerasRuntime", "OpenVINORuntime", "Output", "Runtime", "openvino_installed"]

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

    One compiled model for each picture shape, running single pictures on as many streams as there
    are cores.  Measured on two cores: EfficientNet-Lite0 278 pictures/s so, 264 in batches of 8
    and 220 with free shapes; ResNet50 39, 43 and 37.  A picture's descriptor then does not depend
    on its neighbours at all, and a compilation takes a tenth of a second and a third of the memory.
    """

    name = "openvino"
    # each compiled shape has its own copy of the weights; together they stay below this
    _COMPILED_BYTES = 640 << 20
    # of activations, measured between EfficientNet-Lite0 (130) and VGG16 (500)
    _BYTES_PER_PIXEL = 256

    def __init__(self, spec: EncoderSpec, batch_size: int = 0, streams: int = 0) -> None:
        self.batch_size = batch_size or 16
        self._streams = streams or os.cpu_count() or 1
        folder = exported(spec)
        self._openvino = import_openvino()
        self._core = self._openvino.Core()
        self._model = self._core.read_model(folder / "model.xml")
        weights = (folder / "model.bin").stat().st_size
        activations = spec.size.height * spec.size.width * self._BYTES_PER_PIXEL * self._streams
        self._keep = max(2, self._COMPILED_BYTES // (weights * 3 // 2 + activations))
        self._queues: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self._lock = threading.Lock()

    def run(self, batch: Pixels) -> Output:
        results: list[Any] = [None] * len(batch)

        def done(request: Any, row: int) -> None:
            outputs = range(len(self._model.outputs))
            results[row] = [request.get_output_tensor(i).data.copy() for i in outputs]

        with self._lock:
            queue = self._queue(batch.shape[1:])
            queue.set_callback(done)
            for row in range(len(batch)):
                queue.start_async([batch[row : row + 1]], row)
            queue.wait_all()
        descriptors, *rest = (np.concatenate(column) for column in zip(*results, strict=True))
        return descriptors, rest[0] if rest else None

    def _queue(self, shape: tuple[int, ...]) -> Any:
        if shape in self._queues:
            self._queues.move_to_end(shape)
            return self._queues[shape]
        while len(self._queues) >= self._keep:
            self._queues.popitem(last=False)
        model = self._model.clone()
        model.reshape({model.inputs[0]: self._openvino.PartialShape([1, *shape])})
        options = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": self._streams}
        compiled = self._core.compile_model(model, "CPU", options)
        self._queues[shape] = self._openvino.AsyncInferQueue(compiled, self._streams)
        return self._queues[shape]


class KerasRuntime:
    """Keras with whatever backend it is set to; TensorFlow by default."""

    name = "keras"

    def __init__(self, spec: EncoderSpec, batch_size: int = 0) -> None:
        self.batch_size = batch_size or 32
        weights = weights_of(spec)
        with prepare_keras():
            self._model = keras_model(spec, weights)
        self._lock = threading.Lock()

    def run(self, batch: Pixels) -> Output:
        return _joined(
            [
                self._predict(batch[i : i + self.batch_size])
                for i in range(0, len(batch), self.batch_size)
            ]
        )

    def _predict(self, batch: Pixels) -> Output:
        # a short batch is filled up: every new shape would be traced and compiled anew
        missing = self.batch_size - len(batch) if len(batch) > 1 else 0
        filled = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
        with self._lock:
            outputs = self._model.predict_on_batch(filled)
        if not isinstance(outputs, (list, tuple)):
            outputs = [outputs]
        descriptors, *rest = (np.asarray(x, np.float32)[: len(batch)] for x in outputs)
        return descriptors, rest[0] if rest else None


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

    return cached_folder(spec.fingerprint, fill)


def _joined(pieces: list[Output]) -> Output:
    if len(pieces) == 1:
        return pieces[0]
    descriptors = np.concatenate([d for d, _ in pieces])
    probabilities = [p for _, p in pieces if p is not None]
    return descriptors, np.concatenate(probabilities) if probabilities else None
