"""Work that imports Keras, done in a child process."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import parecido.indexer.errors
from parecido.indexer.encoders.machine.imports import keras_environment, keras_home, own_keras_home
from parecido.indexer.errors import EncoderUnavailable
from parecido.indexer.system.own_files import create_file, scratch_folder

__all__ = ["run_in_child"]

_log = logging.getLogger("parecido")


def run_in_child(request: dict[str, Any], show_output: bool = False) -> dict[str, Any]:
    """Do one request in a fresh interpreter and return its result.

    Requests are ``{"do": "export", "spec": …, "weights": …, "folder": …, "maps": …}``,
    ``{"do": "inspect", "file": …}``, ``{"do": "fetch", "model": …, "pooling": …}`` and
    ``{"do": "quantise", "spec": …, "model": …, "pictures": …, "folder": …}``.
    With ``show_output`` what Keras says (download progress) goes to this process's stderr.
    Raises the same error that the work raised in the child.
    """
    with scratch_folder("parecido-") as folder:
        asked, answered, log = (Path(folder) / name for name in ("request", "result", "log"))
        write_json(asked, request)
        with create_file(log) as quiet:
            done = subprocess.run(
                # -P: without it Python would import from the current folder first, and that may
                # be a folder of somebody else's files
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "parecido.indexer.encoders.building.child_work",
                    str(asked),
                    str(answered),
                ],
                env={
                    **_environment(downloads=request["do"] == "fetch"),
                    # NNCF may import it, and it keeps a list of fonts in the user's cache
                    "MPLCONFIGDIR": folder,
                },
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr if show_output else quiet,
                stderr=None if show_output else quiet,
                check=False,
            )
        if not answered.exists():
            tail = log.read_text("utf-8", "replace").strip().splitlines()[-1:] or ["no output"]
            raise EncoderUnavailable(
                f"Building the encoder ended with exit status {done.returncode}: {tail[0][:300]}",
                "Check that Keras and its backend import: python -c 'import keras'.",
            )
        result: dict[str, Any] = json.loads(answered.read_text("utf-8"))
    if "error" in result:
        kind = getattr(parecido.indexer.errors, result["error"])
        raise kind(result["message"], result["remedy"])
    return result


def _environment(*, downloads: bool) -> dict[str, str]:
    env = {**keras_environment(), **os.environ}
    if downloads and "KERAS_HOME" not in os.environ:
        env.pop("KERAS_HOME", None)
        if keras_home() != own_keras_home():
            env["KERAS_HOME"] = str(keras_home())
            _log.warning(
                "The folder ~/.keras cannot be written; weights are kept in %s. Set KERAS_HOME to "
                "a folder that lasts.",
                keras_home(),
            )
    here = str(Path(parecido.__file__).parent.parent)
    env["PYTHONPATH"] = os.pathsep.join(p for p in (here, env.get("PYTHONPATH", "")) if p)
    # building needs no accelerator, and must not take memory of one that somebody uses
    env["CUDA_VISIBLE_DEVICES"] = ""
    return env


def write_json(path: Path, value: dict[str, Any]) -> None:
    with create_file(path) as file:
        file.write(json.dumps(value).encode())
