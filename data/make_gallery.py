"""Makes the quick start's gallery and queries from pictures that installed packages ship.

    python data/make_gallery.py        # needs: pip install -e '.[demo]'

``data/gallery/`` gets some sixty pictures: photographs and drawings out of scikit-image and
scikit-learn, and views cut from the larger ones, so that a search has neighbours to find.
``data/queries/`` gets twelve altered copies, and ``origins.csv``, which tells what each one is an
altered copy of.  Nothing is downloaded, and the same packages give the same bytes every time.

Whose pictures they are: most of scikit-image's are public domain, CC0 or without known restrictions
(its ``skimage/data/_fetchers.py`` names the sources: NASA, SpaceX, the Brooklyn Museum, Rachel
Michetti, Stefan van der Walt and others), the motorcycle is from the Middlebury stereo set of 2014,
and the few that it says nothing about come under its own BSD licence.  scikit-learn's two are CC BY
2.0, the pagoda by danielbuechele and the dahlia by vultilion.  None is kept in this repository.
"""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

DATA = Path(__file__).resolve().parent
GALLERY, QUERIES = DATA / "gallery", DATA / "queries"
ORIGINS = QUERIES / "origins.csv"

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class View:
    """One picture of the gallery."""

    name: str
    source: str
    """A package and a file in it."""
    box: Box | None = None
    """Left, top, right, bottom in the source's pixels; ``None`` is all of it."""


@dataclass(frozen=True)
class Query:
    """One altered copy of a picture of the gallery."""

    name: str
    origin: str
    change: str
    """What was done, in words."""
    alter: Callable[[Image.Image], Image.Image]
    quality: int = 90


def _skimage(name: str, file: str, box: Box | None = None) -> View:
    return View(name, f"skimage/data/{file}", box)


def _sklearn(name: str, file: str, box: Box | None = None) -> View:
    return View(name, f"sklearn/datasets/images/{file}", box)


