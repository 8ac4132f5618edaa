"""The table of networks: which there are, and which one a name or a spec means."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from parecido.indexer.encoders.networks.applications import APPLICATIONS
from parecido.indexer.encoders.networks.base import Network
from parecido.indexer.encoders.networks.efficientnet_lite import LITE_NETWORKS
from parecido.indexer.encoders.networks.saved_file import CustomNetwork
from parecido.indexer.errors import UnknownEncoder
from parecido.indexer.records.choices import NO_POOLING
from parecido.indexer.records.encoder import EncoderSpec

__all__ = ["DEFAULT_POOLING", "ModelInfo", "find_network", "model_table", "network_of"]

DEFAULT_POOLING = "avg"


@dataclass(frozen=True)
class ModelInfo:
    """One line of ``parecido models``."""

    name: str
    dimension: int
    native: int
    """Native side in pixels."""
    poolings: tuple[str, ...]
    weights: str
    """Path of the weights on this machine, empty where they are not here."""


@cache
def _networks() -> dict[str, Network]:
    return {network.name: network for network in (*LITE_NETWORKS, *APPLICATIONS)}


def find_network(name: str) -> Network:
    """The network of that registry name.  Raises :class:`UnknownEncoder` with the nearest ones."""
    networks = _networks()
    try:
        return networks[name.lower()]
    except KeyError:
        near = difflib.get_close_matches(name.lower(), networks, n=3)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        raise UnknownEncoder(
            f"There is no encoder {name!r}.",
            f"{hint}`parecido models` lists them; a network of your own is given as FILE.keras.",
        ) from None


def network_of(spec: EncoderSpec) -> Network:
    """The network of a spec, a user's own file included."""
    if spec.model != "file":
        return find_network(spec.model)
    free = spec.size.keep_aspect
    facts = {
        "input": [None, None] if free else [spec.size.height, spec.size.width],
        "dimension": spec.dimension,
        "map": spec.pooling != NO_POOLING,
    }
    return CustomNetwork(Path(spec.weights_file), spec.preprocessing, facts)


def model_table() -> list[ModelInfo]:
    """Every named encoder, with whether its weights are on this machine."""
    table = []
    for network in _networks().values():
        weights = network.find_weights(DEFAULT_POOLING)
        path = str(weights) if weights else ""
        info = ModelInfo(
            network.name, network.dimension, network.size.width, network.poolings, path
        )
        table.append(info)
    return table
