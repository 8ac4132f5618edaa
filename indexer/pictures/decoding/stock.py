"""Processes that decode and those that wait, kept from one run, or one question, to the next."""

from __future__ import annotations

import atexit
import os
import threading

from parecido.indexer.pictures.decoding.process import DecoderProcess

__all__ = ["STOCK", "Stock"]

# Starting one costs as much as decoding thirty small photographs.  So where there is one at work
# for each core, one that comes back within this time is waited for.
_WAIT_SECONDS = 0.3


class Stock:
    """Lends processes, one thread each, and takes them back."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._idle: list[DecoderProcess] = []
        self._lent = 0

    @property
    def idle(self) -> list[DecoderProcess]:
        """Those that wait."""
        with self._changed:
            return list(self._idle)

    def borrow(self, *, fresh: bool = False) -> DecoderProcess:
        """One that waits, or a new one; give it back, or :meth:`end` it.

        Raises :class:`~parecido.indexer.pictures.decoding.process.CannotStart`.
        """
        with self._changed:
            if not fresh and self._lent >= (os.cpu_count() or 1):
                self._changed.wait_for(lambda: self._idle, _WAIT_SECONDS)
            self._lent += 1
            while self._idle and not fresh:
                found = self._idle.pop()
                if found.is_alive():
                    return found
                found.kill()
        try:
            return DecoderProcess()
        except BaseException:
            with self._changed:
                self._lent -= 1
            raise

    def give_back(self, process: DecoderProcess) -> None:
        """It is fit for another picture."""
        with self._changed:
            self._lent -= 1
            self._idle.append(process)
            self._changed.notify()

    def end(self, process: DecoderProcess) -> None:
        """It is not."""
        process.kill()
        with self._changed:
            self._lent -= 1

    def close(self) -> None:
        """Let those that wait end."""
        with self._changed:
            idle, self._idle = self._idle, []
        for process in idle:
            process.end()

    def forget(self) -> None:
        """After a fork they are the parent's."""
        self._changed = threading.Condition()
        self._idle, self._lent = [], 0


STOCK = Stock()
"""That of this program."""
atexit.register(STOCK.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=STOCK.forget)
