"""OpenVINO on a CPU: the encoder as it was exported, or as it was quantised for a library."""

from __future__ import annotations

import importlib.util
import logging
import os
import threading
import time
from collections import defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from parecido.indexer.encoders.building.export import obtain_export
from parecido.indexer.encoders.building.feature_map import with_feature_map
from parecido.indexer.encoders.building.quantised_model import quantised_model
from parecido.indexer.encoders.machine.devices import has_amx
from parecido.indexer.encoders.machine.imports import import_openvino
from parecido.indexer.encoders.runtimes.base import Floats, Mapped, Output, Pixels, join_outputs
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.system.memory import memory

_log = logging.getLogger("parecido")

# The first inference of a process must be alone: OpenVINO's binding sets up its NumPy types in it,
# and two threads that do so at once wait for each other for ever, one with the interpreter's lock
# and one with the variable's (seen with 2026.4).
_first = threading.Lock()
_first_is_done = threading.Event()

__all__ = ["OpenVINORuntime", "has_openvino"]


def has_openvino() -> bool:
    """Whether OpenVINO can be imported, without importing it."""
    return importlib.util.find_spec("openvino") is not None


class OpenVINORuntime:
    """OpenVINO on the CPU, from a model exported once and cached under the fingerprint.

    One compiled model takes every shape; full batches of shapes that come often get one of their
    own.  All have as many streams as there are cores: a stream is one core that works on one batch,
    so whoever calls from as many threads uses every core.  Measured on two cores with the shapes of
    a photo library, EfficientNet-Lite0: 253 pictures/s in batches of 4 on fixed shapes, 237 on free
    ones, 230 one by one; but a fixed shape takes 0.1 s to compile and 75 MB.
    """

    name = "openvino"
    _BATCH = 4
    # Batches of one shape that are run one after the other.  Each shape has its own copy of the
    # weights, which are better used again while they are near: 190 pictures/s go in instead of 182.
    _TOGETHER = 4
    # Seconds that a shape's pictures take before it is compiled.  That takes 0.1 s (ResNet50: 0.2
    # to 0.8), and then saves a tenth: what has come for 0.6 s goes on coming, as a rule.
    _WORTH_SECONDS = 0.6
    # Each compiled shape has its own copy of the weights; together they stay below the larger of
    # half a gigabyte and a sixteenth of the memory, and below a quarter of it: on 24 GB there is
    # room for eight of ResNet50's shapes, 175 MB each.
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
        self._spec = spec
        self._library = library
        self._streams = streams or os.cpu_count() or 1
        # one stream is for the soonest answer to a single picture
        self.batch_size = batch_size or (self._BATCH if self._streams > 1 else 1)
        self.bucket_size = self.batch_size * self._TOGETHER
        # of int8 only the library has a model; what it leaves in floating point is float32
        obtain = quantised_model if spec.precision == "int8" else obtain_export
        folder = obtain(spec, library)
        openvino = import_openvino()
        self._core = openvino.Core()
        self._model = self._core.read_model(folder / "model.xml")
        weights = (folder / "model.bin").stat().st_size
        area = spec.size.height * spec.size.width
        activations = area * self._BYTES_PER_PIXEL * self._streams * self.batch_size // 2
        most = min(max(self._COMPILED_BYTES, memory() // 16), memory() // 4)
        self._room = _Room(most // (weights * 3 // 2 + activations))
        self._network = self._compile(self._model)
        self._mapping: _Network | None = None
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def run(self, batch: Pixels) -> Output:
        descriptors, *rest = self._through(self._network, batch)
        return descriptors, rest[0] if rest else None

    def run_with_maps(self, batch: Pixels) -> Mapped:
        with self._lock:
            if self._mapping is None:
                self._mapping = self._compile(self._read_mapped_model())
        descriptors, *rest, features = self._through(self._mapping, batch)
        return descriptors, rest[0] if rest else None, features

    def _through(self, network: _Network, batch: Pixels) -> list[Floats]:
        size = self.batch_size
        pieces = [batch[i : i + size] for i in range(0, len(batch), size)]
        if len(pieces) == 1:
            return network.infer(batch)
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._streams, thread_name_prefix="stream")
        return join_outputs(list(self._pool.map(network.infer, pieces)))

    def _read_mapped_model(self) -> Any:
        """The model with its feature map as a further output: the very one where it shows it.

        So it needs no building, and its maps are those that the descriptors were pooled from, also
        in int8.  Where the graph does not show it, one that is exported so, in float32.
        """
        try:
            return with_feature_map(self._model, self._spec.pooling)
        except LookupError as error:
            _log.debug("%s shows no feature map: %s", self._spec.title, error)
            folder = obtain_export(self._spec, self._library, maps=True)
            return self._core.read_model(folder / "model.xml")

    def _compile(self, model: Any) -> _Network:
        half = self._spec.precision == "half" and has_amx()
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
            "NUM_STREAMS": self._streams,
            # pinned, two models at once land on the same core: 171 pictures/s instead of 246
            "ENABLE_CPU_PINNING": False,
        }
        return _Network(
            self._core, model, options, self.batch_size, self._WORTH_SECONDS, self._room
        )


class _Room:
    """For so many compiled shapes, of all networks of an encoder together."""

    def __init__(self, shapes: int) -> None:
        self._left = shapes
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Whether there is room for one more, which is taken."""
        with self._lock:
            is_left = self._left > 0
            self._left -= is_left
            return is_left


class _Network:
    """One model: compiled for any shape, and for each that comes often.

    ``full`` is the length of full batches; a shape is compiled after so many seconds on its
    pictures, while there is ``room``.
    """

    def __init__(
        self, core: Any, model: Any, options: dict[str, Any], full: int, seconds: float, room: _Room
    ) -> None:
        self._core = core
        self._model = model
        self._options = options
        self._full = full
        self._seconds = seconds
        self._room = room
        self._any_shape = self._compile(model)
        self._fixed: dict[tuple[int, ...], _Compiled] = {}
        self._spent: defaultdict[tuple[int, ...], float] = defaultdict(float)
        self._lock = threading.Lock()

    def infer(self, batch: Pixels) -> list[Floats]:
        """The model's outputs for a batch that is not longer than a full one."""
        if not _first_is_done.is_set():
            with _first:
                outputs = self._infer(batch)
            _first_is_done.set()
            return outputs
        return self._infer(batch)

    def _infer(self, batch: Pixels) -> list[Floats]:
        compiled = self._compile_for(batch.shape)
        request = compiled.take()
        started = time.monotonic()
        request.infer([batch], share_inputs=True)
        if compiled is self._any_shape and len(batch) == self._full:
            with self._lock:
                self._spent[batch.shape] += time.monotonic() - started
        outputs = [request.get_output_tensor(i).data.copy() for i in range(compiled.outputs)]
        compiled.requests.append(request)
        return outputs

    def _compile_for(self, shape: tuple[int, ...]) -> _Compiled:
        if shape[0] < self._full or self._full == 1:
            return self._any_shape
        with self._lock:
            is_new = (
                shape not in self._fixed
                and self._spent[shape] > self._seconds
                and self._room.take()
            )
            if not is_new:
                return self._fixed.get(shape, self._any_shape)
            self._fixed[shape] = self._any_shape  # for the others, until this thread is done
        model = self._model.clone()
        model.reshape({model.inputs[0]: list(shape)})
        self._fixed[shape] = self._compile(model)
        return self._fixed[shape]

    def _compile(self, model: Any) -> _Compiled:
        return _Compiled(self._core.compile_model(model, "CPU", self._options))


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
