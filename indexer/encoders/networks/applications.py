"""The networks of Keras Applications: one table row each.

Keras's own constructors, preprocessing and weight files are used, its download and its hash check
included.  With the classification head where the head works on pooled features, so that class
probabilities come out of the same forward pass.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from parecido.indexer.encoders.machine.imports import keras_home, own_keras_home
from parecido.indexer.encoders.networks.base import Network, Parts
from parecido.indexer.errors import WeightsInvalid, WeightsUnavailable
from parecido.indexer.records.choices import FULLY_CONNECTED, MAP_POOLINGS
from parecido.indexer.records.encoder import SizePolicy

__all__ = ["APPLICATIONS", "Application", "keras_models_folder"]

OFFLINE_REMEDY = (
    "Put the file there, connect to a network, or use --model efficientnet-lite0, which needs none."
)
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
_FULLY_CONNECTED = dict.fromkeys(FULLY_CONNECTED, 4096)


def keras_models_folder() -> Path:
    """Where Keras keeps downloaded weights: ``$KERAS_HOME/models``, by default in ``~/.keras``."""
    return keras_home() / "models"


@dataclass(frozen=True)
class Application(Network):
    """A row: constructor, native side, channels, preprocessing and weight files."""

    constructor: str
    """``module.Name`` in ``keras.applications``."""
    native: int
    dimension: int
    preprocessing: str
    top_file: str
    """Weights with the classification head."""
    headless_file: str = ""
    """Weights without; given where the head cannot follow a global pooling (VGG)."""

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.constructor.rpartition(".")[2].lower()

    @property
    def size(self) -> SizePolicy:  # type: ignore[override]
        return SizePolicy(self.native, self.native)

    @property
    def _has_fully_connected(self) -> bool:
        return bool(self.headless_file)

    @property
    def poolings(self) -> tuple[str, ...]:
        return (*MAP_POOLINGS, *_FULLY_CONNECTED) if self._has_fully_connected else MAP_POOLINGS

    def dimension_of(self, pooling: str) -> int:
        return _FULLY_CONNECTED.get(pooling, self.dimension)

    def size_of(self, pooling: str) -> SizePolicy:
        # fully connected layers take one size only
        return SizePolicy(self.native, self.native, keep_aspect=pooling not in _FULLY_CONNECTED)

    def _with_top(self, pooling: str) -> bool:
        return not self._has_fully_connected or pooling in _FULLY_CONNECTED

    def weights_file(self, pooling: str) -> Path:
        """Where Keras looks for, or puts, the weights."""
        file = self.top_file if self._with_top(pooling) else self.headless_file
        return keras_models_folder() / file

    def find_weights(self, pooling: str) -> Path | None:
        path, own = self.weights_file(pooling), own_keras_home()
        if not path.is_file() and own is not None and "KERAS_HOME" not in os.environ:
            path = own / "models" / path.name  # which may be there to be read only
        return path if path.is_file() else None

    def fetch_weights(self, pooling: str) -> Path:
        path = self.weights_file(pooling)
        try:
            # the constructor downloads, and compares an existing file with its published hash
            self._constructor()(include_top=self._with_top(pooling), weights="imagenet")
        except Exception as error:
            raise WeightsUnavailable(
                f"The weights of {self.name} could not be obtained: {path.name} is looked for in "
                f"{path.parent} and its download failed ({_first_line(error)}).",
                OFFLINE_REMEDY,
            ) from error
        return path

    def build(self, weights: Path, pooling: str) -> Parts:
        import keras

        full = self._constructor()(include_top=True, weights=None)
        if _load(full, weights):
            preprocess = self._preprocess(weights, full)
            if pooling in _FULLY_CONNECTED:
                vector = full.get_layer(pooling).output
                head = keras.Model(vector, full.output)
                return Parts(preprocess, keras.Model(full.input, vector), head)
            pools = [x for x in full.layers if isinstance(x, keras.layers.GlobalAveragePooling2D)]
            if pools:
                body = keras.Model(full.input, pools[-1].input)
                return Parts(preprocess, body, _head(full, pools[-1]))
            body = keras.Model(full.input, _last_map(full))
            return Parts(preprocess, body, None)
        if pooling in _FULLY_CONNECTED:
            raise self._misfit(weights, "with its fully connected layers")
        body = self._constructor()(
            include_top=False, weights=None, input_shape=(self.native, self.native, 3)
        )
        if not _load(body, weights):
            raise self._misfit(weights, "with or without its head")
        preprocess = self._preprocess(weights, body)
        return Parts(preprocess, body, None)

    def _constructor(self) -> Any:
        import keras

        return getattr(keras.applications, self.constructor.rpartition(".")[2])

    def _preprocess(self, weights: Path, model: Any) -> Any:
        if self.preprocessing == "none+deviation" and _is_published(weights, self._constructor()):
            return _correct_deviation(model)
        module = self.constructor.partition(".")[0]
        return importlib.import_module(f"keras.applications.{module}").preprocess_input

    def _misfit(self, weights: Path, what: str) -> WeightsInvalid:
        return WeightsInvalid(
            f"{weights} does not hold the weights of {self.name} {what}.",
            "Give a weights file saved from that very network, or the whole network as "
            "--model FILE.keras.",
        )


def _is_published(weights: Path, constructor: Any) -> bool:
    """Whether the file is one of those that Keras publishes for the family."""
    hashes = sys.modules[constructor.__module__].WEIGHTS_HASHES
    digest = hashlib.md5(weights.read_bytes(), usedforsecurity=False).hexdigest()
    return any(digest in pair for pair in hashes.values())


def _correct_deviation(model: Any) -> Any:
    """What Keras does to EfficientNet's published weights, and only when it downloads by itself.

    It puts ``Rescaling(1 / sqrt(deviation))`` behind the network's own normalisation.  The same
    affine map, moved in front of the normalisation, onto pixels.
    """
    normalisation = next(x for x in model.layers if type(x).__name__ == "Normalization")
    mean = np.asarray(normalisation.mean).reshape(3) * 255
    scale = 1 / np.sqrt(np.array(_IMAGENET_DEVIATION, "float32"))
    return lambda pixels: pixels * scale + mean * (1 - scale)


def _last_map(full: Any) -> Any:
    """The last feature map of a network whose classifier flattens it (VGG)."""
    return next(x.output for x in reversed(full.layers) if len(x.output.shape) == 4)


def _head(full: Any, pool: Any) -> Any:
    """The classifier after the global pooling, on ``(n, channels)``."""
    import keras

    head = keras.Model(pool.output, full.output)
    if len(pool.output.shape) == 2:
        return head
    channels = pool.output.shape[-1]  # MobileNetV3 and MobileNet keep 1 × 1 maps
    return lambda vector: head(keras.ops.reshape(vector, (-1, 1, 1, channels)))


def _load(model: Any, weights: Path) -> bool:
    """Whether the file's weights fitted the model and were loaded."""
    try:
        model.load_weights(str(weights))
    except (ValueError, KeyError):
        return False
    except OSError as error:
        raise WeightsInvalid(
            f"{weights} is not a readable Keras weights file: {_first_line(error)}.",
            "Get it again with `parecido models --fetch NAME`, or save it again.",
        ) from error
    return True


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


