"""How OpenVINO and Keras are imported: without a trace of theirs in the user's home.

Nothing but the library and the encoder cache is ever written, and a tool that people point at
their photographs reports to nobody.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from parecido.indexer.encoders.machine.cache import is_writable, lasting_folder

__all__ = ["import_openvino", "keras_environment", "keras_home", "own_keras_home", "prepare_keras"]


def import_openvino() -> Any:
    """The ``openvino`` module, its telemetry left out.

    On import it would write a client id into ``~/intel`` and send an event; without the telemetry
    package it puts a stub in its place.
    """
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def keras_environment() -> dict[str, str]:
    """What to set before Keras is imported.

    Keras writes ``keras.json`` into its home when there is none.  A user who has one chose a
    backend in it, and keeps it; for everybody else that file goes into the encoder cache.
    """
    env = {"TF_CPP_MIN_LOG_LEVEL": "3"}
    own = own_keras_home()
    if "KERAS_HOME" not in os.environ and (own is None or not (own / "keras.json").exists()):
        env["KERAS_HOME"] = str(lasting_folder("keras"))
    return env


def own_keras_home() -> Path | None:
    """``~/.keras``; None of a user without a home."""
    path = os.path.expanduser("~/.keras")
    return None if path.startswith("~") else Path(path)


def keras_home() -> Path:
    """Where Keras keeps downloads for every program of the user: ``$KERAS_HOME`` or ``~/.keras``.

    Where that cannot be written, a folder of this program's own.
    """
    chosen, own = os.environ.get("KERAS_HOME"), own_keras_home()
    if chosen:
        return Path(chosen)
    return own if own is not None and is_writable(own) else lasting_folder("keras")


@contextmanager
def prepare_keras() -> Iterator[None]:
    """A block in which Keras is imported; the environment is as before when it ends."""
    before, wanted = dict(os.environ), keras_environment()
    for name, value in wanted.items():
        os.environ.setdefault(name, value)
    try:
        import keras  # noqa: F401

        yield
    finally:
        for name in wanted:
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]
