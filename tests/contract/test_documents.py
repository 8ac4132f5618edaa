"""What the documents say of the server: examples run, tables are whole, links lead somewhere."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

import parecido
import parecido.web
from parecido.search.commands.serve import serve_command
from parecido.search.web.telemetry import Metrics
from tests.support.fakes import save_picture, save_pictures
from tests.support.harness import run_parecido
from tests.support.places import PYTHONPATH, REPOSITORY
from tests.support.waiting import PATIENCE, PATIENT

SERVER = REPOSITORY / "docs" / "server.md"
ADDRESS = "http://127.0.0.1:8000"
PHOTOS = "/srv/photos"
DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")])


class Served(NamedTuple):
    """A server of its own process, and the folder of its pictures."""

    address: str
    pictures: Path


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", SERVER.read_text("utf-8"), re.S)


def examples() -> list[tuple[str, str]]:
    """Each curl command of the document, and what it says comes."""
    found = []
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            if command.startswith("curl "):
                found.append((command, output.strip()))
    return found


@contextmanager
def process(*arguments: str, folder: Path) -> Iterator[str]:
    """A child that serves with the fake encoder; the address that it tells on stderr."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", *arguments],
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
    ) as child:
        assert child.stderr is not None
        try:
            told = []
            for line in child.stderr:
                told.append(line)
                if found := re.search(r"http://127\.0\.0\.1:[0-9]+", line):
                    break
            else:
                pytest.fail("".join(told))
            retrying = httpx.HTTPTransport(retries=5)
            with httpx.Client(transport=retrying, timeout=PATIENCE) as client:
                client.get(found[0])
            yield found[0]
        finally:
            child.terminate()
            child.communicate(timeout=PATIENCE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the examples are tried: a library of as many pictures as the demo's, and files."""
    folder = tmp_path_factory.mktemp("documents")
    save_pictures(folder / "pictures", 59)
    for number, name in enumerate(("photo.jpg", "launch.jpg"), 100):
        save_picture(folder / name, number)
    (folder / "vector.json").write_text(json.dumps({"vector": [1.0] * 12}))
    done = run_parecido("index", folder / "pictures", "--library", folder / "my-library")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    pictures = folder / "pictures"
    options = ("--library", "my-library", "--port", "0", "--allow-index", str(pictures))
    with process(
        "-m", "tests.support.fake_cli", "serve", *PATIENT, *options, folder=folder
    ) as address:
        yield Served(address, pictures)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the examples call curl")
def test_the_curl_examples_answer_as_they_say(served: Served, folder: Path) -> None:
    for command, output in examples():
        typed = command.replace(ADDRESS, served.address).replace(PHOTOS, str(served.pictures))
        done = subprocess.run(
            [*shlex.split(typed), "--fail-with-body", "--noproxy", "*"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        is_error = '{"error"' in output[:10]
        assert done.returncode == (22 if is_error else 0), f"{command}\n{done.stdout}"
        if output:
            said = json.loads(re.sub(r",\s*…", "", output))
            is_whole = "…" not in output
            assert differences(said, json.loads(done.stdout), is_whole) == [], command
        else:
            assert done.stdout in ("", "curl: Saved to filename '0000.png'\n")


def differences(said: Any, came: Any, is_whole: bool, at: str = "") -> list[str]:
    """Where an answer has other keys than the document says, or an error other words."""
    if isinstance(said, dict):
        if not isinstance(came, dict):
            return [f"{at}: no object"]
        missing = sorted(said.keys() - came.keys())
        left_out = sorted(came.keys() - said.keys()) if is_whole else []
        found = [f"{at}: {key}" for key in missing + left_out]
        for key in said.keys() & came.keys():
            found += differences(said[key], came[key], is_whole, f"{at}.{key}")
        return found
    if isinstance(said, list):
        if not isinstance(came, list):
            return [f"{at}: no list"]
        pairs = zip(said, came, strict=False)
        return [d for one, other in pairs for d in differences(one, other, is_whole, at)]
    exact = not at or at.rpartition(".")[2] in ("code", "message", "remedy", "kind")
    return [f"{at}: {came}"] if exact and said != came else []


def test_the_client_in_python_runs(served: Served, folder: Path) -> None:
    (block,) = (b for b in blocks("python") if "httpx" in b)
    patient = f"import httpx; httpx.Client.__init__.__kwdefaults__['timeout'] = {PATIENCE}\n"
    code = patient + block.replace(ADDRESS, served.address)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3


def test_the_example_that_mounts_the_application_runs(folder: Path) -> None:
    (block,) = (b for b in blocks("python") if "mount" in b)
    assert "port=8080" in block
    (folder / "gallery.py").write_text(block.replace("port=8080", "port=0"))
    code = (
        "import runpy; from tests.support.fake_cli import use_fakes; use_fakes(); "
        "runpy.run_path('gallery.py', run_name='__main__')"
    )
    with (
        process("-c", code, folder=folder) as address,
        httpx.Client(base_url=f"{address}/gallery", trust_env=False, timeout=PATIENCE) as client,
    ):
        page = client.get("/")
        assert page.headers["content-type"].startswith("text/html")
        assert client.get("/v1/info").json()["pictures"] >= 59
        with (folder / "photo.jpg").open("rb") as file:
            refused = client.post("/v1/pictures", files={"image": file})
        assert refused.json()["error"]["code"] == "read_only"


def test_the_document_lists_every_option_of_the_command() -> None:
    text = SERVER.read_text("utf-8")
    table = "\n".join(re.findall(r"^\| `--.*", text, re.M))
    listed = {words.split()[0] for words in re.findall(r"`(--[^`]+)`", table)}
    there = {option for parameter in serve_command.params for option in parameter.opts}
    assert there - listed <= {"--debug"}
    assert listed <= there


def test_the_document_lists_every_metric() -> None:
    metrics = Metrics().text().decode()
    there = set(re.findall(r"^# HELP (parecido_\w+)", metrics, re.M))
    listed = set(re.findall(r"^\| `(parecido_\w+)", SERVER.read_text("utf-8"), re.M))
    assert {name for name in there if not name.endswith("_created")} == listed


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = document.parent / name if name else document
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)", path.read_text("utf-8"), re.M)
            slugs = [re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings]
            assert anchor in slugs, target


def named_files(text: str) -> set[str]:
    """What a document calls a file of the repository: ``search/cli.py``."""
    return set(re.findall(r"`((?:[\w.]+/)*\w+\.(?:py|toml|sh))`", text))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_module_that_a_document_names_is_there(document: Path) -> None:
    """From the top, or from the folder of either side."""
    tops = ("", "indexer", "search", "indexer/encoders")
    missing = {
        name
        for name in named_files(document.read_text("utf-8"))
        if not any((REPOSITORY / top / name).exists() for top in tops)
    }
    assert missing <= {"vNNNN_what.py"}  # any migration


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_import_public_names_only(document: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", document.read_text("utf-8"), re.S)
    imported = {
        (module, name.strip())
        for block in blocks
        for module, names in re.findall(r"^\s*from (\S+) import (.*)", block, re.M)
        for name in names.split(",")
    }
    own = {
        (module, name)
        for module, name in imported
        if module.split(".")[0] in ("parecido", "indexer", "search")
    }
    public = {"parecido": parecido.__all__, "parecido.web": parecido.web.__all__}
    assert {(module, name) for module, name in own if name not in public.get(module, [])} == set()