# Photographs become JPEG as in anyone's library, drawings and scans stay PNG.  Textures are there
# as two halves without the whole, so that each half's best neighbour shows none of its pixels.
VIEWS = (
    _skimage("astronaut.jpg", "astronaut.png"),
    _skimage("astronaut-face.jpg", "astronaut.png", (150, 0, 350, 190)),
    _skimage("astronaut-helmet.jpg", "astronaut.png", (262, 262, 512, 512)),
    _skimage("shuttle-model.jpg", "astronaut.png", (345, 0, 512, 290)),
    _skimage("flag.jpg", "astronaut.png", (0, 0, 115, 330)),
    _skimage("blood-vessels.png", "microaneurysms.png"),
    _skimage("bricks-left.jpg", "brick.png", (0, 0, 256, 512)),
    _skimage("bricks-right.jpg", "brick.png", (256, 0, 512, 512)),
    _skimage("cat.jpg", "chelsea.png"),
    _skimage("cat-eyes.jpg", "chelsea.png", (100, 60, 400, 180)),
    _skimage("cat-ears.jpg", "chelsea.png", (40, 0, 300, 110)),
    _skimage("cell.jpg", "cell.png"),
    _skimage("chessboard.png", "chessboard_RGB.png"),
    _skimage("coffee.jpg", "coffee.png"),
    _skimage("coffee-cup.jpg", "coffee.png", (155, 10, 470, 310)),
    _skimage("coffee-spoon.jpg", "coffee.png", (270, 190, 450, 330)),
    _skimage("table-top.jpg", "coffee.png", (0, 0, 160, 400)),
    _skimage("coins-above.jpg", "coins.png", (0, 0, 384, 150)),
    _skimage("coins-below.jpg", "coins.png", (0, 150, 384, 303)),
    _skimage("colour-wheel.png", "color.png"),
    _skimage("galaxies-1.jpg", "hubble_deep_field.jpg", (0, 0, 500, 436)),
    _skimage("galaxies-2.jpg", "hubble_deep_field.jpg", (500, 0, 1000, 436)),
    _skimage("galaxies-3.jpg", "hubble_deep_field.jpg", (0, 436, 500, 872)),
    _skimage("galaxies-4.jpg", "hubble_deep_field.jpg", (500, 436, 1000, 872)),
    _skimage("grass-left.jpg", "grass.png", (0, 0, 256, 512)),
    _skimage("grass-right.jpg", "grass.png", (256, 0, 512, 512)),
    _skimage("gravel-left.jpg", "gravel.png", (0, 0, 256, 512)),
    _skimage("gravel-right.jpg", "gravel.png", (256, 0, 512, 512)),
    _skimage("handwriting.png", "text.png"),
    _skimage("head-phantom.png", "phantom.png"),
    _skimage("horse.png", "horse.png"),
    _skimage("moon.jpg", "moon.png"),
    _skimage("moon-crater.jpg", "moon.png", (40, 30, 220, 210)),
    _skimage("moon-ridge.jpg", "moon.png", (150, 230, 400, 512)),
    _skimage("motorcycle-left.jpg", "motorcycle_left.png"),
    _skimage("motorcycle-right.jpg", "motorcycle_right.png"),
    _skimage("motorcycle-engine.jpg", "motorcycle_left.png", (270, 190, 500, 390)),
    _skimage("motorcycle-front-wheel.jpg", "motorcycle_left.png", (490, 230, 705, 460)),
    _skimage("motorcycle-rear-wheel.jpg", "motorcycle_right.png", (80, 220, 290, 440)),
    _skimage("garage-shelf.jpg", "motorcycle_right.png", (330, 0, 741, 140)),
    _skimage("photographer.jpg", "camera.png"),
    _skimage("photographer-face.jpg", "camera.png", (150, 40, 340, 210)),
    _skimage("skyline.jpg", "camera.png", (330, 80, 512, 260)),
    _skimage("tripod.jpg", "camera.png", (230, 100, 430, 512)),
    _skimage("retina.jpg", "retina.jpg"),
    _skimage("retina-disc.jpg", "retina.jpg", (60, 430, 500, 850)),
    _skimage("retina-vessels.jpg", "retina.jpg", (300, 880, 840, 1350)),
    _skimage("rocket.jpg", "rocket.jpg"),
    _skimage("rocket-close.jpg", "rocket.jpg", (270, 30, 390, 427)),
    _skimage("launch-mast.jpg", "rocket.jpg", (0, 0, 180, 427)),
    _skimage("tissue-left.jpg", "ihc.png", (0, 0, 256, 512)),
    _skimage("tissue-right.jpg", "ihc.png", (256, 0, 512, 512)),
    _sklearn("dahlia.jpg", "flower.jpg"),
    _sklearn("dahlia-heart.jpg", "flower.jpg", (220, 110, 400, 290)),
    _sklearn("leaves.jpg", "flower.jpg", (460, 0, 640, 300)),
    _sklearn("pagoda.jpg", "china.jpg"),
    _sklearn("pagoda-roof.jpg", "china.jpg", (90, 0, 340, 170)),
    _sklearn("lake.jpg", "china.jpg", (370, 150, 640, 290)),
    _sklearn("trees.jpg", "china.jpg", (260, 280, 640, 427)),
)


def mirrored(picture: Image.Image) -> Image.Image:
    """The picture with left and right exchanged."""
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def turned(degrees: int) -> Callable[[Image.Image], Image.Image]:
    """A turn anticlockwise; other than by quarters, the empty corners are cut off."""

    def turn(picture: Image.Image) -> Image.Image:
        if degrees % 90 == 0:
            return picture.rotate(degrees, expand=True)
        whole = picture.rotate(degrees, Image.Resampling.BICUBIC)
        # for up to 8 degrees and sides of up to 2:1, a seventh off each edge leaves no corner
        return whole.crop(part(whole.size, 1 / 7, 1 / 7, 6 / 7, 6 / 7))

    return turn


def cropped(left: float, top: float, right: float, bottom: float) -> Callable[..., Image.Image]:
    """A part of the picture; the edges are fractions of its width and height."""
    return lambda picture: picture.crop(part(picture.size, left, top, right, bottom))


def part(size: tuple[int, int], left: float, top: float, right: float, bottom: float) -> Box:
    """Fractions of a size as a box of pixels."""
    width, height = size
    return round(left * width), round(top * height), round(right * width), round(bottom * height)


