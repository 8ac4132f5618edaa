"""The least that a search from the shell has to do.

``python -m benchmarks.baselines.least REQUEST`` prints the ids of the ten nearest, and checks
nothing.
"""

from __future__ import annotations

import json
import sys

import faiss
import numpy as np
from PIL import Image

from parecido.indexer.encoders.machine.imports import import_openvino


def main() -> None:
    """Decode, describe, search."""
    request = json.loads(sys.argv[1])
    with Image.open(request["picture"]) as image:
        image.draft("RGB", request["size"])
        pixels = np.asarray(image.resize(request["size"], Image.Resampling.BICUBIC))[None]
    openvino = import_openvino()
    core = openvino.Core()
    options = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1}
    if request["cache"]:
        options["CACHE_DIR"] = request["cache"]
    network = core.read_model(request["network"])
    network.reshape({network.inputs[0]: openvino.PartialShape(pixels.shape)})
    descriptor = core.compile_model(network, "CPU", options)([pixels])[0]
    if request["space"]:
        space = np.load(request["space"])
        descriptor = (descriptor - space["mean"]) @ space["matrix"].T
    index = faiss.read_index(request["index"], faiss.IO_FLAG_MMAP_IFC)
    _, ids = index.search(np.ascontiguousarray(descriptor), 10)
    print(*ids[0])


if __name__ == "__main__":
    main()
