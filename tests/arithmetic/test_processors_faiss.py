"""The same on every processor: tests of arithmetic under other kernels of FAISS."""

from __future__ import annotations

import pytest

from tests.support.kernels import Kernels, assert_sums_hold


@pytest.mark.parametrize("name", ["NONE", "AVX2", "AVX512"])
def test_what_rests_on_sums_holds_under_every_kernel(name: str) -> None:
    assert_sums_hold(Kernels(faiss=name))
