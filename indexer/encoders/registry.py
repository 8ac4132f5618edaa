"""Which encoders there are, and which one a name means on this machine."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from parecido.indexer.encoders.machine.cache import cached_folder
from parecido.indexer.encoders.machine.child import run_in_child
from parecido.indexer.encoders.machine.devices import gpu_visible
from parecido.indexer.encoders.networks.applications import APPLICATIONS
from parecido.indexer.encoders.networks.base import Network, sha256_of
from parecido.indexer.encoders.networks.efficientnet_lite import LITE_NETWORKS
from parecido.indexer.encoders.networks.saved_file import (
    CustomNetwork,
    check_preprocessing,
    facts_from_json,
)
from parecido.indexer.encoders.presets import quality_named, sized
from parecido.indexer.errors import (
    InvalidRequest,
    PathNotFound,
    UnknownEncoder,
    WeightsUnavailable,
)
from parecido.indexer.pictures.decode import RESAMPLE
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.system.own_files import create_file

__all__ = ["ModelInfo", "fetch", "model_table", "network_named", "network_of", "resolve"]

DEFAULT_POOLING = "avg"
OFFLINE_MODEL = "efficientnet-lite0"
GPU_MODEL = "resnet50"
MEASURED = frozenset(network.name for network in LITE_NETWORKS)
"""Networks for which docs/quality.md chose size and pooling; others are run as they were made."""
PRECISIONS = ("auto", "float32", "half")
FILE_SUFFIXES = (".keras", ".h5", ".hdf5")


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


def network_named(name: str) -> Network:
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
        return network_named(spec.model)
    free = spec.size.keep_aspect
    facts = {
        "input": [None, None] if free else [spec.size.height, spec.size.width],
        "dimension": spec.dimension,
        "map": spec.pooling != "none",
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


def fetch(name: str, pooling: str = DEFAULT_POOLING, show_output: bool = False) -> Path:
    """The weights file of a named encoder, checked, downloaded where it is missing or damaged.

    Raises :class:`~parecido.WeightsUnavailable`, which names the missing file, the place
    where it would be looked for, and an encoder that works without it.
    """
    network = network_named(name)
    request = {"do": "fetch", "model": network.name, "pooling": _pooling_of(network, pooling)}
    return Path(run_in_child(request, show_output=show_output)["path"])


def _weights_here(network: Network, pooling: str, show_output: bool = False) -> Path:
    return network.find_weights(pooling) or fetch(network.name, pooling, show_output)


def resolve(
    model: str = "auto",
    *,
    pooling: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    preprocessing: str | None = None,
    precision: str = "auto",
    size: str | None = None,
    resample: str | None = None,
    quality: str | None = None,
    show_output: bool = False,
) -> EncoderSpec:
    """The encoder that these options mean on this machine, its weights fetched if need be.

    ``precision`` is ``float32``, ``half`` or ``auto``: ``half`` where a GPU is visible.  ``model``
    is ``auto``, a name, or the path of a network saved by Keras; ``weights`` a file with other
    weights for a named network; ``pooling`` the network's own by default; ``preprocessing`` is for
    a network file only.  ``size`` is ``256`` or ``224x224``, see
    :func:`parecido.indexer.encoders.presets.sized`; ``resample`` a filter that
    :data:`parecido.indexer.pictures.decode.RESAMPLE` has.  ``quality`` is ``fast``, ``balanced`` or
    ``best`` and decides what is left open.  ``auto`` is ``resnet50`` where a GPU is visible and its
    weights can be had and no quality is asked for, the quality's own network otherwise.
    """
    if precision == "int8":
        raise InvalidRequest(
            "An int8 encoder is calibrated on a library's pictures and belongs to that library.",
            "Make one with parecido index --precision int8, or use --precision half.",
        )
    if precision not in PRECISIONS:
        raise InvalidRequest(f"Expected a precision of {PRECISIONS}, got {precision!r}.")
    if resample is not None and resample not in RESAMPLE:
        raise InvalidRequest(
            f"Expected a filter of {', '.join(RESAMPLE)}, got {resample!r}.", "Leave it out."
        )
    wanted = quality_named(quality)
    if model == "auto" and quality is not None and weights is None:
        model = wanted.model
    spec = _resolve(model, pooling, weights, preprocessing, show_output)
    if size is not None:
        spec = replace(spec, size=sized(spec.size, size, spec.model))
    elif wanted.side and spec.model in MEASURED:
        spec = replace(spec, size=sized(spec.size, str(wanted.side), spec.model))
    if resample is not None:
        spec = replace(spec, resample=resample)
    if precision == "auto":
        precision = "half" if gpu_visible() else "float32"
    return replace(spec, precision=precision)


def _resolve(
    model: str,
    pooling: str | None,
    weights: str | os.PathLike[str] | None,
    preprocessing: str | None,
    show_output: bool,
) -> EncoderSpec:
    if model == "auto":
        if weights is not None:
            raise InvalidRequest(
                "A weights file needs the name of its network.", "Add --model NAME."
            )
        if gpu_visible():
            try:
                return _resolve(GPU_MODEL, pooling, None, None, show_output)
            except WeightsUnavailable:  # no network: the encoder that needs none
                pass
        return _resolve(OFFLINE_MODEL, pooling, None, None, show_output)
    if model.lower().endswith(FILE_SUFFIXES):
        if weights is not None:
            raise InvalidRequest(
                "A network file brings its own weights.", "Leave out --weights, or name a network."
            )
        return _resolve_file(Path(model), pooling, check_preprocessing(preprocessing or "none"))
    network = network_named(model)
    pooling = _pooling_of(network, pooling or network.pooling)
    if weights is not None:
        path = Path(weights).expanduser().absolute()
        if not path.is_file():
            raise PathNotFound(
                f"The weights file {path} is not there.", "Check the path given to --weights."
            )
    else:
        path = _weights_here(network, pooling, show_output)
    return EncoderSpec(
        model=network.name,
        pooling=pooling,
        dimension=network.dimension_of(pooling),
        weights_sha256=sha256_of(path),
        preprocessing=network.preprocessing,
        size=network.size_of(pooling),
        weights_file=str(path) if weights is not None else "",
    )


def weights_of(spec: EncoderSpec) -> Path:
    """The weights file that a spec was made with, fetched if need be.

    Raises :class:`~parecido.WeightsUnavailable` where another file is in its place.
    """
    if spec.weights_file:
        path = Path(spec.weights_file)
        if not path.is_file():
            raise WeightsUnavailable(
                f"The encoder's weights were read from {path}, which is not there any more.",
                "Put the file back: the library's encoder is built from it.",
            )
    else:
        path = _weights_here(network_named(spec.model), spec.pooling)
    found = sha256_of(path)
    if found != spec.weights_sha256:
        raise WeightsUnavailable(
            f"{path} is not the file that the library's encoder was made from: expected "
            f"SHA-256 {spec.weights_sha256[:16]}…, got {found[:16]}….",
            "Put the first file back, or index into a new library.",
        )
    return path


def _resolve_file(path: Path, pooling: str | None, preprocessing: str) -> EncoderSpec:
    path = path.expanduser().absolute()
    if not path.is_file():
        raise PathNotFound(
            f"The network file {path} is not there.", "Check the path given to --model."
        )
    digest = sha256_of(path)

    def fill(folder: Path) -> None:
        import json

        facts = run_in_child({"do": "describe", "file": str(path)})
        with create_file(folder / "facts.json") as file:
            file.write(json.dumps(facts).encode())

    folder = cached_folder(f"facts-{digest[:32]}", fill)
    network = CustomNetwork(
        path, preprocessing, facts_from_json((folder / "facts.json").read_text("utf-8"))
    )
    pooling = _pooling_of(network, pooling or network.poolings[0])
    return EncoderSpec(
        model="file",
        pooling=pooling,
        dimension=network.dimension,
        weights_sha256=digest,
        preprocessing=preprocessing,
        size=network.size,
        weights_file=str(path),
    )


def _pooling_of(network: Network, pooling: str) -> str:
    if pooling not in network.poolings:
        raise InvalidRequest(
            f"Expected a pooling of {network.name} ({', '.join(network.poolings)}), "
            f"got {pooling!r}.",
            "fc1 and fc2 are VGG's fully connected layers.",
        )
    return pooling
