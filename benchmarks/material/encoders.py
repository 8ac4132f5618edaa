"""The encoders that are measured, and where their files lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.children import ask
from benchmarks.plan import Plan, say
from parecido.indexer.encoders.resolve import resolve
from parecido.indexer.records.encoder import EncoderChoice, EncoderSpec

__all__ = ["MODELS", "Model", "exported_model", "model"]

MODELS: tuple[str, ...] = ("efficientnet-lite0", "resnet50")


@dataclass(frozen=True)
class Model:
    """A network by name, with a weights file where the installation brings none."""

    name: str
    weights: str = ""

    def spec(self) -> EncoderSpec:
        """What parecido calls it, at the size and with the pooling of the plain recipe."""
        return resolve(
            EncoderChoice(self.name, weights=self.weights or None, pooling="avg", quality="fast")
        )


def model(name: str, plan: Plan) -> Model:
    """A network that is ready to run.

    ResNet50's published weights would have to be downloaded, so it gets random ones, made once:
    they take the same time, and both sides of a comparison read the same file.
    """
    if name != "resnet50":
        return Model(name)
    weights = plan.folder("weights") / "resnet50-random.weights.h5"
    if not weights.exists():
        say("resnet50: making random weights")
        ask("baselines.plain", {"do": "weights", "weights": str(weights)})
    return Model(name, str(weights))


def exported_model(spec: EncoderSpec) -> Path:
    """The network in OpenVINO's format, as parecido keeps it; made where it is missing."""
    from parecido.indexer.encoders.building.export import obtain_export

    return obtain_export(spec) / "model.xml"
