"""Small pictures of the library's, made once and kept within a bound."""

from __future__ import annotations

import io
import logging
import os
import threading
from contextlib import suppress
from pathlib import Path

from parecido.indexer.pictures.decoding.decoder import Decoder
from parecido.indexer.pictures.decoding.orders import Order
from parecido.indexer.pictures.limits import Limits
from parecido.indexer.pictures.wanted import Fitting
from parecido.indexer.records.pictures import Picture
from parecido.indexer.system.kinds import THUMBNAIL_MARK, THUMBNAILS
from parecido.indexer.system.own_files import (
    is_folder,
    is_own,
    make_folder,
    own_files,
    remove_own,
    replacing,
)
from parecido.indexer.system.sealed import seal, unseal
from parecido.search.web.errors import report_change

__all__ = ["SIZES", "Thumbnails"]

SIZES = (128, 256, 512, 1024)
"""Pixels of the longer side."""

_log = logging.getLogger("parecido")
_QUALITY = 82
_SPARE = 0.9  # of the bound is kept when something must go


class Thumbnails:
    """JPEG files in a folder, by the content of their originals and their size, each with a seal.

    When they take more than ``limit`` bytes, those not asked for longest go.  Where the folder
    cannot be written, thumbnails are made each time.
    """

    def __init__(self, folder: Path, limit: int, limits: Limits, decoder: Decoder) -> None:
        self._folder = folder
        self._limit = limit
        self._limits = limits
        self._decoder = decoder
        self._lock = threading.Lock()
        self._bytes: int | None = None  # counted when the first is written

    def get(self, picture: Picture, size: int) -> bytes:
        """A thumbnail as JPEG.

        Raises :class:`~parecido.PictureUnreadable`, or ``Refused`` where the file is another
        one than was indexed.
        """
        path = self._path(picture, size)
        try:
            data = unseal(path.read_bytes()) if self._holds(path) else None
            if data is not None:
                os.utime(path)  # asked for now
                return data
        except OSError:
            pass
        data = self._make(picture, size)
        self._keep(path, data)
        return data

    def forget(self, picture: Picture) -> None:
        """Remove what is kept of a picture that has left the library."""
        for size in SIZES:
            self._remove(self._path(picture, size))

    def _holds(self, path: Path) -> bool:
        """Whether a thumbnail lies there, and no link leads there."""
        return is_folder(self._folder) and is_own(path, THUMBNAILS.is_made)

    def _remove(self, path: Path) -> None:
        if is_folder(self._folder):
            remove_own(path.parent, THUMBNAILS.only(path.name))

    def _path(self, picture: Picture, size: int) -> Path:
        return self._folder / str(size) / f"{picture.content_hash.hex()}.jpg"

    def _make(self, picture: Picture, size: int) -> bytes:
        order = Order(Fitting(size), self._limits, picture.path, picture.file_size)
        drawn = self._decoder.decode(order, claim=lambda found: found == picture.content_hash)
        if drawn is None:
            raise report_change()
        stream = io.BytesIO()
        drawn.image.save(
            stream,
            "JPEG",
            quality=_QUALITY,
            optimize=True,
            progressive=True,
            comment=THUMBNAIL_MARK,
        )
        return stream.getvalue()

    def _keep(self, path: Path, data: bytes) -> None:
        """Whole or not at all; a power cut may leave it empty, which :meth:`get` sees."""
        data = seal(data)
        try:
            make_folder(self._folder)
            make_folder(path.parent)
            with replacing(path, THUMBNAILS.is_made, sync=False) as file:
                file.write(data)
        except OSError as error:
            _log.debug("A thumbnail could not be kept: %s", error)
            return
        with self._lock:
            if self._bytes is None:
                self._bytes = sum(size for _, size, _ in self._list_files())
            else:
                self._bytes += len(data)
            if self._bytes > self._limit:
                self._make_room()

    def _list_files(self) -> list[tuple[float, int, str]]:
        """When each was last asked for, its bytes, its path."""
        found = []
        for size in SIZES:
            if not is_folder(self._folder):
                continue
            for path in own_files(self._folder / str(size), THUMBNAILS):
                with suppress(OSError):
                    status = path.stat()
                    found.append((status.st_mtime, status.st_size, str(path)))
        return found

    def _make_room(self) -> None:
        kept = sorted(self._list_files())
        total = sum(size for _, size, _ in kept)
        for _, size, path in kept:
            if total <= self._limit * _SPARE:
                break
            self._remove(Path(path))
            total -= 0 if os.path.lexists(path) else size
        self._bytes = total
