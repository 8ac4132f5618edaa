"""``python -m tests.fake_cli``: the command line with the fake encoder in place of every other."""

from __future__ import annotations

import indexer.pipeline
import indexer.run
import search.cli
import search.engine
from tests.fakes import fake_encoder, fake_spec


def use_fakes() -> None:
    """New libraries get the fake encoder, and whoever opens an encoder gets it too."""
    indexer.pipeline.resolve = lambda *_, **__: fake_spec()
    indexer.run.open_encoder = lambda *_, **__: fake_encoder()
    search.engine.open_encoder = lambda *_, **__: fake_encoder()


if __name__ == "__main__":
    use_fakes()
    search.cli.main()
