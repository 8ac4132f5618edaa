"""How much time and memory a picture may take, by what is known of it."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["SMALL_PIXELS", "Allowance", "after_header", "before_header"]

SMALL_PIXELS = 4_000_000
"""Pictures of no more take no more than what is allowed before the header was read."""


class Allowance(NamedTuple):
    """What a process may take for one picture."""

    cpu_seconds: int
    """Of processor time, all its threads together."""
    wall_seconds: float
    """Without a sign of life."""
    memory_bytes: int
    """Of data, beyond what the process takes by itself."""


# A small picture takes a few milliseconds; 10 seconds are for slow machines.  Of what is read,
# JPEG 2000 takes longest: 200 megapixels took 41 s of a core here, and the bound is 110.
_CPU_SECONDS = 10
_CPU_SECONDS_A_MEGAPIXEL = 0.5
# Threads of a loaded machine wait for a core, and disks of a network for each other.
_WALL_SECONDS = 60.0
_WALL_A_CPU_SECOND = 6.0
_SLOWEST_DISK = 100_000  # bytes a second
# JPEG 2000 again: OpenJPEG keeps each sample in four bytes, twice while it puts tiles together.
_MEMORY_BYTES = 640 << 20
_MEMORY_BYTES_A_PIXEL = 32


def before_header(file_bytes: int) -> Allowance:
    """For reading a file of that size, and its header."""
    return Allowance(
        _CPU_SECONDS, _WALL_SECONDS + file_bytes / _SLOWEST_DISK, _MEMORY_BYTES + 3 * file_bytes
    )


def after_header(file_bytes: int, pixels: int) -> Allowance:
    """For decoding so many pixels from a file of that size."""
    cpu = _CPU_SECONDS + int(_CPU_SECONDS_A_MEGAPIXEL * pixels / 1e6)
    return Allowance(
        cpu,
        _WALL_SECONDS + _WALL_A_CPU_SECOND * cpu,
        _MEMORY_BYTES + 3 * file_bytes + _MEMORY_BYTES_A_PIXEL * pixels,
    )
