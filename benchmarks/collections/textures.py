"""Textures that no classifier was trained on: 60 surfaces, eight pictures of each.

A surface is a brightness field in one of eight colourings, which different surfaces share, so that
colour alone does not tell groups apart.  Members are windows of one field, and may overlap: turned
by up to 15°, 0.8 to 1.25 times the size, under other light, as JPEG of quality 50 to 95.

Sources: filtered noise after Perlin (1985) and Galerne et al. (2012); cellular noise after Worley
(1996); spots and mazes after Gray and Scott, near Pearson's (1993) parameters; three photographs
of surfaces that scikit-image brings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import pi
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.collections.alterations import chance, jpeg, light, package_file, turned_window

__all__ = ["GROUPS", "members", "textures"]

Field = npt.NDArray[np.floating[Any]]
"""Brightness ``(SIDE, SIDE)``, of any range: colouring stretches it."""

SIDE = 1024
MEMBERS = 8
_PICTURE = 320  # side of a picture, in pixels
_TURN = 15.0  # degrees
_COLOURS = (  # the dark end and the light end of a surface
    ((20, 20, 22), (235, 235, 230)),
    ((58, 36, 20), (222, 190, 150)),
    ((22, 40, 62), (200, 215, 225)),
    ((30, 48, 22), (205, 214, 160)),
    ((92, 30, 24), (236, 206, 186)),
    ((50, 44, 40), (176, 168, 156)),
    ((120, 88, 30), (250, 236, 190)),
    ((18, 60, 60), (225, 225, 200)),
)


def _frequencies() -> tuple[Field, Field]:
    """Cycles per pixel down and across, for ``rfft2`` of a field."""
    down = np.fft.fftfreq(SIDE).astype(np.float32)[:, None]
    return down, np.fft.rfftfreq(SIDE).astype(np.float32)[None]


def _grid() -> tuple[Field, Field]:
    down, across = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    return down, across


def _filtered(rng: np.random.Generator, amplitude: Field) -> Field:
    """White noise with this amplitude spectrum; unit deviation."""
    spectrum = np.fft.rfft2(rng.standard_normal((SIDE, SIDE)).astype(np.float32)) * amplitude
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, (SIDE, SIDE))
    result: Field = (noise / noise.std()).astype(np.float32)
    return result


def _clouds(rng: np.random.Generator, power: float, smallest: float = 3) -> Field:
    """Noise whose amplitude falls with that power of the frequency, from 1/90 cycles a pixel."""
    frequency = np.hypot(*_frequencies())
    soft = np.exp(-((frequency * smallest) ** 2))
    return _filtered(rng, np.maximum(frequency, np.float32(1 / 90)) ** -power * soft)


def _bands(rng: np.random.Generator, period: float, width: float = 0.25) -> Field:
    """Noise around one period, in pixels; ``width`` is the band's share of its frequency."""
    frequency = np.hypot(*_frequencies()) * period
    return _filtered(rng, np.exp(-(((frequency - 1) / width) ** 2)))


def _thresholded(rng: np.random.Generator, period: float, level: float) -> Field:
    """Islands where noise passes a level, in deviations: 0 is a maze, 1 are spots."""
    result: Field = np.tanh(4 * (_bands(rng, period) - level))
    return result


def _fibres(rng: np.random.Generator, length: float, thickness: float, degrees: float) -> Field:
    """Noise drawn out along one direction; both extents in pixels."""
    down, across = _frequencies()
    angle = degrees * pi / 180
    along = across * np.cos(angle) + down * np.sin(angle)
    over = down * np.cos(angle) - across * np.sin(angle)
    return _filtered(rng, np.exp(-((along * length) ** 2) - (over * thickness) ** 2))


def _gabor(rng: np.random.Generator, waves: tuple[tuple[float, float], ...]) -> Field:
    """A sum of wave trains, each of ``(period in pixels, direction in degrees)``."""
    down, across = _frequencies()
    total = np.zeros((SIDE, SIDE), np.float32)
    for period, degrees in waves:
        angle = degrees * pi / 180
        distance = [
            np.hypot(across - sign * np.cos(angle) / period, down - sign * np.sin(angle) / period)
            for sign in (1, -1)
        ]
        total += _filtered(rng, np.exp(-((np.minimum(*distance) * period / 0.09) ** 2)))
    return total


