"""What is refused before decoding."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image

__all__ = ["Limits", "pillow_limit"]

# the limits that threads hold at the moment, and Pillow's own from before the first of them
_limit_lock = threading.Lock()
_limits_held: list[int] = []
_own_limit: list[int | None] = []


@dataclass(frozen=True)
class Limits:
    """What is refused before decoding."""

    pixels: int = 200_000_000
    bytes: int = 512 << 20


@contextmanager
def pillow_limit(limits: Limits) -> Iterator[None]:
    """Let Pillow open pictures up to the limit; its own guard is half a process-wide constant.

    Held by an indexing run or a command, not set on import: another program in this process keeps
    its own guard.
    """
    with _limit_lock:
        if not _limits_held:
            _own_limit.append(Image.MAX_IMAGE_PIXELS)
        _limits_held.append(limits.pixels)
        _set_limit()
    try:
        yield
    finally:
        with _limit_lock:
            _limits_held.remove(limits.pixels)
            _set_limit()
            if not _limits_held:
                _own_limit.clear()


def _set_limit() -> None:
    own = _own_limit[0]
    Image.MAX_IMAGE_PIXELS = own if own is None else max(own, *_limits_held, 0)
