"""Bytes with a digest behind them: of a small file, what a disk has changed is not believed."""

from __future__ import annotations

import struct
from hashlib import blake2b

from parecido.indexer.system.kinds import SEAL

__all__ = ["TAIL", "is_sealed", "seal", "unseal"]

TAIL = struct.Struct("<32s8s")
"""What ends a sealed file: the BLAKE2b of all before it, 32 bytes, and the mark."""


def seal(data: bytes) -> bytes:
    """What is written of some bytes."""
    return data + TAIL.pack(blake2b(data, digest_size=32).digest(), SEAL)


def is_sealed(written: bytes) -> bool:
    """Whether there is a seal, broken or not."""
    return len(written) >= TAIL.size and written.endswith(SEAL)


def unseal(written: bytes) -> bytes | None:
    """The bytes that were written; None where there is no seal, or it is broken."""
    data = written[: -TAIL.size]
    return data if is_sealed(written) and written == seal(data) else None