def _wood(rng: np.random.Generator, rings: float, waviness: float) -> Field:
    """Lines of growth: stripes bent by drawn-out noise, with fine fibres."""
    down, _ = _grid()
    bend = _fibres(rng, 500, 60, 0) * waviness
    result: Field = np.sin(2 * pi * (down + bend) / rings) + 0.5 * _fibres(rng, 60, 2, 0)
    return result


def _cells(rng: np.random.Generator, spacing: float, kind: str, order: float = 1.0) -> Field:
    """Cellular noise with seeds ``spacing`` pixels apart; ``order`` 0 puts them on a hex grid."""
    from scipy.spatial import KDTree  # type: ignore[import-untyped]

    rows = np.arange(-2, SIDE / spacing / 0.866 + 2)
    columns = np.arange(-2, SIDE / spacing + 2)
    seeds = np.stack(np.meshgrid(rows * 0.866, columns, indexing="ij"), -1)
    seeds[1::2, :, 1] += 0.5
    points = (seeds + order * rng.uniform(-0.5, 0.5, seeds.shape)).reshape(-1, 2) * spacing
    places = np.stack(_grid(), -1).reshape(-1, 2)
    distances, nearest = KDTree(points).query(places, 2)
    first, second = (distances[:, i].reshape(SIDE, SIDE) / spacing for i in (0, 1))
    shade = rng.random(len(points))[nearest[:, 0]].reshape(SIDE, SIDE)
    field = {
        "bumps": -first,
        "cracks": np.minimum(second - first, 0.12),
        "facets": second - first,
        "mosaic": np.where(second - first < 0.05, -0.4, shade),
        "pebbles": np.minimum(second - first, 0.3) * 3 + 0.6 * shade,
        "dots": (first < 0.28).astype(float),
        "rings": np.cos(first * 8 * pi),
    }[kind]
    result: Field = field.astype(np.float32)
    return result


def _reaction(rng: np.random.Generator, feed: float, kill: float, steps: int = 6000) -> Field:
    """Gray and Scott's reaction on a torus of 256², from chance seeds, four times as large."""
    size = 256
    u, v = np.ones((size, size), np.float32), np.zeros((size, size), np.float32)
    for y, x in rng.integers(0, size - 8, (60, 2)):
        u[y : y + 8, x : x + 8], v[y : y + 8, x : x + 8] = 0.5, 0.25
    v += rng.uniform(0, 0.02, v.shape).astype(np.float32)

    def spread(a: Field) -> Field:
        wide = np.pad(a, 1, mode="wrap")
        near = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]
        far = wide[:-2, :-2] + wide[:-2, 2:] + wide[2:, :-2] + wide[2:, 2:]
        result: Field = 0.2 * near + 0.05 * far - a
        return result

    for _ in range(steps):
        made = u * v * v
        u += 1.0 * spread(u) - made + feed * (1 - u)
        v += 0.5 * spread(v) + made - (feed + kill) * v
    small = Image.fromarray(v).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(small)


def _bricks(
    rng: np.random.Generator, width: float, height: float, shift: float, joint: float = 5
) -> Field:
    """Courses of bricks, each moved by a share of a brick; sizes and joints in pixels."""
    down, across = _grid()
    course = np.floor(down / height)
    moved = across + course * shift * width
    column = np.floor(moved / width)
    shades = rng.random((64, 256)).astype(np.float32)
    shade = shades[course.astype(int) % 64, column.astype(int) % 256]
    inside = (down % height > joint) & (moved % width > joint)
    rough = 0.12 * _clouds(rng, 1.0)
    return np.where(inside, 0.45 + 0.5 * shade + rough, rough - 0.15)


def _woven(rng: np.random.Generator, thread: float, over: int, under: int, step: int) -> Field:
    """Cloth: a weft thread goes over so many, under so many; each row begins ``step`` later."""
    down, across = _grid()
    row, column = np.floor(down / thread), np.floor(across / thread)
    weft_on_top = (column + step * row) % (over + under) < over
    round_weft = np.sin(pi * (down % thread) / thread)
    round_warp = np.sin(pi * (across % thread) / thread)
    rough = 0.1 * _clouds(rng, 0.6)
    result: Field = np.where(weft_on_top, 0.35 + 0.65 * round_weft, 0.6 * round_warp) + rough
    return result


