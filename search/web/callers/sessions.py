"""Sessions: what a browser keeps in the token's place, until it is ended.

A session is a number that nobody can make without the token, so a server that starts again knows
its own.  Which were ended is kept in a file; where none can be written, sessions end with the
process.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from parecido.indexer.system.disk import writing_folder
from parecido.indexer.system.kinds import SESSIONS
from parecido.indexer.system.own_files import replacing
from parecido.indexer.system.sealed import seal, unseal

__all__ = ["Sessions"]

_SECONDS = 30 * 86400  # that a session lasts
_REMEMBERED = 10_000  # that were ended; with one more, all of before are


class Sessions:
    """Those of one token.  ``file`` is where what was ended is kept.

    Reads the file again when another server on the same library has written it.
    """

    def __init__(self, token: str, file: Path, clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self._clock = clock
        own = b"" if os.access(file.parent, os.W_OK) else secrets.token_bytes(32)
        secret = b"parecido session: " + own + token.encode("utf-8", "replace")
        self._key = hashlib.sha256(secret).digest()
        self._is_kept = not own
        self._before = 0.0
        self._ended: dict[str, float] = {}
        self._read: tuple[int, int] | None = None

    def begin(self) -> str:
        """A new session."""
        name = f"{int(self._clock() * 1e6):x}.{secrets.token_hex(16)}"
        return f"{name}.{self._sign(name)}"

    def is_valid(self, session: str) -> bool:
        """Whether it is one of ours that neither was ended nor is too old."""
        name, _, signature = session.rpartition(".")
        if not hmac.compare_digest(self._sign(name).encode(), signature.encode("utf-8", "replace")):
            return False
        self._refresh()
        began = _began(name)
        is_young = max(self._before, self._clock() - _SECONDS) < began
        return is_young and name not in self._ended

    def end(self, session: str) -> None:
        """Let a session open nothing any more.  Raises ``OSError`` where that cannot be kept."""
        if self.is_valid(session):
            name = session.rpartition(".")[0]
            self._keep({**self._ended, name: _began(name)}, self._before)

    def end_all(self) -> None:
        """Let no session of until now open anything any more; as :meth:`end`."""
        self._refresh()
        self._keep({}, self._clock())

    def _sign(self, name: str) -> str:
        return hmac.new(self._key, name.encode("utf-8", "replace"), "sha256").hexdigest()

    def _keep(self, ended: dict[str, float], before: float) -> None:
        oldest = self._clock() - _SECONDS
        ended = {name: began for name, began in ended.items() if began > oldest}
        if len(ended) > _REMEMBERED:
            ended, before = {}, self._clock()
        if self._is_kept:
            with writing_folder(self._file.parent), replacing(self._file, SESSIONS.is_made) as file:
                file.write(seal(json.dumps({"before": before, "ended": ended}).encode()))
        self._ended, self._before = ended, before

    def _refresh(self) -> None:
        if not self._is_kept:
            return
        try:
            status = os.lstat(self._file)
        except OSError:
            return
        if (status.st_mtime_ns, status.st_ino) == self._read:
            return
        self._read = (status.st_mtime_ns, status.st_ino)
        try:
            kept: dict[str, Any] = json.loads(unseal(self._file.read_bytes()) or b"")
            self._before, self._ended = float(kept["before"]), dict(kept["ended"])
        except (OSError, ValueError, KeyError, TypeError):
            self._before, self._ended = self._clock(), {}  # what was in it is not known any more


def _began(name: str) -> float:
    return int(name.partition(".")[0], 16) / 1e6
