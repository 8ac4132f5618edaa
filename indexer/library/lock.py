"""The lock that only one process can hold, and the sign of life where locks prove nothing."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from parecido.indexer.errors import LibraryBusy
from parecido.indexer.library.contents import check_own
from parecido.indexer.library.holding import Holder, Holding, read_holder
from parecido.indexer.system.disk import writing_folder
from parecido.indexer.system.filesystems import filesystem_of
from parecido.indexer.system.kinds import LOCK

if TYPE_CHECKING:
    import filelock

__all__ = ["hold_lock"]

_log = logging.getLogger("parecido")
_WAIT_SECONDS = 0.2  # between two looks at whether to go on waiting
# A process that was killed while it started another leaves the lock to that one until it runs a
# program of its own, some milliseconds later.
_LEFTOVER_LOOKS, _LEFTOVER_SECONDS = 100, 0.02
# of a file system that has no locks, or whose server keeps none
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)


@contextmanager
def hold_lock(
    folder: Path, wait: bool = False, stop: Callable[[], bool] = lambda: False
) -> Iterator[Holding]:
    """Hold a library's writer lock, which dies with the process.

    On a disk of this machine the lock alone decides.  Where it may not reach everybody, on a file
    system that others share, or where somebody from another machine signed last, the library is
    free when its holder has gone or has given no sign of life for
    :data:`~parecido.indexer.library.holding.SILENCE_SECONDS`.
    Raises :class:`~parecido.LibraryBusy`, naming the holder, unless told to ``wait``; then
    only when ``stop`` returns true.
    """
    import filelock

    lock = filelock.FileLock(folder / LOCK)
    check_own(folder)
    try:
        with writing_folder(folder):
            works = _take(lock, folder, wait, stop)
            holding = Holding(folder, filesystem_of(folder), lock_works=works)
            holding.claim(wait, stop)
        with holding.signing():
            yield holding
    finally:
        lock.release()


def _take(lock: filelock.BaseFileLock, folder: Path, wait: bool, stop: Callable[[], bool]) -> bool:
    """Take the lock; false where there is none to be had."""
    import filelock

    told, left = False, _LEFTOVER_LOOKS
    while not lock.is_locked:
        try:
            lock.acquire(timeout=_WAIT_SECONDS if wait else 0)
        except filelock.Timeout:
            holder = read_holder(Path(os.path.realpath(folder))) or Holder()
            if not wait and left and holder.has_ended():
                left -= 1
                time.sleep(_LEFTOVER_SECONDS)
                continue
            if not wait or stop():
                raise LibraryBusy(
                    f"The library {folder} is being written by {holder}.",
                    "Wait for it to end, or add --wait.",
                ) from None
            if not told:
                _log.info("Waiting for %s.", holder)
                told = True
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            return False
    return True
