"""A picture file's bytes, within the limits."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from parecido.indexer.errors import PictureUnreadable
from parecido.indexer.pictures.decode import Decoded, Size, decode, look
from parecido.indexer.pictures.limits import Limits, pillow_limit
from parecido.indexer.pictures.metadata.reading import Metadata
from parecido.indexer.pictures.opening import check_bytes, open_picture
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.system.paths import within

__all__ = ["LEADS_OUT", "decode_file", "look_at", "open_file", "probe", "read_bytes"]

LEADS_OUT = "the link leads out of what may be indexed"
"""Why a file is left out whose path ends elsewhere than it may."""


def probe(path: Path, limits: Limits, inside: Sequence[str] = ()) -> bytes:
    """The bytes of a picture file that passes the limits.

    Only the header is read of a large file that is no picture; of a small one, whether it is shows
    when it is decoded.  ``inside`` are real paths of folders, where the file must lie in one of
    them.  Raises :class:`PictureUnreadable`.
    """
    return _read(path, limits, inside, looks_first=True)


def read_bytes(path: Path, limits: Limits) -> bytes:
    """As :func:`probe`, of a file whose header only a process of its own may look into."""
    return _read(path, limits, (), looks_first=False)


def look_at(path: Path, limits: Limits, inside: Sequence[str] = ()) -> tuple[Size, str, Metadata]:
    """The upright size, the format and the metadata of a picture file, whose pixels are not read.

    As :func:`probe` otherwise.
    """
    with _open(path, limits, inside) as (file, _):
        return look(file, limits)


def _read(path: Path, limits: Limits, inside: Sequence[str], *, looks_first: bool) -> bytes:
    with _open(path, limits, inside) as (file, size):
        if looks_first and size > _SMALL_BYTES:
            with open_picture(file, limits):
                pass
            file.seek(0)
        return file.read()


@contextmanager
def _open(path: Path, limits: Limits, inside: Sequence[str]) -> Iterator[tuple[BinaryIO, int]]:
    """A file that may be read, and how many bytes it has."""
    try:
        with open_file(path) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise PictureUnreadable("not a regular file", "not-a-picture")
            if inside and not _lies_inside(path, status, inside):
                raise PictureUnreadable(LEADS_OUT, "unreadable")
            if status.st_size == 0:
                raise PictureUnreadable("the file is empty (zero bytes)", "empty")
            check_bytes(status.st_size, limits)
            yield file, status.st_size
    except FileNotFoundError as error:
        raise PictureUnreadable("the file is not there any more", "vanished") from error
    except OSError as error:
        raise PictureUnreadable(
            f"the file cannot be read ({error.strerror or error})", "unreadable"
        ) from error


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """A file, open for reading; where a pipe has its place, no writer is waited for."""
    return open(path, "rb", opener=_without_waiting)


def _without_waiting(path: str, flags: int) -> int:
    """Open a named pipe that replaced the file without waiting for a writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _lies_inside(path: Path, status: os.stat_result, folders: Sequence[str]) -> bool:
    """Whether a file that was opened lies in one of some folders.

    Whatever is put at its path meanwhile: what lies in them by now must be what was opened.
    """
    real = os.path.realpath(os.fsencode(path))
    return any(within(real, os.fsencode(folder)) for folder in folders) and os.path.samestat(
        os.lstat(real), status
    )


def decode_file(path: Path, spec: EncoderSpec, limits: Limits) -> Decoded:
    """A picture file at the encoder's size.  Raises :class:`PictureUnreadable`."""
    with pillow_limit(limits):
        return decode(probe(path, limits), spec, limits)


_SMALL_BYTES = 8 << 20  # read whole at once: looking at the header first takes 0.1 ms
