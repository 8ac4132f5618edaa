"""A real browser before a real server, and a watch over what goes on between them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.places import PYTHONPATH, REPOSITORY

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Locator,
    Page,
    Request,
    WebError,
    expect,
    sync_playwright,
)

from tests.support.waiting import PATIENCE, PATIENT

__all__ = [
    "Browser",
    "Locator",
    "Page",
    "Server",
    "Watch",
    "chromium",
    "drop",
    "expect",
    "ids",
    "names",
    "region_of",
    "visiting",
]

_MILLISECONDS = PATIENCE * 1000
expect.set_options(timeout=_MILLISECONDS)

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
_TELL = """addEventListener("securitypolicyviolation", (event) => console.error(
    `policy: ${event.violatedDirective} ${event.blockedURI} on ${location.pathname}`));"""

_STAY = """const later = setTimeout;
setTimeout = (act, wait, ...given) => [1800, 5000].includes(wait) ? 0 : later(act, wait, ...given);
"""  # what the page says for a while stays, for the test may come late to look at it


class Server:
    """``parecido serve`` in a process of its own, on a port that stays the same."""

    def __init__(self, library: Path, *options: str, fake: bool = True) -> None:
        self._library = library
        self._options = options
        self._module = "tests.support.fake_cli" if fake else "parecido.search.cli"
        self._process: subprocess.Popen[str] | None = None
        self._reader = threading.Thread()
        self.port = 0
        self.lines: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", self._module, "serve", "--library", str(self._library)),
                *("--port", str(self.port), *PATIENT, *self._options),
            ],
            cwd=REPOSITORY,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": PYTHONPATH},
        )
        assert self._process.stderr is not None
        told = self._process.stderr.readline()
        assert " on http://127.0.0.1:" in told, told + self._process.stderr.read()
        self.port = int(told.partition("127.0.0.1:")[2].partition("/")[0])
        self._reader = threading.Thread(target=self.lines.extend, args=[self._process.stderr])
        self._reader.start()
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.02)
                raise AssertionError("it ended: " + "".join(self.lines))

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._process is not None and self._process.stderr is not None:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            self._process.stderr.close()
            self._process = None

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


@contextmanager
def chromium() -> Iterator[Browser]:
    """The machine's own browser; the test is skipped where there is none."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip("no Chromium: " + ", ".join(_NAMES))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=_QUIET, timeout=_MILLISECONDS
        )
        yield browser
        browser.close()


class Watch:
    """Notes what no page may do: complain, break, or turn to another host."""

    def __init__(self, context: BrowserContext, home: str) -> None:
        self._home = urlsplit(home).netloc
        self._expected: list[str] = []
        self.wrong: list[str] = []
        context.add_init_script(_TELL + _STAY)
        context.on("console", self._says)
        context.on("weberror", self._breaks)
        context.on("request", self._asks)
        context.on("dialog", self._interrupts)

    def expect(self, *parts: str) -> None:
        """The browser's own complaints with one of these in their text or address are expected."""
        self._expected.extend(parts)

    def _says(self, message: ConsoleMessage) -> None:
        told = f"{message.type}: {message.text} ({message.location.get('url')})"
        if message.type in ("error", "warning") and not any(p in told for p in self._expected):
            self.wrong.append(told)

    def _breaks(self, error: WebError) -> None:
        self.wrong.append(f"uncaught: {error.error}")

    def _interrupts(self, dialog: Dialog) -> None:
        self.wrong.append(f"{dialog.type}: {dialog.message}")
        dialog.dismiss()

    def _asks(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("blob", "data") and address.netloc != self._home:
            self.wrong.append(f"asked elsewhere: {request.url}")


@contextmanager
def visiting(
    browser: Browser, home: str, request: pytest.FixtureRequest, /, **options: object
) -> Iterator[tuple[Page, Watch]]:
    """A page in a browser that knows nothing yet; a failed test leaves a picture of it."""
    options = {"viewport": {"width": 1280, "height": 800}, "base_url": home, **options}
    context = browser.new_context(**options)  # type: ignore[arg-type]
    context.set_default_timeout(_MILLISECONDS)
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=home)
    watch = Watch(context, home)
    page = context.new_page()
    before = request.session.testsfailed
    yield page, watch
    if request.session.testsfailed > before:
        folder = tempfile.mkdtemp(prefix="parecido-page-")
        page.screenshot(path=f"{folder}/{request.node.name}.png")
        print(f"{page.url} looked like {folder}/{request.node.name}.png")
    context.close()
    assert not watch.wrong, "\n".join(watch.wrong)


def drop(page: Page, file: Path) -> None:
    """Let a file fall on the page."""
    files = page.evaluate_handle(
        """([bytes, name]) => {
          const data = Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0));
          const files = new DataTransfer();
          files.items.add(new File([data], name, { type: "image/" + name.split(".").pop() }));
          return files;
        }""",
        [b64encode(file.read_bytes()).decode(), file.name],
    )
    for event in ("dragenter", "dragover", "drop"):
        page.get_by_test_id("drop").dispatch_event(event, {"dataTransfer": files})


def ids(page: Page) -> list[str]:
    """The pictures in the grid."""
    found: list[str] = page.get_by_test_id("hit").evaluate_all("all => all.map(e => e.dataset.id)")
    return found


def names(page: Page) -> list[str]:
    """The file names of the pictures in the grid."""
    links = page.get_by_test_id("hit").locator("a")
    found: list[str] = links.evaluate_all("all => all.map(e => e.title)")
    return found


def region_of(page: Page) -> tuple[float, float, float, float]:
    """Left, top, width and height of the rectangle as fractions of the query's picture."""
    outer = page.get_by_test_id("query").bounding_box()
    inner = page.get_by_test_id("region").bounding_box()
    assert outer is not None
    assert inner is not None
    return (
        (inner["x"] - outer["x"]) / outer["width"],
        (inner["y"] - outer["y"]) / outer["height"],
        inner["width"] / outer["width"],
        inner["height"] / outer["height"],
    )
