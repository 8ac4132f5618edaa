"""Export to OpenVINO, in the child process: the model that Keras built, checked against it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from parecido.indexer.encoders.building.keras_model import keras_model
from parecido.indexer.encoders.machine.imports import import_openvino
from parecido.indexer.errors import EncoderUnavailable
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.system.kinds import Kind, any_content
from parecido.indexer.system.own_files import remove_own

__all__ = ["export_in_child"]

_RAW = Kind(re.compile(r"raw\.(xml|bin)"), any_content)


def export_in_child(request: dict[str, Any]) -> dict[str, Any]:
    """What :func:`~.export.obtain_export` asks a child for: the model in ``request["folder"]``."""
    openvino = import_openvino()  # before Keras imports it
    import keras

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


def _check_agreement(model: Any, path: Path, spec: EncoderSpec) -> None:
    """Refuse an export that does not compute what Keras computes."""
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
