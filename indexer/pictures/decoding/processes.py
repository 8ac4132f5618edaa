"""Decoding in processes of their own, and what brings them down."""

from __future__ import annotations

import logging
import signal
import threading
from contextlib import suppress

from parecido.indexer.errors import PictureUnreadable
from parecido.indexer.pictures.decoding.decoder import Claim, DecoderHere, Stopped
from parecido.indexer.pictures.decoding.messages import (
    CRASHED,
    TOO_MUCH_MEMORY,
    TOO_SLOW,
    Ended,
    TookTooLong,
)
from parecido.indexer.pictures.decoding.orders import Order
from parecido.indexer.pictures.decoding.process import CannotStart, DecoderProcess
from parecido.indexer.pictures.decoding.stock import STOCK
from parecido.indexer.pictures.wanted import Drawn

__all__ = ["DecoderProcesses"]

_log = logging.getLogger("parecido")


class DecoderProcesses:
    """Decodes in processes of their own, a picture at a time in each.

    A file that crashes one, keeps it for too long or takes too much memory is refused as such, and
    its neighbours are none the wiser.  There are as many processes as threads ask at once.
    """

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._busy: set[DecoderProcess] = set()
        self._here: DecoderHere | None = None

    def decode(
        self, order: Order, content: bytes = b"", claim: Claim | None = None
    ) -> Drawn | None:
        """As :meth:`Decoder.decode`."""
        claim = _asked_once(claim) if claim is not None else None
        try:
            if self._here is None:
                try:
                    return self._decode_in(self._take(), order, content, claim)
                except _Fell as fall:
                    if not fall.may_be_innocent:
                        raise
                    # the fault may be the file's before, or a machine's that was short of memory
                    _log.debug("%s: %s; once more, in a process of its own", order, fall.reason)
                    return self._decode_in(self._take(fresh=True), order, content, claim)
        except CannotStart as error:
            _log.warning("Decoding in this process, for no other can be started (%s).", error)
            self._here = DecoderHere()
        return self._here.decode(order, content, claim)

    def _take(self, *, fresh: bool = False) -> DecoderProcess:
        process = STOCK.borrow(fresh=fresh)
        with self._lock:
            self._busy.add(process)
        return process

    def _decode_in(
        self, process: DecoderProcess, order: Order, content: bytes, claim: Claim | None
    ) -> Drawn | None:
        """What is wanted, by that process, which waits for others afterwards or is ended."""
        first = process.orders == 0
        has_fallen = False
        try:
            if self._stopped.is_set():
                raise Stopped
            return process.work(order, content, claim, self._stopped.is_set)
        except PictureUnreadable as error:
            has_fallen = error.kind == TOO_MUCH_MEMORY
            if not has_fallen:
                raise
            raise _Fell(error.reason, TOO_MUCH_MEMORY, may_be_innocent=not first) from error
        except TookTooLong as error:
            raise _Fell("decoding it does not come to an end", TOO_SLOW) from error
        except Ended as error:
            status = process.end()
            if self._stopped.is_set():
                raise Stopped from error
            raise _report_end(status, first) from error
        finally:
            with self._lock:
                self._busy.discard(process)
            # not one that waits for an answer which a claim that failed has not given
            if process.is_at_rest and not has_fallen:
                STOCK.give_back(process)
            else:
                STOCK.end(process)

    def stop(self) -> None:
        """End what is being decoded, whatever it does."""
        self._stopped.set()
        with self._lock:
            for process in self._busy:
                process.interrupt()


class _Fell(PictureUnreadable):
    """A process was brought down."""

    def __init__(self, reason: str, kind: str, may_be_innocent: bool = False) -> None:
        super().__init__(reason, kind)
        self.may_be_innocent = may_be_innocent
        """Whether another file, or another program, may have been at fault."""


def _report_end(status: int | None, first: bool) -> _Fell:
    """What the exit status of a process says of its picture, ``first`` that it was given."""
    if status is not None and -status == getattr(signal, "SIGXCPU", None):
        return _Fell("decoding it takes too much time", TOO_SLOW)
    how = f"exit status {status}"
    if status is not None and status < 0:
        with suppress(ValueError):
            how = signal.Signals(-status).name
    is_killed = status is not None and -status == getattr(signal, "SIGKILL", None)
    return _Fell(f"its decoder crashed ({how})", CRASHED, may_be_innocent=is_killed or not first)


def _asked_once(claim: Claim) -> Claim:
    """A claim that is kept when the same bytes come again, in another process."""
    asked: dict[bytes, bool] = {}

    def ask(digest: bytes) -> bool:
        if asked and digest not in asked:
            raise PictureUnreadable("the file changed while it was read", "unreadable")
        if digest not in asked:
            asked[digest] = claim(digest)
        return asked[digest]

    return ask
