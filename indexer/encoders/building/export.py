"""Encoders in OpenVINO's format: exported from Keras by a child process, once, and cached."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from parecido.indexer.encoders.machine.cache import cached_folder
from parecido.indexer.encoders.machine.child import run_in_child
from parecido.indexer.encoders.weights import weights_of
from parecido.indexer.records.encoder import EncoderSpec

__all__ = ["obtain_export"]

_log = logging.getLogger("parecido")


def obtain_export(spec: EncoderSpec, library: Path | None = None, *, maps: bool = False) -> Path:
    """The folder with the encoder in OpenVINO's format, exported from Keras where it is missing.

    With ``maps`` the feature map is the model's last output.  Where the user's cache cannot be
    written, it is kept in that of the ``library``.
    """

    def fill(folder: Path) -> None:
        weights = weights_of(spec)
        _log.info("Building %s for this machine; it is done once.", spec.title)
        run_in_child(
            {
                "do": "export",
                "spec": spec.to_json(),
                "weights": str(weights),
                "folder": str(folder),
                "maps": maps,
            }
        )

    # the same network, whatever the precision it is run in
    plain = replace(spec, precision="float32", calibration="")
    key = f"{plain.fingerprint}-maps" if maps else plain.fingerprint
    return cached_folder(key, fill, library)
