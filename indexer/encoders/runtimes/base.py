"""What a runtime is: batches of pixels in, descriptors and class probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "MapRuntime", "Mapped", "Output", "Pixels", "Runtime", "join_outputs"]

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Output = tuple[Floats, Floats | None]
Mapped = tuple[Floats, Floats | None, Floats]


class Runtime(Protocol):
    """Runs batches of any length; safe to call from several threads."""

    name: str
    batch_size: int
    """Pictures in a full batch."""
    bucket_size: int
    """Pictures of one shape that are best collected before they are run."""

    def run(self, batch: Pixels) -> Output:
        """Descriptors ``(n, dimension)`` and class probabilities, if any, of ``(n, h, w, 3)``."""
        ...


@runtime_checkable
class MapRuntime(Runtime, Protocol):
    """One that also tells what descriptors were pooled from."""

    def run_with_maps(self, batch: Pixels) -> Mapped:
        """The same, and the feature maps ``(n, rows, columns, channels)`` before pooling."""
        ...


def join_outputs(pieces: Sequence[list[Floats]]) -> list[Floats]:
    """The outputs of several batches, as those of one."""
    if len(pieces) == 1:
        return pieces[0]
    return [np.concatenate(outputs) for outputs in zip(*pieces, strict=True)]
