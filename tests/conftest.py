"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from indexer.encoders import Encoder
from indexer.library import Library
from indexer.pipeline import index
from tests.fakes import fake_encoder, save_pictures

REPOSITORY = Path(__file__).parent.parent
SHARED_SETS = REPOSITORY.parent / "shared" / "sets"


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the user's own library; built encoders are shared by all tests."""
    home = tmp_path_factory.mktemp("home")
    patch = pytest.MonkeyPatch()
    patch.setenv("PARECIDO_LIBRARY", str(home / "library"))
    # built encoders may be kept between runs: PARECIDO_TEST_CACHE names a folder for them
    patch.setenv("PARECIDO_CACHE", os.environ.get("PARECIDO_TEST_CACHE") or str(home / "cache"))
    yield
    patch.undo()


@pytest.fixture
def encoder() -> Encoder:
    """The fake encoder: quadrant colours, 12 dimensions."""
    return fake_encoder()


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    """An empty library."""
    with Library.create(tmp_path / "library") as opened:
        yield opened


@pytest.fixture
def indexed(library: Library, tmp_path: Path, encoder: Encoder) -> Library:
    """A library of 20 pictures in ``tmp_path / "pictures"``."""
    save_pictures(tmp_path / "pictures", 20)
    index(library, [tmp_path / "pictures"], encoder=encoder)
    return library


@pytest.fixture(scope="session")
def sets() -> Callable[[str], Path]:
    """A shared picture set by name; the test is skipped where it is not on this machine."""

    def find(name: str) -> Path:
        folder = SHARED_SETS / name
        if not folder.is_dir():
            pytest.skip(f"the shared picture set {name} is not beside this checkout")
        return folder

    return find
