"""Collections with known groups, to measure retrieval beyond two sets of photographs.

``python -m benchmarks.collections OUT [NAME...] [--sets FOLDER] [--seed N]`` writes each as a
folder of pictures with a ``groups.csv`` (``path,group``; paths relative to the CSV).  A picture
whose group is empty is a distractor: it is in the gallery, never a query and never relevant.  The
same seed, packages and sets give the same files.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks.collections import documents, gatherings, textures
from benchmarks.collections.drawings import drawings
from benchmarks.collections.gatherings import Item

__all__ = ["COLLECTIONS", "SHARED", "chosen", "main", "write"]

SHARED: Mapping[str, str] = {"caltech": "caltech101-mini", "ukbench": "ukbench-mini"}
"""Collections that are there already: a name → its folder among the shared sets."""

_SETS = Path(__file__).resolve().parents[3] / "shared" / "sets"

Source = Callable[[Path, int, Executor], Iterable[Item]]
"""The items of a collection, from the folder of shared sets and the seed."""


def _textures(sets: Path, seed: int, pool: Executor) -> Iterator[Item]:
    files = pool.map(partial(textures.members, seed=seed), textures.GROUPS)
    return _items(zip(textures.GROUPS, files, strict=True))


def _documents(sets: Path, seed: int, pool: Executor) -> Iterator[Item]:
    files = pool.map(partial(documents.members, seed=seed), documents.GROUPS)
    return _items(zip(documents.GROUPS, files, strict=True))


def _drawings(sets: Path, seed: int, pool: Executor) -> Iterator[Item]:
    return _items(drawings(seed))


def _items(groups: Iterable[tuple[str, Sequence[bytes]]]) -> Iterator[Item]:
    for group, files in groups:
        yield from (Item(group, partial(bytes, content)) for content in files)


def _small(count: int, draw: str) -> Source:
    return lambda sets, seed, pool: gatherings.small(sets, seed, count, draw)


COLLECTIONS: Mapping[str, Source] = {
    "uneven": lambda sets, seed, pool: gatherings.uneven(sets, seed),
    "textures": _textures,
    "drawings": _drawings,
    "documents": _documents,
    **{
        f"small-{count}-{draw}": _small(count, draw)
        for count in (10, 30, 100, 300)
        for draw in "abcde"
    },
    "large-10k": lambda sets, seed, pool: gatherings.large(sets, seed),
}
"""What can be written: a name → its items."""


def chosen(names: Iterable[str]) -> list[str]:
    """The collections that names mean, all where there is no name: ``small-10`` means five draws.

    Raises ``ValueError`` for a name that means none.
    """
    found: list[str] = []
    for name in names:
        meant = [one for one in COLLECTIONS if one == name or one.startswith(f"{name}-")]
        if not meant:
            known = ", ".join(COLLECTIONS)
            raise ValueError(f"There is no collection {name}; there are {known}.")
        found.extend(meant)
    return list(dict.fromkeys(found)) or list(COLLECTIONS)


def write(name: str, out: Path, *, sets: Path, seed: int = 0, processes: int = 2) -> Path:
    """Write a collection below a folder, in place of an older one; its ``groups.csv``.

    Raises ``FileNotFoundError`` where a package or set that it is made from is missing; an older
    collection stays then.
    """
    home, work = out / name, out / f".{name}.partial"
    shutil.rmtree(work, ignore_errors=True)
    (work / "images").mkdir(parents=True)
    try:
        rows = []
        with ProcessPoolExecutor(processes) as pool:
            waiting: deque[Future[None]] = deque()
            for number, item in enumerate(COLLECTIONS[name](sets, seed, pool)):
                path = f"images/{number // 1000:02d}/{number:05d}{item.suffix.lower()}"
                rows.append((path, item.group))
                waiting.append(pool.submit(_put, work / path, item))
                while len(waiting) > 64:
                    waiting.popleft().result()
            for future in waiting:
                future.result()
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([("path", "group"), *rows])
        (work / "groups.csv").write_text(text.getvalue(), encoding="utf-8")
        shutil.rmtree(home, ignore_errors=True)
        os.replace(work, home)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return home / "groups.csv"


def _put(path: Path, item: Item) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(item.content())


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; a line ``name, CSV`` for each collection on stdout, 1 where one was skipped."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.collections", description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder to write into")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="collections; all if none is named"
    )
    parser.add_argument("--sets", type=Path, default=_SETS, help="the folder of shared sets")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_intermixed_args(arguments)
    try:
        names = chosen(name for name in given.names if name not in SHARED)
    except ValueError as error:
        parser.error(str(error))
    if given.names and all(name in SHARED for name in given.names):
        names = []
    skipped = 0
    for name in names:
        try:
            print(name, write(name, given.out, sets=given.sets, seed=given.seed), sep="\t")
        except FileNotFoundError as error:
            print(f"{name} was skipped: {error}", file=sys.stderr)
            skipped += 1
    for name, folder in SHARED.items():
        if not given.names or name in given.names:
            print(name, given.sets / folder / "groups.csv", sep="\t")
    return 1 if skipped else 0
