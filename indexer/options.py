"""How to index."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from indexer.decode import Limits

__all__ = ["IndexOptions"]


@dataclass(frozen=True)
class IndexOptions:
    """How to index.  The defaults are what most people want."""

    model: str | None = None
    """Encoder; by default the library's own, ``auto`` for a new library."""
    pooling: str | None = None
    weights: str | os.PathLike[str] | None = None
    preprocessing: str | None = None
    """Of a network file; ``none`` by default."""
    precision: str | None = None
    """``float32``, ``half`` or, for a new library on a CPU, ``int8``, calibrated on its pictures.

    By default the library's own, half for a new one on a GPU.
    """
    exact: bool | None = None
    """Whether the vector index is exhaustive at any size; by default as the library was told."""
    device: str = "auto"
    exclude: Sequence[str] = ()
    """Patterns as in a ``.gitignore``; what they match leaves the library."""
    hidden: bool = False
    workers: int = 0
    """Threads that read, decode and encode; 0 is one more than cores."""
    batch_size: int = 0
    """Pictures in a full batch; 0 is the device's own."""
    limits: Limits = field(default_factory=Limits)
    wait: bool = False
    """Wait for another writer instead of refusing."""
    show_output: bool = False
    """Let Keras report a download on stderr."""
