"""Compressed indexes of one processor, verified on another: ``benchmarks.quality.processors``.

Each library is made in a process with one set of kernels of FAISS, OpenBLAS and NumPy, and checked
in one with another set, as if it had been carried to another machine.  Every code must be found
sound.  Then codes are replaced by those of other pictures, half of them as like as a cosine of 0.95
allows, and the check must find them.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import click
import faiss
import numpy as np
import numpy.typing as npt

from benchmarks.plan import ROOT, say
from parecido.indexer.arithmetic import unit
from parecido.indexer.vectors.local import compressed
from parecido.indexer.vectors.local import file as vectorfile
from tests.support.kernels import GENERIC, Kernels, check

_SETS = (GENERIC, Kernels("AVX2", "Haswell"), Kernels("AVX512", "SkylakeX"))
_CHUNK = 20  # libraries for each start of a process
_FOREIGN = 5  # codes replaced by a like one in each library, and as many by any
_LIKE = 0.95
_KINDS = ("like", "any")
# dimensions that get so many bits a number
_DIMENSIONS = {
    **{8: (48, 256), 7: (257, 292), 6: (293, 341), 5: (342, 409)},
    **{4: (410, 512), 3: (513, 682), 2: (683, 1280)},
}

Ids = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


class _Rows:
    """A gallery of generated descriptors, as far as a compressed index asks one."""

    fingerprint = ""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        count = int(300 * 10 ** random.random())
        least, most = _DIMENSIONS[2 + seed % len(_DIMENSIONS)]
        dimension = int(random.integers(least, most + 1))
        scenes = random.normal(size=(max(4, count // 10), dimension))
        shots = random.uniform(0.1, 1.5) * random.normal(size=(count, dimension))
        rows = scenes[random.integers(0, len(scenes), count)] + shots
        if seed % 5 == 0:
            rows = np.abs(rows)  # as those that come from a rectifier
        if seed % 11 == 0:
            rows[count // 2 : count // 2 + 20] = rows[0]  # copies
        self.rows = unit(rows)
        self.all = np.arange(1, count + 1)
        self.source = self

    def ids(self) -> Ids:
        return self.all

    def of(self, ids: Any) -> tuple[Ids, Vectors]:
        found = np.sort(np.asarray(ids, np.int64))
        return found, self.rows[found - 1]

    def read_after(self, _: int) -> Any:
        for start in range(0, len(self.all), 1024):
            yield self.all[start : start + 1024], self.rows[start : start + 1024]


def _make(path: Path, rows: _Rows) -> None:
    gallery: Any = rows
    index, facts = compressed.build(gallery, rows.rows.shape[1])
    vectorfile.write(path, index, facts)


def _look(path: Path, rows: _Rows, seed: int) -> Counter[str]:
    """What the check says of the library, and of codes that are other pictures'."""
    index = faiss.read_index(str(path))  # not mapped: its codes are written to below
    places = compressed.ListPositions(index)
    told: Counter[str] = Counter(libraries=1)
    wrong = [places.find_differing(ids, vectors).tolist() for ids, vectors in rows.read_after(-1)]
    told["false alarms"] += any(wrong)
    codes = _codes(index)
    random = np.random.default_rng(seed)
    for number in range(2 * _FOREIGN):
        own = int(random.integers(len(rows.all)))
        cosines = rows.rows @ rows.rows[own]
        far = np.flatnonzero(cosines <= _LIKE)
        if not len(far):
            continue
        like = number < _FOREIGN
        other = int(far[cosines[far].argmax()] if like else random.choice(far))
        kind = _KINDS[0 if like else 1]
        code, kept = codes[own + 1], codes[own + 1].copy()
        code[:] = codes[other + 1]
        found = places.find_differing(rows.all[own : own + 1], rows.rows[own : own + 1])
        told[f"{kind} replaced"] += 1
        told[f"{kind} found"] += len(found)
        code[:] = kept
    return told


def _codes(index: Any) -> dict[int, npt.NDArray[np.uint8]]:
    """The code of each id, as it lies in the index's memory."""
    lists: Any = faiss.extract_index_ivf(index)
    found: dict[int, npt.NDArray[np.uint8]] = {}
    for number in range(lists.nlist):
        size = lists.invlists.list_size(number)
        if size:
            ids = faiss.rev_swig_ptr(lists.invlists.get_ids(number), size)
            flat = faiss.rev_swig_ptr(lists.invlists.get_codes(number), size * lists.code_size)
            found.update(zip(ids.tolist(), flat.reshape(size, -1), strict=True))
    return found


def _serve(what: str, folder: Path, seeds: range) -> None:
    """One process's part: asserts its kernels, makes or checks, prints what it found."""
    check()
    told: Counter[str] = Counter()
    for seed in seeds:
        rows, path = _Rows(seed), folder / f"{seed}.faiss"
        if what == "make":
            _make(path, rows)
        else:
            told += _look(path, rows, seed)
            path.unlink()
    print(json.dumps(told))


def _ask(kernels: Kernels, what: str, folder: str, seeds: range) -> Counter[str]:
    words = ["--part", what, folder, str(seeds.start), str(seeds.stop)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.quality.processors", *words],
        cwd=ROOT,
        env=kernels.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{kernels}: {what} {seeds} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return Counter(json.loads(done.stdout.splitlines()[-1]))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--libraries", metavar="N", default=2000, show_default=True)
@click.option("--first", metavar="N", default=0, show_default=True, help="Seed of the first one.")
@click.option("--part", hidden=True, nargs=4, type=str)
def main(libraries: int, first: int, part: tuple[str, str, str, str] | None) -> None:
    """Make compressed indexes under one set of kernels and verify them under another.

    Ends with 1 if a sound library is called damaged, or if fewer than 99 % of the codes that were
    replaced are found.
    """
    if part:
        what, where, begin, end = part
        _serve(what, Path(where), range(int(begin), int(end)))
        return
    pairs = list(itertools.permutations([some for some in _SETS if some.runs_here], 2))
    told: Counter[str] = Counter()
    last = first + libraries
    for turn, start in enumerate(range(first, last, _CHUNK)):
        seeds = range(start, min(last, start + _CHUNK))
        makes, checks = pairs[turn % len(pairs)]
        with tempfile.TemporaryDirectory(prefix="parecido-processors-") as folder:
            _ask(makes, "make", folder, seeds)
            told += _ask(checks, "check", folder, seeds)
        say(f"{dict(told)} after {makes} → {checks}")
    print(json.dumps({"pairs": len(pairs), "false alarms": 0, **told}))
    found = all(told[f"{kind} found"] >= 0.99 * told[f"{kind} replaced"] for kind in _KINDS)
    sys.exit(0 if found and not told["false alarms"] else 1)


if __name__ == "__main__":
    main()
