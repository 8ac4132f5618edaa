"""Bytes of a picture file → an upright RGB array at the size that an encoder wants.

Nothing is decoded before its dimensions have passed the limits.  Only decoders that run in this
process are used: formats that Pillow hands to another program (EPS) are refused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeAlias

from PIL import Image

from parecido.indexer.errors import ParecidoError, PictureUnreadable
from parecido.indexer.pictures.colours import reduce, to_srgb
from parecido.indexer.pictures.costs import check_costs, load
from parecido.indexer.pictures.formats.cut import (
    MISSING,
    JpegBytes,
    Loaded,
    load_rest,
    measure_jpeg,
)
from parecido.indexer.pictures.formats.frames import turn_to_frame
from parecido.indexer.pictures.formats.layouts.plain import PlainPicture
from parecido.indexer.pictures.in_memory import Content
from parecido.indexer.pictures.limits import Limits, pillow_limit
from parecido.indexer.pictures.metadata.reading import Metadata, read_metadata
from parecido.indexer.pictures.metadata.texts import leave_out_pixels
from parecido.indexer.pictures.opening import (
    check_bytes,
    check_pixels,
    open_bytes,
    open_picture,
    open_plain,
    report_damage,
)
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

RESAMPLE = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
"""Filters by the names that an encoder's spec gives them."""
# What Pillow says where a file ends before the picture does
_ENDS = ("is truncated", "not enough image data")
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
    note: str = ""
    """What is missing of it; empty where nothing is."""


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
    note: str = ""
    """What is missing of it; empty where nothing is."""


def decode(content: Content, spec: EncoderSpec, limits: Limits) -> Decoded:
    """A picture at the encoder's size.  Raises :class:`PictureUnreadable`."""
    import numpy as np

    found = render(content, spec.size.target, limits, RESAMPLE[spec.resample])
    pixels = np.asarray(found.image)
    size = found.width, found.height
    return Decoded(pixels, *size, found.format, *found.metadata, found.note)


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
    pixels are decoded, by default :func:`take_turn`.  The first frame of an animation that shows
    something; transparency over white, or black; embedded colour profiles converted to sRGB.
    Raises :class:`PictureUnreadable`, and what ``target`` raises of this project's errors.
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
                shown, found = _load(image, content, limits)
                # a JPEG at a fraction, or a GIF that grew; others turn while they are loaded
                keeps = image.format in ("JPEG", "MPO", "GIF") and image.size != whole
                return _finish(found, shown, whole if keeps else None, (target, resample))
    except (ParecidoError, ImportError):  # a missing module is no damaged file
        raise
    except MemoryError as error:
        raise PictureUnreadable("not enough memory to decode it", "too-large") from error
    except Exception as error:  # decoders raise almost anything on damaged bytes
        raise report_damage(error) from error


def look(file: IO[bytes], limits: Limits) -> tuple[Size, str, Metadata]:
    """The upright size of a picture, its format, and what it tells of itself.

    Its pixels are not decoded.  Raises :class:`PictureUnreadable`.
    """
    try:
        with open_picture(leave_out_pixels(file), limits) as image:
            upright = _turn(image.size, _orientation(image))
            return upright, _name_format(image), read_metadata(image)
    except (ParecidoError, ImportError):  # a missing module is no damaged file
        raise
    except Exception as error:
        raise report_damage(error) from error


def take_turn(decoded: Size, _whole: Size) -> AbstractContextManager[object]:
    """Wait, with a large picture, until no other of this process is being decoded."""
    return _large if decoded[0] * decoded[1] > LARGE_PIXELS else nullcontext()


def _load(image: Image.Image, content: Content, limits: Limits) -> tuple[Image.Image, Loaded]:
    """An opened picture, and the pixels that are there where its file ends too early."""
    file = getattr(image, "fp", None)
    if isinstance(image, PlainPicture):
        return image, image.load_there()
    if isinstance(file, JpegBytes):
        file.ends = True
        loaded = load(image, content)
        return image, measure_jpeg(loaded) if file.is_cut else Loaded(loaded)
    try:
        pixels = load(image, content)
    except (OSError, ValueError) as error:
        if not isinstance(content, bytes):
            raise
        if image.format == "TIFF":
            return _load_plain(content, error)
        if not any(word in str(error) for word in _ENDS):
            raise
        with open_bytes(content, limits) as again:
            return image, load_rest(image, again)
    return image, Loaded(turn_to_frame(pixels) if isinstance(content, bytes) else pixels)


def _load_plain(content: bytes, error: Exception) -> tuple[Image.Image, Loaded]:
    """A TIFF that Pillow fails on with that error."""
    try:
        plain = open_plain(content)
        return plain, plain.load_there()
    except PictureUnreadable as refusal:
        # what it is packed with Pillow may know by name alone
        tells = any(words in refusal.reason for words in ("cut short", "compressed with"))
        raise refusal if tells else error from None


def _finish(
    loaded: Loaded,
    image: Image.Image,
    whole: Size | None,
    wanted: tuple[Callable[[int, int], tuple[int, int]], Image.Resampling],
) -> Rendered:
    """A loaded picture at its size; ``whole`` is that of one decoded at a fraction."""
    target, resample = wanted
    # asked again: the decoders of TIFF and AVIF turn the picture themselves while they load it
    orientation = _orientation(image)
    upright = _turn(whole or image.size, orientation)
    stored = _turn(target(*upright), orientation)
    small = _shrink(loaded, stored, image.info, resample)
    if orientation != 1:
        # turned when it is small; flips and quarter turns commute with the resampling.  Not with
        # ImageOps.exif_transpose: it writes the EXIF anew, and fails where another tag is damaged.
        small = small.transpose(_UPRIGHT[orientation])
    return Rendered(small, *upright, _name_format(image), read_metadata(image), loaded.note)


def _name_format(image: Image.Image) -> str:
    """Pillow's name of the format; a JPEG with others behind it is one."""
    return "JPEG" if image.format == "MPO" else image.format or ""


def _shrink(
    loaded: Loaded, size: Size, info: dict[Any, Any], resample: Image.Resampling
) -> Image.Image:
    """RGB at that size; rows that are missing are grey."""
    pixels, (width, height) = loaded.pixels, size
    first, end = 0, height
    if loaded.above or loaded.below:
        first = round(loaded.above * height)
        end = max(first + 1, round((1 - loaded.below) * height))
        top, bottom = loaded.above * pixels.height, (1 - loaded.below) * pixels.height
        pixels = pixels.crop((0, round(top), pixels.width, round(bottom)))
    there = width, end - first
    small = to_srgb(reduce(pixels, there), info).resize(there, resample, reducing_gap=2.0)
    if there == size:
        return small
    filled = Image.new("RGB", size, MISSING)
    filled.paste(small, (0, first))
    return filled


def _enter(content: Content, limits: Limits) -> AbstractContextManager[Image.Image]:
    """A picture within the limits."""
    if not isinstance(content, Image.Image):
        return open_bytes(content, limits)
    check_pixels(content.size, limits)
    return nullcontext(content)


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF does not make a picture unreadable
        return 1
    return value if value in range(1, 9) else 1


def _turn(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    return (size[1], size[0]) if orientation in _SWAPPING else size
