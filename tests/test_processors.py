"""The same on every processor: tests of arithmetic under other kernels, libraries carried between.

What differs from processor to processor is the order of sums, by the kernel that FAISS, OpenBLAS
and NumPy choose.  They can be told which; each process asserts that it was heeded.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.harness import REPOSITORY
from tests.kernels import GENERIC, Kernels

TOUCHED = (
    "arithmetic",
    "chance",
    "compressed",
    "neighbours",
    "rabitq",
    "rerank",
    "space",
    "within",
)
ONE_BY_ONE = [
    Kernels(faiss="NONE"),
    Kernels(faiss="AVX2"),
    Kernels(faiss="AVX512"),
    Kernels(openblas="Prescott"),
    Kernels(openblas="Haswell"),
    Kernels(openblas="SkylakeX"),
    Kernels(numpy_generic=True),
    GENERIC,
]
TOGETHER = [GENERIC, Kernels("AVX2", "Haswell", True), Kernels("AVX512", "SkylakeX")]


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


@pytest.mark.parametrize("kernels", ONE_BY_ONE, ids=str)
def test_what_rests_on_sums_holds_under_every_kernel(kernels: Kernels) -> None:
    files = [f"tests/test_{name}.py" for name in TOUCHED]
    done = run(kernels, "pytest", "-x", "-p", "tests.kernels", *files)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert " passed" in done.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[Kernels, tuple[Path, Any]]:
    """Libraries that each set of kernels made, and what they answer there."""
    found = {}
    for kernels in TOGETHER:
        if kernels.runs_here:
            folder = tmp_path_factory.mktemp("made")
            done = run(kernels, "tests.kernels", "make", str(folder))
            assert done.returncode == 0, done.stderr[-4000:]
            found[kernels] = folder, json.loads(done.stdout)
    return found


@pytest.mark.parametrize("kernels", TOGETHER, ids=str)
def test_a_library_of_one_processor_is_sound_and_answers_alike_on_another(
    made: dict[Kernels, tuple[Path, Any]], kernels: Kernels
) -> None:
    for folder, told in made.values():
        done = run(kernels, "tests.kernels", "ask", str(folder))
        assert done.returncode == 0, done.stderr[-4000:]
        here = json.loads(done.stdout)
        assert here["flat problems"] == here["compressed problems"] == []
        assert here["files"] == here["files afterwards"] == told["files"]
        assert here["flat"] == told["flat"]
        assert here["within"] == told["within"]
        assert here["compressed"]["exact"] == told["compressed"]["exact"]
        # which candidates a compressed index proposes is rough, and their scores are not
        exact = [dict(scored(hits)) for hits in told["compressed"]["plain"]]
        for hits, known in zip(here["compressed"]["plain"], exact, strict=True):
            common = [pair for pair in scored(hits) if pair[0] in known]
            assert len(common) >= 9
            assert all(known[i] == score for i, score in common)


def scored(hits: list[list[Any]]) -> list[tuple[int, float]]:
    return [(hit[0], hit[1]) for hit in hits]


def test_there_is_something_to_compare(made: dict[Kernels, tuple[Path, Any]]) -> None:
    _, told = made[GENERIC]
    assert len(told["files"]) >= 5  # two indexes, one of regions, two of neighbours
    assert all(len(hits) == 10 for way in told["flat"].values() for hits in way)
    assert all(hit[3] is not None for hit in told["compressed"]["plain"][0])
    assert all(hit[2] is not None for hit in told["flat"]["twice"][0])
