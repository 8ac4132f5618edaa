"""Which encoder a user's choice means on this machine."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from parecido.indexer.encoders.machine.cache import cached_folder
from parecido.indexer.encoders.machine.child import run_in_child
from parecido.indexer.encoders.machine.devices import gpu_visible
from parecido.indexer.encoders.networks.digest import sha256_of
from parecido.indexer.encoders.networks.efficientnet_lite import LITE_NETWORKS
from parecido.indexer.encoders.networks.saved_file import (
    FILE_SUFFIXES,
    CustomNetwork,
    check_preprocessing,
    facts_from_json,
)
from parecido.indexer.encoders.presets import find_quality, with_size
from parecido.indexer.encoders.registry import find_network
from parecido.indexer.encoders.weights import obtain_weights
from parecido.indexer.errors import InvalidRequest, PathNotFound, WeightsUnavailable
from parecido.indexer.records.choices import FILTERS, UNCALIBRATED
from parecido.indexer.records.encoder import EncoderChoice, EncoderSpec
from parecido.indexer.system.own_files import create_file

__all__ = ["GPU_MODEL", "MEASURED", "OFFLINE_MODEL", "resolve"]

OFFLINE_MODEL = "efficientnet-lite0"
GPU_MODEL = "resnet50"
MEASURED = frozenset(network.name for network in LITE_NETWORKS)
"""Networks for which docs/quality.md chose size and pooling; others are run as they were made."""


def resolve(choice: EncoderChoice, *, show_output: bool = False) -> EncoderSpec:
    """The encoder that a choice means on this machine, its weights fetched if need be.

    ``auto`` is ``resnet50`` where a GPU is visible and its weights can be obtained and no quality
    is asked for, the quality's own network otherwise.  With ``show_output`` Keras reports a
    download on stderr.  Raises :class:`~parecido.InvalidRequest` for words that are none and for
    what does not go together, :class:`~parecido.UnknownEncoder`, :class:`~parecido.PathNotFound`,
    :class:`~parecido.WeightsUnavailable` or :class:`~parecido.WeightsInvalid`.
    """
    _check_words(choice)
    preset = find_quality(choice.quality)
    if choice.model == "auto" and choice.quality is not None and choice.weights is None:
        choice = replace(choice, model=preset.model)
    spec = _resolve_network(choice, show_output)
    size = choice.size
    if size is None and preset.side and spec.model in MEASURED:
        size = str(preset.side)
    if size is not None:
        spec = replace(spec, size=with_size(spec.size, size, spec.model))
    if choice.resample is not None:
        spec = replace(spec, resample=choice.resample)
    precision = choice.precision
    if precision == "auto":
        precision = "half" if gpu_visible() else "float32"
    return replace(spec, precision=precision)


def _check_words(choice: EncoderChoice) -> None:
    if choice.precision == "int8":
        raise InvalidRequest(
            "An int8 encoder is calibrated on a library's pictures and belongs to that library.",
            "Make one with parecido index --precision int8, or use --precision half.",
        )
    if choice.precision not in UNCALIBRATED:
        raise InvalidRequest(f"Expected a precision of {UNCALIBRATED}, got {choice.precision!r}.")
    if choice.resample is not None and choice.resample not in FILTERS:
        raise InvalidRequest(
            f"Expected a filter of {', '.join(FILTERS)}, got {choice.resample!r}.", "Leave it out."
        )


def _resolve_network(choice: EncoderChoice, show_output: bool) -> EncoderSpec:
    """Model, pooling and weights; size, filter and precision are as the network has them."""
    if choice.model == "auto":
        return _resolve_auto(choice, show_output)
    if choice.model.lower().endswith(FILE_SUFFIXES):
        return _resolve_file(choice)
    return _resolve_name(choice, show_output)


def _resolve_auto(choice: EncoderChoice, show_output: bool) -> EncoderSpec:
    if choice.weights is not None:
        raise InvalidRequest("A weights file needs the name of its network.", "Add --model NAME.")
    if gpu_visible():
        try:
            return _resolve_name(replace(choice, model=GPU_MODEL), show_output)
        except WeightsUnavailable:  # no network: the encoder that needs none
            pass
    return _resolve_name(replace(choice, model=OFFLINE_MODEL), show_output)


def _resolve_name(choice: EncoderChoice, show_output: bool) -> EncoderSpec:
    network = find_network(choice.model)
    pooling = network.check_pooling(choice.pooling or network.pooling)
    if choice.weights is not None:
        path = Path(os.path.expanduser(choice.weights)).absolute()
        if not path.is_file():
            raise PathNotFound(
                f"The weights file {path} is not there.", "Check the path given to --weights."
            )
    else:
        path = obtain_weights(network, pooling, show_output)
    return EncoderSpec(
        model=network.name,
        pooling=pooling,
        dimension=network.dimension_of(pooling),
        weights_sha256=sha256_of(path),
        preprocessing=network.preprocessing,
        size=network.size_of(pooling),
        weights_file=str(path) if choice.weights is not None else "",
    )


def _resolve_file(choice: EncoderChoice) -> EncoderSpec:
    if choice.weights is not None:
        raise InvalidRequest(
            "A network file brings its own weights.", "Leave out --weights, or name a network."
        )
    preprocessing = check_preprocessing(choice.preprocessing or "none")
    path = Path(os.path.expanduser(choice.model)).absolute()
    if not path.is_file():
        raise PathNotFound(
            f"The network file {path} is not there.", "Check the path given to --model."
        )
    digest = sha256_of(path)
    network = CustomNetwork(path, preprocessing, _facts_of(path, digest))
    pooling = network.check_pooling(choice.pooling or network.poolings[0])
    return EncoderSpec(
        model="file",
        pooling=pooling,
        dimension=network.dimension,
        weights_sha256=digest,
        preprocessing=preprocessing,
        size=network.size,
        weights_file=str(path),
    )


def _facts_of(path: Path, digest: str) -> dict[str, Any]:
    """What :func:`inspect_network` tells of a network file, kept in the cache by its digest."""

    def fill(folder: Path) -> None:
        facts = run_in_child({"do": "inspect", "file": str(path)})
        with create_file(folder / "facts.json") as file:
            file.write(json.dumps(facts).encode())

    folder = cached_folder(f"facts-{digest[:32]}", fill)
    return facts_from_json((folder / "facts.json").read_text("utf-8"))
