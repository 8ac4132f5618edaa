"""Put a network's parts together: pixels in, unit descriptors and class probabilities out.

The one Keras model made here is what every runtime runs, so preprocessing, pooling and
normalisation are the same everywhere by construction.
"""

from __future__ import annotations

from typing import Any

from indexer.encoders.base import Parts
from indexer.spec import SizePolicy

__all__ = ["GEM_EPSILON", "GEM_POWER", "assemble"]

GEM_POWER = 3.0
GEM_EPSILON = 1e-6


def assemble(parts: Parts, pooling: str, size: SizePolicy) -> Any:
    """The whole encoder as one Keras model.

    Input: uint8 RGB ``(n, h, w, 3)``, with free ``h`` and ``w`` where the size policy keeps the
    aspect ratio.  Outputs: descriptors ``(n, dimension)`` float32 with rows of unit length and,
    where the network has its head, class probabilities ``(n, classes)``.
    """
    import keras
    from keras import ops

    shape = (None, None, 3) if size.keep_aspect else (size.height, size.width, 3)
    pixels = keras.Input(shape, dtype="uint8", name="pixels")
    features = parts.body(parts.preprocess(ops.cast(pixels, "float32")))
    if len(features.shape) == 4:
        average = ops.mean(features, axis=(1, 2))
        pooled = _pool(features, pooling, average)
    else:
        average = pooled = features
    length = ops.sqrt(ops.sum(ops.square(pooled), axis=-1, keepdims=True))
    outputs = [pooled / ops.maximum(length, 1e-12)]
    if parts.head is not None:
        outputs.append(parts.head(average))
    return keras.Model(pixels, outputs)


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
