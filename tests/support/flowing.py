"""For tests of the workers of a run."""

from __future__ import annotations

from parecido.indexer.encoders.encoder import Encoder

AHEAD = 4
"""Files ahead for each worker, with the fixture ``few_files_ahead``."""


def encoded(encoder: Encoder) -> int:
    """How many pictures went through the fake network so far."""
    return encoder._runtime.pictures  # type: ignore[attr-defined, no-any-return]
