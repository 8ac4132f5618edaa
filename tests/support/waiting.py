"""How tests wait: for something that happens, and never for a time to pass."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 300.0
"""Seconds until a test gives up: on the busiest machine, too, only a defect takes so many."""

PATIENT = ("--timeout", str(2 * PATIENCE))
"""Options of a server that gives up no request before a test does."""


def until(condition: Callable[[], bool]) -> None:
    """Wait, and fail rather than wait for ever."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.001)
