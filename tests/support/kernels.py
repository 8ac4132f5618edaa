"""Other processors on this one: kernels of FAISS, OpenBLAS and NumPy chosen by the environment.

As a plugin of pytest (``-p tests.support.kernels``) it asserts that what was asked for took effect.
As a program it makes a library (``make FOLDER``), or asks one and checks it (``ask FOLDER``), and
prints what came out as JSON.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pytest

from tests.support.places import REPOSITORY

if TYPE_CHECKING:
    from parecido.search.results import Hit

_ASKED = "PARECIDO_TEST_KERNELS"
# what OpenBLAS calls the kernels that it took for a name
_CORES = {
    "Prescott": {"Prescott", "Katmai", "Core2"},
    "Haswell": {"Haswell"},
    "SkylakeX": {"SkylakeX"},
}
_FLAGS = {
    **{"AVX2": "avx2", "Haswell": "avx2"},
    **{"AVX512": "avx512bw", "SkylakeX": "avx512bw"},
}
_DIMENSION = 60  # five times the fake encoder's
_PICTURES = 150


class Kernels(NamedTuple):
    """Which kernels a process is to run; empty for the processor's own."""

    faiss: str = ""
    openblas: str = ""
    numpy_generic: bool = False

    @property
    def runs_here(self) -> bool:
        """Whether this processor has the instructions."""
        needs = [_FLAGS[name] for name in (self.faiss, self.openblas) if name in _FLAGS]
        return all(flag in _flags() for flag in needs)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a process that is to run them."""
        usual = ("FAISS_SIMD_LEVEL", "OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES")
        found = {name: value for name, value in os.environ.items() if name not in usual}
        found[_ASKED] = json.dumps(self._asdict())
        if self.faiss:
            found["FAISS_SIMD_LEVEL"] = self.faiss
        if self.openblas:
            found["OPENBLAS_CORETYPE"] = self.openblas
        if self.numpy_generic:
            found["NPY_DISABLE_CPU_FEATURES"] = " ".join(_dispatched())
        return found

    def __str__(self) -> str:
        numpy = "generic" if self.numpy_generic else ""
        parts = {"faiss": self.faiss, "openblas": self.openblas, "numpy": numpy}
        return ", ".join(f"{name} {value}" for name, value in parts.items() if value)


GENERIC = Kernels("NONE", "Prescott", True)
_TOUCHED = (
    "arithmetic/test_arithmetic",
    "learning/test_chance",
    "learning/test_space",
    "ranking/test_rerank",
    "regional/test_within",
    "vectors/test_compressed",
    "vectors/test_neighbours",
    "vectors/test_rabitq",
)


def run(kernels: Kernels, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with these kernels; the test is skipped where the processor lacks them."""
    if not kernels.runs_here:
        pytest.skip(f"this processor does not run {kernels}")
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=REPOSITORY,
        env=kernels.environment,
        capture_output=True,
        text=True,
        check=False,
    )


def assert_sums_hold(kernels: Kernels) -> None:
    """Run the tests of what rests on sums in a process with these kernels."""
    files = [f"tests/{name}.py" for name in _TOUCHED]
    done = run(kernels, "pytest", "-x", "-p", "tests.support.kernels", *files)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert " passed" in done.stdout


