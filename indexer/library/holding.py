"""Who writes a library, as ``writer.json`` tells it, and the sign of life that its holder gives.

A lock need not reach everybody: network file systems and shared folders of virtual machines may
keep it to one mount.  So the holder signs with a token that is its own, and renews a number every
five seconds; who cannot trust the lock watches the number.  It is compared with itself and timed by
the watcher's own clock, so what two machines take for the time of day does not matter.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from parecido.indexer.errors import LibraryBusy
from parecido.indexer.library.layout import SIGNATURE
from parecido.indexer.system.filesystems import FileSystem
from parecido.indexer.system.kinds import WRITER
from parecido.indexer.system.own_files import NotOurs, remove_own, replacing
from parecido.indexer.system.processes import is_gone, processes_here, started_at, system_here

__all__ = ["BEAT_SECONDS", "SILENCE_SECONDS", "Holder", "Holding", "read_holder"]

_log = logging.getLogger("parecido")

BEAT_SECONDS = 5.0
"""How often a holder gives a sign of life."""
SILENCE_SECONDS = 30.0
"""How long a library stays a holder's that gives none.

Longer than a beat and the 20 s for which sshfs keeps what it read (NFS asks again when a file is
opened), and what a busy machine may be late by; short enough to be waited for.
"""
_LOOK_SECONDS = 0.5
_SETTLE_SECONDS = 1.0  # between signing where locks prove nothing and looking whose sign stayed
_MOST_BYTES = 64 << 10
_SHOWN = 200  # letters of what somebody else may have written
_AGAIN_SECONDS = 0.2  # where a file system takes two steps to replace a file


@dataclass(frozen=True)
class Holder:
    """Who signed; empty or 0 what a version before this one did not tell."""

    pid: int = 0
    host: str = ""
    command: str = ""
    since: str = ""
    system: str = ""
    processes: str = ""
    started: str = ""
    token: str = ""
    beat: int = 0

    def __str__(self) -> str:
        if not (self.pid and self.host and self.since):
            return "another process"
        host, since, command = (one[:_SHOWN] for one in (self.host, self.since, self.command))
        return f"process {self.pid} on {host} since {since} ({command})"

    def has_ended(self) -> bool:
        """Whether it is certain that this was a process of this system, and has ended."""
        is_here = (self.system, self.processes) == (system_here(), processes_here())
        return bool(self.system) and is_here and is_gone(self.pid, self.started)


def read_holder(folder: Path) -> Holder | None:
    """Who signed last; None where nobody did, and an unnamed one where that cannot be read."""
    try:
        with (folder / SIGNATURE).open("rb") as file:
            told = json.loads(file.read(_MOST_BYTES))
        kinds = {field.name: type(field.default) for field in fields(Holder)}
        given: dict[str, Any] = {n: v for n, v in told.items() if type(v) is kinds.get(n)}
        return Holder(**given)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError, RecursionError):
        return Holder()


class Holding:
    """A library as its one writer holds it: signed, and signed again until the end."""

    def __init__(self, folder: Path, ground: FileSystem, *, lock_works: bool = True) -> None:
        self._folder = Path(os.path.realpath(folder))  # which may be reached by a link
        self._named = folder
        self._lock_decides = lock_works and not ground.is_shared
        self._me = Holder(
            os.getpid(),
            socket.gethostname(),
            " ".join(sys.argv)[:200],
            time.strftime("%Y-%m-%d %H:%M:%S"),
            system_here(),
            processes_here(),
            started_at(os.getpid()),
            secrets.token_hex(16),
        )
        self._silent: Holder | None = None
        """Who gave no sign of life for long enough."""
        self._signed_at = _now()
        self._ended = threading.Event()

    def claim(self, wait: bool, stop: Callable[[], bool]) -> None:
        """Sign, once nobody else who may be alive has.

        Raises :class:`~parecido.LibraryBusy` where somebody is, unless told to ``wait``; then only
        when ``stop`` returns true.
        """
        is_mine = False
        while not is_mine:
            looked = time.monotonic()
            found = read_holder(self._folder)
            if found is not None and not self._is_free(found):
                self._outlast(found, wait, stop)
                continue
            self._sign()
            if self._lock_decides and self._silent is None:
                return
            # Whoever else saw that it is free has signed before this one looks again, or was too
            # slow for that and does as this one does then.
            took = time.monotonic() - looked
            try:
                time.sleep(_SETTLE_SECONDS)
            except BaseException:  # Ctrl-C: a sign that is left keeps others out for long
                self.withdraw()
                raise
            found = read_holder(self._folder)
            stayed = found is not None and found.token == self._me.token
            is_mine = stayed and took < _SETTLE_SECONDS / 2

    def _is_free(self, found: Holder) -> bool:
        """Whether a sign is nobody's any more, as far as that can be told at once."""
        if found.token == self._me.token or found == self._silent:
            return True
        if not found.system:  # of a version that gave no sign of life
            return self._lock_decides and found.host in ("", self._me.host)
        if found.system != self._me.system:
            # on a disk of its own, a machine that was restarted has no process of before
            return self._lock_decides and found.host == self._me.host
        return self._lock_decides or found.has_ended()

    def _outlast(self, found: Holder, wait: bool, stop: Callable[[], bool]) -> None:
        """Return when a holder has gone, or has given no sign of life for long enough."""
        _log.info("Waiting for a sign of life from %s, %g seconds at most.", found, SILENCE_SECONDS)
        last, told, silent = found, False, 0.0
        while silent < SILENCE_SECONDS:
            time.sleep(_LOOK_SECONDS)
            silent += _LOOK_SECONDS  # by looks: a watcher that was suspended has seen nothing
            now = read_holder(self._folder)
            if now is None or self._is_free(now):
                return
            if now != last:
                if not wait:
                    raise self._busy(now)
                if not told:
                    _log.info("Waiting for %s.", now)
                last, told, silent = now, True, 0.0
            if stop():
                raise self._busy(now)
        self._silent = last

    def _busy(self, holder: Holder) -> LibraryBusy:
        return LibraryBusy(
            f"The library {self._named} is being written by {holder}.",
            f"Wait for it to end, or add --wait; {SILENCE_SECONDS:g} seconds without a sign of "
            "life free the library.",
        )

    def check(self) -> None:
        """Raise :class:`~parecido.LibraryBusy` where the library is somebody else's by now.

        Asked before each commit: a process that was suspended for long does not know it.
        """
        found = read_holder(self._folder)
        if found is None and not self._lock_decides:
            time.sleep(_AGAIN_SECONDS)
            found = read_holder(self._folder)
        if self._is_lost(found):
            raise LibraryBusy(
                f"The library {self._named} was taken over by {found or 'another process'}, since "
                f"this one gave no sign of life for {SILENCE_SECONDS:g} seconds; what it had not "
                "committed by then is not in the library.",
                "Run the command again when the other one has ended.",
            )

    def _is_lost(self, found: Holder | None) -> bool:
        if found is None:  # somebody removed it; another one may have come and ended
            was_silent = _now() - self._signed_at > SILENCE_SECONDS
            return was_silent or not self._lock_decides
        return found.system != "" and found.token != self._me.token

    @contextmanager
    def signing(self) -> Iterator[None]:
        """Give signs of life until the end of the block, and take the last one back."""
        thread = threading.Thread(target=self._keep_signing, name="parecido-beat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()
            self.withdraw()

    def withdraw(self) -> None:
        """Take back what was signed, where it still is this process's."""
        found = read_holder(self._folder)
        if found is not None and found.token == self._me.token:
            with suppress(OSError):
                remove_own(self._folder, WRITER)

    def _keep_signing(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with suppress(OSError):
                if not self._is_lost(read_holder(self._folder)):
                    self._sign()

    def _sign(self) -> None:
        self._me = replace(self._me, beat=self._me.beat + 1)
        self._signed_at = _now()
        try:
            with replacing(self._folder / SIGNATURE, WRITER.is_made, sync=False) as file:
                file.write(json.dumps(asdict(self._me)).encode("utf-8", "replace"))
        except NotOurs:  # one that cannot be read: it only tells who, where the lock holds
            if not self._lock_decides:
                raise


def _now() -> float:
    """Seconds, those in which the machine slept too where the system counts them."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
