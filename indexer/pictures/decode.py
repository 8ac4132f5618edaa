"""Bytes of a picture file → an upright RGB array at the size that an encoder wants.

Nothing is decoded before its dimensions have passed the limits.  Only decoders that run in this
process are used: formats that Pillow hands to another program (EPS) are refused.
"""

from __future__ import annotations

import importlib
import io
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import IO, TYPE_CHECKING, NamedTuple, TypeAlias

from PIL import Image, UnidentifiedImageError

from parecido.indexer.errors import ParecidoError, PictureUnreadable
from parecido.indexer.pictures.colours import reduce, to_srgb
from parecido.indexer.pictures.costs import check_costs, load
from parecido.indexer.pictures.in_memory import Content
from parecido.indexer.pictures.limits import Limits, pillow_limit
from parecido.indexer.pictures.metadata.reading import Metadata, read_metadata
from parecido.indexer.pictures.metadata.texts import leave_out_pixels
from parecido.indexer.records.choices import FORMATS
from parecido.indexer.records.details import NO_DETAILS, Details
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.records.pictures import UNKNOWN, Taken

if TYPE_CHECKING:
    from parecido.indexer.arrays import Pixels

__all__ = [
    "LARGE_PIXELS",
    "RESAMPLE",
    "Decoded",
    "Limits",
    "Rendered",
    "Size",
    "Turn",
    "decode",
    "look",
    "pillow_limit",
    "render",
    "take_turn",
]

