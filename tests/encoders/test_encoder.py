"""The encoder around a network: what it takes, what it gives, which names it knows."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.encoders.imagenet.classes import (
    class_lemmas,
    class_names,
    class_wnids,
    top_labels,
)
from parecido.indexer.encoders.opening import load_encoder, open_encoder
from parecido.indexer.encoders.registry import find_network, model_table
from parecido.indexer.encoders.resolve import resolve
from parecido.indexer.errors import (
    EncoderUnavailable,
    InvalidRequest,
    PathNotFound,
    UnknownEncoder,
    WeightsInvalid,
)
from parecido.indexer.records.encoder import EncoderChoice, EncoderSpec, SizePolicy
from tests.support.fakes import FakeRuntime, fake_encoder, fake_spec, quadrants


class Constant(FakeRuntime):
    """A network that sees the same in every picture."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def run(
        self, batch: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
        return np.full((len(batch), 12), self.value, np.float32), None


def test_pictures_of_any_mix_of_shapes_come_back_in_their_order(encoder: Encoder) -> None:
    rng = np.random.default_rng(1)
    shapes = [(32, 32), (40, 24), (32, 32), (24, 40), (40, 24), (32, 32)]
    pictures = [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
    got = encoder.encode(pictures).descriptors
    for row, picture in zip(got, pictures, strict=True):
        assert row == pytest.approx(quadrants(picture[None])[0], abs=1e-6)


def test_no_pictures_give_no_descriptors(encoder: Encoder) -> None:
    encoding = encoder.encode([])
    assert encoding.descriptors.shape == (0, 12)
    assert encoding.labels == []


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((2, 8, 8, 3), np.uint8),
    ],
)
def test_anything_but_an_rgb_picture_is_refused(
    picture: npt.NDArray[np.uint8], encoder: Encoder
) -> None:
    with pytest.raises(InvalidRequest, match=r"uint8 \(height, width, 3\)"):
        encoder.encode([picture])


def test_a_picture_without_any_feature_still_has_a_unit_descriptor() -> None:
    blank = Encoder(fake_spec(), Constant(0.0)).encode([np.zeros((8, 8, 3), np.uint8)])
    assert np.linalg.norm(blank.descriptors[0]) == pytest.approx(1, abs=1e-6)


def test_numbers_that_are_not_finite_are_an_error_not_a_descriptor() -> None:
    for value in (np.nan, np.inf):
        with pytest.raises(WeightsInvalid, match="not finite"):
            Encoder(fake_spec(), Constant(value)).encode([np.zeros((8, 8, 3), np.uint8)])


def test_everything_that_decides_a_descriptor_changes_the_fingerprint() -> None:
    spec = fake_spec()
    other = {
        "model": "other",
        "pooling": "max",
        "dimension": 13,
        "weights_sha256": "1" * 64,
        "preprocessing": "tf",
        "size": SizePolicy(32, 40, step=8),
        "resample": "lanczos",
        "recipe": spec.recipe + 1,
        "precision": "half",
        "calibration": "2" * 64,
    }
    assert {field.name for field in fields(EncoderSpec)} == {*other, "weights_file"}
    for name, value in other.items():
        assert replace(spec, **{name: value}).fingerprint != spec.fingerprint  # type: ignore[arg-type]
    assert replace(spec, weights_file="/elsewhere").fingerprint == spec.fingerprint


def test_a_spec_survives_its_json_form() -> None:
    spec = fake_spec(weights_file="/somewhere/w.h5")
    assert EncoderSpec.from_json(spec.to_json()) == spec
    for text in ("[]", "{}", json.dumps({"model": "x"}), '{"surprise": 1}'):
        with pytest.raises(ValueError, match="fields of an encoder"):
            EncoderSpec.from_json(text)


def test_names_are_known_in_any_case_and_near_misses_are_named() -> None:
    assert find_network("ResNet50").name == "resnet50"
    with pytest.raises(UnknownEncoder) as raised:
        find_network("resnet5")
    assert "resnet50" in raised.value.remedy


