"""Half precision, and the first moments of a process with OpenVINO."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from parecido import IndexOptions, Library, index, load_encoder
from parecido.indexer.encoders.machine.devices import has_amx
from parecido.indexer.errors import EncoderMismatch, InvalidRequest
from parecido.search.engine import Engine
from tests.support.places import REPOSITORY
from tests.support.real import cosines, photographs, squares
from tests.support.waiting import PATIENCE


@pytest.mark.network
def test_half_precision_describes_like_float32_and_is_another_encoder() -> None:
    pixels = squares(224)
    full = load_encoder("efficientnet-lite0", device="cpu", precision="float32")
    half = load_encoder("efficientnet-lite0", device="cpu", precision="half")
    assert full.spec.fingerprint != half.spec.fingerprint
    assert "half" in half.spec.title
    ours, theirs = half.encode(pixels).descriptors, full.encode(pixels).descriptors
    assert np.linalg.norm(ours, axis=1) == pytest.approx(1, abs=1e-6)
    assert cosines(ours, theirs).min() >= 0.99
    if not has_amx():  # 16 bits would be slower here, and are left
        assert cosines(ours, theirs).min() >= 0.9999


@pytest.mark.network
def test_a_library_in_half_precision_is_indexed_searched_and_told_from_others(
    library: Library, tmp_path: Path
) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    for path in photographs():
        (folder / path.name).write_bytes(path.read_bytes())
    options = IndexOptions(model="efficientnet-lite0", precision="half", device="cpu")
    assert index(library, [folder], options).added == 7
    assert index(library, [folder]).unchanged == 7
    with pytest.raises(EncoderMismatch, match="float32"):
        index(library, [folder], IndexOptions(precision="float32"))
    with Engine(library) as engine:
        hits = engine.search_bytes((folder / "chelsea.png").read_bytes(), k=1).hits
    assert hits[0].path == str(folder / "chelsea.png")
    assert hits[0].score >= 0.999


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="float16"):
        load_encoder("efficientnet-lite0", precision="float16")


_AT_ONCE = """
import threading
import numpy
from parecido import load_encoder
encoder = load_encoder("efficientnet-lite0", device="cpu")
start = threading.Barrier(4)
def work():
    start.wait()
    encoder.encode(numpy.zeros((1, 96, 96, 3), numpy.uint8))
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.network
def test_the_first_pictures_of_a_process_may_come_from_several_threads() -> None:
    """OpenVINO's binding sets itself up in the first inference, and two at once would lock up."""
    for _ in range(3):
        subprocess.run(
            [sys.executable, "-c", _AT_ONCE], cwd=REPOSITORY, check=True, timeout=PATIENCE
        )
