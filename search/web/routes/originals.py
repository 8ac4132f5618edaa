"""The files of pictures, as they were indexed and not as they are by now.

What lies at a picture's path may have been put there since, by a link for example: of the same size
and time, which anybody can give a file.  So a file is opened once, its bytes are compared with the
digest of those that were indexed, and what was opened is sent.
"""

from __future__ import annotations

import os
import stat
import threading
from collections import OrderedDict
from functools import partial
from typing import Any, BinaryIO

from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

from parecido.indexer.pictures.read import open_file
from parecido.indexer.records.pictures import Picture
from parecido.indexer.system.files import hash_pieces
from parecido.indexer.system.paths import signed64
from parecido.search.web.errors import report_change, report_loss

__all__ = ["OpenFile", "open_original"]

_PIECE = 1 << 20
_REMEMBERED = 4096

_lock = threading.Lock()
_compared: OrderedDict[tuple[object, ...], None] = OrderedDict()
"""Files with the digests that they have; any change of one changes its times."""


def open_original(picture: Picture) -> BinaryIO:
    """The file that was indexed.  Raises ``Refused`` where it is not there, or is another one."""
    try:
        file = open_file(picture.path)
    except IsADirectoryError:
        raise report_change() from None
    except OSError as error:
        raise report_loss(error) from error
    try:
        status = os.fstat(file.fileno())
        seen = (status.st_size, signed64(status.st_mtime_ns))
        if not stat.S_ISREG(status.st_mode) or seen != (picture.file_size, picture.mtime_ns):
            raise report_change()
        if not _is_same(file, status, picture.content_hash):
            raise report_change()
    except OSError as error:
        file.close()
        raise report_loss(error) from error
    except BaseException:
        file.close()
        raise
    return file


def _is_same(file: BinaryIO, status: os.stat_result, digest: bytes) -> bool:
    times = (status.st_mtime_ns, status.st_ctime_ns)
    key = (status.st_dev, status.st_ino, status.st_size, *times, digest)
    with _lock:
        if key in _compared:
            _compared.move_to_end(key)
            return True
    found = hash_pieces(iter(partial(file.read, _PIECE), b""))
    file.seek(0)
    if found != digest:
        return False
    with _lock:
        _compared[key] = None
        while len(_compared) > _REMEMBERED:
            _compared.popitem(last=False)
    return True


class OpenFile(FileResponse):
    """As its base, of a file that is open, which it closes."""

    def __init__(self, file: BinaryIO, path: str, **options: Any) -> None:
        opened = f"/dev/fd/{file.fileno()}"  # whatever has its path by now
        super().__init__(opened if os.path.exists(opened) else path, **options)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()
