"""The same on every processor: arithmetic under generic kernels, libraries carried between.

What differs from processor to processor is the order of sums, by the kernel that FAISS, OpenBLAS
and NumPy choose.  They can be told which; each process asserts that it was heeded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.kernels import GENERIC, Kernels, assert_sums_hold, run

TOGETHER = [GENERIC, Kernels("AVX2", "Haswell", True), Kernels("AVX512", "SkylakeX")]


@pytest.mark.parametrize("kernels", [Kernels(numpy_generic=True), GENERIC], ids=str)
def test_what_rests_on_sums_holds_under_generic_kernels(kernels: Kernels) -> None:
    assert_sums_hold(kernels)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[Kernels, tuple[Path, Any]]:
    """Libraries that each set of kernels made, and what they answer there."""
    found = {}
    for kernels in TOGETHER:
        if kernels.runs_here:
            folder = tmp_path_factory.mktemp("made")
            done = run(kernels, "tests.support.kernels", "make", str(folder))
            assert done.returncode == 0, done.stderr[-4000:]
            found[kernels] = folder, json.loads(done.stdout)
    return found


@pytest.mark.parametrize("kernels", TOGETHER, ids=str)
def test_a_library_of_one_processor_is_sound_and_answers_alike_on_another(
    made: dict[Kernels, tuple[Path, Any]], kernels: Kernels
) -> None:
    for folder, told in made.values():
        done = run(kernels, "tests.support.kernels", "ask", str(folder))
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


def test_compressed_indexes_are_sound_on_another_processor_and_foreign_codes_found() -> None:
    """A few of the many that ``python -m benchmarks.quality.processors`` makes."""
    words = ("benchmarks.quality.processors", "--libraries", "2", "--first", "4")
    done = run(Kernels("AVX2", "Haswell"), *words)
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(done.stdout)
    assert (told["libraries"], told["false alarms"]) == (2, 0)
    assert told["like found"] == told["like replaced"] == 10


def scored(hits: list[list[Any]]) -> list[tuple[int, float]]:
    return [(hit[0], hit[1]) for hit in hits]


def test_there_is_something_to_compare(made: dict[Kernels, tuple[Path, Any]]) -> None:
    _, told = made[GENERIC]
    assert len(told["files"]) >= 5  # two indexes, one of regions, two of neighbours
    assert all(len(hits) == 10 for way in told["flat"].values() for hits in way)
    assert all(hit[3] is not None for hit in told["compressed"]["plain"][0])
    assert all(hit[2] is not None for hit in told["flat"]["twice"][0])
