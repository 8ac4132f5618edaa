"""A user's own network, saved by Keras as ``.keras`` or ``.h5``.

It is loaded in Keras's safe mode, which refuses serialised Python code.  A classifier is cut before
its last global average pooling; a network that ends in a feature map is pooled; one that ends in a
vector is used as it is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from parecido.indexer.encoders.networks.base import Network, Parts
from parecido.indexer.errors import InvalidRequest, PathNotFound, WeightsInvalid
from parecido.indexer.records.choices import MAP_POOLINGS, NO_POOLING, PREPROCESSINGS
from parecido.indexer.records.encoder import SizePolicy

__all__ = ["FILE_SUFFIXES", "CustomNetwork", "inspect_network"]

FILE_SUFFIXES = (".keras", ".h5", ".hdf5")
_DEFAULT_SIDE = 224


class CustomNetwork(Network):
    """A network file with the facts that :func:`inspect_network` read from it."""

    def __init__(self, path: Path, preprocessing: str, facts: dict[str, Any]) -> None:
        self.name = "file"
        self.path = path
        self.preprocessing = preprocessing
        self.dimension = int(facts["dimension"])
        height, width = facts["input"]
        free = height is None or width is None
        self.size = SizePolicy(
            height or _DEFAULT_SIDE, width or _DEFAULT_SIDE, keep_aspect=bool(free)
        )
        self._poolings = MAP_POOLINGS if facts["map"] else (NO_POOLING,)

    @property
    def poolings(self) -> tuple[str, ...]:
        return self._poolings

    def find_weights(self, pooling: str) -> Path | None:
        return self.path if self.path.is_file() else None

    def fetch_weights(self, pooling: str) -> Path:
        if not self.path.is_file():
            raise PathNotFound(
                f"The network file {self.path} is not there.", "Check the path given to --model."
            )
        return self.path

    def build(self, weights: Path, pooling: str) -> Parts:
        body = _headless(load_network(weights))
        return Parts(_preprocess(self.preprocessing), body, None)


def load_network(path: Path) -> Any:
    """The Keras model in a file, refusing any serialised code."""
    import keras

    try:
        model = keras.models.load_model(str(path), compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many kinds for a file that it does not like
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise WeightsInvalid(
            f"{path} could not be loaded as a Keras network in safe mode: {reason}",
            "Save the whole network with model.save('FILE.keras'), without Lambda layers.",
        ) from error
    shapes = getattr(model, "input_shape", None)
    if not (isinstance(shapes, tuple) and len(shapes) == 4 and shapes[-1] == 3):
        raise WeightsInvalid(
            f"{path}: expected a network with one input of shape (height, width, 3), got {shapes}.",
            "Give a network that takes one RGB picture, channels last.",
        )
    return model


def inspect_network(path: Path) -> dict[str, Any]:
    """Facts about a network file: ``input`` (height, width), ``dimension``, ``map``.

    Imports Keras; meant for the child process of
    :mod:`parecido.indexer.encoders.building.child_work`.
    """
    model = load_network(path)
    output = _headless(model).output_shape
    if not isinstance(output, tuple) or len(output) not in (2, 4) or output[-1] is None:
        raise WeightsInvalid(
            f"{path}: expected a network that gives one feature map or one vector, got {output}.",
            "Cut the network at the layer whose output should describe a picture.",
        )
    return {
        "input": list(model.input_shape[1:3]),
        "dimension": int(output[-1]),
        "map": len(output) == 4,
    }


def check_preprocessing(name: str) -> str:
    """The name, if it is one that :data:`PREPROCESSINGS` lists."""
    if name not in PREPROCESSINGS:
        raise InvalidRequest(
            f"Expected preprocessing {', '.join(PREPROCESSINGS)}, got {name!r}.",
            "'none' hands the network RGB in 0..255.",
        )
    return name


def _headless(model: Any) -> Any:
    import keras

    pools = [
        layer for layer in model.layers if isinstance(layer, keras.layers.GlobalAveragePooling2D)
    ]
    # squeeze-and-excitation blocks pool too: only a pooling that nothing spatial follows is a head
    cut = pools[-1] if pools and _nothing_spatial_after(model, pools[-1]) else None
    if isinstance(model, keras.Sequential):
        # once loaded it has no graph of its own to cut: its layers are put in a row again
        inputs = outputs = keras.Input(model.input_shape[1:])
        for layer in model.layers[: model.layers.index(cut) if cut else None]:
            outputs = layer(outputs)
        return keras.Model(inputs, outputs)
    return keras.Model(model.input, cut.input) if cut else model


def _nothing_spatial_after(model: Any, pool: Any) -> bool:
    after = model.layers[model.layers.index(pool) + 1 :]
    return all(
        len(x.output.shape) <= 2 or tuple(x.output.shape[1:3]) in ((1, 1), (None, None))
        for x in after
    )


def _preprocess(name: str) -> Any:
    if name == "none":
        return lambda pixels: pixels
    from keras.applications import imagenet_utils

    return lambda pixels: imagenet_utils.preprocess_input(pixels, mode=name)


def facts_from_json(text: str) -> dict[str, Any]:
    """The facts that :func:`inspect_network` gave, read back.

    Raises ``ValueError`` for anything else.
    """
    facts = json.loads(text)
    if not isinstance(facts, dict) or not {"input", "dimension", "map"} <= set(facts):
        raise ValueError("Expected the facts of a network file.")
    return facts
