"""Encoders by name or by spec, on the device that there is: built and cached on first use."""

from __future__ import annotations

import importlib.util
import logging
import os
from pathlib import Path

from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.encoders.machine.devices import gpu_usable, gpu_visible
from parecido.indexer.encoders.resolve import resolve
from parecido.indexer.encoders.runtimes.base import Runtime
from parecido.indexer.encoders.runtimes.openvino import OpenVINORuntime, has_openvino
from parecido.indexer.errors import EncoderUnavailable, InvalidRequest, WeightsUnavailable
from parecido.indexer.records.choices import DEVICES
from parecido.indexer.records.encoder import EncoderChoice, EncoderSpec

__all__ = ["load_encoder", "open_encoder"]

_log = logging.getLogger("parecido")


def load_encoder(
    model: str = "auto",
    *,
    pooling: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    preprocessing: str | None = None,
    precision: str = "auto",
    device: str = "auto",
    batch_size: int = 0,
) -> Encoder:
    """An encoder by name, as ``parecido models`` lists them, or from a user's own network file.

    ``precision`` is ``float32``, ``half`` (16 bits inside the network where the device is faster
    so) or ``auto``: half on a GPU.  ``device`` is ``auto``, ``cpu`` or ``gpu``; ``batch_size`` 0
    takes the device's own.  Raises :class:`~parecido.UnknownEncoder`,
    :class:`~parecido.WeightsUnavailable`, :class:`~parecido.WeightsInvalid` or
    :class:`~parecido.EncoderUnavailable`.
    """
    choice = EncoderChoice(model, pooling, weights, preprocessing, precision)
    return open_encoder(resolve(choice), device=device, batch_size=batch_size)


def open_encoder(
    spec: EncoderSpec,
    *,
    device: str = "auto",
    batch_size: int = 0,
    streams: int = 0,
    folder: Path | None = None,
) -> Encoder:
    """The encoder of a spec on a device; built and cached on first use.

    ``streams`` is how many pictures a CPU works on at once: 0 for one on each core, which gives the
    most pictures a second; 1 for all cores on one picture, which gives the soonest answer.
    ``folder`` is the library's: an int8 encoder's model lies there, and others are kept there
    where the user's cache cannot be written.
    """
    if device not in DEVICES:
        raise InvalidRequest(f"Expected device {', '.join(DEVICES)}, got {device!r}.")
    if spec.precision == "int8":
        return Encoder(spec, _open_quantised_runtime(spec, device, batch_size, streams, folder))
    return Encoder(spec, _runtime(spec, device, batch_size, streams, folder))


def _open_quantised_runtime(
    spec: EncoderSpec, device: str, batch_size: int, streams: int, folder: Path | None
) -> Runtime:
    """OpenVINO on the CPU, whether there is a GPU or not; nothing else runs the model."""
    if device == "gpu":
        raise EncoderUnavailable(
            f"{spec.title} runs on a CPU only, and a GPU was asked for.",
            "Leave out --device gpu, or index into a new library with --precision half.",
        )
    if not has_openvino():
        raise EncoderUnavailable(
            f"{spec.title} runs in OpenVINO only, which is not installed.",
            "Install it: pip install openvino; or index into a new library.",
        )
    return OpenVINORuntime(spec, batch_size, streams, folder)


def _runtime(
    spec: EncoderSpec, device: str, batch_size: int, streams: int, folder: Path | None
) -> Runtime:
    if device != "cpu" and gpu_usable():
        return _keras(spec, batch_size)
    if device == "gpu":
        raise EncoderUnavailable(
            "No GPU can be used: "
            + (
                "the driver reports one, but Keras's backend does not see it."
                if gpu_visible()
                else "the CUDA driver reports none."
            ),
            "Install the extra: pip install 'parecido[gpu]'; or leave out --device gpu.",
        )
    if device == "auto" and gpu_visible():
        _log.warning("There is a GPU that Keras cannot use; running on the CPU.")
    if has_openvino():
        try:
            return OpenVINORuntime(spec, batch_size, streams, folder)
        except WeightsUnavailable:
            raise
        except EncoderUnavailable as error:
            _log.warning("%s", error)
    return _keras(spec, batch_size)


def _keras(spec: EncoderSpec, batch_size: int) -> Runtime:
    if importlib.util.find_spec("keras") is None:
        raise EncoderUnavailable(
            f"{spec.title} cannot be built: Keras is not installed.",
            "Install it: pip install keras tensorflow.",
        )
    from parecido.indexer.encoders.runtimes.keras import KerasRuntime

    return KerasRuntime(spec, batch_size)
