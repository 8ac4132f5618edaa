"""Keras on a GPU, or where OpenVINO is missing.

**A GPU is kept busy** by having the next batches before it is done with one: up to three are in
flight, whoever started them, and nobody holds a lock while waiting for a result.  More would take
memory and gain nothing.  Every shape is compiled once, for full batches, to which shorter ones are
filled up, and for single pictures, as queries are.

**Half precision** is float16, not bfloat16.  Cosine to float32's descriptors, mean and least, every
layer rounded to 16 bits:

=================================  ====================  ====================
network, average pooling           float16               bfloat16
=================================  ====================  ====================
EfficientNet-Lite0, 96 pictures    0.999993   0.999982   0.999447   0.997650
ResNet50, random weights           1.000000   1.000000   0.999996   0.999995
VGG16, random weights              1.000000   1.000000   0.999995   0.999994
=================================  ====================  ====================

With bfloat16 the likeliest class changes for 3 % of the pictures, with float16 for none.  But
float16 ends at 65504 and at 6e-8: a picture whose descriptor is not finite is described again in
bfloat16, which has float32's range.  That is decided picture by picture, so a descriptor depends on
nothing but its picture.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from parecido.indexer.encoders.building.keras_model import keras_model
from parecido.indexer.encoders.machine.devices import gpu_usable
from parecido.indexer.encoders.machine.imports import prepare_keras
from parecido.indexer.encoders.runtimes.base import Floats, Mapped, Output, Pixels, join_outputs
from parecido.indexer.encoders.runtimes.keras_programs import Forward, forward_of, out_of_memory
from parecido.indexer.encoders.weights import weights_of
from parecido.indexer.errors import EncoderUnavailable
from parecido.indexer.records.encoder import EncoderSpec, SizePolicy

__all__ = ["KerasRuntime"]

_log = logging.getLogger("parecido")

_IN_FLIGHT = 3
# of these, how many one call may take, so that a long one leaves room for the others
_OF_ONE_CALL = 2
_CPU_BATCH = 32
_GPU_BATCH = 64  # at 224 × 224; of larger pictures as many fewer, in eights


class KerasRuntime:
    """Keras with whatever backend it is set to: compiled by JAX or TensorFlow, else as it is.

    ``batch_size`` 0 is 32 on a CPU and 64 on a GPU, fewer where the network's native size is above
    224 × 224.  Where the memory does not suffice it is halved, down to 1, and the work goes on.
    ``half`` tells whether to run in 16 bits; by default where the spec says so and there is a GPU,
    because only GPUs are faster so.  A network that was saved by Keras keeps the types that it was
    saved with.
    """

    name = "keras"

    def __init__(self, spec: EncoderSpec, batch_size: int = 0, *, half: bool | None = None) -> None:
        self._spec = spec
        self._weights = weights_of(spec)
        self._on_gpu = gpu_usable()
        self._half = (spec.precision == "half" and self._on_gpu) if half is None else half
        self.batch_size = batch_size or _default_batch(spec.size, self._on_gpu)
        self.bucket_size = self.batch_size
        with prepare_keras():
            self.forward = self._build(self._policy)
            """The compiled network."""
        self._mapping: Forward | None = None
        self._wide: dict[bool, Forward] = {}  # in bfloat16, without and with maps
        self._building = threading.Lock()
        self._in_flight = threading.Semaphore(_IN_FLIGHT)
        self._shrinking = threading.Lock()

    def run(self, batch: Pixels) -> Output:
        descriptors, *rest = self._outputs(self.forward, batch, maps=False)
        return descriptors, rest[0] if rest else None

    def run_with_maps(self, batch: Pixels) -> Mapped:
        with self._building:
            if self._mapping is None:
                self._mapping = self._build(self._policy, maps=True)
        descriptors, *rest, features = self._outputs(self._mapping, batch, maps=True)
        return descriptors, rest[0] if rest else None, features

    @property
    def _policy(self) -> str:
        return "mixed_float16" if self._half else "float32"

    def _build(self, policy: str, *, maps: bool = False) -> Forward:
        model = keras_model(self._spec, self._weights, policy, maps=maps)
        return forward_of(model, on_gpu=self._on_gpu)

    def _in_bfloat16(self, maps: bool) -> Forward:
        with self._building:
            if maps not in self._wide:
                _log.warning(
                    "%s leaves float16's range; such pictures run in bfloat16.", self._spec.title
                )
                self._wide[maps] = self._build("mixed_bfloat16", maps=maps)
            return self._wide[maps]

    def _outputs(self, forward: Forward, batch: Pixels, *, maps: bool) -> list[Floats]:
        """The outputs for a batch of any length, those beyond float16's range in bfloat16."""
        outputs = self._through(forward, batch)
        lost = np.flatnonzero(~np.isfinite(outputs[0]).all(axis=1)) if self._half else ()
        if len(lost):
            again = self._through(self._in_bfloat16(maps), batch[lost])
            for rows, wide in zip(outputs, again, strict=True):
                rows[lost] = wide
        return outputs

    def _through(self, forward: Forward, batch: Pixels) -> list[Floats]:
        """A batch of any length, in smaller pieces where the memory does not suffice."""
        outputs: list[list[Floats]] = []
        done = 0
        while done < len(batch):
            size = self.batch_size
            try:
                for output in self._pieces(forward, batch[done:], size):
                    outputs.append(output)
                    done += len(output[0])
            except Exception as error:
                if not out_of_memory(error):
                    raise
                self._shrink(size, error)
        return join_outputs(outputs)

    def _pieces(self, forward: Forward, batch: Pixels, size: int) -> Iterator[list[Floats]]:
        """The outputs, piece by piece, the next one on its way before a former one is fetched."""
        waiting = deque(batch[i : i + size] for i in range(0, len(batch), size))
        flying: deque[tuple[int, Any]] = deque()  # each holds one of the places in flight
        try:
            while waiting or flying:
                # only who has none may wait for a place, or all could wait for each other
                if (
                    waiting
                    and len(flying) < _OF_ONE_CALL
                    and self._in_flight.acquire(blocking=not flying)
                ):
                    piece = waiting.popleft()
                    flying.append((len(piece), None))
                    flying[-1] = len(piece), forward.start(_fill_up(piece, size))
                else:
                    count, started = flying[0]
                    outputs = [x[:count] for x in forward.fetch(started)]
                    flying.popleft()
                    self._in_flight.release()
                    yield outputs
        finally:
            for _ in flying:
                self._in_flight.release()

    def _shrink(self, size: int, error: Exception) -> None:
        """Halve the batch size, unless another thread has done it since it was that size."""
        with self._shrinking:
            if self.batch_size < size:
                return
            if size == 1:
                raise EncoderUnavailable(
                    f"There is not enough memory for {self._spec.title}, one picture at a time.",
                    "End what else uses the GPU, or add --device cpu.",
                ) from error
            self.batch_size = size // 2
        _log.warning("No memory for %d pictures at once; going on with %d.", size, self.batch_size)


def _default_batch(size: SizePolicy, on_gpu: bool) -> int:
    if not on_gpu:
        return _CPU_BATCH
    alike = _GPU_BATCH * 224 * 224 // (size.height * size.width)
    return min(_GPU_BATCH, max(8, alike // 8 * 8))


def _fill_up(piece: Pixels, size: int) -> Pixels:
    """The piece, or filled up to a full batch: every other length would be compiled anew."""
    if len(piece) in (1, size):
        return piece
    return np.concatenate(
        [piece, np.broadcast_to(piece[-1:], (size - len(piece), *piece.shape[1:]))]
    )
