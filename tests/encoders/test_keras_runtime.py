"""The Keras runtime: its batches, threads and memory with a fake device, and real backends.

Keras's backend is fixed when it is imported, so what needs one is in ``keras_checks.py``, which is
run in a process of its own for each backend.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.plan import Plan
from benchmarks.speed import gpu
from parecido.indexer.encoders.runtimes import keras as keras_runtime
from parecido.indexer.encoders.runtimes.keras import KerasRuntime
from parecido.indexer.encoders.runtimes.keras_programs import Forward, out_of_memory
from parecido.indexer.errors import EncoderUnavailable
from parecido.indexer.records.encoder import SizePolicy
from tests.support.fakes import fake_spec, quadrants
from tests.support.places import REPOSITORY
from tests.support.waiting import PATIENCE, until

Pixels = npt.NDArray[np.uint8]
NO_MEMORY = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes."


class FakeDevice(Forward):
    """Quadrant colours, computed when they are fetched; remembers what it was asked to do."""

    def __init__(self, fits: int = 1000, *, late: bool = False, overflows: bool = False) -> None:
        super().__init__(None)
        self.fits, self.late, self.overflows = fits, late, overflows
        self.events: list[str] = []
        self.flying = self.most_flying = 0
        self.together = 0
        """Nothing is fetched until so many batches have been under way at once."""
        self.seconds = 0.0
        """How long it takes to compile."""
        self._counting = threading.Lock()

    def _compile(self, shape: tuple[int, ...]) -> Any:
        self.traces[shape] += 1
        time.sleep(self.seconds)
        return self._begin

    def _begin(self, batch: Pixels) -> Pixels:
        if len(batch) > self.fits and not self.late:
            raise RuntimeError(NO_MEMORY)
        with self._counting:
            self.events.append(f"start {len(batch)}")
            self.flying += 1
            self.most_flying = max(self.flying, self.most_flying)
        return batch

    def fetch(self, started: Pixels) -> list[npt.NDArray[np.float32]]:
        until(lambda: self.most_flying >= self.together)
        with self._counting:
            self.events.append(f"fetch {len(started)}")
            self.flying -= 1
        if len(started) > self.fits:
            raise RuntimeError(NO_MEMORY)
        rows = quadrants(started)
        if self.overflows:
            rows[started.mean(axis=(1, 2, 3)) > 200] = np.inf
        return [rows, rows[:, :3].copy()]


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    """A device in Keras's place: whatever runtime a test makes runs on it."""
    fake = FakeDevice()
    for name, value in {
        "gpu_usable": lambda: False,
        "weights_of": lambda spec: Path("weights"),
        "prepare_keras": nullcontext,
        "keras_model": lambda spec, weights, policy, maps: policy,
        "forward_of": lambda policy, on_gpu: fake if "b" not in policy else FakeDevice(),
    }.items():
        monkeypatch.setattr(keras_runtime, name, value)
    return fake


def noise(count: int, height: int = 8, width: int = 8, seed: int = 1) -> Pixels:
    return np.random.default_rng(seed).integers(0, 200, (count, height, width, 3), dtype=np.uint8)


def check(runtime: KerasRuntime, pixels: Pixels) -> None:
    descriptors, probabilities = runtime.run(pixels)
    assert np.array_equal(descriptors, quadrants(pixels))
    assert probabilities is not None
    assert np.array_equal(probabilities, descriptors[:, :3])