def test_options_that_do_not_go_together_are_refused(tmp_path: object) -> None:
    with pytest.raises(InvalidRequest, match="name of its network"):
        resolve(EncoderChoice("auto", weights="w.h5"))
    with pytest.raises(InvalidRequest, match=r"avg, max, gem, rgem\), got 'fc1'"):
        resolve(EncoderChoice("resnet50", pooling="fc1"))
    with pytest.raises(InvalidRequest, match="its own weights"):
        resolve(EncoderChoice("net.keras", weights="w.h5"))
    with pytest.raises(PathNotFound, match=r"net\.keras is not there"):
        resolve(EncoderChoice("net.keras"))
    with pytest.raises(PathNotFound, match=r"w\.h5 is not there"):
        resolve(EncoderChoice("resnet50", weights=f"{tmp_path}/w.h5"))
    with pytest.raises(InvalidRequest, match="preprocessing"):
        resolve(EncoderChoice("net.keras", preprocessing="nonsense"))
    with pytest.raises(InvalidRequest, match="device"):
        open_encoder(fake_spec(), device="tpu")


def test_auto_is_the_encoder_without_a_download_where_there_is_no_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("parecido.indexer.encoders.resolve.gpu_visible", lambda: False)
    assert resolve(EncoderChoice()).model == "efficientnet-lite0"


def test_auto_on_a_gpu_falls_back_where_resnet50_cannot_be_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pathlib import Path

    from parecido.indexer.encoders.networks.base import Network
    from parecido.indexer.errors import WeightsUnavailable

    monkeypatch.setattr("parecido.indexer.encoders.resolve.gpu_visible", lambda: True)
    asked = []

    def weights_here(network: Network, *_: object) -> Path:
        asked.append(network.name)
        if network.name == "resnet50":
            raise WeightsUnavailable("no network")
        found = network.find_weights("avg")
        assert found is not None
        return found

    monkeypatch.setattr("parecido.indexer.encoders.resolve.obtain_weights", weights_here)
    assert resolve(EncoderChoice()).model == "efficientnet-lite0"
    assert asked == ["resnet50", "efficientnet-lite0"]


def test_a_gpu_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parecido.indexer.encoders.opening.gpu_usable", lambda: False)
    monkeypatch.setattr("parecido.indexer.encoders.opening.gpu_visible", lambda: False)
    with pytest.raises(EncoderUnavailable, match="CUDA driver reports none"):
        load_encoder("efficientnet-lite0", device="gpu")


def test_there_are_a_thousand_unique_class_names_in_order() -> None:
    names = class_names()
    assert len(names) == len(set(names)) == 1000
    assert (names[0], names[281], names[504], names[999]) == (
        *("tench", "tabby", "coffee mug"),
        "toilet tissue",
    )
    assert class_wnids()[281] == "n02123045"
    assert class_lemmas()[281] == ("tabby", "tabby cat")
    assert (names[134], names[517]) == ("crane", "crane (machine)")


def test_top_labels_are_the_likeliest_best_first() -> None:
    rows = np.zeros((2, 1000), np.float32)
    rows[0, [3, 7, 999]] = (0.2, 0.5, 0.3)
    first, second = top_labels(rows, 3)
    assert [label.class_index for label in first] == [7, 999, 3]
    assert [label.probability for label in first] == pytest.approx([0.5, 0.3, 0.2])
    assert [label.class_index for label in second] == [0, 1, 2]


@settings(max_examples=100)
@given(
    rows=arrays(np.float32, (3, 1000), elements=st.sampled_from([0.0, 0.001, 0.25, 0.5])),
    k=st.one_of(st.integers(1, 12), st.sampled_from([999, 1000, 1001, 5000])),
)
def test_top_labels_are_those_of_a_whole_sort(rows: npt.NDArray[np.float32], k: int) -> None:
    found = [[label.class_index for label in labels] for labels in top_labels(rows, k)]
    assert found == np.argsort(-rows, axis=1, kind="stable")[:, :k].tolist()


def test_the_models_are_listed_with_what_is_on_this_machine() -> None:
    table = {info.name: info for info in model_table()}
    assert len(table) == 43
    assert table["efficientnet-lite0"].weights.endswith(".pth")
    assert (table["nasnetlarge"].dimension, table["nasnetlarge"].native) == (4032, 331)


def test_the_fake_encoder_is_a_stateless_function_of_its_pictures() -> None:
    encoder = fake_encoder()
    picture = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)
    one = encoder.encode([picture]).descriptors
    assert np.array_equal(encoder.encode([picture] * 9).descriptors, np.repeat(one, 9, axis=0))
