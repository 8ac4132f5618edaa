"""The plain recipe: what a Keras notebook does to the same pictures with the same weights.

``load_img`` at 224 × 224, ``img_to_array``, batches of 32, ``preprocess_input``, ``predict``, rows
divided by their norms; a search is a matrix product.  It runs as a child process, ``python -m
benchmarks.baselines.plain REQUEST``, so that TensorFlow's threads and memory disturb nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.children import serve
from parecido.indexer.encoders.machine.imports import prepare_keras

_SIDE = 224
_BATCH = 32

Array = npt.NDArray[np.float32]


def describe(files: list[str], network: Any, preprocess: Callable[[Array], Array]) -> Array:
    """Unit descriptors ``(n, dimension)`` of picture files."""
    import keras

    found = []
    for start in range(0, len(files), _BATCH):
        pictures = [
            keras.utils.img_to_array(keras.utils.load_img(file, target_size=(_SIDE, _SIDE)))
            for file in files[start : start + _BATCH]
        ]
        batch = preprocess(np.stack(pictures))
        found.append(network.predict(batch, batch_size=_BATCH, verbose=0))
    descriptors = np.concatenate(found)
    unit: Array = descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)
    return unit


def build(name: str, weights: str) -> tuple[Any, Callable[[Array], Array]]:
    """The headless network with average pooling for 224 × 224, and its preprocessing."""
    import keras

    if name == "resnet50":
        whole = keras.applications.ResNet50(weights=None)
        whole.load_weights(weights)
        pooled = next(x for x in whole.layers if isinstance(x, keras.layers.GlobalAveragePooling2D))
        preprocess = keras.applications.resnet.preprocess_input
        return keras.Model(whole.input, pooled.output), preprocess
    from parecido.indexer.encoders.registry import find_network

    network = find_network(name)
    parts = network.build(network.find_weights("avg") or Path(), "avg")
    pixels = keras.Input((_SIDE, _SIDE, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(parts.body(pixels))
    return keras.Model(pixels, pooled), parts.preprocess


def _index(request: dict[str, Any]) -> Mapping[str, object]:
    """Seconds for the files; without imports, the building, and the first batch's tracing."""
    network, preprocess = build(request["model"], request["weights"])
    network.predict(np.zeros((_BATCH, _SIDE, _SIDE, 3), np.float32), batch_size=_BATCH, verbose=0)
    started = time.perf_counter()
    descriptors = describe(request["files"], network, preprocess)
    return {"pictures": len(descriptors), "seconds": time.perf_counter() - started}


def _search(request: dict[str, Any]) -> Mapping[str, object]:
    """The ten best rows of a matrix file for one picture; timed from outside, imports included."""
    network, preprocess = build(request["model"], request["weights"])
    matrix = np.load(request["matrix"])
    scores = matrix @ describe([request["picture"]], network, preprocess)[0]
    best = np.argsort(-scores)[:10]
    return {"rows": best.tolist(), "scores": scores[best].tolist()}


def _weights(request: dict[str, Any]) -> Mapping[str, object]:
    """A weights file of a ResNet50 that has learnt nothing."""
    import keras

    keras.utils.set_random_seed(1)
    path = Path(request["weights"])
    temporary = path.with_name(f"new-{path.name}")  # Keras insists on the suffix
    keras.applications.ResNet50(weights=None).save_weights(temporary)
    temporary.replace(path)
    return {}


def _answer(request: dict[str, Any]) -> Mapping[str, object]:
    with prepare_keras():
        return {"index": _index, "search": _search, "weights": _weights}[request["do"]](request)


if __name__ == "__main__":
    serve(_answer)
