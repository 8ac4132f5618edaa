"""``python -m tests.fake_cli``: the command line with the fake encoder in place of every other.

Where ``FAKE_GATE`` names a path, the encoder makes the file ``PATH.reached`` with its first batch
and goes on when a file lies at the path itself.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

import indexer.pipeline
import indexer.run
import search.cli
import search.engine
from indexer.encoders import Encoder
from tests.fakes import FakeRuntime, fake_spec


class GatedRuntime(FakeRuntime):
    """The fake runtime, which can be made to wait."""

    def run(
        self, batch: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
        gate = os.environ.get("FAKE_GATE")
        if gate:
            Path(f"{gate}.reached").touch()
            while not os.path.exists(gate):
                time.sleep(0.01)
        return super().run(batch)


def use_fakes() -> None:
    """New libraries get the fake encoder, and whoever opens an encoder gets it too."""
    indexer.pipeline.resolve = lambda *_, **__: fake_spec()
    for module in (indexer.run, search.engine):
        module.open_encoder = lambda *_, **__: Encoder(fake_spec(), GatedRuntime())


if __name__ == "__main__":
    use_fakes()
    search.cli.main()