_TF_KERNELS = "weights_tf_dim_ordering_tf_kernels"


def _row(
    constructor: str, native: int, dimension: int, preprocessing: str, file: str, headless: str = ""
) -> Application:
    return Application(constructor, native, dimension, preprocessing, file, headless)


def _kernels(constructor: str, native: int, dimension: int, preprocessing: str) -> Application:
    """A row whose weight file follows Keras's commonest naming."""
    name = constructor.rpartition(".")[2].lower()
    return _row(constructor, native, dimension, preprocessing, f"{name}_{_TF_KERNELS}.h5")


def _mobilenet_v3(size: str, dimension: int) -> Application:
    file = f"weights_mobilenet_v3_{size.lower()}_224_1.0_float.h5"
    return _row(f"mobilenet_v3.MobileNetV3{size}", 224, dimension, "none", file)


def _efficientnet(number: int, native: int, dimension: int) -> Application:
    constructor = f"efficientnet.EfficientNetB{number}"
    return _row(constructor, native, dimension, "none+deviation", f"efficientnetb{number}.h5")


def _efficientnet_v2(size: str, native: int, dimension: int) -> Application:
    constructor = f"efficientnet_v2.EfficientNetV2{size}"
    return _row(constructor, native, dimension, "none", f"efficientnetv2-{size.lower()}.h5")


