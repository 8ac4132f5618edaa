"""Which frame of an animation is the picture: the first that shows something."""

from __future__ import annotations

from typing import Any

from PIL import Image

__all__ = ["turn_to_frame"]

_MOST_FRAMES = 100
_MOST_PIXELS = 100_000_000  # of frames that are looked at, but for the first


def turn_to_frame(image: Image.Image) -> Image.Image:
    """Turn an opened and loaded animation to its first frame that is not of one colour.

    Many begin with a black or an empty one, and all of these look alike.  Where there is no such
    frame among the first hundred, it stays at the first.
    """
    if image.format not in ("GIF", "PNG", "WEBP", "AVIF"):
        return image
    if image.format != "GIF" and not getattr(image, "is_animated", False):
        return image  # a GIF tells by its second frame
    if not _is_blank(image):
        return image
    size = image.size
    most = min(_MOST_FRAMES, max(1, _MOST_PIXELS // (image.width * image.height)))
    try:
        for number in range(1, most + 1):
            image.seek(number)
            if image.size != size:
                break  # Pillow draws what reaches beyond a GIF's screen, and no viewer does
            image.load()
            if not _is_blank(image):
                return image
    except Exception:  # the last frame, or damage behind the first
        pass
    image.seek(0)
    image.load()
    return image if image.size == size else image.crop((0, 0, *size))


def _is_blank(image: Image.Image) -> bool:
    """Whether all its pixels are alike, or transparent."""
    extrema: Any = image.getextrema()
    bands = extrema if isinstance(extrema[0], tuple) else (extrema,)
    if image.mode in ("RGBA", "LA", "PA") and bands[-1] == (0, 0):
        return True
    return all(low == high for low, high in bands)
