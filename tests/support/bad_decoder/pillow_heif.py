"""A decoder as bad as they come, under the name of one that is imported when its files come.

A file names what it does: it crashes, hangs in C or in Python, eats memory, ends the process, or
gives a picture.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import time
from pathlib import Path

from PIL import Image, ImageFile

HEAD = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
SIZE = (64, 48)


class BadImageFile(ImageFile.ImageFile):
    format = "HEIF"
    format_description = "whatever the file says"

    def _open(self) -> None:
        assert self.fp is not None
        self._word, _, self._argument = self.fp.read()[len(HEAD) :].decode().partition(" ")
        self._size = SIZE
        self._mode = "RGB"

    def load(self):  # type: ignore[no-untyped-def]
        if self._argument:  # where what was met is counted
            with Path(self._argument).open("a") as told:
                told.write(f"{self._word}\n")
        match self._word:
            case "crashes":
                ctypes.string_at(0)
            case "exits":
                os._exit(3)
            case "hangs":
                time.sleep(3600)
            case "loops":
                while True:
                    pass
            case "computes":
                hashlib.pbkdf2_hmac("sha256", b"x", b"y", (1 << 31) - 1)
            case "eats":
                kept = []
                while True:
                    kept.append(bytearray(32 << 20))
            case "dies":
                os.kill(os.getpid(), 9)
        self.im = Image.new("RGB", SIZE, (90, 120, 40)).im
        return Image.Image.load(self)


def _accept(prefix: bytes) -> bool:
    return prefix[4:12] == b"ftypheic"


def register_heif_opener() -> None:
    Image.register_open("HEIF", BadImageFile, _accept)


__version__ = "1.0"
