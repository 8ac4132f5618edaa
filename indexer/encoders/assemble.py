"""Put a network's parts together: pixels in, unit descriptors and class probabilities out.

The one Keras model made here is what every runtime runs, so preprocessing, pooling and
normalisation are the same everywhere by construction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from indexer.encoders.base import Parts
from indexer.spec import SizePolicy

__all__ = ["FLOAT16_LEAST", "GEM_EPSILON", "GEM_POWER", "assemble"]

GEM_POWER = 3.0
GEM_EPSILON = 1e-6
# Features all below this are not believed when they come in float16, whose numbers end at 6e-8.
# Trained networks are far above; MobileNetV3Small with random weights gives 3e-10.
FLOAT16_LEAST = 1e-3


def assemble(parts: Parts, pooling: str, size: SizePolicy) -> Any:
    """The whole encoder as one Keras model.

    Input: uint8 RGB ``(n, h, w, 3)``, with free ``h`` and ``w`` where the size policy keeps the
    aspect ratio.  Outputs: descriptors ``(n, dimension)`` float32 with rows of unit length and,
    where the network has its head, class probabilities ``(n, classes)`` float32.  Preprocessing,
    pooling, normalisation and head are in float32 also where the network's layers are not.  A
    descriptor beyond the range of the policy mixed_float16, at either end, is not finite.
    """
    import keras
    from keras import ops

    shape = (None, None, 3) if size.keep_aspect else (size.height, size.width, 3)
    pixels = keras.Input(shape, dtype="uint8", name="pixels")
    body: Any = parts.body
    if size.keep_aspect:
        # applications run at any size, but are built for one, and Keras would refuse all others
        body.input_spec = keras.InputSpec(ndim=4)
    features = body(parts.preprocess(ops.cast(pixels, "float32")))
    is_half = features.dtype == "float16" == keras.config.dtype_policy().compute_dtype
    if features.dtype != "float32":  # 16 bits end with the network
        features = ops.cast(features, "float32")
    if len(features.shape) == 4:
        average = ops.mean(features, axis=(1, 2))
        pooled = _pool(features, pooling, average)
    else:
        average = pooled = features
    if is_half:
        seen = ops.max(ops.abs(pooled), axis=-1, keepdims=True) >= FLOAT16_LEAST
        pooled = ops.where(seen, pooled, float("nan"))
    length = ops.sqrt(ops.sum(ops.square(pooled), axis=-1, keepdims=True))
    outputs = [pooled / ops.maximum(length, 1e-12)]
    if parts.head is not None:
        outputs.append(_in_float32(parts.head, average))
    return keras.Model(pixels, outputs)


def _in_float32(head: Callable[[Any], Any], vector: Any) -> Any:
    """The head's probabilities, whatever the policy that its layers were made under.

    It costs nothing beside the network, and with bfloat16's three digits classes would tie.
    """
    import keras

    if keras.config.dtype_policy().compute_dtype == "float32":
        return head(vector)
    inputs = keras.Input(vector.shape[1:], dtype="float32")
    alone = keras.Model(inputs, head(inputs))
    _set_policy(alone, "float32")
    return alone(vector)


def _set_policy(layer: Any, policy: str) -> None:
    for inner in getattr(layer, "layers", ()):
        _set_policy(inner, policy)
    layer.dtype_policy = policy


def _pool(features: Any, pooling: str, average: Any) -> Any:
    from keras import ops

    if pooling == "avg":
        return average
    if pooling == "max":
        return ops.max(features, axis=(1, 2))
    if pooling == "gem":
        # Generalised mean, Radenović, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No
        # Human Annotation", TPAMI 2019, eq. 3, with p = 3 and activations clipped from below.
        powered = ops.power(ops.maximum(features, GEM_EPSILON), GEM_POWER)
        return ops.power(ops.mean(powered, axis=(1, 2)), 1.0 / GEM_POWER)
    raise ValueError(f"Expected pooling avg, max or gem, got {pooling!r}.")
