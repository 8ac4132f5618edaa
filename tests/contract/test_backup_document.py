"""The examples of ``docs/backup.md`` run, and answer as they say."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fakes import save_pictures
from tests.support.harness import run_parecido
from tests.support.places import PYTHONPATH, REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "backup.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the library that the document speaks of."""
    save_pictures(tmp_path / "pictures", 59)
    done = run_parecido("index", tmp_path / "pictures", "--library", tmp_path / "my-library")
    assert done.returncode == 0, done.stderr
    return tmp_path


def _run(words: list[str], folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": PYTHONPATH},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _without_figures(line: str) -> str:
    """What is said, but for where it lies, bytes and seconds."""
    return re.sub(r"\d+\.\d", "N", re.sub(r"\S*/", "", line))


def test_the_commands_say_what_the_document_says(folder: Path) -> None:
    (block,) = re.findall(r"```console\n(.*?)```", DOCUMENT.read_text("utf-8"), re.S)
    lines = block.splitlines()
    assert len(lines) == 6
    for command, said in zip(lines[::2], lines[1::2], strict=True):
        words = shlex.split(command.removeprefix("$ parecido "))
        output = _run(["-m", "tests.support.fake_cli", *words], folder)
        assert _without_figures(output.strip()) == _without_figures(said)


def test_the_example_in_python_runs(folder: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.S)
    first, second = _run(["-W", "error", "-c", block], folder).splitlines()
    assert re.fullmatch(r"59 pictures, \d+ bytes", first)
    assert second == str(folder / "from-weekly")
