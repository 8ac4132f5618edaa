"""The feature map behind a descriptor: found in an exported graph, the same from every runtime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from parecido.indexer.encoders.building.feature_map import feature_map, with_feature_map
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.encoders.machine.imports import import_openvino
from parecido.indexer.encoders.opening import load_encoder
from parecido.indexer.errors import InvalidRequest
from tests.support.fakes import FakeRuntime, fake_encoder, fake_spec, quadrants
from tests.support.real import cosines, squares

Array = npt.NDArray[Any]
POOLINGS = ("avg", "gem", "rgem", "max")


def pooled(features: Array, pooling: str, window: int = 0) -> Array:
    """Unit rows ``(n, c)`` from maps ``(n, h, w, c)``, as the network's own layers make them."""
    maps = features.astype(np.float64)
    if pooling == "gem":
        rows = np.mean(np.maximum(maps, 1e-6) ** 3, axis=(1, 2)) ** (1 / 3)
    elif pooling == "rgem":
        down, across = maps.shape[1] - window + 1, maps.shape[2] - window + 1
        corners = [(y, x) for y in range(down) for x in range(across)]
        regions = [pooled(maps[:, y : y + window, x : x + window], "gem") for y, x in corners]
        mean = np.mean(regions, axis=0)
        rows = mean / np.linalg.norm(mean, axis=1, keepdims=True) + pooled(maps, "gem")
    else:
        rows = maps.mean(axis=(1, 2)) if pooling == "avg" else maps.max(axis=(1, 2))
    unit: Array = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def graph(pooling: str, *, channels_last: bool, turned: bool = False) -> Any:
    """A model whose feature map is its input times two, reduced in either order of axes.

    With ``turned`` there is a transpose between the parts of GeM, as an exporter may leave it.
    """
    openvino = import_openvino()
    ops = openvino.opset13
    pixels = ops.parameter([-1, -1, -1, 3], np.float32)
    features = ops.multiply(pixels, np.float32(2))
    to_first, to_last = np.array([0, 3, 1, 2]), np.array([0, 2, 3, 1])
    last = True
    if channels_last == turned:
        features, last = ops.transpose(features, to_first), False
    if pooling == "gem":
        features = ops.maximum(features, np.float32(1e-6))
        if turned:
            features = ops.transpose(features, to_first if last else to_last)
            last = not last
        features = ops.power(features, np.float32(3))
    assert last == channels_last
    reduce = ops.reduce_max if pooling == "max" else ops.reduce_mean
    vector = reduce(features, np.array([1, 2] if channels_last else [-2, -1]), False)
    if pooling == "gem":
        vector = ops.power(vector, np.float32(1 / 3))
    length = ops.sqrt(ops.reduce_sum(ops.power(vector, np.float32(2)), np.array([1]), True))
    return openvino.Model([ops.divide(vector, length)], [pixels])


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize(
    ("pooling", "turned"), [(p, False) for p in ("avg", "gem", "max")] + [("gem", True)]
)
def test_the_map_is_found_in_either_order_of_axes(
    pooling: str, turned: bool, channels_last: bool
) -> None:
    model = graph(pooling, channels_last=channels_last, turned=turned)
    compiled = import_openvino().Core().compile_model(with_feature_map(model, pooling), "CPU")
    pixels = np.random.default_rng(1).random((2, 3, 4, 3), np.float32)
    descriptors, features = list(compiled([pixels]).values())
    assert features == pytest.approx(2 * pixels, abs=1e-6)
    assert descriptors == pytest.approx(pooled(2 * pixels, pooling), abs=1e-5)
    assert len(model.outputs) == 1  # the model itself is left as it was


def test_a_graph_of_another_kind_has_no_map() -> None:
    openvino = import_openvino()
    ops = openvino.opset13
    pixels = ops.parameter([-1, -1, -1, 3], np.float32)
    halves = [ops.reduce_mean(ops.multiply(pixels, np.float32(n)), [1, 2], False) for n in (1, 2)]
    two = openvino.Model([ops.add(*halves)], [pixels])
    with pytest.raises(LookupError, match="got 2"):
        feature_map(two, "avg")
    with pytest.raises(LookupError, match="expected ReduceMax"):
        feature_map(graph("avg", channels_last=True), "max")
    with pytest.raises(LookupError, match="expected Power"):
        feature_map(graph("avg", channels_last=True), "gem")
    with pytest.raises(LookupError, match="fc2"):
        feature_map(graph("avg", channels_last=True), "fc2")
    rows = openvino.Model([ops.reduce_mean(pixels, np.array([1, 3]), False)], [pixels])
    with pytest.raises(LookupError, match="got \\[1, 3\\]"):
        feature_map(rows, "avg")


