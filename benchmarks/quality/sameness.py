"""``python -m benchmarks.quality.sameness SETS``: which copies are told as the same picture.

SETS is the folder of the two sets of photographs.  Every 19th photograph of the first is altered
in twenty ways and compared with itself and with the 9 that are most like it as thumbnails, in the
place of what a search finds; beside it PDQ, and the chance of the descriptor; then memes on each,
and views of one thing.  Choices were made on
others of these photographs.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from benchmarks.baselines.pdq import MOST_BITS, distance, hash_picture
from parecido import Engine, Library, index
from parecido.indexer.pictures.looks.drawing import draw_look, draw_thumbnail
from parecido.search.sameness.shown import thumbnail_of
from parecido.search.sameness.verdict import is_same

Vectors = npt.NDArray[np.float32]
Change = Callable[[Image.Image], Image.Image]

_AREA = 256 * 256  # as the default encoder gets pictures
_GAMMA = [int(255 * (level / 255) ** 0.7) for level in range(256)] * 3
_WORDS = ("WHEN YOU SEE IT", "NOT AGAIN", "BRACE YOURSELF", "IT WORKS HERE", "MONDAY")


def scale(across: float, down: float) -> Change:
    return lambda one: one.resize((max(1, int(one.width * across)), max(1, int(one.height * down))))


def crop(share: float, other: float) -> Change:
    """Without a share of the width and height at the left and top, and another opposite."""
    return lambda one: one.crop(
        (
            int(one.width * share),
            int(one.height * share),
            one.width - int(one.width * other),
            one.height - int(one.height * other),
        )
    )


KINDS: dict[str, Change] = {
    "JPEG of quality 70": lambda one: one,
    "half the size": scale(0.5, 0.5),
    "a quarter": scale(0.25, 0.25),
    "grey": lambda one: ImageOps.grayscale(one).convert("RGB"),
    "white frame of 16 px": lambda one: ImageOps.expand(one, 16, "white"),
    "black frame of 16 px": lambda one: ImageOps.expand(one, 16, "black"),
    "cut by 5 % on each side": crop(0.05, 0.05),
    "cut by 10 % on each side": crop(0.1, 0.1),
    "cut by 10 % on two sides": crop(0.0, 0.1),
    "mirrored": ImageOps.mirror,
    "turned by 90°": lambda one: one.transpose(Image.Transpose.ROTATE_90),
    "turned by 1°": lambda one: one.rotate(1, Image.Resampling.BICUBIC),
    "15 % wider": scale(1.15, 1.0),
    "brighter by a quarter": lambda one: ImageEnhance.Brightness(one).enhance(1.25),
    "contrast of 70 %": lambda one: ImageEnhance.Contrast(one).enhance(0.7),
    "gamma 0.7": lambda one: one.point(_GAMMA),
    "blurred": lambda one: one.filter(ImageFilter.GaussianBlur(1.5)),
    "sharpened": lambda one: one.filter(ImageFilter.UnsharpMask(2, 150, 3)),
    "more colour": lambda one: ImageEnhance.Color(one).enhance(1.6),
}


def compress(picture: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=70)
    return Image.open(stream).convert("RGB")


def pixels_of(picture: Image.Image) -> npt.NDArray[np.uint8]:
    """At about the size that the default encoder asks for."""
    times = (_AREA / (picture.width * picture.height)) ** 0.5
    across, down = (max(32, round(side * times / 32) * 32) for side in picture.size)
    return np.asarray(picture.resize((across, down), Image.Resampling.BICUBIC, reducing_gap=2.0))


def keep(picture: Image.Image) -> Vectors:
    return thumbnail_of(draw_look(pixels_of(picture)))


def ask(picture: Image.Image) -> Vectors:
    return draw_thumbnail(pixels_of(picture), min(picture.size))


def write_on(picture: Image.Image, words: str) -> Image.Image:
    """A meme: white letters with a dark edge, a ninth of the height, near the upper edge."""
    meme, size = picture.copy(), max(14, picture.height // 9)
    at, edge = (picture.width / 2, size), max(1, size // 12)
    draw = ImageDraw.Draw(meme)
    draw.text(
        at, words, "white", None, "mm", stroke_width=edge, stroke_fill="black", font_size=size
    )
    return meme


def load(folder: Path) -> list[Image.Image]:
    return [Image.open(path).convert("RGB") for path in sorted(folder.glob("images/*/*"))]


def count_by_chance(folder: Path) -> dict[str, int]:
    """Of each kind, how many copies find their own by its descriptor, as what is no chance.

    In a library of all photographs, with the default encoder, where fewer than a fiftieth of a
    picture is expected to score so.
    """
    paths = sorted(folder.glob("images/*/*"))
    found = dict.fromkeys(KINDS, 0)
    with tempfile.TemporaryDirectory() as scratch, Library.create(Path(scratch) / "l") as library:
        index(library, [folder / "images"])
        with Engine(library) as engine:
            for path in paths[::19]:
                photograph = Image.open(path).convert("RGB")
                for kind, change in KINDS.items():
                    hits = engine.search(compress(change(photograph)), k=3)
                    own = [hit for hit in hits if hit.path == str(path.absolute())]
                    found[kind] += any(hit.chance is not None and hit.chance <= 0.02 for hit in own)
    return found


def measure_kinds(photographs: list[Image.Image], by_chance: dict[str, int]) -> None:
    kept = np.stack([keep(one) for one in photographs])
    flat = kept.reshape(len(kept), -1) - kept.mean((1, 2))[:, None]
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    held_out = range(0, len(photographs), 19)
    hashes = {number: hash_picture(photographs[number]) for number in held_out}
    took: list[float] = []
    print("| kind | same | stored, asked about | another same | PDQ | descriptor |")
    print("|---|---|---|---|---|---|")
    for kind, change in KINDS.items():
        told = reversed_ = others = by_hash = 0
        for number in held_out:
            copy = compress(change(photographs[number]))
            alike = flat @ flat[number]
            alike[number] = 2
            ten = np.argsort(-alike)[:10]
            thumbnail = ask(copy)
            started = time.perf_counter()
            same = is_same(thumbnail, kept[ten])
            took.append(time.perf_counter() - started)
            told += bool(same[0])
            others += bool(same[1:].any())
            reversed_ += bool(is_same(kept[number], keep(copy)[None])[0])
            by_hash += distance(copy, hashes[number]) <= MOST_BITS
        count = len(held_out)
        shares = [told, reversed_, by_hash, by_chance[kind]]
        told_same, stored, hashed, described = (f"{100 * one / count:.0f}" for one in shares)
        ours = f"{told_same} | {stored} | {others} of {count}"
        print(f"| {kind} | {ours} | {hashed} | {described} |")
    print(f"\n{1000 * np.median(took):.1f} ms for ten hits")


def measure_memes(photographs: list[Image.Image]) -> None:
    pairs = wrong = by_hash = 0
    for photograph in photographs[::19]:
        memes = [photograph, *(write_on(photograph, words) for words in _WORDS)]
        kept = np.stack([keep(meme) for meme in memes])
        hashes = [hash_picture(meme) for meme in memes]
        for number, meme in enumerate(memes):
            same = is_same(ask(compress(meme)), kept)
            wrong += int(same.sum() - same[number])
            bits = [(hashes[number] != other).sum() for other in hashes]
            by_hash += sum(one <= MOST_BITS for one in bits) - 1
            pairs += len(memes) - 1
    print(f"memes on one photograph: {wrong} of {pairs} pairs are the same; by PDQ {by_hash}")


def measure_views(views: list[Image.Image]) -> None:
    pairs = wrong = by_hash = 0
    for first in range(0, len(views), 4):
        group = views[first : first + 4]
        kept, hashes = np.stack([keep(one) for one in group]), [hash_picture(one) for one in group]
        for number, view in enumerate(group):
            same = is_same(ask(view), kept)
            wrong += int(same.sum() - same[number])
            by_hash += sum(int((hashes[number] != one).sum()) <= MOST_BITS for one in hashes) - 1
            pairs += 3
    print(f"views of one thing: {wrong} of {pairs} pairs are the same; by PDQ {by_hash}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("sets", type=Path)
    sets = parser.parse_args().sets
    photographs = load(sets / "caltech101-mini")
    measure_kinds(photographs, count_by_chance(sets / "caltech101-mini"))
    measure_memes(photographs)
    measure_views(load(sets / "ukbench-mini"))


if __name__ == "__main__":
    main()
