"""A Keras model as compiled programs, one for each batch size, height and width.

A program is started and its result fetched in two steps, so that a device has the next batch before
somebody waits for the former one.  What goes to the device is uint8; preprocessing, pooling and
normalisation are in the model.  Besides Keras only public functions of its backend are used.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
import numpy.typing as npt

from parecido.indexer.encoders.machine.cache import lasting_folder

__all__ = ["Forward", "forward_of", "out_of_memory"]

_log = logging.getLogger("parecido")

Shape = tuple[int, ...]
Program = Callable[[Any], Any]

# Kept compiled, the least used dropped first: the 17 shapes of a photo library, each for a full
# batch and for a single picture, and as many again after one halving of the batch.
_PROGRAMS = 68


class Forward(ABC):
    """A model in inference, safe to call from several threads."""

    def __init__(self, model: Any) -> None:
        self.traces: Counter[Shape] = Counter()
        """How often the model was traced for each shape ``(n, h, w, 3)``; once, as it should be."""
        self._model = model
        self._programs: OrderedDict[Shape, Future[Program]] = OrderedDict()
        self._lock = threading.Lock()

    def start(self, pixels: Any) -> Any:
        """Hand uint8 ``(n, h, w, 3)`` to the device, compiling for a shape that is new.

        Returns what :meth:`fetch` takes, in general before it is computed.  The pixels must stay as
        they are until then.
        """
        return self._program(tuple(pixels.shape))(pixels)

    def fetch(self, started: Any) -> list[npt.NDArray[np.float32]]:
        """The model's outputs ``(n, …)`` float32, waited for; copies that belong to the caller."""
        outputs = started if isinstance(started, (list, tuple)) else [started]
        return [np.array(output, np.float32) for output in outputs]

    @abstractmethod
    def _compile(self, shape: Shape) -> Program:
        """A function that takes pixels of that shape to outputs that are on their way."""

    def _program(self, shape: Shape) -> Program:
        # Whoever asks first compiles; the others wait for the answer, and not for other shapes'.
        with self._lock:
            known = shape in self._programs
            program = self._programs.setdefault(shape, Future())
            self._programs.move_to_end(shape)
            if len(self._programs) > _PROGRAMS:
                self._programs.popitem(last=False)
        if not known:
            try:
                program.set_result(self._compile(shape))
            except BaseException as error:
                with self._lock:
                    self._programs.pop(shape, None)
                program.set_exception(error)
        return program.result()


class _Jax(Forward):
    """Ahead-of-time programs of JAX; calling one returns before it has run."""

    def __init__(self, model: Any, on_gpu: bool) -> None:
        super().__init__(model)
        import jax

        kinds = model.trainable_variables, model.non_trainable_variables
        self._parameters = jax.device_put([[v.value for v in kind] for kind in kinds])
        # XLA takes seconds for each shape on a GPU; JAX can keep its programs from run to run
        if on_gpu and not jax.config.jax_compilation_cache_dir:
            jax.config.update("jax_compilation_cache_dir", str(lasting_folder("jax")))

    def _compile(self, shape: Shape) -> Program:
        import jax

        def forward(parameters: Any, pixels: Any) -> Any:
            self.traces[shape] += 1
            outputs, _ = self._model.stateless_call(*parameters, pixels, training=False)
            return jax.tree.leaves(outputs)

        pixels = jax.ShapeDtypeStruct(shape, np.uint8)
        program = jax.jit(forward).lower(self._parameters, pixels).compile()

        def start(batch: Any) -> Any:
            outputs = program(self._parameters, jax.device_put(batch))
            for output in outputs:
                output.copy_to_host_async()  # as soon as it is computed
            return outputs

        return start


class _TensorFlow(Forward):
    """Concrete functions of TensorFlow, through XLA on a GPU where that works."""

    def __init__(self, model: Any, on_gpu: bool) -> None:
        super().__init__(model)
        self._xla = on_gpu

    def _compile(self, shape: Shape) -> Program:
        if self._xla:
            try:
                return self._function(shape, xla=True)
            except Exception as error:  # no libdevice, or an operation that XLA does not have
                if out_of_memory(error):
                    raise
                _log.info("TensorFlow runs without XLA here (%s).", type(error).__name__)
                self._xla = False
        return self._function(shape, xla=False)

    def _function(self, shape: Shape, *, xla: bool) -> Program:
        import tensorflow as tf

        def forward(pixels: Any) -> Any:
            self.traces[shape] += 1
            return self._model(pixels, training=False)

        signature = [tf.TensorSpec(shape, tf.uint8)]
        function = tf.function(forward, signature, autograph=False, jit_compile=xla)
        program = function.get_concrete_function()
        if xla:
            program(tf.zeros(shape, tf.uint8))  # XLA compiles, or fails, when it is first called
        return lambda batch: program(tf.convert_to_tensor(batch))


class _Plain(Forward):
    """Any other backend of Keras, one batch at a time; :meth:`start` waits for the result."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self._alone = threading.Lock()

    def _compile(self, shape: Shape) -> Program:
        return self._predict

    def _predict(self, batch: Any) -> Any:
        with self._alone:
            return self._model.predict_on_batch(batch)


def forward_of(model: Any, *, on_gpu: bool) -> Forward:
    """A Keras model, its only input uint8, as programs of Keras's backend."""
    import keras

    backend = keras.backend.backend()
    if backend == "jax":
        return _Jax(model, on_gpu)
    return _TensorFlow(model, on_gpu) if backend == "tensorflow" else _Plain(model)


def out_of_memory(error: BaseException) -> bool:
    """Whether a backend lacked memory; each says so in its own way.

    JAX: ``JaxRuntimeError: RESOURCE_EXHAUSTED: …``; TensorFlow: ``ResourceExhaustedError``;
    Torch: ``OutOfMemoryError: CUDA out of memory``; cuDNN: ``CUDNN_STATUS_ALLOC_FAILED``.
    """
    said = f"{type(error).__name__}: {error}".lower().replace("_", "")
    signs = ("resourceexhausted", "outofmemory", "out of memory", "allocfailed")
    return isinstance(error, MemoryError) or any(sign in said for sign in signs)
