"""Photographs as a sensor saw them: not read, and not taken for the small pictures inside them."""

from __future__ import annotations

from collections.abc import Sequence

from parecido.indexer.errors import PictureUnreadable
from parecido.indexer.pictures.formats.layouts.directory import Directory

__all__ = ["refuse_raw", "refuse_raw_tiff"]

# How a file begins, from which byte, and whose it is
_BEGINNINGS = (
    (0, b"FUJIFILMCCD-RAW", "Fujifilm (RAF)"),
    (0, b"IIRO", "Olympus (ORF)"),
    (0, b"IIRS", "Olympus (ORF)"),
    (0, b"MMOR", "Olympus (ORF)"),
    (0, b"IIU\0", "Panasonic (RW2)"),
    (4, b"ftypcrx", "Canon (CR3)"),
    (6, b"HEAPCCDR", "Canon (CRW)"),
    (8, b"CR\2", "Canon (CR2)"),
    (0, b"FOVb", "Sigma (X3F)"),
    (0, b"\0MRM", "Minolta (MRW)"),
    (8, b"IIII", "Phase One (IIQ)"),
    (8, b"MMMM", "Phase One (IIQ)"),
    (0, b"ARRI", "Arri (ARI)"),
)
_COMPRESSION, _COLOURS, _MAKE, _DNG = 259, 262, 271, 50706
_SENSOR_COLOURS = (32803, 34892)  # a mosaic of colour filters, and what is linear in them
# Of Sony, Nikon, Samsung, Kodak and Pentax
_SENSOR_COMPRESSIONS = (32767, 32769, 32770, 34713, 65000, 65535)


def refuse_raw(head: bytes) -> None:
    """Raise :class:`~parecido.PictureUnreadable` for a file that begins as a camera's own."""
    for at, beginning, whose in _BEGINNINGS:
        if head.startswith(beginning, at):
            raise _refuse(whose)


def refuse_raw_tiff(directories: Sequence[Directory]) -> None:
    """The same for one that is a TIFF by its beginning, as DNG, NEF, ARW and PEF are."""
    maker = next((one.text(_MAKE) for one in directories if _MAKE in one), "")
    if any(_DNG in one for one in directories):
        raise _refuse(f"{maker} (DNG)" if maker else "a camera (DNG)")
    for one in directories:
        by_colours = one.number(_COLOURS, -1) in _SENSOR_COLOURS
        if by_colours or (maker and one.number(_COMPRESSION) in _SENSOR_COMPRESSIONS):
            raise _refuse(maker or "a camera")


def _refuse(whose: str) -> PictureUnreadable:
    return PictureUnreadable(f"a RAW file of {whose}, which is not read yet", "unsupported")
