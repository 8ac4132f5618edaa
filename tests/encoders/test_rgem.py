"""Regional GeM through Keras, against its formula in NumPy on the feature maps that came with it.

Keras's backend is fixed when it is imported, so the networks run in a process of their own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.support.places import REPOSITORY

pytestmark = [pytest.mark.network]

Array = npt.NDArray[np.float64]

# Height and width in pixels of the native size and of pictures; a map has a quarter of each.
SHAPES = [
    ((32, 32), (32, 32)),  # 8 × 8, windows of 4
    ((32, 32), (20, 52)),  # 5 × 13, as an elongated picture has
    ((28, 28), (28, 28)),  # 7 × 7, windows of 3
    ((28, 28), (16, 44)),
    ((12, 40), (12, 40)),  # 3 × 10: the shorter side decides, windows of 1
    ((8, 8), (8, 8)),  # 2 × 2, each place a window
    ((4, 4), (4, 4)),  # one place: it is the whole too
    ((32, 32), (16, 16)),  # a map of one window
]

CHILD = """
import sys
import numpy as np
from parecido.indexer.encoders.building.assemble import assemble
from parecido.indexer.encoders.networks.base import Parts
from parecido.indexer.encoders.machine.imports import prepare_keras
from parecido.indexer.records.encoder import SizePolicy
from tests.encoders.test_rgem import SHAPES

with prepare_keras():
    import keras

keras.utils.set_random_seed(7)
rng = np.random.default_rng(1)
found = {}
for number, (native, shape) in enumerate(SHAPES):
    layers = [keras.layers.Conv2D(5, 4, strides=4, use_bias=False)]
    body = keras.Sequential([keras.Input((None, None, 3)), *layers])
    parts = Parts(lambda x: x / 128 - 1, body, None)
    model = assemble(parts, "rgem", SizePolicy(*native, step=4), maps=True)
    pixels = rng.integers(0, 256, (3, *shape, 3), dtype=np.uint8)
    pixels[2] = 128  # features of 0: only what they are clipped to is left
    descriptors, maps = model.predict_on_batch(pixels)
    found[f"descriptors{number}"], found[f"maps{number}"] = descriptors, maps
np.savez(sys.argv[1], **found)
"""


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Descriptors and feature maps of three pictures for each of the shapes."""
    file = tmp_path_factory.mktemp("rgem") / "outputs.npz"
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(file)],
        cwd=REPOSITORY,
        env={**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with np.load(file) as found:
        return dict(found)


def gem(region: Array) -> Array:
    """Generalised mean ``(c,)`` of a region ``(h, w, c)``, p = 3, of unit length."""
    mean = np.mean(np.maximum(region, 1e-6) ** 3, axis=(0, 1)) ** (1 / 3)
    return mean / np.linalg.norm(mean)


def rgem(features: Array, window: int) -> Array:
    """The mean of all windows' GeM and the whole map's, both of unit length, added."""
    rows, columns, _ = features.shape
    windows = [
        gem(features[top : top + window, left : left + window])
        for top in range(rows - window + 1)
        for left in range(columns - window + 1)
    ]
    regions = np.mean(windows, axis=0)
    both = regions / np.linalg.norm(regions) + gem(features)
    unit: Array = both / np.linalg.norm(both)
    return unit


@pytest.mark.parametrize("number", range(len(SHAPES)))
def test_regional_gem_is_its_formula(number: int, outputs: dict[str, Any]) -> None:
    native, shape = SHAPES[number]
    descriptors, maps = outputs[f"descriptors{number}"], outputs[f"maps{number}"]
    assert maps.shape == (3, shape[0] // 4, shape[1] // 4, 5)
    assert (maps < 0).any()  # which are clipped
    window = max(1, min(native) // 4 // 2)
    for descriptor, features in zip(descriptors, maps.astype(np.float64), strict=True):
        assert descriptor == pytest.approx(rgem(features, window), abs=2e-5)
        assert np.linalg.norm(descriptor) == pytest.approx(1, abs=1e-5)


def test_what_lies_nowhere_has_every_direction_alike(outputs: dict[str, Any]) -> None:
    for number in range(len(SHAPES)):
        assert outputs[f"descriptors{number}"][2] == pytest.approx(np.full(5, 5**-0.5), abs=1e-4)


def test_regions_count_as_much_as_the_whole(outputs: dict[str, Any]) -> None:
    """It differs from GeM where there is more than one window, and is GeM where there is one."""
    for number, differs in [(0, True), (2, True), (5, True), (6, False), (7, False)]:
        maps = outputs[f"maps{number}"].astype(np.float64)
        whole = np.stack([gem(features) for features in maps])
        alike = np.allclose(outputs[f"descriptors{number}"], whole, atol=1e-4)
        assert alike is not differs
