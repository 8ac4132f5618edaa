"""Put a network's parts together: pixels in, unit descriptors and class probabilities out.

The one Keras model made here is what every runtime runs, so preprocessing, pooling and
normalisation are the same everywhere by construction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from parecido.indexer.encoders.networks.base import Parts
from parecido.indexer.encoders.pooling import GEM_EPSILON, GEM_POWER, window_side
from parecido.indexer.records.encoder import SizePolicy

__all__ = ["FLOAT16_LEAST", "assemble"]

# Features all below this are not believed when they come in float16, whose numbers end at 6e-8.
# Trained networks are far above; MobileNetV3Small with random weights gives 3e-10.
FLOAT16_LEAST = 1e-3


def assemble(parts: Parts, pooling: str, size: SizePolicy, *, maps: bool = False) -> Any:
    """The whole encoder as one Keras model.

    Input: uint8 RGB ``(n, h, w, 3)``, with free ``h`` and ``w`` where the size policy keeps the
    aspect ratio.  Outputs: descriptors ``(n, dimension)`` float32 with rows of unit length; where
    the network has its head, class probabilities ``(n, classes)`` float32; and with ``maps`` the
    feature map ``(n, rows, columns, dimension)`` float32 that was pooled.  Preprocessing, pooling,
    normalisation and head are in float32 also where the network's layers are not.  A descriptor
    beyond the range of the policy mixed_float16, at either end, is not finite.
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
        pooled = _pool(features, pooling, average, _window(body, size))
    else:
        average = pooled = features
    if is_half:
        seen = ops.max(ops.abs(pooled), axis=-1, keepdims=True) >= FLOAT16_LEAST
        pooled = ops.where(seen, pooled, float("nan"))
    length = ops.sqrt(ops.sum(ops.square(pooled), axis=-1, keepdims=True))
    outputs = [pooled / ops.maximum(length, 1e-12)]
    if parts.head is not None:
        outputs.append(_in_float32(parts.head, average))
    if maps:
        outputs.append(features)
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


def _window(body: Any, size: SizePolicy) -> int:
    """Side of the windows of regional pooling, from the map of a picture of the native size."""
    rows, columns = body.compute_output_shape((1, size.height, size.width, 3))[1:3]
    return window_side(rows, columns)


def _pool(features: Any, pooling: str, average: Any, window: int) -> Any:
    from keras import ops

    if pooling == "avg":
        return average
    if pooling == "max":
        return ops.max(features, axis=(1, 2))
    if pooling == "gem":
        # as parecido.indexer.encoders.pooling in NumPy
        powered = ops.power(ops.maximum(features, GEM_EPSILON), GEM_POWER)
        return ops.power(ops.mean(powered, axis=(1, 2)), 1.0 / GEM_POWER)
    if pooling == "rgem":
        # Regions as in R-MAC (Tolias, Sicre and Jégou, "Particular Object Retrieval with Integral
        # Max-Pooling of CNN Activations", ICLR 2016), here all windows of half the map's side,
        # pooled by GeM, brought to unit length and averaged; the whole picture counts as much as
        # they do together.  On 1212 photographs mAP is 72.0; 70.7 with GeM, 70.1 with the average.
        powered = ops.power(ops.maximum(features, GEM_EPSILON), GEM_POWER)
        windows = ops.average_pool(powered, window, strides=1, padding="valid")
        regions = ops.mean(_unit(ops.power(windows, 1.0 / GEM_POWER)), axis=(1, 2))
        whole = ops.power(ops.mean(powered, axis=(1, 2)), 1.0 / GEM_POWER)
        return _unit(regions) + _unit(whole)
    raise ValueError(f"Expected pooling avg, max, gem or rgem, got {pooling!r}.")


def _unit(vectors: Any) -> Any:
    from keras import ops

    length = ops.sqrt(ops.sum(ops.square(vectors), axis=-1, keepdims=True))
    return vectors / ops.maximum(length, 1e-12)