def small(width: int) -> Callable[[Image.Image], Image.Image]:
    """The picture at another width, its proportions kept."""
    return lambda picture: picture.resize(
        (width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS
    )


def bluish(picture: Image.Image) -> Image.Image:
    """The picture as under a colder light."""
    return picture.convert("RGB", (0.75, 0, 0, 0, 0, 1, 0, 0, 0, 0.1, 1.3, 20))


def grey(picture: Image.Image) -> Image.Image:
    """The picture without its colours."""
    return picture.convert("L")


def unaltered(picture: Image.Image) -> Image.Image:
    """The picture itself: only its encoding changes."""
    return picture


QUERY_LIST = (
    Query("astronaut-sideways.jpg", "astronaut.jpg", "turned by 90°", turned(90)),
    Query("bricks-tilted.jpg", "bricks-right.jpg", "turned by 5°", turned(5)),
    Query("cat-mirrored.jpg", "cat.jpg", "mirrored", mirrored),
    Query("coffee-cropped.jpg", "coffee.jpg", "the upper left part", cropped(0, 0, 0.75, 0.85)),
    Query("dahlia.webp", "dahlia.jpg", "WebP, quality 30", unaltered, quality=30),
    Query("galaxies-upside-down.jpg", "galaxies-2.jpg", "turned by 180°", turned(180)),
    Query("motorcycle-coarse.jpg", "motorcycle-left.jpg", "JPEG, quality 30", unaltered, 30),
    Query("pagoda-small.jpg", "pagoda.jpg", "160 pixels wide", small(160)),
    Query(
        "photographer-cropped.jpg", "photographer.jpg", "the middle", cropped(0.15, 0.1, 0.85, 0.8)
    ),
    Query("retina-bluish.jpg", "retina.jpg", "colours shifted to blue", bluish),
    Query("rocket-tilted.jpg", "rocket.jpg", "turned by 8°", turned(8)),
    Query("tissue-grey.jpg", "tissue-left.jpg", "without colours", grey),
)


@cache
def source_path(source: str) -> Path:
    """Where the file lies in its installed package, which is not imported: that takes seconds."""
    package, _, rest = source.partition("/")
    spec = find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders:
        sys.exit(f"make_gallery: {package} is not installed. Install it: pip install -e '.[demo]'")
    path = Path(folders[0], rest)
    if not path.is_file():
        sys.exit(
            f"make_gallery: {path} is missing: another version of {package}? "
            "Install the known one: pip install -U -e '.[demo]'"
        )
    return path


def view_bytes(view: View) -> bytes:
    """The file of a gallery's picture; a whole picture already in its format stays as it is."""
    path = source_path(view.source)
    if view.box is None and path.suffix == Path(view.name).suffix:
        return path.read_bytes()
    with Image.open(path) as picture:
        return encoded(picture.crop(view.box) if view.box else picture, view.name, 92)


def encoded(picture: Image.Image, name: str, quality: int) -> bytes:
    """The picture in the format that its file name tells."""
    buffer = io.BytesIO()
    format = Image.registered_extensions()[Path(name).suffix]
    picture.save(buffer, format, quality=quality)
    return buffer.getvalue()


def put(path: Path, content: bytes) -> None:
    """Write the file whole, or leave it alone where it says this already.

    An untouched file keeps its times, so the next ``parecido index`` need not look into it.
    """
    if path.is_file() and path.read_bytes() == content:
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def main() -> None:
    """Make both folders."""
    for folder in (GALLERY, QUERIES):
        folder.mkdir(parents=True, exist_ok=True)
    for view in VIEWS:
        put(GALLERY / view.name, view_bytes(view))
    table = io.StringIO(newline="")
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(("query", "origin", "change"))
    for query in QUERY_LIST:
        with Image.open(GALLERY / query.origin) as picture:
            altered = query.alter(picture)
            put(QUERIES / query.name, encoded(altered, query.name, query.quality))
        rows.writerow((query.name, query.origin, query.change))
    put(ORIGINS, table.getvalue().encode())
    print(
        f"{len(VIEWS)} pictures in data/gallery, {len(QUERY_LIST)} altered copies in data/queries"
    )


if __name__ == "__main__":
    main()
