"""How to index."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from parecido.indexer.errors import InvalidRequest
from parecido.indexer.pictures.decode import Limits
from parecido.indexer.records.choices import DIMENSIONS

__all__ = ["IndexOptions"]


@dataclass(frozen=True)
class IndexOptions:
    """How to index.  The defaults are what most people want."""

    model: str | None = None
    """Encoder; by default the library's own, ``auto`` for a new library."""
    quality: str | None = None
    """``fast``, ``balanced`` or ``best``: which encoder a new library gets, and whether searches
    expand and re-rank.  By default as the library was told, ``balanced`` for a new one."""
    pooling: str | None = None
    size: str | None = None
    """``256``: pictures keep their shape on about that side squared; ``224x224``: are squeezed.
    By default the library's own, as measured for the network for a new one."""
    resample: str | None = None
    """Filter with which pictures are brought to size: nearest, bilinear, bicubic or lanczos."""
    weights: str | os.PathLike[str] | None = None
    preprocessing: str | None = None
    """Of a network file; ``none`` by default."""
    precision: str | None = None
    """``float32``, ``half`` or, for a new library on a CPU, ``int8``, calibrated on its pictures.

    By default the library's own, half for a new one on a GPU.
    """
    exact: bool | None = None
    """Whether the vector index is exhaustive at any size; by default as the library was told."""
    think_twice: bool | None = None
    """Whether searches expand and re-rank unless told otherwise, for which the library keeps the
    neighbours of its pictures.  By default as it was told; for a new one as its quality says."""
    within: bool | None = None
    """Whether regional descriptors are kept, so that a part of a picture finds the whole.  By
    default as the library was told, not for a new one."""
    dimension: int | str | None = None
    """Of the library's own space: a number, ``auto``, or ``full`` to compare descriptors as the
    encoder gives them.  By default as the library was told, ``auto`` for a new one."""
    device: str = "auto"
    exclude: Sequence[str] = ()
    """Patterns as in a ``.gitignore``; what they match leaves the library.  The folders that are
    indexed keep them for later runs, beside those of earlier ones."""
    include: Sequence[str] = ()
    """Patterns of what is taken in, whatever else would leave it out: an exclusion that was kept, a
    hidden or known name, ``.nomedia`` or ``.parecidoignore``.  They are kept too."""
    hidden: bool = False
    rehash: bool = False
    """Whether every file is read and hashed, although its size and time are as they were.  One that
    holds other bytes than before is described anew."""
    inside: Sequence[str | os.PathLike[str]] = ()
    """Folders: a link that leads out of all of them is left out, and what is known of behind it
    stays.  By default links are followed anywhere.  With them, what is indexed keeps no patterns,
    and rules between these folders and a path that is named hold for it too."""
    workers: int = 0
    """Threads that encode, each with a process that reads and decodes unless ``isolate`` is false;
    0 is one more than cores."""
    batch_size: int = 0
    """Pictures in a full batch; 0 is the device's own."""
    limits: Limits = field(default_factory=Limits)
    wait: bool = False
    """Wait for another writer instead of refusing."""
    isolate: bool = True
    """Decode in processes of their own, so that a file which crashes a decoder, or never ends, is
    skipped.  Without, such a file ends this process."""
    show_output: bool = False
    """Let Keras report a download on stderr."""


def check_dimension(dimension: int | str | None) -> None:
    """Raise :class:`~parecido.InvalidRequest` for what is no dimension of a space."""
    if dimension is None or dimension in DIMENSIONS:
        return
    text = str(dimension)
    if not (text.isascii() and text.isdecimal() and 2 <= int(text) <= 4096):
        raise InvalidRequest(
            f"Expected a dimension from 2 to 4096, auto or full, got {dimension!r}.",
            "128 suits most libraries.",
        )
