"""The digest of a weights file, which makes an encoder the one that it is."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from parecido.indexer.errors import WeightsInvalid
from parecido.indexer.system.files import file_digest

__all__ = ["sha256_of"]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, remembered while its size and time stay the same.

    Raises :class:`~parecido.WeightsInvalid` where the file cannot be read.
    """
    try:
        stat = path.stat()
        return _sha256_of(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise WeightsInvalid(
            f"The weights file {path} cannot be read: {error.strerror}.",
            "Check the path given to --weights or --model.",
        ) from error


@lru_cache(maxsize=64)
def _sha256_of(path: Path, _size: int, _mtime_ns: int) -> str:
    return file_digest(path)
