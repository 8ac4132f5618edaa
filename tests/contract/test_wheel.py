"""What is installed: one name, and all that belongs to it."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.places import REPOSITORY

_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
# hatchling comes with the tools of developers; without it pip fetches it, from the network
_BUILT_HERE = ("--no-build-isolation",) if find_spec("hatchling") else ()
_SDIST = "import sys, hatchling.build; hatchling.build.build_sdist(sys.argv[1])"


def run(*words: str | Path, cwd: Path, path: Path | None = None) -> str:
    """What a command prints; where a path is named, nothing else of this checkout is on it."""
    environment = {**os.environ, **({"PYTHONPATH": str(path)} if path else {})}
    done = subprocess.run(
        list(map(str, words)), cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(source: Path, folder: Path) -> Path:
    """The wheel of a checkout or of a source distribution."""
    run(*_PIP, "wheel", "--no-deps", *_BUILT_HERE, "--wheel-dir", folder, source, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def contents(wheel: Path) -> dict[str, bytes]:
    """Every file of a wheel, without what installers are told of it."""
    with zipfile.ZipFile(wheel) as archive:
        return {
            name: archive.read(name)
            for name in archive.namelist()
            if not name.partition("/")[0].endswith(".dist-info")
        }


def belongs() -> dict[str, bytes]:
    """Every file of the program as it lies in this checkout, by its name when it is installed."""
    public = REPOSITORY / ".package" / "parecido"
    found = {f"parecido/{path.name}": path for path in public.iterdir() if path.is_file()}
    for side in ("indexer", "search"):
        for path in (REPOSITORY / side).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                found[f"parecido/{path.relative_to(REPOSITORY).as_posix()}"] = path
    return {name: path.read_bytes() for name, path in found.items()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout."""
    return build(REPOSITORY, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def target(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel was installed."""
    folder = tmp_path_factory.mktemp("installed")
    run(*_PIP, "install", "--no-deps", "--no-index", "--target", folder, wheel, cwd=folder)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Somebody's project with modules that are called as this checkout's folders are."""
    for name in ("indexer", "search"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text('raise SystemExit(f"{__file__} was taken")\n')
    return tmp_path


def test_a_wheel_brings_one_name_into_an_environment(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        top = {name.partition("/")[0] for name in archive.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"parecido"}
    assert len(top) == 2


def test_a_wheel_holds_every_file_of_the_program_and_no_other(wheel: Path) -> None:
    found, expected = contents(wheel), belongs()
    assert sorted(found) == sorted(expected)
    assert found == expected
    for name in (
        *("py.typed", "__init__.py", "web.py", "search/web/page/index.html"),
        *("indexer/encoders/imagenet/classes.tsv", "indexer/encoders/imagenet/words.tsv"),
    ):
        assert f"parecido/{name}" in found


def test_it_works_beside_modules_that_are_called_search_and_indexer(
    target: Path, project: Path
) -> None:
    script = (
        "import parecido, parecido.web\n"
        "parecido.Engine, parecido.index, parecido.explain, parecido.evaluate\n"
        "parecido.Library.create('library').close()\n"
        "print(parecido.__file__, parecido.indexer.__file__, parecido.search.__file__, sep='\\n')"
    )
    told = run(sys.executable, "-c", script, cwd=project, path=target).split("\n")
    assert told[:-1] == [
        str(target / "parecido" / name)
        for name in ("__init__.py", "indexer/__init__.py", "search/__init__.py")
    ]
    assert (project / "library" / "catalogue.sqlite").is_file()


def test_its_command_runs_there_too(target: Path, project: Path) -> None:
    (command,) = (target / "bin").iterdir()
    assert command.name == "parecido"
    told = run(command, "--help", cwd=project, path=target)
    assert "Usage: parecido" in told
    assert "serve" in told


def test_a_source_distribution_holds_what_its_wheel_is_made_of(wheel: Path, tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    run(sys.executable, "-c", _SDIST, tmp_path, cwd=REPOSITORY)
    (archive,) = tmp_path.glob("*.tar.gz")
    assert contents(build(archive, tmp_path)) == contents(wheel)
    with tarfile.open(archive) as held:
        names = {name.partition("/")[2] for name in held.getnames()}
    assert {"NOTICE", "LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml"} <= names
    assert {"data/demo.py", "docs/search.md", "tests/contract/library_before/library.zip"} <= names
