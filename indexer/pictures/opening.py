"""Bytes of a picture file → a picture of PIL's, within the limits, of which the header was read."""

from __future__ import annotations

import importlib
import io
import re
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import IO

from PIL import Image, UnidentifiedImageError

from parecido.indexer.errors import PictureUnreadable
from parecido.indexer.pictures.formats.cut import JpegBytes
from parecido.indexer.pictures.formats.layouts.directory import (
    PREFIXES,
    Directory,
    list_directories,
)
from parecido.indexer.pictures.formats.layouts.plain import PlainPicture
from parecido.indexer.pictures.formats.layouts.psd import is_beyond_pillow, open_psd
from parecido.indexer.pictures.formats.layouts.tiff import fails_in_pillow, is_misread, open_layout
from parecido.indexer.pictures.formats.pages import choose_page, turn_to
from parecido.indexer.pictures.formats.png import drop_long_texts
from parecido.indexer.pictures.formats.raw import refuse_raw, refuse_raw_tiff
from parecido.indexer.pictures.formats.stray import find_jpeg
from parecido.indexer.pictures.limits import Limits
from parecido.indexer.records.choices import FORMATS

__all__ = [
    "check_bytes",
    "check_pixels",
    "open_bytes",
    "open_picture",
    "open_plain",
    "report_damage",
]

