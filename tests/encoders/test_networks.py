"""Real networks: built, exported, run, and compared with plain Keras."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.encoders.opening import load_encoder
from parecido.indexer.encoders.registry import find_network
from parecido.indexer.encoders.resolve import resolve
from parecido.indexer.encoders.runtimes.keras import KerasRuntime
from parecido.indexer.errors import InvalidRequest, WeightsInvalid, WeightsUnavailable
from parecido.indexer.indexing.options import IndexOptions
from parecido.indexer.indexing.pipeline import index
from parecido.indexer.library.library import Library
from parecido.indexer.pictures.decode import Limits
from parecido.indexer.pictures.read import decode_file
from parecido.indexer.records.encoder import EncoderChoice
from parecido.search.engine import Engine
from tests.support.real import cosines, photographs, plain_keras, squares

# Keras's own code and TensorFlow's warn of their own futures
pytestmark = [pytest.mark.network, pytest.mark.filterwarnings("ignore")]


def random_weights(name: str, path: Path, *, top: bool = False) -> Path:
    """Weights of an application as its initialisers draw them, written to a file."""
    import keras

    keras.utils.set_random_seed(7)
    constructor = name.rpartition(".")[2]
    network = getattr(keras.applications, constructor)(include_top=top, weights=None)
    network.save_weights(str(path))
    return path


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """Keras keeps every network of a process alive; together these would take 8 GB."""
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].backend.clear_session()
    gc.collect()


@pytest.fixture(scope="module")
def lite() -> Encoder:
    return load_encoder("efficientnet-lite0")


@pytest.mark.parametrize(
    "name",
    [
        "resnet.ResNet50",
        "resnet.ResNet152",
        "vgg16.VGG16",
        "xception.Xception",
    ],
)
def test_a_keras_network_with_weights_from_a_file_describes_as_plain_keras_does(
    name: str, tmp_path: Path
) -> None:
    weights = random_weights(name, tmp_path / "random.weights.h5")
    model = name.rpartition(".")[2].lower()
    side = find_network(model).size.width
    pixels = squares(side)
    expected = plain_keras(name, weights, pixels)

    encoder = load_encoder(model, weights=weights)
    batch = encoder.encode(pixels).descriptors
    single = np.concatenate([encoder.encode([picture]).descriptors for picture in pixels])

    assert batch.shape == (len(pixels), find_network(model).dimension)
    assert cosines(batch, expected).min() >= 0.9999
    assert cosines(single, expected).min() >= 0.9999
    # the comparison means something only if different pictures get different descriptors
    assert cosines(expected[:-1], expected[1:]).min() < 0.9999

    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(folder / f"{number}.png")
    with Library.create(tmp_path / "library") as library:
        options = IndexOptions(model=model, weights=weights)
        assert index(library, [folder], options).added == len(pixels)
        # ids are given in the order in which the workers are done
        found = [library.catalogue.picture_at(str(path)) for path in sorted(folder.iterdir())]
        ids = [picture.id for picture in found if picture is not None]
        assert len(ids) == len(pixels)
        stored = np.concatenate([library.catalogue.descriptors.of([i])[1] for i in ids])
        assert cosines(stored, expected).min() >= 0.9999
        with Engine(library, encoder=encoder) as engine:
            Image.fromarray(pixels[3]).save(tmp_path / "query.bmp")
            best = engine.search(tmp_path / "query.bmp", k=1).hits[0]
    assert best.path == str(folder / "3.png")
    assert best.score >= 0.999


def test_both_runtimes_give_the_same_descriptors_and_labels(lite: Encoder) -> None:
    keras_run = Encoder(lite.spec, KerasRuntime(lite.spec, batch_size=4))
    pictures = [decode_file(path, lite.spec, Limits()).pixels for path in photographs()]
    ours, theirs = lite.encode(pictures), keras_run.encode(pictures)
    assert cosines(ours.descriptors, theirs.descriptors).min() >= 0.9999
    for mine, other in zip(ours.labels, theirs.labels, strict=True):
        assert mine[0].name == other[0].name
        assert mine[0].probability == pytest.approx(other[0].probability, abs=1e-3)


def test_vggs_fully_connected_layer_describes_as_plain_keras_does(tmp_path: Path) -> None:
    import keras

    weights = random_weights("vgg16.VGG16", tmp_path / "vgg16.weights.h5", top=True)
    whole = keras.applications.VGG16(weights=None)
    whole.load_weights(str(weights))
    pixels = squares(224)
    prepared = keras.applications.vgg16.preprocess_input(pixels.astype("float32"))
    layers = [whole.get_layer("fc1").output, whole.output]
    expected, probabilities = keras.Model(whole.input, layers).predict(prepared, verbose=0)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)

    encoding = load_encoder("vgg16", weights=weights, pooling="fc1").encode(pixels)
    assert encoding.descriptors.shape == (len(pixels), 4096)
    assert cosines(encoding.descriptors, expected).min() >= 0.9999
    assert cosines(expected[:-1], expected[1:]).max() < 0.999
    for row, found in zip(probabilities, encoding.labels, strict=True):
        assert found[0].class_index == row.argmax()


@pytest.mark.parametrize("number", [0, 1, 2])
def test_each_lite_network_knows_a_cat_and_an_espresso(number: int) -> None:
    encoder = load_encoder(f"efficientnet-lite{number}")
    data = photographs()[0].parent
    cat, coffee = encoder.encode_files([data / "chelsea.png", data / "coffee.png"]).labels
    assert {label.name for label in cat[:3]} & {"tabby", "tiger cat", "Egyptian cat"}
    assert coffee[0].name == "espresso"


@pytest.mark.parametrize("pooling", ["max", "gem"])
def test_other_poolings_match_their_definition(pooling: str, lite: Encoder) -> None:
    import keras

    from parecido.indexer.encoders.pooling import GEM_EPSILON
    from parecido.indexer.encoders.weights import weights_of

    parts = find_network("efficientnet-lite0").build(weights_of(lite.spec), pooling)
    pixels = squares(224)
    maps = keras.ops.convert_to_numpy(parts.body(parts.preprocess(pixels.astype("float32"))))
    if pooling == "max":
        expected = maps.max(axis=(1, 2))
    else:
        expected = (np.maximum(maps, GEM_EPSILON) ** 3).mean(axis=(1, 2)) ** (1 / 3)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    got = load_encoder("efficientnet-lite0", pooling=pooling).encode(pixels).descriptors
    assert cosines(got, expected).min() >= 0.9999


def test_class_probabilities_do_not_depend_on_the_pooling(lite: Encoder) -> None:
    gem = load_encoder("efficientnet-lite0", pooling="gem")
    pixels = squares(224)
    for one, other in zip(lite.encode(pixels).labels, gem.encode(pixels).labels, strict=True):
        assert [label.name for label in one] == [label.name for label in other]


def test_a_picture_is_described_alike_alone_and_in_any_batch(lite: Encoder) -> None:
    pixels = squares(224)
    together = lite.encode(np.concatenate([pixels] * 5)).descriptors
    alone = np.concatenate([lite.encode([picture]).descriptors for picture in pixels])
    assert cosines(together, np.concatenate([alone] * 5)).min() >= 0.99999


def test_weights_without_a_head_give_no_classes(tmp_path: Path) -> None:
    headless = random_weights("mobilenet_v2.MobileNetV2", tmp_path / "headless.weights.h5")
    pixels = squares(224)[:1]
    assert load_encoder("mobilenetv2", weights=headless).encode(pixels).labels == [()]


# MobileNetV3's head keeps 1 × 1 maps and has two layers; EfficientNet's swish adds outputs
@pytest.mark.parametrize("name", ["mobilenet_v3.MobileNetV3Small", "efficientnet.EfficientNetB0"])
def test_the_heads_probabilities_are_plain_keras_own(name: str, tmp_path: Path) -> None:
    import keras

    weights = random_weights(name, tmp_path / "w.weights.h5", top=True)
    constructor = name.rpartition(".")[2]
    network = getattr(keras.applications, constructor)(weights=None)
    network.load_weights(str(weights))
    pixels = squares(224)
    pools = [x for x in network.layers if isinstance(x, keras.layers.GlobalAveragePooling2D)]
    vector = keras.ops.mean(pools[-1].input, axis=(1, 2))
    both = keras.Model(network.input, [vector, network.output])
    vectors, expected = both.predict(pixels.astype("float32"), verbose=0)
    encoding = load_encoder(constructor, weights=weights).encode(pixels, labels=1000)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert cosines(encoding.descriptors, unit).min() >= 0.9999
    for row, found in zip(expected, encoding.labels, strict=True):
        got = np.zeros(1000)
        got[[label.class_index for label in found]] = [label.probability for label in found]
        assert np.allclose(got, row, atol=1e-5)


def test_a_users_own_keras_file_is_cut_before_its_last_pooling(tmp_path: Path) -> None:
    import keras

    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(16, 3, strides=2, activation="relu")(inputs)
    features = keras.layers.Conv2D(24, 3, strides=2, activation="relu")(x)
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    keras.Model(inputs, keras.layers.Dense(7)(pooled)).save(tmp_path / "own.keras")
    pixels = squares(224)
    expected = keras.Model(inputs, pooled).predict(pixels.astype("float32"), verbose=0)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)

    encoder = load_encoder(str(tmp_path / "own.keras"))
    assert encoder.dimension == 24
    assert cosines(encoder.encode(pixels).descriptors, expected).min() >= 0.9999


def test_a_users_own_network_of_fixed_size_gets_pictures_of_that_size(tmp_path: Path) -> None:
    import keras

    inputs = keras.Input((40, 56, 3))
    x = keras.layers.Conv2D(4, 3)(inputs)
    vector = keras.layers.Dense(9)(keras.layers.Flatten()(x))
    keras.Model(inputs, vector).save(tmp_path / "fixed.keras")
    encoder = load_encoder(str(tmp_path / "fixed.keras"))
    assert (encoder.spec.pooling, encoder.dimension) == ("none", 9)
    assert encoder.encode_files(photographs()).descriptors.shape == (len(photographs()), 9)
    with pytest.raises(InvalidRequest, match="40 × 56"):
        encoder.encode(squares(64))


def test_a_users_own_sequential_network_is_cut_too(tmp_path: Path) -> None:
    import keras

    layers = keras.layers
    features = keras.Sequential([layers.Conv2D(24, 3, strides=4, activation="relu")])
    model = keras.Sequential([features, layers.GlobalAveragePooling2D(), layers.Dense(3)])
    model.build((None, 96, 96, 3))
    model.save(tmp_path / "own.keras")
    pixels = squares(96)
    expected = features.predict(pixels.astype("float32"), verbose=0).mean(axis=(1, 2))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    encoder = load_encoder(str(tmp_path / "own.keras"))
    assert encoder.dimension == 24
    assert cosines(encoder.encode(pixels).descriptors, expected).min() >= 0.9999


def test_what_openvino_cannot_run_keras_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import keras

    inputs = keras.Input((64, 64, 3))
    x = keras.layers.RandomFlip()(inputs)
    features = keras.layers.Conv2D(8, 3)(x)
    keras.Model(inputs, features).save(tmp_path / "flip.keras")
    encoder = load_encoder(str(tmp_path / "flip.keras"))
    assert "OpenVINO cannot run" in caplog.text
    assert encoder.encode(squares(64)).descriptors.shape == (7, 8)


def test_a_file_that_carries_code_is_refused(tmp_path: Path) -> None:
    import keras

    inputs = keras.Input((32, 32, 3))
    outputs = keras.layers.Lambda(lambda x: x * 2)(inputs)
    keras.Model(inputs, outputs).save(tmp_path / "code.keras")
    with pytest.raises(WeightsInvalid, match="safe mode"):
        load_encoder(str(tmp_path / "code.keras"))


def test_a_weights_file_of_another_network_is_refused(tmp_path: Path) -> None:
    weights = random_weights("mobilenet.MobileNet", tmp_path / "other.weights.h5")
    with pytest.raises(WeightsInvalid, match="does not hold the weights of mobilenetv2"):
        load_encoder("mobilenetv2", weights=weights)
    (tmp_path / "noise.h5").write_bytes(b"no HDF5 at all")
    with pytest.raises(WeightsInvalid, match=r"mobilenetv2|readable"):
        load_encoder("mobilenetv2", weights=tmp_path / "noise.h5")


def test_a_failed_download_says_what_is_missing_where_and_what_works_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(WeightsUnavailable) as raised:
        resolve(EncoderChoice("resnet50"))
    assert "resnet50_weights_tf_dim_ordering_tf_kernels.h5" in raised.value.message
    assert str(tmp_path / "models") in raised.value.message
    assert "efficientnet-lite0" in raised.value.remedy


def test_a_warm_search_imports_neither_tensorflow_nor_keras(tmp_path: Path, lite: Encoder) -> None:
    with Library.create(tmp_path / "library") as library:
        index(library, photographs(), encoder=lite)
    Image.open(photographs()[1]).rotate(10).save(tmp_path / "query.png")
    code = (
        "import sys; from parecido.search.cli import cli\n"
        "try: cli.main(sys.argv[1:], prog_name='parecido')\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'tensorflow', 'keras', 'jax', 'torch', 'alembic', 'scipy', 'rich'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    arguments = ["search", str(tmp_path / "query.png"), "--library", str(tmp_path / "library")]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--paths"],
        capture_output=True,
        text=True,
        env=dict(os.environ),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == str(photographs()[1])


def test_a_rotated_picture_finds_its_upright_self(tmp_path: Path, lite: Encoder) -> None:
    folder = tmp_path / "turned"
    folder.mkdir()
    upright = Image.open(photographs()[1]).convert("RGB")
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the stored transposition for each tag
    for tag in range(1, 9):
        stored = upright if tag == 1 else upright.transpose(Image.Transpose(undo[tag]))
        exif = Image.Exif()
        exif[0x0112] = tag
        stored.save(folder / f"{tag}.jpg", exif=exif, quality=95)
    with Library.create(tmp_path / "library") as library:
        index(library, [folder], encoder=lite)
        with Engine(library, encoder=lite) as engine:
            for tag in range(1, 9):
                hits = engine.search(folder / f"{tag}.jpg", k=7).hits
                assert len(hits) == 7
                assert min(hit.score for hit in hits) >= 0.98


def test_the_encoder_of_another_size_policy_is_another_encoder(lite: Encoder) -> None:
    other = replace(lite.spec, resample="lanczos")
    assert other.fingerprint != lite.spec.fingerprint
