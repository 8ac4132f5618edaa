"""A real ``parecido serve``, and pictures that crash their decoders, hang, or eat memory."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from parecido import Library, index
from tests.support.bad_files import BAD_DECODER, bad_file
from tests.support.fakes import fake_encoder, save_picture, save_pictures
from tests.support.harness import check_sound
from tests.support.live import Server, started
from tests.support.serving import picture_bytes
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")

WORDS = {"crashes": "crashed", "hangs": "too-slow", "eats": "too-much-memory"}


@pytest.fixture
def bad_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which a server has a bad decoder."""
    monkeypatch.syspath_prepend(str(BAD_DECODER))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))


@pytest.fixture
def folder(tmp_path: Path, bad_decoder: None) -> Path:
    """A library, and what is indexed in it."""
    save_pictures(tmp_path / "pictures", 8)
    with Library.create(tmp_path / "library") as library:
        index(library, [tmp_path / "pictures"], encoder=fake_encoder())
    return tmp_path


@pytest.fixture
def server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """One that waits two seconds for a sign of life instead of a minute."""
    monkeypatch.setenv("FAKE_WALL_SECONDS", "2")
    with started(folder, "--allow-index", str(folder)) as server:
        yield server
        server.assert_well()


@pytest.mark.parametrize("word", WORDS)
def test_a_query_that_brings_its_decoder_down_is_refused(server: Server, word: str) -> None:
    data = bad_file(server.folder / "bad.heic", word).read_bytes()
    answer = server.ask("POST", "/v1/search?k=1", data)
    assert answer.status in (413, 422)
    assert json.loads(answer.body)["error"]["message"]


@pytest.mark.parametrize("word", WORDS)
def test_an_upload_that_brings_its_decoder_down_is_refused_and_the_others_are_there(
    server: Server, word: str
) -> None:
    data = bad_file(server.folder / "bad.heic", word).read_bytes()
    statuses = []

    def upload(number: int) -> None:
        content = data if number == 3 else picture_bytes(100 + number)
        statuses.append((number, server.ask("POST", "/v1/pictures", content).status))

    threads = [threading.Thread(target=upload, args=(number,)) for number in range(7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = dict(statuses)
    assert told.pop(3) in (413, 422)
    assert set(told.values()) == {201}


@pytest.mark.parametrize("word", WORDS)
def test_the_first_upload_to_an_empty_library_is_decoded_apart_as_well(
    word: str, tmp_path: Path, bad_decoder: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_WALL_SECONDS", "2")
    Library.create(tmp_path / "library").close()
    data = bad_file(tmp_path / "bad.heic", word).read_bytes()
    with started(tmp_path) as server:
        assert server.ask("POST", "/v1/pictures", data).status in (413, 422)
        assert server.ask("POST", "/v1/pictures", picture_bytes(3)).status == 201
        server.assert_well()


def test_a_job_over_300_files_names_the_bad_ones_and_a_second_one_does_not_meet_them(
    server: Server,
) -> None:
    met, folder = server.folder / "met", server.folder / "more"
    save_pictures(folder, 297, first=1000)
    for number, word in enumerate(WORDS):
        bad_file(folder / f"bad{number}.heic", f"{word} {met}")

    def run() -> dict[str, int]:
        body = json.dumps({"path": str(folder)}).encode()
        job = json.loads(server.ask("POST", "/v1/index", body, "application/json").body)
        path = f"/v1/jobs/{job['id']}"
        until(lambda: json.loads(server.ask("GET", path).body)["state"] == "done")
        found: dict[str, int] = json.loads(server.ask("GET", path).body)
        return found

    first = run()
    assert (first["added"], first["skipped"]) == (297, 3)
    tries = len(met.read_text().split())
    second = run()
    assert (second["added"], second["unchanged"], second["skipped"]) == (0, 297, 3)
    assert len(met.read_text().split()) == tries


def test_a_server_ends_in_the_middle_of_a_picture_that_does_not(folder: Path) -> None:
    met, more = folder / "met", folder / "more"
    save_picture(more / "good.png", 50)
    bad_file(more / "bad.heic", f"hangs {met}")
    with started(folder, "--allow-index", str(folder), hurried=True) as server:
        body = json.dumps({"path": str(more)}).encode()
        server.ask("POST", "/v1/index", body, "application/json")
        until(met.exists)
        query = (more / "bad.heic").read_bytes()
        asking = threading.Thread(target=server.ask, args=("POST", "/v1/search", query))
        asking.start()
        until(lambda: len(met.read_text().split()) > 1)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) in (-signal.SIGTERM, 128 + signal.SIGTERM)
        asking.join()
    assert len(check_sound(folder / "library")) >= 8
