"""Which shapes OpenVINO's runtime compiles, and when; on a core that only counts."""

from __future__ import annotations

from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from parecido.indexer.encoders.runtimes import openvino as runtimes
from parecido.indexer.encoders.runtimes.openvino import _Network, _Room

FULL = 4
SECONDS = 0.6


class Model:
    """A model of any shape, or of one."""

    def __init__(self, shape: tuple[int, ...] | None = None) -> None:
        self.shape = shape
        self.inputs = ["pixels"]

    def clone(self) -> Model:
        return Model(self.shape)

    def reshape(self, shapes: dict[str, list[int]]) -> None:
        self.shape = tuple(shapes["pixels"])


class Core:
    """Compiles nothing; ``used`` tells the shape that each batch was run with, None for any."""

    def __init__(self) -> None:
        self.compiled: list[tuple[int, ...] | None] = []
        self.used: list[tuple[int, ...] | None] = []

    def compile_model(self, model: Model, device: str, options: dict[str, Any]) -> Any:
        self.compiled.append(model.shape)
        result = SimpleNamespace(data=np.zeros((1, 1), np.float32))
        request = SimpleNamespace(
            infer=lambda *_, **__: self.used.append(model.shape),
            get_output_tensor=lambda _: result,
        )
        return SimpleNamespace(outputs=[0], create_infer_request=lambda: request)


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> Core:
    """A core on a clock by which each batch takes a quarter of a second."""
    ticks = count()
    monkeypatch.setattr(runtimes, "time", SimpleNamespace(monotonic=lambda: next(ticks) / 4))
    return Core()


def network(core: Core, room: _Room) -> _Network:
    return _Network(core, Model(), {}, FULL, SECONDS, room)


def run(network: _Network, *batches: tuple[int, int, int]) -> None:
    """Batches of so many pictures of so many rows and columns."""
    for pictures, height, width in batches:
        network.infer(np.zeros((pictures, height, width, 3), np.uint8))


def test_a_shape_is_compiled_when_its_pictures_have_taken_long_enough(core: Core) -> None:
    net = network(core, _Room(9))
    run(net, *[(FULL, 8, 8)] * 3, (FULL, 8, 9), *[(FULL, 8, 8)] * 2)
    assert core.compiled == [None, (FULL, 8, 8, 3)]
    assert core.used == [None] * 4 + [(FULL, 8, 8, 3)] * 2
    run(net, (FULL, 8, 9))
    assert core.used[-1] is None


def test_batches_that_are_not_full_are_run_by_the_model_for_any_shape(core: Core) -> None:
    net = network(core, _Room(9))
    run(net, *[(FULL - 1, 8, 8)] * 9)
    assert core.compiled == [None]
    run(net, *[(FULL, 8, 8)] * 4, (1, 8, 8))
    assert core.used[-2:] == [(FULL, 8, 8, 3), None]


def test_there_is_room_for_so_many_shapes_of_all_networks_together(core: Core) -> None:
    room = _Room(2)
    for width in (8, 9):
        run(network(core, room), *[(FULL, 8, width)] * 4)
    third = network(core, room)
    run(third, *[(FULL, 8, 10)] * 5)
    assert core.compiled == [None, (FULL, 8, 8, 3), None, (FULL, 8, 9, 3), None]
    assert core.used[-5:] == [None] * 5


def test_without_room_nothing_is_compiled(core: Core) -> None:
    run(network(core, _Room(0)), *[(FULL, 8, 8)] * 5)
    assert core.compiled == [None]
