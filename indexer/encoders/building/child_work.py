"""Everything that needs Keras once, done in a child process.

``python -m parecido.indexer.encoders.building.child_work REQUEST RESULT`` reads a JSON request and
writes a JSON result. A child, because importing TensorFlow takes seconds and half a gigabyte that
would stay with the indexer or a server for the rest of its life.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from parecido.indexer.encoders.building.export_work import export_in_child
from parecido.indexer.encoders.building.quantise_work import quantise_in_child
from parecido.indexer.encoders.machine.child import write_json
from parecido.indexer.encoders.networks.saved_file import inspect_network
from parecido.indexer.encoders.registry import find_network
from parecido.indexer.errors import ParecidoError

__all__ = []


def _inspect(request: dict[str, Any]) -> dict[str, Any]:
    return inspect_network(Path(request["file"]))


def _fetch(request: dict[str, Any]) -> dict[str, Any]:
    return {"path": str(find_network(request["model"]).fetch_weights(request["pooling"]))}


_WORK: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "export": export_in_child,
    "inspect": _inspect,
    "fetch": _fetch,
    "quantise": quantise_in_child,
}


def _main(asked: Path, answered: Path) -> None:
    request = json.loads(asked.read_text("utf-8"))
    work = _WORK[request["do"]]
    try:
        result = work(request)
    except ParecidoError as error:
        result = {
            "error": type(error).__name__,
            "message": error.message,
            "remedy": error.remedy,
        }
    write_json(answered, result)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]))
