"""What happens to a picture on its way into a collection: cuts, turns, light, paper, JPEG.

Pictures are PIL images in RGB; every function returns a new one.  Chance comes from the caller's
generator, so that the same seed gives the same file.
"""

from __future__ import annotations

import io
from importlib.util import find_spec
from math import cos, radians, sin, sqrt
from pathlib import Path
from zlib import crc32

import numpy as np
from PIL import Image, ImageOps

__all__ = ["chance", "cut", "jpeg", "light", "on_white", "package_file", "turned_window"]


def chance(seed: int, *names: str | int) -> np.random.Generator:
    """A generator that depends on the seed and the names alone, not on what was drawn before."""
    return np.random.default_rng([seed, *(crc32(str(name).encode()) for name in names)])


def jpeg(picture: Image.Image, quality: int = 90) -> bytes:
    """The picture as a JPEG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def light(picture: Image.Image, rng: np.random.Generator, strength: float = 1.0) -> Image.Image:
    """The picture under other light: gain ±20 %, gamma 0.8 to 1.25, each channel ±5 %.

    ``strength`` scales all three.
    """
    gain = 1 + 0.2 * strength * rng.uniform(-1, 1)
    gamma = 1.25 ** (strength * rng.uniform(-1, 1))
    tints = 1 + 0.05 * strength * rng.uniform(-1, 1, 3)
    levels = 255 * (np.arange(256) / 255) ** gamma * gain * tints[:, None]
    return picture.point(np.clip(np.rint(levels), 0, 255).astype(int).ravel().tolist())


def cut(
    picture: Image.Image, rng: np.random.Generator, area: tuple[float, float], longest: int
) -> Image.Image:
    """A random part with a share of the area between these, mirrored half of the time.

    The part has the picture's shape, and its longer side ``longest`` pixels.
    """
    share = sqrt(rng.uniform(*area))
    width, height = (max(1, round(side * share)) for side in picture.size)
    left = int(rng.integers(picture.width - width + 1))
    top = int(rng.integers(picture.height - height + 1))
    part = picture.crop((left, top, left + width, top + height))
    part = ImageOps.mirror(part) if rng.random() < 0.5 else part
    return ImageOps.contain(part, (longest, longest), Image.Resampling.LANCZOS)


def turned_window(
    picture: Image.Image, rng: np.random.Generator, window: float, degrees: float, side: int
) -> Image.Image:
    """A square window of ``window`` pixels somewhere, turned by ± ``degrees``, as ``side`` pixels.

    The turned window lies inside the picture.  Raises ``ValueError`` where it does not fit.
    """
    angle = radians(rng.uniform(-degrees, degrees))
    reach = window / 2 * (abs(cos(angle)) + abs(sin(angle)))
    if 2 * reach > min(picture.size):
        raise ValueError(f"a window of {2 * reach:.0f} px does not fit into {picture.size}")
    x = rng.uniform(reach, picture.width - reach)
    y = rng.uniform(reach, picture.height - reach)
    along, across = window / 2 * cos(angle), window / 2 * sin(angle)
    # corners in PIL's order: upper left, lower left, lower right, upper right
    corners = (
        *(x - along + across, y - across - along),
        *(x - along - across, y - across + along),
        *(x + along - across, y + across + along),
        *(x + along + across, y + across - along),
    )
    # twice as large first: QUAD reads single pixels, and would alias where the window is larger
    drawn = picture.transform(
        (2 * side, 2 * side), Image.Transform.QUAD, corners, Image.Resampling.BICUBIC
    )
    return drawn.resize((side, side), Image.Resampling.LANCZOS)


def on_white(path: Path, longest: int) -> Image.Image:
    """A drawing, transparent or not, on white paper, without the empty paper around it.

    A twentieth of its longer side stays as a border; the longer side has at most so many pixels.
    """
    with Image.open(path) as opened:
        drawing = opened.convert("RGBA")
    paper = Image.new("RGBA", drawing.size, "white")
    picture = Image.alpha_composite(paper, drawing).convert("RGB")
    # many drawings fill a tenth of a portrait page; 250 leaves out what only soft edges leave there
    inked = picture.convert("L").point([255] * 250 + [0] * 6).getbbox()
    if inked:
        picture = picture.crop(inked)
    border = -(-max(picture.size) // 20)
    picture = ImageOps.expand(picture, border, "white")
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return picture


def package_file(package: str, *parts: str) -> Path:
    """A file that an installed package brings; the package is not imported.

    Raises ``FileNotFoundError`` where the package or the file is missing.
    """
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, *parts)
        if path.is_file():
            return path
    raise FileNotFoundError(f"{'/'.join(parts)} of {package} is missing: install {package}")