# Pillow's plug-in modules; HEIF comes from pillow-heif
_PLUGINS = (
    *("Jpeg", "Mpo", "Png", "WebP", "Gif", "Bmp", "Tiff", "Avif", "Jpeg2K"),
    *("Ppm", "Tga", "Ico", "Psd", "Qoi", "Pcx", "Sgi", "Dds"),
)
# What begins so is of that format or damaged: the other decoders, which take 8 ms to import, are
# left alone.
_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"
_CERTAIN = {
    _JPEG: ("PIL.JpegImagePlugin", ("JPEG",)),
    _PNG: ("PIL.PngImagePlugin", ("PNG",)),
}
_SIGNATURES = (
    *(_JPEG, b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"8BPS"),
    *(b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51", b"DDS "),
)
# Brands of HEIF and AVIF; films have the same container and others ("isom", "mp42", "qt  ")
_HEIF_BRANDS = (b"hei", b"hev", b"mif", b"msf", b"mia", b"avi")
# What Pillow tells of bytes, or of objects, in Python's words
_IN_PYTHON = re.compile(r" ?\(chunk b['\"].*['\"]\)|(?: in)? b['\"].*['\"]|<[\w.]+ object at \w+>")
_ICON = b"\0\0\1\0"


def open_bytes(data: bytes, limits: Limits) -> AbstractContextManager[Image.Image]:
    """As :func:`open_picture`, of a file that was read."""
    return open_picture((JpegBytes if data.startswith(_JPEG) else io.BytesIO)(data), limits)


@contextmanager
def open_picture(file: IO[bytes], limits: Limits) -> Iterator[Image.Image]:
    """A picture within the limits, of which only the header was read."""
    head = file.read(32)
    file.seek(0)
    formats = _to_try(head)  # outside: a missing module is no damaged file
    if head.startswith(_ICON):
        _check_icon(file, limits)
    try:
        image = _open(file, head, formats)
    except UnidentifiedImageError as error:
        heif = head[4:8] == b"ftyp" and head[8:12].startswith(_HEIF_BRANDS)
        if head.startswith(_SIGNATURES) or heif or head[8:12] == b"WEBP":
            raise PictureUnreadable("damaged: its header cannot be read", "damaged") from error
        raise PictureUnreadable("not a picture in a format that is read", "not-a-picture") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureUnreadable(
            f"too large: more pixels than the limit of {limits.pixels / 1e6:.0f} megapixels",
            "too-large",
        ) from error
    except PictureUnreadable:
        raise
    except Exception as error:
        raise report_damage(error) from error
    with image:
        check_pixels(image.size, limits)
        yield image


def _open(file: IO[bytes], head: bytes, formats: tuple[str, ...]) -> Image.Image:
    """A picture by what its file begins with."""
    if head.startswith(_JPEG):
        return Image.open(file, formats=formats)
    if head.startswith(_PNG):
        file, profile = drop_long_texts(file)
        image = Image.open(file, formats=formats)
        if profile:
            image.info["icc_profile"] = profile
        return image
    refuse_raw(head)
    if head.startswith(PREFIXES):
        return _open_tiff(file, formats)
    if is_beyond_pillow(head):
        return open_psd(file)
    try:
        return Image.open(file, formats=formats)
    except UnidentifiedImageError:
        start = find_jpeg(file)
        if not start:
            raise
        file.seek(start)
        return _open(JpegBytes(file.read()), _JPEG, _to_try(_JPEG))


def _open_tiff(file: IO[bytes], formats: tuple[str, ...]) -> Image.Image:
    file, page = _turn_to_page(file)
    if page is not None and is_misread(page):
        return open_layout(file, page)
    try:
        return Image.open(file, formats=formats)
    except UnidentifiedImageError:
        if page is None:
            raise
        return open_layout(file, page)


def _turn_to_page(file: IO[bytes]) -> tuple[IO[bytes], Directory | None]:
    """The page of a TIFF that is to be shown, and the file with that page in front."""
    directories = list_directories(file)
    refuse_raw_tiff(directories)
    page = choose_page(directories)
    if page is not None and page is not directories[0]:
        file = turn_to(file, page)
    return file, page


def open_plain(data: bytes) -> PlainPicture:
    """A TIFF that Pillow opened and failed on.  Raises :class:`~parecido.PictureUnreadable`."""
    file, page = _turn_to_page(io.BytesIO(data))
    if page is None or fails_in_pillow(page):
        raise PictureUnreadable("damaged: it cannot be decoded", "damaged")
    return open_layout(file, page)


def _to_try(head: bytes) -> tuple[str, ...]:
    """The formats that a file may have which begins like that, their decoders registered."""
    for signature, (module, formats) in _CERTAIN.items():
        if head.startswith(signature):
            importlib.import_module(module)
            return formats
    return _readable(head[4:8] == b"ftyp")


@cache
def _readable(heif: bool) -> tuple[str, ...]:
    """The formats to try, their decoders registered; HEIF's only where a file looks like one."""
    for name in _PLUGINS:
        importlib.import_module(f"PIL.{name}ImagePlugin")
    if not heif:
        return tuple(name for name in FORMATS if name in Image.OPEN and name != "HEIF")
    import pillow_heif

    pillow_heif.register_heif_opener()
    return ("AVIF", "HEIF")


def check_bytes(size: int, limits: Limits) -> None:
    if size > limits.bytes:
        raise PictureUnreadable(
            f"too large: {size / 1e6:.0f} MB, and the limit is {limits.bytes / 1e6:.0f} MB",
            "too-large",
        )


def _check_icon(file: IO[bytes], limits: Limits) -> None:
    """Look at the picture inside an icon: Pillow decodes it, whatever its size, on opening."""
    from PIL.IcoImagePlugin import IcoFile

    try:
        file.seek(IcoFile(file).entry[0].offset)
        header = file.read(24)
        png = header.startswith(b"\x89PNG")
        width, height = (
            struct.unpack(">II", header[16:]) if png else struct.unpack_from("<ii", header, 4)
        )
    except (IndexError, ValueError, struct.error):
        return  # damaged, or no icon: Image.open finds that too
    finally:
        file.seek(0)
    check_pixels((max(1, width), max(1, abs(height))), limits)


def check_pixels(size: tuple[int, int], limits: Limits) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise PictureUnreadable(f"damaged: its size is {width} × {height}", "damaged")
    if width * height > limits.pixels:
        raise PictureUnreadable(
            f"too large: {width} × {height} pixels, and the limit is "
            f"{limits.pixels / 1e6:.0f} megapixels",
            "too-large",
        )


def report_damage(error: Exception) -> PictureUnreadable:
    told = _IN_PYTHON.sub("", str(error)).strip()
    text = (told.splitlines() or ["it cannot be decoded"])[0][:160]
    return PictureUnreadable(f"damaged: {text}", "damaged")