def _convnext(size: str, dimension: int) -> Application:
    file = f"convnext_{size.lower()}.h5"
    return _row(f"convnext.ConvNeXt{size}", 224, dimension, "none", file)


def _vgg(depth: int) -> Application:
    stem = f"vgg{depth}_{_TF_KERNELS}"
    return _row(f"vgg{depth}.VGG{depth}", 224, 512, "caffe", f"{stem}.h5", f"{stem}_notop.h5")


# caffe: BGR, ImageNet's mean subtracted · tf: x / 127.5 - 1 · torch: standardised by ImageNet's
# mean and deviation · none: the network scales its input itself
APPLICATIONS = (
    _vgg(16),
    _vgg(19),
    _kernels("resnet.ResNet50", 224, 2048, "caffe"),
    _kernels("resnet.ResNet101", 224, 2048, "caffe"),
    _kernels("resnet.ResNet152", 224, 2048, "caffe"),
    _kernels("resnet_v2.ResNet50V2", 224, 2048, "tf"),
    _kernels("resnet_v2.ResNet101V2", 224, 2048, "tf"),
    _kernels("resnet_v2.ResNet152V2", 224, 2048, "tf"),
    _row("inception_v3.InceptionV3", 299, 2048, "tf", f"inception_v3_{_TF_KERNELS}.h5"),
    _row(
        "inception_resnet_v2.InceptionResNetV2",
        299,
        1536,
        "tf",
        f"inception_resnet_v2_{_TF_KERNELS}.h5",
    ),
    _kernels("xception.Xception", 299, 2048, "tf"),
    _row("mobilenet.MobileNet", 224, 1024, "tf", "mobilenet_1_0_224_tf.h5"),
    _row("mobilenet_v2.MobileNetV2", 224, 1280, "tf", f"mobilenet_v2_{_TF_KERNELS}_1.0_224.h5"),
    _mobilenet_v3("Large", 960),
    _mobilenet_v3("Small", 576),
    _kernels("densenet.DenseNet121", 224, 1024, "torch"),
    _kernels("densenet.DenseNet169", 224, 1664, "torch"),
    _kernels("densenet.DenseNet201", 224, 1920, "torch"),
    _row("nasnet.NASNetMobile", 224, 1056, "tf", "nasnet_mobile.h5"),
    _row("nasnet.NASNetLarge", 331, 4032, "tf", "nasnet_large.h5"),
    _efficientnet(0, 224, 1280),
    _efficientnet(1, 240, 1280),
    _efficientnet(2, 260, 1408),
    _efficientnet(3, 300, 1536),
    _efficientnet(4, 380, 1792),
    _efficientnet(5, 456, 2048),
    _efficientnet(6, 528, 2304),
    _efficientnet(7, 600, 2560),
    _efficientnet_v2("B0", 224, 1280),
    _efficientnet_v2("B1", 240, 1280),
    _efficientnet_v2("B2", 260, 1408),
    _efficientnet_v2("B3", 300, 1536),
    _efficientnet_v2("S", 384, 1280),
    _efficientnet_v2("M", 480, 1280),
    _efficientnet_v2("L", 480, 1280),
    _convnext("Tiny", 768),
    _convnext("Small", 768),
    _convnext("Base", 1024),
    _convnext("Large", 1536),
    _convnext("XLarge", 2048),
)
