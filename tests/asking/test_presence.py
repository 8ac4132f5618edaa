"""Hits whose files are not there are marked, and nobody waits for a drive that does not answer."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from parecido import Engine, Library, index
from parecido.indexer.encoders.encoder import Encoder
from parecido.search.asking import presence
from parecido.search.asking.presence import look_for_files
from parecido.search.results import hit_dict, results_text
from tests.support.fakes import save_pictures


def test_a_hit_tells_whether_its_file_is_there(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    files = save_pictures(tmp_path / "p", 3)
    index(library, [tmp_path / "p"], encoder=encoder)
    query = tmp_path / "query.png"
    query.write_bytes(files[0].read_bytes())
    files[1].unlink()
    with Engine(library, encoder=encoder) as engine:
        results = engine.search(query, k=3)
    assert {hit.path: hit.there for hit in results} == {
        str(files[0]): True,
        str(files[1]): False,
        str(files[2]): True,
    }
    told = {found["path"]: found.get("there") for found in map(hit_dict, results)}
    assert told == {str(files[0]): None, str(files[1]): False, str(files[2]): None}
    (marked,) = [line for line in results_text(results).splitlines() if "not there" in line]
    assert "0001.png" in marked
    assert marked.endswith("  (not there)")


def test_what_does_not_answer_is_not_known_and_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = os.fspath(save_pictures(tmp_path, 1)[0])
    answers = threading.Event()
    exists = os.path.exists

    def hang(path: str) -> bool:
        if path.startswith("/net"):
            answers.wait(30)
        return exists(path)

    monkeypatch.setattr(presence.os.path, "exists", hang)
    try:
        asked = [there, "/net/away.jpg", there]
        assert look_for_files(asked, 0.05) == [True, None, None]
        # so many hang, and no more threads are given to it
        for _ in range(5):
            look_for_files(["/net/away.jpg"], 0.01)
        before = threading.active_count()
        assert look_for_files([there], 0.05) == [None]
        assert threading.active_count() == before
    finally:
        answers.set()
    for thread in threading.enumerate():
        if thread.name == "presence":
            thread.join(10)
    assert look_for_files([there, os.path.join(tmp_path, "none")], 5) == [True, False]
