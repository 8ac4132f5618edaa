"""Whatever mode a decoded picture has → opaque sRGB, as a viewer would show it."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from PIL import Image, ImageCms

from parecido.indexer.pictures.formats.layouts.samples import find_range, scale

__all__ = ["reduce", "to_srgb"]

# Of what is seen of a transparent picture, in 0..255: so light on the whole, with so few dark
# pixels, it is laid over black.  Signs in white, yellow and pastel are; photographs cut out of
# their ground are not.
_LIGHT, _DARK, _FEW = 190, 128, 0.02


def reduce(image: Image.Image, wanted: tuple[int, int]) -> Image.Image:
    """An image of a mode that resamples well, box-reduced while it stays twice the wanted size.

    In bands where the mode must change first, so that 200 megapixels of palette are never 800 MB
    of RGBA.
    """
    width, height = image.size
    factor = max(1, min(width // (2 * wanted[0]), height // (2 * wanted[1])))
    convert = _converter(image)
    if convert is None:
        return image.reduce(factor) if factor > 1 else image
    rows = max(1, 4_000_000 // (width * factor)) * factor
    if factor == 1 or rows >= height:
        return convert(image).reduce(factor)
    reduced: Image.Image | None = None
    for top in range(0, height, rows):
        band = convert(image.crop((0, top, width, min(height, top + rows)))).reduce(factor)
        if reduced is None:
            reduced = Image.new(band.mode, (band.width, -(-height // factor)))
        reduced.paste(band, (0, top // factor))
    assert reduced is not None
    return reduced


def _converter(image: Image.Image) -> Callable[[Image.Image], Image.Image] | None:
    """How to bring the mode to L, RGB, RGBA, CMYK or LAB, as a viewer would; None if it is one."""
    mode = image.mode
    transparent = "transparency" in image.info
    if mode in ("I", "F") or mode.startswith("I;16"):
        return _range_converter(image)
    # RGBA too, though it is one: reducing it whole takes a second copy, of premultiplied colours
    if transparent or mode in ("PA", "LA", "La", "RGBa", "RGBA"):
        return lambda part: part.convert("RGBA")
    if mode in ("L", "RGB", "CMYK", "LAB"):
        return None
    return lambda part: part.convert("L" if mode == "1" else "RGB")


def _range_converter(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """More than eight bits to eight: by the type's range where it is known, else by the values'."""
    import numpy as np  # 50 ms that a process which decodes photographs never needs

    low, high = 0.0, 65535.0
    if image.mode in ("I", "F"):
        low, high = find_range(*_extremes(image), floating=image.mode == "F")

    def convert(part: Image.Image) -> Image.Image:
        return Image.fromarray(scale(np.asarray(part), low, high, rounds=False))

    return convert


def _extremes(image: Image.Image) -> tuple[float, float]:
    """The smallest and the largest value of an I or F image, among those that are numbers."""
    import numpy as np

    extrema: Any = image.getextrema()
    if not np.isfinite(extrema).all():  # measured pictures have NaN or inf where nothing is known
        values = np.asarray(image)
        finite = values[np.isfinite(values)]
        extrema = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    return float(extrema[0]), float(extrema[1])


def to_srgb(image: Image.Image, info: dict[Any, Any]) -> Image.Image:
    """Opaque sRGB, from one of the modes that :func:`_converter` leaves.

    Transparency lies over white, or over black where on white nothing would be seen.
    """
    profile = info.get("icc_profile")
    if image.mode == "LAB" or (profile and image.mode in ("RGB", "RGBA", "CMYK", "L")):
        try:
            transform = _make_transform(profile if image.mode != "LAB" else b"", image.mode)
            if transform is not None:
                alpha = image.getchannel("A") if image.mode == "RGBA" else None
                image = (
                    ImageCms.applyTransform(image.convert("RGB") if alpha else image, transform)
                    or image
                )
                if alpha is not None:
                    image.putalpha(alpha)
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a damaged profile: show the numbers as they are, as viewers do
    if image.mode == "RGBA":
        ground = Image.new("RGBA", image.size, "black" if _is_light(image) else "white")
        image = Image.alpha_composite(ground, image)
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it


def _is_light(image: Image.Image) -> bool:
    """Whether what is to be seen of an RGBA image is so light that white would swallow it.

    A picture with shadows or outlines is not, however light the rest.
    """
    alpha = image.getchannel("A")
    extrema: Any = alpha.getextrema()
    lowest, highest = extrema
    if lowest == 255 or highest == 0:
        return False
    # half of the strongest: a soft shadow around a white sign is no part of it
    visible = alpha.point([255 if value >= highest / 2 else 0 for value in range(256)])
    counts = image.convert("RGB").convert("L").histogram(visible)
    dark = sum(counts[:_DARK])
    mean = sum(value * count for value, count in enumerate(counts)) / sum(counts)
    return mean >= _LIGHT and dark <= _FEW * sum(counts)


@lru_cache(maxsize=32)
def _make_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """A transform from a profile to sRGB; None where the profile is sRGB, or for another mode."""
    if mode == "LAB":
        source = ImageCms.createProfile("LAB")
    else:
        source = ImageCms.getOpenProfile(io.BytesIO(profile)).profile
        if "sRGB" in (source.profile_description or ""):
            return None
    space = {"RGBA": "RGB"}.get(mode, mode)
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), space, "RGB")
