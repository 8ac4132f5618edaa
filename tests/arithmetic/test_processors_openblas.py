"""The same on every processor: tests of arithmetic under other kernels of OpenBLAS."""

from __future__ import annotations

import pytest

from tests.support.kernels import Kernels, assert_sums_hold


@pytest.mark.parametrize("name", ["Prescott", "Haswell", "SkylakeX"])
def test_what_rests_on_sums_holds_under_every_kernel(name: str) -> None:
    assert_sums_hold(Kernels(openblas=name))
