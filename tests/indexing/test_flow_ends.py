"""Runs that end early, with the workers that belong to them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import parecido.indexer.indexing.prepare
import parecido.indexer.indexing.workers
from parecido import IndexOptions, IndexReport, Library, index
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.errors import EncoderUnavailable
from parecido.indexer.indexing.prepare import Prepared
from parecido.indexer.indexing.workers import Flow
from parecido.indexer.pictures.walking.walk import Walk
from parecido.indexer.records.pictures import FileEntry
from tests.support.fakes import FakeRuntime, fake_encoder, fake_spec, save_picture, save_pictures
from tests.support.flowing import encoded
from tests.support.harness import check_sound
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.usefixtures("few_files_ahead", "no_thread_outlives_its_run")


# -- an encoder that cannot be opened --------------------------------------------------------------


@pytest.mark.parametrize("error", [EncoderUnavailable("no GPU"), RuntimeError("a defect")])
@pytest.mark.parametrize("workers", [1, 4])
def test_an_encoder_that_cannot_be_opened_is_told_once_and_ends_every_worker(
    workers: int,
    error: Exception,
    library: Library,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save_pictures(tmp_path / "p", 30)
    tries = []
    others: list[int] = []

    def unavailable(*_: object, **__: object) -> Encoder:
        tries.append(threading.current_thread())
        # long enough for every other worker to want it too
        until(lambda: len(others) >= workers)
        raise error

    prepare = parecido.indexer.indexing.workers.prepare

    def telling(*given: Any) -> Prepared:
        prepared = prepare(*given)
        others.append(1)
        return prepared

    monkeypatch.setattr(
        "parecido.indexer.indexing.encoder_choice.resolve", lambda *_, **__: fake_spec()
    )
    monkeypatch.setattr("parecido.indexer.indexing.workers.open_encoder", unavailable)
    monkeypatch.setattr("parecido.indexer.indexing.workers.prepare", telling)
    with pytest.raises(type(error)) as caught:
        index(library, [tmp_path / "p"], IndexOptions(workers=workers))
    assert caught.value is error
    assert len(tries) == 1
    assert library.catalogue.counts() == (0, 0)
    assert index(library, [tmp_path / "p"], encoder=fake_encoder()).added == 30


class Miscounting(FakeRuntime):
    """Gives one descriptor too few."""

    def run(
        self, batch: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
        return super().run(batch)[0][1:], None


def test_an_encoder_that_gives_too_few_descriptors_mixes_nothing_up(
    library: Library, tmp_path: Path
) -> None:
    save_pictures(tmp_path / "p", 30)
    with pytest.raises(ValueError):
        index(library, [tmp_path / "p"], encoder=Encoder(fake_spec(), Miscounting()))
    assert library.catalogue.counts() == (0, 0)


# -- runs that are stopped -------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_a_stop_encodes_and_commits_what_waits_in_full_and_other_buckets(
    workers: int, library: Library, tmp_path: Path
) -> None:
    shapes = itertools.cycle([(48, 40), (40, 48), (48, 48)])
    for seed in range(60):
        save_picture(tmp_path / "p" / f"{seed:02d}.png", seed, next(shapes))
    encoder, told = fake_encoder(batch_size=16), []
    report = index(
        library,
        [tmp_path / "p"],
        IndexOptions(workers=workers),
        encoder=encoder,
        progress=lambda report: told.append(report.added),
        stop=lambda: told[-1:] >= [10],
    )
    assert report.interrupted
    assert 0 < report.added < 60
    # nothing that was decoded is thrown away
    assert report.added == encoded(encoder) == report.encoded
    assert len(check_sound(library.folder)) == report.added
    rest = index(library, [tmp_path / "p"], encoder=encoder)
    assert (rest.added, rest.unchanged) == (60 - report.added, report.added)
    assert encoded(encoder) == 60


def test_a_run_that_is_stopped_while_its_first_pictures_are_decoded_opens_no_encoder(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_pictures(tmp_path / "p", 30)
    passed_on, prepare, abandon = (
        threading.Event(),
        parecido.indexer.indexing.workers.prepare,
        Flow.abandon,
    )

    def telling(flow: Flow) -> None:
        abandon(flow)
        passed_on.set()

    def slow(*given: Any) -> Prepared:
        prepared = prepare(*given)
        assert passed_on.wait(PATIENCE)
        return prepared

    def long(*_: object, **__: object) -> Encoder:
        raise AssertionError("building the encoder takes minutes")

    monkeypatch.setattr(
        "parecido.indexer.indexing.encoder_choice.resolve", lambda *_, **__: fake_spec()
    )
    monkeypatch.setattr("parecido.indexer.indexing.workers.open_encoder", long)
    monkeypatch.setattr("parecido.indexer.indexing.workers.prepare", slow)
    monkeypatch.setattr(Flow, "abandon", telling)
    report = index(library, [tmp_path / "p"], stop=lambda: True)
    assert report.interrupted
    assert report.added == 0
    monkeypatch.undo()
    assert index(library, [tmp_path / "p"], encoder=fake_encoder()).added == 30


@pytest.mark.parametrize("where", ["progress", "stop"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_error_in_the_calling_thread_ends_the_workers_and_frees_the_lock(
    error: type[BaseException], where: str, library: Library, tmp_path: Path
) -> None:
    save_pictures(tmp_path / "p", 40)
    calls = itertools.count()

    def fail(*_: object) -> bool:
        if next(calls) >= 15:
            raise error
        return False

    callbacks: dict[str, Any] = {where: fail}
    with pytest.raises(error):
        index(library, [tmp_path / "p"], encoder=fake_encoder(), **callbacks)
    found = check_sound(library.folder)
    rest = index(library, [tmp_path / "p"], encoder=fake_encoder())
    assert (rest.added, rest.unchanged) == (40 - len(found), len(found))


def test_an_interrupt_that_comes_while_the_workers_are_busy_waits_for_them_and_is_raised(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_pictures(tmp_path / "p", 40)
    taken, left = threading.Event(), threading.Event()
    get = Flow.get

    def interrupted(flow: Flow, seconds: float = 0.0) -> list[Prepared]:
        if taken.is_set():
            left.set()
            raise KeyboardInterrupt  # as a second Ctrl-C does, while the answers are waited for
        return get(flow, seconds)

    class Busy(FakeRuntime):
        def run(
            self, batch: npt.NDArray[np.uint8]
        ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
            taken.set()
            left.wait()
            return super().run(batch)

    with monkeypatch.context() as patch:
        patch.setattr(Flow, "get", interrupted)
        with pytest.raises(KeyboardInterrupt):
            index(library, [tmp_path / "p"], encoder=Encoder(fake_spec(), Busy()))
    assert not (library.folder / "writer.json").exists()
    assert index(library, [tmp_path / "p"], encoder=fake_encoder()).added == 40
    assert len(check_sound(library.folder)) == 40


def test_the_walk_ends_with_a_run_that_is_stopped(
    library: Library, tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_pictures(tmp_path / "p", 40)
    walked = []
    below = Walk._below

    def counting(walk: Walk, *rest: Any) -> Iterator[FileEntry]:
        for entry in below(walk, *rest):
            walked.append(entry)
            yield entry

    monkeypatch.setattr(Walk, "_below", counting)
    told: list[IndexReport] = []
    report = index(
        library,
        [tmp_path / "p"],
        encoder=encoder,
        progress=told.append,
        stop=lambda: len(told) >= 5,
    )
    assert report.interrupted
    assert len(walked) == 5
