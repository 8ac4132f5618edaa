"""How tests wait: for something that happens, and never for a time to pass."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 300.0
"""Seconds after which a test gives up: so many that only a defect uses them, on the busiest machine."""


def until(condition: Callable[[], bool]) -> None:
    """Wait, and fail rather than wait for ever."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.001)
