"""Single files that were given to be indexed: which are gone, and which a folder's walk meets."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Sequence

from parecido.indexer.catalogue.known import Root
from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.pictures.walking.rules import Rules
from parecido.indexer.system.paths import lies_in, signed64

__all__ = ["find_gone_files", "is_followed", "is_gone_file"]


def find_gone_files(
    catalogue: Catalogue, known: Iterable[Root], given: Sequence[str]
) -> list[bytes]:
    """Known single files that are gone, of those that a walk of what was given would have met.

    A shell's ``p/*.jpg`` names the files that are there.  So a file counts as given again where
    others of its folder were, and nobody has to name what he deleted.
    """
    walked = {os.fsencode(path) for path in given}
    folders = {os.path.dirname(path) for path in walked if not os.path.isdir(path)}
    return [
        root.path
        for root in known
        if (os.path.dirname(root.path) in folders or lies_in(root.path, walked))
        and not os.path.lexists(root.path)
        and is_gone_file(catalogue, root.path, root.device)
    ]


def is_gone_file(catalogue: Catalogue, path: bytes, device: int | None = None) -> bool:
    """Whether nothing lies any more where a single file was, as its folder says.

    Not where that folder is an unplugged disk's empty mount point, as far as the device tells.
    """
    folder = os.path.dirname(path)
    if os.path.lexists(path) or catalogue.known(path) is None:
        return False
    try:
        is_other = device is not None and signed64(os.stat(folder).st_dev) != device
        with os.scandir(folder) as listing:
            return next(listing, None) is not None or not is_other
    except OSError:
        return False


def is_followed(
    path: bytes, status: os.stat_result, rules: Rules, known: Collection[bytes]
) -> bool:
    """Whether a path is a single file that the walk of a known folder comes to anyway."""
    if not stat.S_ISREG(status.st_mode):
        return False
    if not lies_in(os.path.dirname(path), known):
        return False
    try:
        return not rules.find_above(path)[1]
    except OSError:
        return False
