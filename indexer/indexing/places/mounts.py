"""On which folders another file system lies, and which of those are unplugged.

Numbers of devices and inodes are new at each mount, on many file systems, so they are only compared
with those of neighbours at the same moment, or to tell that something may be another thing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from parecido.indexer.catalogue.known import Mount
from parecido.indexer.system.paths import SEPARATOR, signed64, within

__all__ = ["identify", "is_mount", "list_idle_mounts"]


def identify(status: os.stat_result) -> tuple[int, int]:
    """Device and inode as the catalogue keeps them."""
    return signed64(status.st_dev), signed64(status.st_ino)


def is_mount(folder: bytes) -> bool:
    """Whether a folder lies on another file system than the one that it is in."""
    try:
        return os.stat(folder).st_dev != os.stat(_above(folder)).st_dev
    except OSError:
        return False


def list_idle_mounts(mounts: Sequence[Mount], walked: Sequence[bytes]) -> list[bytes]:
    """Of known mounts below the folders that are walked, those on which nothing is mounted now."""
    return [
        mount.path
        for mount in mounts
        if any(within(mount.path, folder) for folder in walked) and not is_mount(mount.path)
    ]


def _above(folder: bytes) -> bytes:
    return os.path.dirname(folder.rstrip(SEPARATOR)) or SEPARATOR
