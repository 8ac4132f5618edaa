"""Picture sets like those that people have: JPEG files of three sizes, all different.

Cut, flipped, tinted and put together from the photographs that scikit-image and scikit-learn bring,
with detail noise laid over them until a file has as many bytes for each pixel as cameras give:
upscaled photographs alone would be too smooth, and decode too fast.  The same packages give the
same pictures every time; only missing files are made.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from math import sqrt
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

__all__ = ["SETS", "PictureSet", "copies", "own_set"]

_QUALITY = 90
_RATIOS = ((3, 2), (4, 3), (16, 9), (1, 1))
_GRIDS = ((1, 1), (2, 1), (1, 2), (2, 2), (3, 2))
_TILE = 1024  # side of the noise field, in pixels; repeated over larger pictures
_SAMPLE = 512  # side of the part on which the strength of the noise is found
_VERSION = 1  # raised when other pictures come out of this module
_SOURCES = (
    *(f"skimage/data/{name}.png" for name in ("astronaut", "chelsea", "coffee", "ihc", "camera")),
    *(f"skimage/data/{name}.png" for name in ("motorcycle_left", "motorcycle_right", "moon")),
    *(f"skimage/data/{name}.png" for name in ("brick", "grass", "gravel")),
    *(f"skimage/data/{name}.jpg" for name in ("hubble_deep_field", "retina", "rocket")),
    *(f"sklearn/datasets/images/{name}.jpg" for name in ("china", "flower")),
)


@dataclass(frozen=True)
class PictureSet:
    """A set of generated pictures: about so many pixels each, in changing shapes."""

    name: str
    megapixels: float
    """Of a picture; 0 where the longer side is 320 pixels."""
    count: int
    """A multiple of 32, the batch of the plain recipe."""
    bytes_per_pixel: tuple[float, float]
    """Between these; every picture draws its own."""

    def size(self, number: int) -> tuple[int, int]:
        """``(width, height)`` of a picture, in pixels; every third group is upright."""
        a, b = _RATIOS[number % len(_RATIOS)]
        width = sqrt(self.megapixels * 1e6 * a / b) if self.megapixels else 320.0
        across, down = round(width / 2) * 2, round(width * b / a / 2) * 2
        return (down, across) if number // len(_RATIOS) % 3 == 2 else (across, down)

    def picture(self, number: int) -> bytes:
        """The file of one picture."""
        rng = np.random.default_rng([_VERSION, int(self.megapixels * 10), number])
        size = self.size(number)
        return _encoded(_canvas(size, rng), rng.uniform(*self.bytes_per_pixel), rng)

    def files(self, folder: Path, count: int | None = None) -> list[Path]:
        """The first pictures of the set, made in a folder where they are missing."""
        home = folder / f"{self.name.replace(' ', '').lower()}-v{_VERSION}"
        home.mkdir(parents=True, exist_ok=True)
        paths = [home / f"{number:04d}.jpg" for number in range(count or self.count)]
        missing = [number for number, path in enumerate(paths) if not path.exists()]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(lambda i: _put(paths[i], self.picture(i)), missing):
                pass
        return paths


SETS = (
    PictureSet("320 px", 0, 640, (0.32, 0.48)),
    PictureSet("2 MP", 2, 160, (0.28, 0.42)),
    PictureSet("12 MP", 12, 64, (0.26, 0.40)),
)


def own_set(folder: Path, most: int) -> list[Path]:
    """The first JPEG files below a folder, at most so many, a multiple of 32 if there are enough.

    Raises ``FileNotFoundError`` where there is none.
    """
    found: list[Path] = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in (".jpg", ".jpeg") and path.is_file():
            found.append(path)
        if len(found) == most:
            break
    if not found:
        raise FileNotFoundError(f"There is no JPEG file below {folder}.")
    return found[: len(found) // 32 * 32 or len(found)]


def copies(originals: Sequence[Path], times: int, folder: Path) -> list[Path]:
    """Folders with one copy of each original, each file of other bytes than all the rest.

    A few bytes behind the end of a JPEG change nothing for a decoder, and its digest: whoever
    recognises equal files has to work on each of these.
    """
    folders = []
    for number in range(times):
        target = folder / f"copy-{number:03d}"
        target.mkdir(parents=True, exist_ok=True)
        for position, original in enumerate(originals):
            path = target / f"{position:05d}.jpg"
            if not path.exists():
                trailer = b"copy" + number.to_bytes(4, "big") + position.to_bytes(4, "big")
                _put(path, original.read_bytes() + trailer)
        folders.append(target)
    return folders


def _canvas(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A mosaic of one to six parts of photographs, flipped and tinted."""
    columns, rows = _GRIDS[rng.integers(len(_GRIDS))]
    canvas = Image.new("RGB", size)
    edges_x = [round(size[0] * i / columns) for i in range(columns + 1)]
    edges_y = [round(size[1] * i / rows) for i in range(rows + 1)]
    for left, right in pairwise(edges_x):
        for top, bottom in pairwise(edges_y):
            photograph = _source(_SOURCES[rng.integers(len(_SOURCES))])
            share = rng.uniform(0.5, 1.0)
            width, height = (max(1, int(side * share)) for side in photograph.size)
            x = int(rng.integers(photograph.width - width + 1))
            y = int(rng.integers(photograph.height - height + 1))
            part = ImageOps.fit(
                photograph.crop((x, y, x + width, y + height)), (right - left, bottom - top)
            )
            part = ImageOps.mirror(part) if rng.random() < 0.5 else part
            gains = rng.uniform(0.75, 1.2, 3)
            table = np.clip(np.arange(256) * gains[:, None], 0, 255).astype(int)
            canvas.paste(part.point(table.ravel().tolist()), (left, top))
    return canvas