def test_maps_come_in_the_order_of_the_pictures_whatever_their_shapes() -> None:
    rng = np.random.default_rng(1)
    shapes = [(32, 32), (40, 24), (32, 32), (24, 40), (40, 24)]
    pictures = [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
    found = fake_encoder().maps(pictures)
    for picture, maps in zip(pictures, found, strict=True):
        expected = quadrants(picture[None])[0]
        assert maps.descriptor == pytest.approx(expected, abs=1e-6)
        assert maps.features.shape == (2, 2, 12)
        assert maps.features.sum(axis=(0, 1)) == pytest.approx(expected, abs=1e-6)
        assert maps.labels == ()
    assert fake_encoder().maps([]) == []


def test_an_encoder_without_places_is_refused() -> None:
    class Plain:
        """A runtime that tells descriptors only."""

        name, batch_size, bucket_size = "plain", 4, 4
        run = FakeRuntime.run

    picture = np.zeros((8, 8, 3), np.uint8)
    for pooling in ("fc1", "fc2", "none"):
        encoder = Encoder(replace(fake_spec(), pooling=pooling), FakeRuntime())
        with pytest.raises(InvalidRequest, match="feature map") as raised:
            encoder.maps([picture])
        assert "--pooling avg, max, gem" in raised.value.remedy
    with pytest.raises(InvalidRequest, match="feature map"):
        Encoder(fake_spec(), Plain()).maps([picture])


@pytest.mark.network
@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_real_network_gives_its_map_with_the_same_descriptors(pooling: str) -> None:
    encoder = load_encoder("efficientnet-lite0", pooling=pooling, precision="float32", device="cpu")
    pictures = [*squares(224), *squares(224)[:, :192], squares(224)[0]]
    expected = encoder.encode(pictures, labels=3)
    found = encoder.maps(pictures, labels=3)
    assert [maps.labels for maps in found] == [
        tuple((name, pytest.approx(p, abs=1e-4), index) for name, p, index in labels)
        for labels in expected.labels
    ]
    for picture, descriptor, maps in zip(pictures, expected.descriptors, found, strict=True):
        assert maps.features.dtype == np.float32
        assert maps.features.shape == (picture.shape[0] // 32, picture.shape[1] // 32, 1280)
        assert cosines(maps.descriptor[None], descriptor[None]).min() >= 0.9999
        again = pooled(maps.features[None], pooling, encoder.window)
        assert cosines(again, descriptor[None]).min() >= 0.999999
    assert encoder.window == (encoder.spec.size.height // 64 if pooling == "rgem" else 0)


@pytest.mark.network
@pytest.mark.filterwarnings("ignore")  # Keras's own code warns of its own future
def test_where_the_graph_does_not_show_it_a_second_export_gives_the_same_map(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PARECIDO_CACHE", str(tmp_path))
    pictures = squares(96)
    from parecido.indexer.encoders.machine import imports as frameworks

    with frameworks.prepare_keras():
        import keras

    keras.utils.set_random_seed(7)
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(16, 5, strides=8, activation="relu")(inputs)
    keras.Model(inputs, keras.layers.Conv2D(24, 1, activation="relu")(x)).save(
        tmp_path / "own.keras"
    )
    spec = load_encoder(str(tmp_path / "own.keras"), pooling="gem", device="cpu").spec

    def maps() -> tuple[list[Array], list[Array]]:
        encoder = load_encoder(str(tmp_path / "own.keras"), pooling="gem", device="cpu")
        assert encoder.spec == spec
        found = encoder.maps(pictures)
        return [one.descriptor for one in found], [one.features for one in found]

    shown = maps()
    assert not (tmp_path / f"{spec.fingerprint}-maps").exists()

    def not_shown(*_: object) -> None:
        raise LookupError("not here")

    monkeypatch.setattr("parecido.indexer.encoders.runtimes.openvino.with_feature_map", not_shown)
    exported = maps()
    assert (tmp_path / f"{spec.fingerprint}-maps" / "model.xml").is_file()
    for one, other in zip(shown, exported, strict=True):
        assert np.stack(one) == pytest.approx(np.stack(other), rel=1e-4, abs=1e-4)
    assert cosines(pooled(np.stack(exported[1]), "gem"), np.stack(shown[0])).min() >= 0.9999
