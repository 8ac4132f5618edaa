"""Real pictures from installed packages, and what plain Keras makes of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

SCIKIT_IMAGE = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")


def photographs() -> list[Path]:
    """Files of seven photographs: five from scikit-image, two from scikit-learn."""
    found = [_folder("skimage") / "data" / name for name in SCIKIT_IMAGE]
    found += [_folder("sklearn") / "datasets" / "images" / f"{n}.jpg" for n in ("china", "flower")]
    return found


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def squares(side: int) -> npt.NDArray[np.uint8]:
    """The photographs as ``(n, side, side, 3)``, squeezed."""
    pictures = [Image.open(path).convert("RGB").resize((side, side)) for path in photographs()]
    return np.stack([np.asarray(picture) for picture in pictures])


def plain_keras(name: str, weights: Path, pixels: npt.NDArray[np.uint8]) -> Any:
    """The tutorial's way: headless application, preprocess_input, GlobalAveragePooling2D, L2."""
    import keras

    module, _, constructor = name.rpartition(".")
    network = getattr(keras.applications, constructor)(include_top=False, weights=None)
    network.load_weights(str(weights))
    pooled = keras.layers.GlobalAveragePooling2D()(network.output)
    model = keras.Model(network.input, pooled)
    prepare = getattr(keras.applications, module).preprocess_input
    vectors = model.predict(prepare(pixels.astype("float32")), verbose=0)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def cosines(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Row-wise cosines of unit rows."""
    result: npt.NDArray[Any] = (one.astype(np.float64) * other.astype(np.float64)).sum(axis=1)
    return result