# Pillow's plug-in modules; HEIF comes from pillow-heif
_PLUGINS = (
    *("Jpeg", "Mpo", "Png", "WebP", "Gif", "Bmp", "Tiff", "Avif", "Jpeg2K"),
    *("Ppm", "Tga", "Ico", "Psd", "Qoi", "Pcx", "Sgi", "Dds"),
)
# What begins so is of that format or damaged: the other decoders, which take 8 ms to import, are
# left alone.
_CERTAIN = {
    b"\xff\xd8\xff": ("PIL.JpegImagePlugin", ("JPEG",)),
    b"\x89PNG\r\n\x1a\n": ("PIL.PngImagePlugin", ("PNG",)),
}
RESAMPLE = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
"""Filters by the names that an encoder's spec gives them."""
_SIGNATURES = (
    *(b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"8BPS"),
    *(b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51", b"DDS "),
)
# Brands of HEIF and AVIF; films have the same container and others ("isom", "mp42", "qt  ")
_HEIF_BRANDS = (b"hei", b"hev", b"mif", b"msf", b"mia", b"avi")
_ICON = b"\0\0\1\0"
_ORIENTATION = 0x0112
_SWAPPING = (5, 6, 7, 8)
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Above this many pixels, pictures are decoded one at a time: 32 megapixels are 128 MB in
# memory (Pillow keeps RGB in four bytes), and the default limit of 200 would be 800 MB a worker.
LARGE_PIXELS = 32_000_000
"""Pictures of more are decoded one at a time."""
_large = threading.Lock()


@dataclass(frozen=True)
class Decoded:
    """A picture, ready for the network."""

    pixels: Pixels
    """Upright RGB ``(height, width, 3)`` at the encoder's size."""
    width: int
    """Upright width of the whole picture, in pixels."""
    height: int
    """Upright height of the whole picture, in pixels."""
    format: str
    """Pillow's name of the file format."""
    taken: Taken = UNKNOWN
    """When, and with which camera."""
    details: Details = NO_DETAILS
    """What else it tells of itself."""


Size: TypeAlias = tuple[int, int]
"""Width and height in pixels."""
Turn: TypeAlias = Callable[[Size, Size], AbstractContextManager[object]]
"""Asked before pixels are decoded, with how many are and how many the stored picture has (a JPEG is
decoded at a fraction of its size); entered while they are, and may wait until that can be."""


class Rendered(NamedTuple):
    """A picture as a viewer would show it."""

    image: Image.Image
    """Upright RGB."""
    width: int
    """Upright width of the whole picture, in pixels."""
    height: int
    """Upright height of the whole picture, in pixels."""
    format: str
    """Pillow's name of the file format."""
    metadata: Metadata
    """What it tells of itself."""


def decode(content: Content, spec: EncoderSpec, limits: Limits) -> Decoded:
    """A picture at the encoder's size.  Raises :class:`PictureUnreadable`."""
    import numpy as np

    found = render(content, spec.size.target, limits, RESAMPLE[spec.resample])
    pixels = np.asarray(found.image)
    return Decoded(pixels, found.width, found.height, found.format, *found.metadata)


def render(
    content: Content,
    target: Callable[[int, int], tuple[int, int]],
    limits: Limits,
    resample: Image.Resampling = Image.Resampling.LANCZOS,
    turn: Turn | None = None,
) -> Rendered:
    """A picture as a viewer would show it, at a chosen size.

    ``content`` is the bytes of a file, or a picture that PIL has opened, which is left as it is.
    ``target`` maps the upright ``(width, height)`` to the wanted one.  ``turn`` is asked before the
    pixels are decoded, by default :func:`take_turn`.  The first frame of an animation; transparency
    over white; embedded colour profiles converted to sRGB.  Raises
    :class:`PictureUnreadable`, and what ``target`` raises of this project's errors.
    """
    if isinstance(content, bytes):
        if not content:
            raise PictureUnreadable("the file is empty (zero bytes)", "empty")
        check_bytes(len(content), limits)
    try:
        with _enter(content, limits) as image:
            whole = image.size
            check_costs(image, content, limits.pixels)
            if image.format in ("JPEG", "MPO") and isinstance(content, bytes):
                wanted = target(*_turn(whole, _orientation(image)))
                # the decoder scales by 1/2, 1/4 or 1/8 in the DCT: 12 megapixels in 73 ms, not 260
                image.draft("RGB" if image.mode != "L" else "L", (max(wanted), max(wanted)))
            with (turn or take_turn)(image.size, whole):
                drafted = image.size != whole
                return _finish(load(image, content), whole if drafted else None, target, resample)
    except (ParecidoError, ImportError):  # a missing module is no damaged file
        raise
    except MemoryError as error:
        raise PictureUnreadable("not enough memory to decode it", "too-large") from error
    except Exception as error:  # decoders raise almost anything on damaged bytes
        raise _report_damage(error) from error


def look(file: IO[bytes], limits: Limits) -> tuple[Size, str, Metadata]:
    """The upright size of a picture, its format, and what it tells of itself.

    Its pixels are not decoded.  Raises :class:`PictureUnreadable`.
    """
    try:
        with open_picture(leave_out_pixels(file), limits) as image:
            upright = _turn(image.size, _orientation(image))
            return upright, image.format or "", read_metadata(image)
    except (ParecidoError, ImportError):  # a missing module is no damaged file
        raise
    except Exception as error:
        raise _report_damage(error) from error


def take_turn(decoded: Size, _whole: Size) -> AbstractContextManager[object]:
    """Wait, with a large picture, until no other of this process is being decoded."""
    return _large if decoded[0] * decoded[1] > LARGE_PIXELS else nullcontext()


def _finish(
    image: Image.Image,
    whole: Size | None,
    target: Callable[[int, int], tuple[int, int]],
    resample: Image.Resampling,
) -> Rendered:
    """A loaded picture at its size; ``whole`` is that of one decoded at a fraction."""
    # asked again: the decoders of TIFF and AVIF turn the picture themselves while they load it
    orientation = _orientation(image)
    upright = _turn(whole or image.size, orientation)
    wanted = target(*upright)
    stored = _turn(wanted, orientation)
    small = to_srgb(reduce(image, stored), image.info).resize(stored, resample, reducing_gap=2.0)
    if orientation != 1:
        # turned when it is small; flips and quarter turns commute with the resampling.  Not with
        # ImageOps.exif_transpose: it writes the EXIF anew, and fails where another tag is damaged.
        small = small.transpose(_UPRIGHT[orientation])
    return Rendered(small, *upright, image.format or "", read_metadata(image))


def _enter(content: Content, limits: Limits) -> AbstractContextManager[Image.Image]:
    """A picture within the limits."""
    if not isinstance(content, Image.Image):
        return open_picture(io.BytesIO(content), limits)
    _check_pixels(content.size, limits)
    return nullcontext(content)


@contextmanager
def open_picture(file: IO[bytes], limits: Limits) -> Iterator[Image.Image]:
    """A picture within the limits, of which only the header was read."""
    head = file.read(32)
    file.seek(0)
    formats = _to_try(head)  # outside: a missing module is no damaged file
    if head.startswith(_ICON):
        _check_icon(file, limits)
    try:
        image = Image.open(file, formats=formats)
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
    except Exception as error:
        raise _report_damage(error) from error
    with image:
        _check_pixels(image.size, limits)
        yield image


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
    _check_pixels((max(1, width), max(1, abs(height))), limits)


def _check_pixels(size: tuple[int, int], limits: Limits) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise PictureUnreadable(f"damaged: its size is {width} × {height}", "damaged")
    if width * height > limits.pixels:
        raise PictureUnreadable(
            f"too large: {width} × {height} pixels, and the limit is "
            f"{limits.pixels / 1e6:.0f} megapixels",
            "too-large",
        )


def _report_damage(error: Exception) -> PictureUnreadable:
    text = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
    return PictureUnreadable(f"damaged: {text}", "damaged")


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF does not make a picture unreadable
        return 1
    return value if value in range(1, 9) else 1


def _turn(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    return (size[1], size[0]) if orientation in _SWAPPING else size