def _encoded(canvas: Image.Image, bytes_per_pixel: float, rng: np.random.Generator) -> bytes:
    """A JPEG file with noise as strong as that many bytes for each pixel ask for."""
    pixels = np.asarray(canvas)
    shift = tuple(int(x) for x in rng.integers(0, _TILE, 2))
    top, left = (max(0, (side - _SAMPLE) // 2) for side in pixels.shape[:2])
    part = slice(top, top + _SAMPLE), slice(left, left + _SAMPLE)
    sample, noise = pixels[part], _noise(pixels.shape[:2], shift)
    low, high = 0.0, 64.0
    for _ in range(7):
        strength = (low + high) / 2
        size = len(_jpeg(_noisy(sample, noise[part], strength)))
        enough = size > bytes_per_pixel * sample.shape[0] * sample.shape[1]
        low, high = (low, strength) if enough else (strength, high)
    return _jpeg(_noisy(pixels, noise, low))


def _noisy(
    pixels: npt.NDArray[np.uint8], noise: npt.NDArray[np.float32], strength: float
) -> npt.NDArray[np.uint8]:
    added = (noise * np.float32(strength)).astype(np.int16)[..., None]
    noisy: npt.NDArray[np.uint8] = np.clip(pixels + added, 0, 255).astype(np.uint8)
    return noisy


def _jpeg(pixels: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _noise(shape: Sequence[int], shift: Sequence[int]) -> npt.NDArray[np.float32]:
    """The noise field, rolled by a shift and repeated over a picture ``(height, width)``."""
    rolled = np.roll(_field(), tuple(shift), (0, 1))
    times = tuple(-(-side // _TILE) for side in shape)
    tiled: npt.NDArray[np.float32] = np.tile(rolled, times)[: shape[0], : shape[1]]
    return tiled


@cache
def _field() -> npt.NDArray[np.float32]:
    """Brightness noise of unit deviation with an amplitude of about 1/f, as in natural scenes.

    A little flatter (the power 0.7), so that the fine detail that costs bytes comes without clouds.
    """
    rng = np.random.default_rng(_VERSION)
    rows, columns = np.fft.fftfreq(_TILE)[:, None], np.fft.rfftfreq(_TILE)[None]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((_TILE, _TILE))) * frequency**-0.7
    noise = np.fft.irfft2(spectrum)
    field: npt.NDArray[np.float32] = (noise / noise.std()).astype(np.float32)
    return field


@cache
def _source(source: str) -> Image.Image:
    """A photograph out of an installed package, which is not imported: that takes seconds."""
    package, _, rest = source.partition("/")
    spec = find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders:
        raise FileNotFoundError(f"{package} is not installed: pip install -e '.[demo]'")
    with Image.open(Path(folders[0], rest)) as picture:
        return picture.convert("RGB")


def _put(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
