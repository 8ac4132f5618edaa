"""The encoder of a spec as a Keras model, which an export and a runtime start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from parecido.indexer.encoders.building.assemble import assemble
from parecido.indexer.encoders.registry import network_of
from parecido.indexer.records.encoder import EncoderSpec

__all__ = ["keras_model"]


def keras_model(
    spec: EncoderSpec, weights: Path, policy: str = "float32", *, maps: bool = False
) -> Any:
    """The whole encoder as a Keras model (imports Keras); see
    :mod:`parecido.indexer.encoders.building.assemble`.

    ``policy`` is Keras's dtype policy for the network's layers; a network file keeps its own.
    With ``maps`` the feature map is the last output.
    """
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        parts = network_of(spec).build(weights, spec.pooling)
        return assemble(parts, spec.pooling, spec.size, maps=maps)
    finally:
        keras.config.set_dtype_policy(before)
