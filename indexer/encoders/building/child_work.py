"""Everything that needs Keras once, done in a child process.

``python -m parecido.indexer.encoders.building.child_work REQUEST RESULT`` reads a JSON request and
writes a JSON result. A child, because importing TensorFlow takes seconds and half a gigabyte that
would stay with the indexer or a server for the rest of its life.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from parecido.indexer.encoders.machine.child import write_json
from parecido.indexer.encoders.machine.imports import import_openvino
from parecido.indexer.errors import EncoderUnavailable, ParecidoError
from parecido.indexer.system.kinds import Kind, any_content
from parecido.indexer.system.own_files import remove_own

__all__ = []

_RAW = Kind(re.compile(r"raw\.(xml|bin)"), any_content)


def _export(request: dict[str, Any]) -> dict[str, Any]:
    openvino = import_openvino()  # before Keras imports it
    import keras

    from parecido.indexer.records.encoder import EncoderSpec

    spec = EncoderSpec.from_json(request["spec"])
    model = keras_model(spec, Path(request["weights"]), maps=request["maps"])
    height, width = (None, None) if spec.size.keep_aspect else (spec.size.height, spec.size.width)
    path = Path(request["folder"]) / "model.xml"
    raw = path.with_name("raw.xml")
    signature = [keras.InputSpec(shape=(None, height, width, 3), dtype="uint8")]
    try:
        model.export(str(raw), format="openvino", input_signature=signature, verbose=False)
    except Exception as error:  # an operation that OpenVINO does not have
        raise EncoderUnavailable(
            f"OpenVINO cannot run {spec.title} ({type(error).__name__}).",
            "Keras can, more slowly.",
        ) from error
    exported = openvino.Core().read_model(raw)
    exported = openvino.Model(_own_outputs(exported, len(model.outputs)), exported.get_parameters())
    openvino.save_model(exported, path, compress_to_fp16=False)
    remove_own(path.parent, _RAW)
    _check_agreement(model, path, spec)
    return {}


def _own_outputs(exported: Any, count: int) -> list[Any]:
    """The outputs of the Keras model among those of its export, in its order.

    TensorFlow's swish has a gradient of its own, for which the export makes an output of every such
    activation: EfficientNetB0 came with 51.  The function's own results are named Identity,
    Identity_1, …; other backends add none.
    """
    named = {name: output for output in exported.outputs for name in output.names}
    wanted = ["Identity:0", *(f"Identity_{i}:0" for i in range(1, count))]
    if all(name in named for name in wanted):
        return [named[name] for name in wanted]
    return list(exported.outputs[:count])


def _check_agreement(model: Any, path: Path, spec: Any) -> None:
    """Refuse an export that does not compute what Keras computes."""
    import numpy as np

    noise = np.random.default_rng(0).integers(
        0, 256, (1, spec.size.height, spec.size.width, 3), dtype=np.uint8
    )
    compiled = (
        import_openvino().Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    )
    ours = list(compiled([noise]).values())
    theirs = model.predict_on_batch(noise)
    theirs = [np.asarray(x) for x in (theirs if isinstance(theirs, (list, tuple)) else [theirs])]
    cosine = float((ours[0] * theirs[0]).sum())
    unit = abs(float(np.linalg.norm(theirs[0])) - 1) < 1e-3  # not so for weights that give zeros
    same_shapes = [x.shape for x in ours] == [x.shape for x in theirs]
    if not same_shapes or (unit and cosine < 0.9999):
        raise EncoderUnavailable(
            f"OpenVINO's export of {spec.title} does not agree with Keras (cosine {cosine:.5f}).",
            "Run it in Keras: uninstall openvino, or use another encoder.",
        )


def keras_model(spec: Any, weights: Path, policy: str = "float32", *, maps: bool = False) -> Any:
    """The whole encoder as a Keras model (imports Keras); see
    :mod:`parecido.indexer.encoders.building.assemble`.

    ``policy`` is Keras's dtype policy for the network's layers; a network file keeps its own.
    With ``maps`` the feature map is the last output.
    """
    import keras

    from parecido.indexer.encoders.building.assemble import assemble
    from parecido.indexer.encoders.registry import network_of

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        parts = network_of(spec).build(weights, spec.pooling)
        return assemble(parts, spec.pooling, spec.size, maps=maps)
    finally:
        keras.config.set_dtype_policy(before)


def _describe(request: dict[str, Any]) -> dict[str, Any]:
    from parecido.indexer.encoders.networks.saved_file import describe

    return describe(Path(request["file"]))


def _fetch(request: dict[str, Any]) -> dict[str, Any]:
    from parecido.indexer.encoders.registry import network_named

    return {"path": str(network_named(request["model"]).fetch_weights(request["pooling"]))}


def _quantise(request: dict[str, Any]) -> dict[str, Any]:
    from parecido.indexer.encoders.building.quantise import quantise_in_child

    return quantise_in_child(request)


def _main(asked: Path, answered: Path) -> None:
    request = json.loads(asked.read_text("utf-8"))
    work = {"export": _export, "describe": _describe, "fetch": _fetch, "quantise": _quantise}[
        request["do"]
    ]
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
