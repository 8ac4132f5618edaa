"""What must hold on every backend of Keras; run by ``test_keras_runtime.py``, once for each."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from parecido.indexer.encoders.building.assemble import assemble
from parecido.indexer.encoders.building.keras_model import keras_model
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.encoders.machine.imports import prepare_keras
from parecido.indexer.encoders.networks.base import Parts
from parecido.indexer.encoders.networks.digest import sha256_of
from parecido.indexer.encoders.resolve import resolve
from parecido.indexer.encoders.runtimes import keras as keras_runtime
from parecido.indexer.encoders.runtimes.keras import KerasRuntime
from parecido.indexer.encoders.weights import weights_of
from parecido.indexer.indexing.pipeline import index
from parecido.indexer.library.library import Library
from parecido.indexer.records.encoder import EncoderChoice, EncoderSpec
from parecido.search.engine import Engine
from tests.support.real import cosines, plain_keras, squares

# Keras's own code and its backends' warn of their own futures
pytestmark = pytest.mark.filterwarnings("ignore")

BATCH = 4


@pytest.fixture(scope="module")
def spec() -> EncoderSpec:
    return resolve(EncoderChoice("efficientnet-lite0", pooling="avg", precision="float32"))


@pytest.fixture(scope="module")
def runtime(spec: EncoderSpec) -> KerasRuntime:
    return KerasRuntime(spec, BATCH)


@pytest.fixture(scope="module")
def half(spec: EncoderSpec) -> KerasRuntime:
    return KerasRuntime(spec, BATCH, half=True)


@pytest.fixture(scope="module")
def pixels() -> npt.NDArray[np.uint8]:
    """Seven photographs, smaller than native, so that everything is quick."""
    return np.ascontiguousarray(squares(128)[:, :96])


def test_float32_is_what_the_plain_model_gives(
    spec: EncoderSpec, runtime: KerasRuntime, pixels: npt.NDArray[np.uint8]
) -> None:
    expected, classes = keras_model(spec, weights_of(spec)).predict_on_batch(pixels)
    descriptors, probabilities = runtime.run(pixels)
    assert probabilities is not None
    assert (descriptors.dtype, probabilities.dtype) == (np.float32, np.float32)
    assert (descriptors.shape, probabilities.shape) == ((7, 1280), (7, 1000))
    assert np.linalg.norm(descriptors, axis=1) == pytest.approx(np.ones(7), abs=1e-5)
    assert cosines(descriptors, expected).min() >= 0.9999
    assert np.allclose(probabilities, classes, atol=1e-4)


def test_the_feature_map_comes_with_the_same_descriptors_and_pools_to_them(
    runtime: KerasRuntime, half: KerasRuntime, pixels: npt.NDArray[np.uint8]
) -> None:
    for one in (runtime, half):
        expected, classes = one.run(pixels)
        descriptors, probabilities, features = one.run_with_maps(pixels)
        assert (features.shape, features.dtype) == ((7, 3, 4, 1280), np.float32)
        assert cosines(descriptors, expected).min() >= 0.9999
        assert probabilities is not None
        assert classes is not None
        assert np.allclose(probabilities, classes, atol=1e-3)
        pooled = features.mean(axis=(1, 2), dtype=np.float64)
        pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
        assert cosines(pooled, descriptors).min() >= 0.9999


def test_half_precision_is_as_near_to_float32_as_its_roundings_allow(
    spec: EncoderSpec, runtime: KerasRuntime, half: KerasRuntime, pixels: npt.NDArray[np.uint8]
) -> None:
    """The bounds follow from the number of roundings, whatever order a processor sums in.

    Of N roundings to 16 bits, each of at most 2⁻¹¹, a result is wrong by λ √N 2⁻¹¹, with a
    probability of 2 exp(-λ²/2) of more, 7·10⁻⁴ for λ = 4 (Higham and Mary, "A new approach to
    probabilistic rounding error analysis", SISC 2019).  Every layer rounds its weights, its sum and
    what its normalisation gives.
    """
    import keras

    assert keras.config.dtype_policy().name == "float32"
    (exact, classes), (rounded, likely) = runtime.run(pixels), half.run(pixels)
    assert classes is not None
    assert likely is not None
    assert (rounded.dtype, likely.dtype) == (np.float32, np.float32)
    assert np.linalg.norm(rounded, axis=1) == pytest.approx(np.ones(7), abs=1e-5)
    assert not np.allclose(exact, rounded, atol=1e-6)  # it was in 16 bits
    kernels, head = _kernels(keras_model(spec, weights_of(spec)))
    assert (len(kernels), head.shape) == (50, (1280, 1000))
    angles = np.sqrt(2 * (1 - np.minimum(cosines(exact, rounded), 1)))
    assert angles.max() <= 4 * (3 * len(kernels)) ** 0.5 * 2.0**-11
    # The head is in float32, and what it adds to a class is a product with the pooled map: two
    # classes' difference moves by no more than that of the maps times twice the longest column.
    before, after = (one.run_with_maps(pixels)[2].mean(axis=(1, 2)) for one in (runtime, half))
    moved = np.linalg.norm(after - before, axis=1) * 2 * np.linalg.norm(head, axis=0).max()
    # and a probability by no more than from one half less to one half more of that
    assert (np.abs(classes - likely).max(axis=1) <= np.tanh(moved / 4) + 1e-4).all()


def _kernels(model: Any) -> tuple[dict[str, Any], npt.NDArray[np.float32]]:
    """The weights that a network multiplies with, by their names, and those of its head."""
    kernels = {
        weight.path: weight
        for layer in model._flatten_layers(include_self=False)
        for weight in layer.weights
        if len(weight.shape) > 1
    }
    (head,) = (np.asarray(one) for one in kernels.values() if len(one.shape) == 2)
    return kernels, head


def test_a_cpu_runs_half_precision_in_float32(
    spec: EncoderSpec, runtime: KerasRuntime, pixels: npt.NDArray[np.uint8]
) -> None:
    other = KerasRuntime(replace(spec, precision="half"), BATCH)
    assert np.array_equal(other.run(pixels)[0], runtime.run(pixels)[0])


def test_an_application_is_described_as_plain_keras_does(tmp_path: Path) -> None:
    import keras

    if keras.backend.backend() == "jax":
        pytest.skip("JAX compiles every initialiser, which takes ten seconds")
    keras.utils.set_random_seed(7)
    weights = tmp_path / "w.weights.h5"
    keras.applications.MobileNetV3Small(include_top=False, weights=None).save_weights(str(weights))
    pixels = squares(96)
    expected = plain_keras("mobilenet_v3.MobileNetV3Small", weights, pixels)
    spec = resolve(EncoderChoice("mobilenetv3small", weights=weights, precision="float32"))
    descriptors, probabilities = KerasRuntime(spec, 7).run(pixels)
    assert probabilities is None
    assert cosines(descriptors, expected).min() >= 0.9999


def test_threads_with_two_shapes_get_each_picture_its_own_descriptor(
    runtime: KerasRuntime, pixels: npt.NDArray[np.uint8]
) -> None:
    sets = [pixels, np.ascontiguousarray(pixels.transpose(0, 2, 1, 3))]
    threads, together = 6, threading.Barrier(6)

    def work(number: int) -> list[tuple[int, int, npt.NDArray[np.float32]]]:
        together.wait()
        found = []
        for step in range(6):
            which = (number + step) % 2
            first, count = (number * 3 + step) % 7, 1 + (number + 2 * step) % 7
            rows = runtime.run(sets[which][first : first + count])[0]
            found += [(which, first + i, row) for i, row in enumerate(rows)]
        return found

    with ThreadPoolExecutor(threads) as pool:
        found = [row for rows in pool.map(work, range(threads)) for row in rows]
    alone = [[runtime.run(one[None])[0][0] for one in pictures] for pictures in sets]
    assert len(found) > 100
    for which, number, row in found:
        assert float(row @ alone[which][number]) >= 0.99999
    assert set(runtime.forward.traces) == {
        (count, *pictures.shape[1:]) for count in (1, BATCH) for pictures in sets
    }
    assert set(runtime.forward.traces.values()) == {1}


def test_what_fills_a_batch_up_never_shows(
    runtime: KerasRuntime, pixels: npt.NDArray[np.uint8]
) -> None:
    whole, _ = runtime.run(pixels[:4])
    for count in (2, 3):
        part, classes = runtime.run(pixels[:count])
        assert classes is not None
        assert len(part) == len(classes) == count
        assert np.allclose(part, whole[:count], atol=1e-6)


def test_only_pictures_beyond_float16_run_in_bfloat16(
    spec: EncoderSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    def model(spec: EncoderSpec, weights: Path, policy: str, maps: bool) -> Any:
        keras.config.set_dtype_policy(policy)
        keras.utils.set_random_seed(7)
        kernel = keras.initializers.RandomUniform(0, 5)
        layers = [keras.layers.Conv2D(16, 3, strides=4, kernel_initializer=kernel) for _ in "12"]
        parts = Parts(lambda x: keras.ops.power(x / 16, 6), keras.Sequential(layers), None)
        try:
            return assemble(parts, "avg", spec.size, maps=maps)
        finally:
            keras.config.set_dtype_policy("float32")

    monkeypatch.setattr(keras_runtime, "keras_model", model)
    pictures = np.random.default_rng(1).integers(0, 2, (5, 64, 64, 3), dtype=np.uint8)
    pictures[1:4] += 16
    pictures[4] += 254  # 16 ** 6 is too much for float16, and what the first one gives too little
    half, exact = KerasRuntime(spec, BATCH, half=True), KerasRuntime(spec, BATCH)
    alone = half.run(pictures[1:4])[0]
    assert not half._wide
    rows = half.run(pictures)[0]
    assert half._wide
    assert cosines(rows, exact.run(pictures)[0]).min() >= 0.999
    assert np.array_equal(rows[1:4], alone)
    again, _, features = half.run_with_maps(pictures)
    assert np.isfinite(features).all()
    assert cosines(rows, again).min() >= 0.9999
    pooled = features.mean(axis=(1, 2), dtype=np.float64)
    assert cosines(pooled / np.linalg.norm(pooled, axis=1, keepdims=True), again).min() >= 0.9999


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_users_own_network_keeps_the_types_it_was_saved_with(
    policy: str, spec: EncoderSpec, tmp_path: Path
) -> None:
    import keras

    file = tmp_path / "own.keras"
    keras.config.set_dtype_policy(policy)
    try:
        inputs = keras.Input((None, None, 3))
        x = keras.layers.Conv2D(8, 3, strides=4, activation="relu")(inputs)
        keras.Model(inputs, x).save(file)
    finally:
        keras.config.set_dtype_policy("float32")
    own = replace(
        spec,
        model="file",
        dimension=8,
        preprocessing="none",
        weights_file=str(file),
        weights_sha256=sha256_of(file),
    )
    pixels = squares(64)
    (ours, _), (half, _) = (KerasRuntime(own, 7, half=h).run(pixels) for h in (False, True))
    assert np.array_equal(ours, half)
    assert np.linalg.norm(ours, axis=1) == pytest.approx(np.ones(7), abs=1e-5)


def test_an_indexing_run_finds_each_picture_itself(runtime: KerasRuntime, tmp_path: Path) -> None:
    encoder, folder = Encoder(runtime._spec, runtime), tmp_path / "pictures"
    folder.mkdir()
    for number, picture in enumerate(squares(240)):
        cut = picture[:, :160] if number % 2 else picture
        Image.fromarray(cut).save(folder / f"{number}.png")
        Image.fromarray(cut).save(tmp_path / f"{number}.bmp")
    with Library.create(tmp_path / "library") as library:
        report = index(library, [folder], encoder=encoder)
        assert (report.added, len(report.skipped)) == (7, 0)
        with Engine(library, encoder=encoder) as engine:
            for number in range(7):
                best = engine.search(tmp_path / f"{number}.bmp", k=1).hits[0]
                assert best.path == str(folder / f"{number}.png")
                assert best.score >= 0.999


with prepare_keras():  # its backend and its home are settled before the first test imports it
    pass
