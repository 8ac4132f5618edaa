"""Fixtures that every test may use."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.indexing.pipeline import index
from parecido.indexer.library.library import Library
from tests.support.fakes import fake_encoder, save_pictures
from tests.support.places import SHARED_SETS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from parecido.search.engine import Engine
    from tests.support.browser import Server, Watch
    from tests.support.serving import Client


# an example may take any time, and so may making it up: the machine may be busy
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
OWN_FIXTURES = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow)
"""Checks that Hypothesis leaves out where examples share the fixtures of their test."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show how many faults of each kind the campaigns met, which tests keep as ``counts``."""
    lines = [
        f"{report.nodeid.rpartition('::')[2]}: {value}"
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, value in report.user_properties
        if name == "counts"
    ]
    if lines:
        terminalreporter.section("campaigns")
        for line in sorted(lines):
            terminalreporter.write_line(line)


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the user's own library; built encoders are shared by all tests."""
    home = tmp_path_factory.mktemp("home")
    patch = pytest.MonkeyPatch()
    patch.setenv("PARECIDO_LIBRARY", str(home / "library"))
    # standard output is buffered, as users have it
    patch.delenv("PYTHONUNBUFFERED", raising=False)
    # built encoders may be kept between runs: PARECIDO_TEST_CACHE names a folder for them
    patch.setenv("PARECIDO_CACHE", os.environ.get("PARECIDO_TEST_CACHE") or str(home / "cache"))
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """Commands that run in this process show the library's log; the next test must not see that."""
    log = logging.getLogger("parecido")
    handlers, level = log.handlers[:], log.level
    yield
    log.handlers[:] = handlers
    log.setLevel(level)


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


@pytest.fixture
def few_files_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """The calling thread is never far ahead of the workers, whatever suits real runs."""
    from tests.support.flowing import AHEAD

    monkeypatch.setattr("parecido.indexer.indexing.workers.AHEAD", AHEAD)


@pytest.fixture
def no_thread_outlives_its_run() -> Iterator[None]:
    """All threads that a test begins have ended with it."""
    before = set(threading.enumerate())
    yield
    assert [thread.name for thread in threading.enumerate() if thread not in before] == []


# -- a server in this process: its modules are imported by those tests alone -----------------------


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """The library that server tests ask and leave as it is: ``serving.make_gallery``."""
    from tests.support.serving import make_gallery

    with Library.open(make_gallery(tmp_path_factory.mktemp("gallery"))) as library:
        yield library


@pytest.fixture(scope="module")
def client(gallery: Library) -> Iterator[Client]:
    """A client of a server with the gallery."""
    from tests.support.serving import serving, use_fakes

    with pytest.MonkeyPatch.context() as patch:
        use_fakes(patch)
        with serving(gallery.folder) as client:
            yield client


@pytest.fixture(scope="module")
def engine(gallery: Library) -> Iterator[Engine]:
    """The oracle of the server's answers: an engine on the same library."""
    from parecido.search.engine import Engine
    from tests.support.serving import labelled_encoder

    with Engine(gallery, encoder=labelled_encoder()) as engine:
        yield engine


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake encoder for every library of a test."""
    from tests.support.serving import use_fakes

    use_fakes(monkeypatch)


# -- the page in a real browser; the module's own fixture ``server`` tells which server ------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The machine's own browser."""
    from tests.support.browser import chromium

    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(
    browser: Browser, server: Server, request: pytest.FixtureRequest
) -> Iterator[tuple[Page, Watch]]:
    """A fresh page at the server's start, and what watches over it."""
    from tests.support.browser import visiting

    with visiting(browser, server.url, request) as visit:
        yield visit


@pytest.fixture
def page(visit: tuple[Page, Watch]) -> Page:
    """A fresh page at the server's start."""
    return visit[0]
