"""Which decoders are installed: another version may read what one has failed on."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

__all__ = ["decoder_versions"]


@cache
def decoder_versions() -> str:
    """The packages that decode, with their versions: ``pillow 12.1.0, pillow-heif 1.2.0, …``."""
    found = []
    for name in ("pillow", "pillow-heif", "qoi"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)