@functools.cache
def _flags() -> frozenset[str]:
    """What the processor can do, in Linux's words; nothing is known of others."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line for line in lines if line.startswith("flags")), "").split())


def _features() -> dict[str, bool]:
    features: dict[str, bool] = np._core._multiarray_umath.__cpu_features__  # type: ignore[attr-defined]
    return features


def _dispatched() -> list[str]:
    """The features that this NumPy has kernels for and this processor has."""
    names: list[str] = np._core._multiarray_umath.__cpu_dispatch__  # type: ignore[attr-defined]
    return [name for name in names if _features().get(name)]


def check() -> None:
    """Assert that the kernels of this process are those that were asked for."""
    import faiss
    import threadpoolctl

    asked = Kernels(**json.loads(os.environ[_ASKED]))
    kinds: Any = faiss
    if asked.faiss:
        assert kinds.SIMDConfig.get_level_name() == asked.faiss
    if asked.openblas:
        libraries = threadpoolctl.threadpool_info()
        cores = [part["architecture"] for part in libraries if part["internal_api"] == "openblas"]
        assert len(cores) == 2, libraries  # NumPy's own and FAISS's
        assert set(cores) <= _CORES[asked.openblas]
    if asked.numpy_generic:
        assert _dispatched() == []


def pytest_configure() -> None:
    check()


# -- a library ------------------------------------------------------------------------------------


def make(folder: Path) -> None:
    """A library with everything that is derived from descriptors: two, one of them compressed."""
    from parecido import IndexOptions, Library, index
    from parecido.indexer.library.upkeep import bring_up_to_date
    from tests.support.fakes import fake_encoder, fake_spec, save_pictures
    from tests.support.harness import put
    from tests.vectors.test_compressed import scenes

    save_pictures(folder / "pictures", _PICTURES)
    options = IndexOptions(within=True, think_twice=True)
    with Library.create(folder / "flat") as library:
        index(library, [folder / "pictures"], options, encoder=fake_encoder())
    with (
        patch("parecido.indexer.vectors.local.index._FLAT_BYTES", 1000),
        Library.create(folder / "compressed") as library,
    ):
        rows = np.pad(scenes(1, 2000), ((0, 0), (0, _DIMENSION - 48)), constant_values=0.01)
        put(library, rows, spec=fake_spec(dimension=_DIMENSION))
        with library.writer() as writing:
            writing.catalogue.rerank_by_default(True)
            bring_up_to_date(writing)
            assert writing.vectors().kind == "compressed"


def ask(folder: Path) -> dict[str, Any]:
    """What libraries answer and what is wrong with them; every number to the last digit."""
    from parecido import Library, verify
    from parecido.search.engine import Engine
    from parecido.search.ranking.parts import Within
    from tests.support.fakes import DIMENSION, fake_encoder, fake_spec

    told: dict[str, Any] = {"files": _derived(folder)}
    with Library.open(folder / "flat") as library:
        told["flat problems"] = [problem.what for problem in verify(library)]
        with Engine(library, encoder=fake_encoder()) as engine:
            told["flat"] = _answers(engine, DIMENSION)
        queries = np.abs(np.random.default_rng(5).normal(size=(6, DIMENSION)))
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        within = Within(library)
        found = [within.nearest(q[None].astype("f4"), 9, fake_spec().fingerprint) for q in queries]
        told["within"] = [[one.ids.tolist(), one.scores.tolist()] for one in found]
    with (
        patch("parecido.indexer.vectors.local.index._FLAT_BYTES", 1000),
        Library.open(folder / "compressed") as library,
    ):
        told["compressed problems"] = [problem.what for problem in verify(library)]
        with Engine(library, encoder=fake_encoder(dimension=_DIMENSION)) as engine:
            told["compressed"] = _answers(engine, _DIMENSION)
    told["files afterwards"] = _derived(folder)
    return told


def _answers(engine: Any, dimension: int) -> dict[str, list[Any]]:
    def told(hit: Hit) -> list[Any]:
        # the exponential function has another last digit here and there
        return [hit.id, hit.score, hit.second, hit.chance and float(f"{hit.chance:.12g}")]

    queries = np.abs(np.random.default_rng(3).normal(size=(20, dimension)))
    ways = {"exact": {"exact": True}, "plain": {}, "twice": {"expand": True, "rerank": True}}
    return {
        way: [[told(hit) for hit in engine.search_vector(q, k=10, **terms)] for q in queries]
        for way, terms in ways.items()
    }


def _derived(folder: Path) -> list[str]:
    """The files that are made from descriptors, which a sound library keeps as they are."""
    found = [*folder.rglob("*.faiss"), *folder.rglob("*.npy")]
    return sorted(f"{path.relative_to(folder)} {path.stat().st_mtime_ns}" for path in found)


def main() -> None:
    what, folder = sys.argv[1:]
    check()
    if what == "make":
        make(Path(folder))
    print(json.dumps(ask(Path(folder))))


if __name__ == "__main__":
    main()