def _tartan(rng: np.random.Generator, sett: float, stripes: int) -> Field:
    """Chequered cloth: the same stripes of chance widths down and across, over a fine twill."""
    edges = np.sort(rng.random(stripes))
    shades = rng.random(stripes + 1)

    def tone(position: Field) -> npt.NDArray[np.float64]:
        result: npt.NDArray[np.float64] = shades[np.searchsorted(edges, position % sett / sett)]
        return result

    down, across = _grid()
    twill = 0.12 * np.sin(2 * pi * (down + across) / 7)
    result: Field = (tone(down) + tone(across) + twill).astype(np.float32)
    return result


def _scales(rng: np.random.Generator, size: float, pointed: float) -> Field:
    """Rows of overlapping scales, ``size`` pixels wide; 0 is round, 1 is like roof slates."""
    down, across = _grid()
    result = np.zeros((SIDE, SIDE), np.float32)
    filled = np.zeros((SIDE, SIDE), bool)
    pitch = size * 0.5
    first = np.floor(down / pitch)
    for row in (first - 1, first):  # the row above lies on top of the next
        x = (across + (row % 2) * size / 2) % size - size / 2
        y = down - row * pitch
        reach = np.sqrt(np.maximum(0, (size / 2) ** 2 - x**2)) * (1 - pointed)
        reach += pointed * np.where(np.abs(x) < 0.46 * size, size * 0.5, 0)
        inside = ~filled & (y < reach + pitch * 0.5)
        result[inside] = (y / (reach + pitch * 0.5 + 1))[inside]
        filled |= inside
    return result + 0.06 * _clouds(rng, 0.8)


def _herringbone(rng: np.random.Generator, period: float, stripe: float) -> Field:
    """Columns of slanting lines that change their slant from one column to the next."""
    down, across = _grid()
    fold = np.abs(across % (2 * stripe) - stripe)
    result: Field = np.tanh(2 * np.sin(2 * pi * (down + fold) / period)) + 0.25 * _clouds(rng, 0.6)
    return result


def _photograph(rng: np.random.Generator, name: str) -> Field:
    """A surface of 512 × 512 pixels that scikit-image brings, drawn as large as a field."""
    del rng
    with Image.open(package_file("skimage", "data", name)) as opened:
        grey = opened.convert("L")
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.LANCZOS), np.float32)


