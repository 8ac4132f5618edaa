"""The weights of encoders: found on this machine, fetched, checked."""

from __future__ import annotations

from pathlib import Path

from parecido.indexer.encoders.machine.child import run_in_child
from parecido.indexer.encoders.networks.base import Network
from parecido.indexer.encoders.networks.digest import sha256_of
from parecido.indexer.encoders.registry import DEFAULT_POOLING, find_network
from parecido.indexer.errors import WeightsUnavailable
from parecido.indexer.records.encoder import EncoderSpec

__all__ = ["fetch", "obtain_weights", "weights_of"]

_MOST_BYTES = 64 << 30  # a library may name any file, and some of the system's have no end


def fetch(name: str, pooling: str = DEFAULT_POOLING, show_output: bool = False) -> Path:
    """The weights file of a named encoder, checked, downloaded where it is missing or damaged.

    Raises :class:`~parecido.WeightsUnavailable`, which names the missing file, the place
    where it would be looked for, and an encoder that works without it.
    """
    network = find_network(name)
    request = {"do": "fetch", "model": network.name, "pooling": network.check_pooling(pooling)}
    return Path(run_in_child(request, show_output=show_output)["path"])


def obtain_weights(network: Network, pooling: str, show_output: bool = False) -> Path:
    """The weights file of a network on this machine, downloaded where it is missing."""
    return network.find_weights(pooling) or fetch(network.name, pooling, show_output)


def weights_of(spec: EncoderSpec) -> Path:
    """The weights file that a spec was made with, fetched if need be.

    Raises :class:`~parecido.WeightsUnavailable` where another file is in its place.
    """
    if spec.weights_file:
        path = Path(spec.weights_file)
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            raise WeightsUnavailable(
                f"The encoder's weights were read from {path}, where no such file is any more.",
                "Put the file back: the library's encoder is built from it.",
            )
    else:
        path = obtain_weights(find_network(spec.model), spec.pooling)
    found = sha256_of(path)
    if found != spec.weights_sha256:
        raise WeightsUnavailable(
            f"{path} is not the file that the library's encoder was made from: expected "
            f"SHA-256 {spec.weights_sha256[:16]}…, got {found[:16]}….",
            "Put the first file back, or index into a new library.",
        )
    return path
