"""Which decoders are installed: another version may read what one has failed on."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

from parecido.indexer.pictures.decoding.messages import STOPPING_KINDS
from parecido.indexer.pictures.formats.changes import DECODING

__all__ = ["DECODERS_KINDS", "decoder_versions"]

DECODERS_KINDS = (*STOPPING_KINDS, "damaged", "not-a-picture", "unsupported")
"""Kinds of refusals that another decoder may not share."""


@cache
def decoder_versions() -> str:
    """The packages that decode, and our rules: ``pillow 12.1.0, pillow-heif 1.2.0, …, rules 2``."""
    found = []
    for name in ("pillow", "pillow-heif", "qoi"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join([*found, f"rules {DECODING}"])
