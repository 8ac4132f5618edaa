"""Quantisation by NNCF, in the child process: the network alone, and a check of what it gives."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from parecido.indexer.encoders.building.feature_map import feature_map, sources
from parecido.indexer.encoders.building.quantise import PICTURES
from parecido.indexer.encoders.building.quantised_model import mark_model
from parecido.indexer.encoders.machine.imports import import_openvino
from parecido.indexer.errors import EncoderUnavailable
from parecido.indexer.records.encoder import EncoderSpec

__all__ = ["quantise_in_child"]

# Of descriptors to float32's, mean over the pictures looked at.  EfficientNet-Lite0 has 0.99, and
# 0.49 where it was calibrated on noise.
_LEAST_COSINE = 0.9
_LOOKED_AT = 32


def quantise_in_child(request: dict[str, Any]) -> dict[str, Any]:
    """What :func:`~.quantise.quantise` asks a child for: the model in ``request["folder"]``."""
    openvino = import_openvino()  # before NNCF imports it
    try:
        nncf: Any = importlib.import_module("nncf")
    except ImportError as error:
        raise EncoderUnavailable(
            f"NNCF cannot be imported: {error}.", "Install it again: pip install 'parecido[int8]'."
        ) from error
    spec = EncoderSpec.from_json(request["spec"])
    files = sorted(Path(request["pictures"]).iterdir())
    target = Path(request["folder"]) / "model.xml"
    model = openvino.Core().read_model(request["model"])
    try:
        tail = _tail(model, spec.pooling)
        nncf.set_log_level(logging.ERROR)
        quantised = nncf.quantize(
            model,
            nncf.Dataset(files, lambda file: np.load(file)[None]),
            preset=nncf.QuantizationPreset.PERFORMANCE,
            target_device=nncf.TargetDevice.CPU,
            subset_size=PICTURES,
            fast_bias_correction=True,
            ignored_scope=nncf.IgnoredScope(names=tail),
        )
        openvino.save_model(quantised, target, compress_to_fp16=False)
        mark_model(target)
        cosine = _mean_cosine(Path(request["model"]), target, files[:_LOOKED_AT])
    except Exception as error:  # an operation that NNCF does not have, a full disk
        raise EncoderUnavailable(
            f"NNCF cannot quantise {spec.title} ({type(error).__name__}: {str(error)[:200]}).",
            "Use --precision half.",
        ) from error
    if not cosine >= _LEAST_COSINE:  # false for NaN too
        raise EncoderUnavailable(
            f"{spec.title} cannot be quantised: its descriptors agree with float32's to a cosine "
            f"of {cosine:.3f}, expected {_LEAST_COSINE} or more.",
            "Use --precision half.",
        )
    return {}


def _tail(model: Any, pooling: str) -> list[str]:
    """Names of all operations after the network's last feature map, the results left out."""
    features = feature_map(model, pooling)[0].get_node()
    while features.get_type_name() == "Transpose":  # back to the layer that made it
        features = sources(features)[0]
    tail: dict[str, None] = {}
    waiting = [features]
    while waiting:
        for output in waiting.pop().outputs():
            for user in (target.get_node() for target in output.get_target_inputs()):
                if user.get_type_name() != "Result" and user.get_friendly_name() not in tail:
                    tail[user.get_friendly_name()] = None
                    waiting.append(user)
    return list(tail)


def _mean_cosine(plain: Path, quantised: Path, files: Sequence[Path]) -> float:
    """Mean cosine of the descriptors of two models."""
    core = import_openvino().Core()
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    models = [core.compile_model(path, "CPU", options) for path in (plain, quantised)]
    cosines = []
    for file in files:
        pixels = np.load(file)[None]
        one, other = (model([pixels])[0] for model in models)
        lengths = np.linalg.norm(one) * np.linalg.norm(other)
        cosines.append(float((one * other).sum() / lengths))
    return float(np.mean(cosines))
