"""For tests of the workers of a run."""

from __future__ import annotations

import time
from collections.abc import Callable

from indexer.encoders import Encoder

AHEAD = 4
"""Files ahead for each worker, with the fixture ``few_files_ahead``."""


def until(condition: Callable[[], bool]) -> None:
    """Wait, and fail rather than wait for ever."""
    for _ in range(60_000):
        if condition():
            return
        time.sleep(0.001)
    raise AssertionError("what was waited for did not come")


def encoded(encoder: Encoder) -> int:
    """How many pictures went through the fake network so far."""
    return encoder._runtime.pictures  # type: ignore[attr-defined, no-any-return]
