"""How often a part of a picture finds the whole, with and without regional descriptors.

``python -m benchmarks.quality.within FOLDER`` indexes up to so many pictures below a folder into a
library with regional descriptors, cuts parts of several sizes out of some of them, at random places
and in the picture's shape, and searches for each as a file of its own, plain and within.  It tells
for each size how often the source came first, how much of the box that was named lies in the part
and how much of the part in the box, and what regions take in bytes and in time.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import sqrt
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.collections.alterations import jpeg
from benchmarks.plan import say
from parecido import Engine, IndexOptions, Library, index
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.encoders.opening import load_encoder
from parecido.indexer.pictures.decode import Limits, decode
from parecido.indexer.records.regions import Box
from parecido.search.ranking.parts import Within, views

__all__ = ["SHARES", "Figures", "Part", "main", "measure", "parts"]

SHARES = (0.15, 0.3, 0.5)
"""Of a picture's area that its parts have."""
_SUFFIXES = (".jpg", ".jpeg", ".png")


class Part(NamedTuple):
    """A part that was cut out of a picture."""

    source: Path
    place: Box
    content: bytes
    """Of a JPEG file."""


class Figures(NamedTuple):
    """What came of searching for parts of one size."""

    queries: int
    plain: float
    """Share of the queries whose source came first."""
    within: float
    inside: float
    """Share of the named box that lies in the part, where the source came first; 0 to 1."""
    covered: float
    """Share of the part that lies in the named box, likewise."""
    plain_ms: float
    """Median time of a query, decoding and the network included."""
    within_ms: float


def parts(sources: Sequence[Path], share: float, seed: int) -> Iterator[Part]:
    """A part of each picture with that share of its area, somewhere, in its shape."""
    chance = np.random.default_rng([seed, round(share * 1000)])
    for path in sources:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        width, height = (max(1, round(side * sqrt(share))) for side in picture.size)
        left = int(chance.integers(picture.width - width + 1))
        top = int(chance.integers(picture.height - height + 1))
        cut = picture.crop((left, top, left + width, top + height))
        across, down = picture.size
        place = Box(left / across, top / down, width / across, height / down)
        yield Part(path, place, jpeg(cut))


def measure(library: Library, encoder: Encoder, queries: Sequence[Part]) -> Figures:
    """Search a library with regional descriptors for parts of its pictures."""
    plain_ms, within_ms, inside, covered = [], [], [], []
    plain = within = 0
    search = Within(library)
    with Engine(library, encoder=encoder) as engine:
        for query in queries:
            started = time.perf_counter()
            best = engine.search_bytes(query.content, k=1).hits[0]
            plain_ms.append((time.perf_counter() - started) * 1000)
            plain += Path(best.path) == query.source
            started = time.perf_counter()
            pixels = decode(query.content, encoder.spec, Limits()).pixels
            found = search.nearest(views(encoder, pixels), 1, encoder.spec.fingerprint)
            within_ms.append((time.perf_counter() - started) * 1000)
            (picture,) = library.catalogue.pictures(found.ids.tolist())
            if Path(picture.path) == query.source:
                within += 1
                box = found.boxes[0] or Box(0, 0, 1, 1)
                common = _common(box, query.place)
                inside.append(common / (box.width * box.height))
                covered.append(common / (query.place.width * query.place.height))
    count = len(queries)
    shares = (plain / count, within / count, mean(inside or [0]), mean(covered or [0]))
    return Figures(count, *shares, median(plain_ms), median(within_ms))


def _common(one: Box, other: Box) -> float:
    """The area that two boxes share."""
    across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    return max(0.0, across) * max(0.0, down)


@contextmanager
def _library(folder: Path | None) -> Iterator[Path]:
    """A folder for libraries: the given one, kept, or a temporary one."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)


def _sample(folder: Path, count: int, chance: np.random.Generator) -> list[Path]:
    files = sorted(p for p in folder.resolve().rglob("*") if p.suffix.lower() in _SUFFIXES)
    if not files:
        raise FileNotFoundError(f"There is no picture below {folder}.")
    chosen: npt.NDArray[np.int64] = chance.permutation(len(files))[:count]
    return [files[i] for i in np.sort(chosen)]


def _indexed(folder: Path, files: Sequence[Path], encoder: Encoder, within: bool) -> float:
    """Index files into a new library; seconds."""
    with Library.create(folder) as library:
        started = time.perf_counter()
        index(library, files, IndexOptions(within=within), encoder=encoder)
        return time.perf_counter() - started


def _told(write: Callable[[str], object], rows: dict[float, Figures]) -> None:
    write(
        "area  queries  plain first  within first  box in part  part in box  plain ms  within ms\n"
    )
    for share, one in rows.items():
        write(
            f"{share:4.0%}  {one.queries:7d}  {one.plain:11.3f}  {one.within:12.3f}  "
            f"{one.inside:11.2f}  {one.covered:11.2f}  {one.plain_ms:8.1f}  {one.within_ms:9.1f}\n"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: a table on stdout, or JSON; progress on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality.within", description=__doc__
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="pictures")
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=400)
    parser.add_argument("--model", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for the libraries, which are kept")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    chance = np.random.default_rng(given.seed)
    files = _sample(given.folder, given.pictures, chance)
    asked = [files[i] for i in chance.permutation(len(files))[: given.queries]]
    encoder = load_encoder(given.model, device="cpu")
    rows: dict[float, Figures] = {}
    with _library(given.keep) as folder:
        encoder.maps([np.zeros((256, 256, 3), np.uint8)])  # compiled before anything is timed
        say(f"Indexing {len(files)} pictures without and with regions.")
        seconds = {
            name: _indexed(folder / name, files, encoder, name == "within")
            for name in ("plain", "within")
        }
        sizes = {}
        for name in seconds:
            with Library.open(folder / name) as library:
                sizes[name] = library.disk_bytes
        with Library.open(folder / "within") as library:
            for share in SHARES:
                say(f"Searching for parts of {share:.0%}.")
                rows[share] = measure(library, encoder, list(parts(asked, share, given.seed)))
    cost = {name: {"seconds": seconds[name], "bytes": sizes[name]} for name in seconds}
    if given.json:
        buffer = io.StringIO()
        json.dump({"parts": {s: r._asdict() for s, r in rows.items()}, "cost": cost}, buffer)
        print(buffer.getvalue())
        return 0
    _told(sys.stdout.write, rows)
    for name, one in cost.items():
        each = one["bytes"] / len(files)
        print(f"{name}: {len(files)} pictures in {one['seconds']:.1f} s, {each:.0f} bytes each")
    return 0


if __name__ == "__main__":
    sys.exit(main())