GROUPS: Mapping[str, Callable[[np.random.Generator], Field]] = {
    "clouds": partial(_clouds, power=2.0, smallest=8),
    "plaster": partial(_clouds, power=1.2),
    "sand": partial(_clouds, power=0.3),
    "grain-fine": partial(_bands, period=7),
    "grain-middle": partial(_bands, period=14),
    "grain-coarse": partial(_bands, period=30),
    "maze-fine": partial(_thresholded, period=14, level=0.0),
    "maze-coarse": partial(_thresholded, period=34, level=0.0),
    "spots-fine": partial(_thresholded, period=16, level=0.9),
    "spots-coarse": partial(_thresholded, period=42, level=0.9),
    "holes": partial(_thresholded, period=36, level=-0.9),
    "brushed-across": partial(_fibres, length=160, thickness=2, degrees=0),
    "brushed-down": partial(_fibres, length=160, thickness=2, degrees=90),
    "fur-rising": partial(_fibres, length=45, thickness=4, degrees=-45),
    "fur-falling": partial(_fibres, length=45, thickness=4, degrees=45),
    "reeds": partial(_fibres, length=220, thickness=11, degrees=90),
    "ripples-across": partial(_gabor, waves=((26, 90),)),
    "ripples-down": partial(_gabor, waves=((26, 0),)),
    "ripples-wide": partial(_gabor, waves=((58, 60),)),
    "plaid-upright": partial(_gabor, waves=((22, 0), (22, 90))),
    "plaid-slanting": partial(_gabor, waves=((22, 45), (22, 135))),
    "plaid-uneven": partial(_gabor, waves=((14, 0), (48, 90))),
    "three-waves": partial(_gabor, waves=((24, 0), (24, 60), (24, 120))),
    "wood-narrow": partial(_wood, rings=16, waviness=18),
    "wood-wide": partial(_wood, rings=44, waviness=30),
    "wood-curly": partial(_wood, rings=26, waviness=80),
    "bumps-fine": partial(_cells, spacing=22, kind="bumps"),
    "bumps-coarse": partial(_cells, spacing=58, kind="bumps"),
    "cracks-fine": partial(_cells, spacing=34, kind="cracks"),
    "cracks-coarse": partial(_cells, spacing=90, kind="cracks"),
    "facets": partial(_cells, spacing=52, kind="facets"),
    "mosaic-fine": partial(_cells, spacing=24, kind="mosaic"),
    "mosaic-coarse": partial(_cells, spacing=64, kind="mosaic"),
    "pebbles-fine": partial(_cells, spacing=30, kind="pebbles", order=0.6),
    "pebbles-coarse": partial(_cells, spacing=76, kind="pebbles", order=0.6),
    "honeycomb-fine": partial(_cells, spacing=30, kind="cracks", order=0.0),
    "honeycomb-coarse": partial(_cells, spacing=72, kind="mosaic", order=0.0),
    "dots-even": partial(_cells, spacing=36, kind="dots", order=0.0),
    "dots-scattered": partial(_cells, spacing=36, kind="dots", order=0.9),
    "rings": partial(_cells, spacing=80, kind="rings", order=0.7),
    "reaction-spots": partial(_reaction, feed=0.030, kill=0.062),
    "reaction-maze": partial(_reaction, feed=0.029, kill=0.057),
    "reaction-holes": partial(_reaction, feed=0.039, kill=0.058),
    "reaction-worms": partial(_reaction, feed=0.054, kill=0.063),
    "bricks-running": partial(_bricks, width=110, height=40, shift=0.5),
    "bricks-stacked": partial(_bricks, width=90, height=42, shift=0.0),
    "bricks-slender": partial(_bricks, width=170, height=24, shift=0.33, joint=3),
    "tiles-square": partial(_bricks, width=46, height=46, shift=0.0, joint=3),
    "cloth-plain": partial(_woven, thread=14, over=1, under=1, step=1),
    "cloth-twill": partial(_woven, thread=12, over=2, under=2, step=1),
    "cloth-satin": partial(_woven, thread=13, over=4, under=1, step=2),
    "tartan-wide": partial(_tartan, sett=170, stripes=6),
    "tartan-narrow": partial(_tartan, sett=74, stripes=4),
    "scales": partial(_scales, size=60, pointed=0.0),
    "slates": partial(_scales, size=72, pointed=1.0),
    "herringbone-fine": partial(_herringbone, period=16, stripe=40),
    "herringbone-coarse": partial(_herringbone, period=36, stripe=84),
    "photographed-brick": partial(_photograph, name="brick.png"),
    "photographed-grass": partial(_photograph, name="grass.png"),
    "photographed-gravel": partial(_photograph, name="gravel.png"),
}


def textures(seed: int) -> Iterator[tuple[str, list[bytes]]]:
    """Every group with the JPEG files of its members.

    Raises ``FileNotFoundError`` where scikit-image, which brings three of them, is missing.
    """
    for group in GROUPS:
        yield group, members(group, seed)


def members(group: str, seed: int, count: int = MEMBERS) -> list[bytes]:
    """The JPEG files of one group."""
    rng = chance(seed, "texture", group)
    surface = _coloured(GROUPS[group](rng), list(GROUPS).index(group))
    found = []
    for _ in range(count):
        window = _PICTURE * rng.uniform(0.8, 1.25)
        picture = turned_window(surface, rng, window, _TURN, _PICTURE)
        found.append(jpeg(light(picture, rng), int(rng.integers(50, 96))))
    return found


def _coloured(field: Field, number: int) -> Image.Image:
    """A field between a dark and a light colour; the outer hundredths are cut off."""
    low, high = np.percentile(field, (1, 99))
    share = np.clip((field - low) / max(high - low, 1e-6), 0, 1)[..., None]
    # neighbours in the list are kin: two by two they share a colouring, so that the pattern has to
    # tell them apart, and every colouring comes back with kinds that have nothing in common
    dark, bright = (np.array(colour, np.float32) for colour in _COLOURS[(number // 2) % 8])
    return Image.fromarray(np.rint(dark + (bright - dark) * share).astype(np.uint8))