def test_a_batch_has_as_many_pictures_as_suit_the_device(
    device: FakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert KerasRuntime(fake_spec()).batch_size == 32
    monkeypatch.setattr(keras_runtime, "gpu_usable", lambda: True)
    sizes = {
        side: KerasRuntime(fake_spec(size=SizePolicy(side, side))).batch_size
        for side in (32, 224, 260, 299, 380, 600)
    }
    assert sizes == {32: 64, 224: 64, 260: 40, 299: 32, 380: 16, 600: 8}
    assert KerasRuntime(fake_spec(), 5).batch_size == 5


def test_pieces_are_full_or_single_and_one_is_under_way_before_another_is_fetched(
    device: FakeDevice,
) -> None:
    runtime = KerasRuntime(fake_spec(), 4)
    check(runtime, noise(11))
    assert device.events == ["start 4", "start 4", "fetch 4", "start 4", "fetch 4", "fetch 4"]
    check(runtime, noise(1))
    check(runtime, noise(9))
    assert device.traces == {(4, 8, 8, 3): 1, (1, 8, 8, 3): 1}


def test_short_memory_halves_the_batch_and_loses_no_picture(
    device: FakeDevice, caplog: pytest.LogCaptureFixture
) -> None:
    for late in (False, True):  # told when a batch is started, or only when it is fetched
        device.fits, device.late = 5, late
        runtime = KerasRuntime(fake_spec(), 20)
        check(runtime, noise(33))
        assert runtime.batch_size == 5
        assert [record.getMessage()[-4:] for record in caplog.records] == [" 10.", "h 5."]
        caplog.clear()
        check(runtime, noise(7))


def test_threads_that_fail_together_halve_the_batch_once(device: FakeDevice) -> None:
    device.fits, device.late, device.together = 4, True, 3
    runtime = KerasRuntime(fake_spec(), 8)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda seed: check(runtime, noise(8, seed=seed)), range(12)))
    assert runtime.batch_size == 4


def test_no_memory_for_one_picture_is_an_error(device: FakeDevice) -> None:
    device.fits = 0
    runtime = KerasRuntime(fake_spec(), 4)
    with pytest.raises(EncoderUnavailable, match="one picture at a time"):
        runtime.run(noise(2))
    device.fits = 4
    check(runtime, noise(2))


def test_other_errors_are_not_held_back_and_leave_room_for_what_follows(
    device: FakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = KerasRuntime(fake_spec(), 4)
    with monkeypatch.context() as patch:
        patch.setattr(device, "fetch", lambda started: 1 // 0)
        for _ in range(5):
            with pytest.raises(ZeroDivisionError):
                runtime.run(noise(12))
    check(runtime, noise(12))


def test_many_long_calls_share_three_places_and_none_waits_for_ever(device: FakeDevice) -> None:
    device.seconds, device.together = 0.002, 3
    runtime = KerasRuntime(fake_spec(), 4)
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(check, runtime, noise(23, seed=seed)) for seed in range(16)]
        for call in calls:
            call.result(PATIENCE)
    assert device.most_flying == 3
    assert device.flying == 0
    assert set(device.traces.values()) == {1}


def test_shapes_beyond_a_number_are_forgotten(device: FakeDevice) -> None:
    runtime = KerasRuntime(fake_spec(), 2)
    for side in range(4, 104):
        check(runtime, noise(2, side, 4))
    check(runtime, noise(2, 103, 4))
    assert len(device._programs) < 100
    assert device.traces[2, 103, 4, 3] == 1


def test_a_picture_that_overflows_runs_in_more_range_whatever_its_neighbours(
    device: FakeDevice, caplog: pytest.LogCaptureFixture
) -> None:
    device.overflows = True
    runtime = KerasRuntime(fake_spec(), 4, half=True)
    pixels = noise(9)
    check(runtime, pixels)
    assert not caplog.records
    pixels[[2, 7]] = 250
    check(runtime, pixels)
    check(runtime, pixels[7:8])
    assert [record.getMessage()[-21:] for record in caplog.records] == ["ures run in bfloat16."]


def test_every_backends_lack_of_memory_is_recognised() -> None:
    class ResourceExhaustedError(Exception):
        """As TensorFlow's."""

    class OutOfMemoryError(Exception):
        """As Torch's."""

    said = ["CUDNN_STATUS_ALLOC_FAILED", "CUDA_ERROR_OUT_OF_MEMORY", NO_MEMORY]
    errors = [*map(RuntimeError, said), ResourceExhaustedError(), OutOfMemoryError(), MemoryError()]
    assert all(out_of_memory(error) for error in errors)
    assert not out_of_memory(ValueError("Expected a shape."))


def test_the_benchmark_tells_that_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "gpu_visible", lambda: False)
    (figure,) = gpu.measure(Plan())
    assert "no GPU here" in figure.note
    assert figure.met is None


@pytest.mark.network
@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_real_networks_on_each_backend(backend: str) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    checks = REPOSITORY / "tests" / "support" / "keras_checks.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", str(checks)],
        cwd=REPOSITORY,
        env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
