"""Three honest points between speed and quality, chosen by measurement: see docs/quality.md."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from parecido.indexer.errors import InvalidRequest
from parecido.indexer.records.choices import QUALITIES, SIZES
from parecido.indexer.records.encoder import SizePolicy

__all__ = ["DEFAULT_QUALITY", "PRESETS", "Quality", "find_quality", "with_size"]


@dataclass(frozen=True)
class Quality:
    """What a word for quality stands for."""

    model: str
    """Of ``auto`` on a CPU."""
    side: int
    """Native side in pixels of the networks that were measured; 0 is their own."""
    reranks_by_default: bool
    """Whether searches expand and re-rank, for which the library keeps its neighbours."""


DEFAULT_QUALITY = "balanced"

# mAP on 1212 photographs of 101 classes, in the library's own space, and the time of the network
# for each picture against that of the plain recipe (Lite0 at 224 pixels): fast 74.3 and 1.0;
# balanced 75.3 and 1.6; best, with expansion and re-ranking, 86.0 and 1.9.
PRESETS = {
    "fast": Quality("efficientnet-lite0", 0, reranks_by_default=False),
    "balanced": Quality("efficientnet-lite0", 256, reranks_by_default=False),
    "best": Quality("efficientnet-lite2", 256, reranks_by_default=True),
}

_SIZE = re.compile(r"([0-9]{1,4})(?:x([0-9]{1,4}))?")
_LEAST_SIDE, _MOST_SIDE = 64, 2048


def find_quality(name: str | None) -> Quality:
    """The quality of that name, the default for None.  Raises ``InvalidRequest``."""
    try:
        return PRESETS[name or DEFAULT_QUALITY]
    except KeyError:
        raise InvalidRequest(
            f"Expected a quality of {', '.join(QUALITIES)}, got {name!r}.",
            f"{DEFAULT_QUALITY} suits most libraries.",
        ) from None


def with_size(native: SizePolicy, size: str, network: str) -> SizePolicy:
    """A network's size policy at another size.

    ``size`` is ``256`` for pictures that keep their shape on an area of about 256 × 256 pixels, or
    ``224x224`` (width and height) for pictures that are squeezed.  Raises
    :class:`~parecido.InvalidRequest` for other texts, and where the network takes one size.
    """
    found = _SIZE.fullmatch(size.strip().lower())
    sides = [int(side) for side in found.groups() if side] if found else []
    if not sides or not all(_LEAST_SIDE <= side <= _MOST_SIDE for side in sides):
        raise InvalidRequest(
            f"Expected a size from {_LEAST_SIDE} to {_MOST_SIDE} pixels, got {size!r}.",
            f"Write {SIZES[0]} to keep the pictures' shapes, or {SIZES[1]} to squeeze them.",
        )
    if not native.keep_aspect and sides not in ([native.width], [native.width, native.height]):
        raise InvalidRequest(
            f"{network} takes pictures of {native.width}x{native.height} only, got {size}.",
            "Leave out --size.",
        )
    if not native.keep_aspect:
        return native
    if len(sides) == 1:
        return replace(native, height=sides[0], width=sides[0])
    return replace(native, width=sides[0], height=sides[1], keep_aspect=False)
