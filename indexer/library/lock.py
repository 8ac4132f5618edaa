"""The lock that only one process can hold."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from parecido.indexer.errors import LibraryBusy
from parecido.indexer.library.contents import check_own
from parecido.indexer.library.layout import SIGNATURE
from parecido.indexer.system.disk import writing_folder
from parecido.indexer.system.kinds import LOCK, WRITER
from parecido.indexer.system.own_files import NotOurs, remove_own, replacing

__all__ = ["hold_lock"]

_log = logging.getLogger("parecido")
_WAIT_SECONDS = 0.2  # between two looks at whether to go on waiting


@contextmanager
def hold_lock(
    folder: Path, wait: bool = False, stop: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    """Hold a library's writer lock, which dies with the process.

    Raises :class:`~parecido.LibraryBusy`, naming the holder, unless told to ``wait``; then
    only when ``stop`` returns true.
    """
    import filelock

    lock = filelock.FileLock(folder / LOCK)
    told = False
    check_own(folder)
    real = Path(os.path.realpath(folder))  # which may be reached by a link
    with writing_folder(folder):
        while not lock.is_locked:
            try:
                lock.acquire(timeout=_WAIT_SECONDS if wait else 0)
            except filelock.Timeout:
                if not wait or stop():
                    raise LibraryBusy(
                        f"The library {folder} is being written by {_holder(folder)}.",
                        "Wait for it to end, or add --wait.",
                    ) from None
                if not told:
                    _log.info("Waiting for %s.", _holder(folder))
                    told = True
    try:
        with writing_folder(folder):
            _sign(real)
        yield
    finally:
        with suppress(OSError):
            remove_own(real, WRITER)
        lock.release()


def _sign(folder: Path) -> None:
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "command": " ".join(sys.argv)[:200],
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    with (
        suppress(NotOurs),  # one that cannot be read: it only tells who, and the lock holds
        replacing(folder / SIGNATURE, WRITER.is_made, sync=False) as file,
    ):
        file.write(json.dumps(holder).encode("utf-8", "replace"))


def _holder(folder: Path) -> str:
    try:
        who = json.loads((folder / SIGNATURE).read_text("utf-8"))
        return f"process {who['pid']} on {who['host']} since {who['since']} ({who['command']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
