"""The workers of a run: nothing is lost between them."""

from __future__ import annotations

import os
import random
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import parecido.indexer.indexing.prepare
import parecido.indexer.indexing.workers
from parecido import IndexOptions
from parecido.indexer.catalogue.sqlite.reading.descriptors import unpack
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.indexing.plan import Plan
from parecido.indexer.indexing.prepare import Prepared
from parecido.indexer.indexing.workers import Flow
from parecido.indexer.pictures.decode import decode
from parecido.indexer.records.pictures import FileEntry
from parecido.indexer.system.files import content_hash
from tests.support.fakes import fake_encoder, quadrants, save_picture, save_pictures
from tests.support.flowing import AHEAD, encoded
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.usefixtures("few_files_ahead", "no_thread_outlives_its_run")


@pytest.fixture
def flows() -> Iterator[Callable[..., Flow]]:
    """Makes flows that are closed at the end."""
    made: list[Flow] = []

    def make(
        encoder: Encoder | None = None,
        workers: int = 2,
        have: Callable[[bytes], bool] = lambda _: False,
    ) -> Flow:
        encoder = encoder or fake_encoder()
        made.append(Flow(Plan(encoder.spec, encoder, options=IndexOptions(workers=workers)), have))
        return made[-1]

    yield make
    for flow in made:
        flow.close()


def entry_of(path: Path) -> FileEntry:
    status = os.stat(path)
    return FileEntry(os.fsencode(path), status.st_size, status.st_mtime_ns)


def answers_of(flow: Flow) -> list[Prepared]:
    """What a flow gives without being flushed."""
    found: list[Prepared] = []
    while flow.is_busy:
        found += flow.get(PATIENCE)
    return found


def all_of(flow: Flow) -> list[Prepared]:
    """Everything that a flow still gives."""
    found = answers_of(flow)
    flow.flush()
    return found + answers_of(flow)


@pytest.mark.parametrize("seed", range(6))
def test_every_file_comes_out_once_whatever_its_bytes_its_shape_and_the_batches(
    seed: int, flows: Callable[..., Flow], tmp_path: Path
) -> None:
    rng = random.Random(seed)
    shapes = [(48, 40), (40, 48), (48, 48)]
    contents = [
        save_picture(tmp_path / "x.png", number, rng.choice(shapes)).read_bytes()
        for number in range(40)
    ]
    contents += [b"\x89PNG no more", b"", contents[0][:60]]
    in_catalogue = {content_hash(data) for data in contents[10:20]}
    paths = []
    for number in range(300):
        path = tmp_path / "p" / f"{number:03d}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(rng.choice(contents))
        paths.append(path)
    encoder = fake_encoder(rng.randint(1, 7))
    flow = flows(encoder, rng.randint(1, 6), in_catalogue.__contains__)
    found: list[Prepared] = []
    for path in paths:
        flow.put(entry_of(path), None)
        found += flow.get()
        if rng.random() < 0.1:
            flow.flush()
    found += all_of(flow)
    assert Counter(prepared.entry.path for prepared in found) == Counter(map(os.fsencode, paths))
    pictures = {}
    for prepared in found:
        data = Path(os.fsdecode(prepared.entry.path)).read_bytes()
        assert prepared.decoded is None  # no pixels are kept
        if data in contents[-3:]:
            assert prepared.refused is not None
            continue
        assert prepared.refused is None
        assert prepared.content_hash == content_hash(data)
        assert (prepared.described is None) == (prepared.content_hash in in_catalogue)
        if prepared.described is not None:
            pixels = decode(data, encoder.spec, IndexOptions().limits).pixels
            vector = unpack(prepared.described.vector)
            assert vector == pytest.approx(quadrants(pixels[None])[0], abs=1e-3)
            pictures[prepared.content_hash] = vector
    # each content once
    assert encoded(encoder) == flow.encoded == len(pictures)


def test_a_claim_that_is_being_looked_up_keeps_its_copies_when_its_bytes_are_committed(
    flows: Callable[..., Flow], tmp_path: Path
) -> None:
    """Many copies of a known picture: one is asked about while an earlier one is committed."""
    first = save_picture(tmp_path / "a.png", 1)
    second = shutil.copy(first, tmp_path / "b.png")
    digest = content_hash(first.read_bytes())
    asked, answer = threading.Event(), threading.Event()

    def have(_: bytes) -> bool:
        asked.set()
        answer.wait()
        return True

    flow = flows(workers=2, have=have)
    flow.put(entry_of(first), None)
    asked.wait()
    flow.put(entry_of(Path(second)), None)
    until(lambda: len(flow._claims[digest].copies) == 1)
    flow.forget([digest])  # an earlier copy was committed
    answer.set()
    found = {os.fsdecode(prepared.entry.path) for prepared in all_of(flow)}
    assert found == {str(first), str(second)}


def test_copies_of_bytes_on_their_way_wait_for_them_and_later_ones_are_told_at_once(
    flows: Callable[..., Flow], tmp_path: Path
) -> None:
    first = save_picture(tmp_path / "a.png", 1)
    copies = [Path(shutil.copy(first, tmp_path / f"{n}.png")) for n in range(4)]
    encoder = fake_encoder(batch_size=100)
    flow = flows(encoder)
    for path in (first, *copies[:2]):
        flow.put(entry_of(path), None)
    assert answers_of(flow) == []  # in a bucket that nothing fills
    flow.flush()
    assert len(answers_of(flow)) == 3
    for path in copies[2:]:
        flow.put(entry_of(path), None)
    assert len(all_of(flow)) == 2
    assert encoded(encoder) == 1
    flow.forget([content_hash(first.read_bytes())])
    assert flow._claims == {}


def test_a_flush_leaves_younger_buckets_to_fill(flows: Callable[..., Flow], tmp_path: Path) -> None:
    flow = flows(fake_encoder(batch_size=100))
    flow.put(entry_of(save_picture(tmp_path / "a.png", 1)), None)
    assert answers_of(flow) == []
    flow.flush(older_than=3600)
    assert answers_of(flow) == []
    flow.flush(older_than=0)
    assert len(answers_of(flow)) == 1


def test_decoding_goes_on_while_the_encoder_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, opened, decoded = fake_encoder(batch_size=4), threading.Event(), threading.Semaphore(0)
    prepare = parecido.indexer.indexing.workers.prepare

    def told(*given: Any) -> Prepared:
        prepared = prepare(*given)
        decoded.release()
        return prepared

    def wait_and_open(*_: object, **__: object) -> Encoder:
        assert opened.wait(PATIENCE)
        return encoder

    monkeypatch.setattr("parecido.indexer.indexing.workers.prepare", told)
    monkeypatch.setattr("parecido.indexer.indexing.workers.open_encoder", wait_and_open)
    plan = Plan(encoder.spec, None, options=IndexOptions(workers=2))
    with closing(Flow(plan, lambda _: False)) as flow:
        for path in save_pictures(tmp_path, 13):
            flow.put(entry_of(path), None)
        for _ in range(13):
            assert decoded.acquire(timeout=PATIENCE)
        opened.set()
        # in full batches, by whoever opened it; the last one is in a bucket that nothing fills
        assert sum(prepared.described is not None for prepared in answers_of(flow)) == 12
        flow.flush()
        assert len(answers_of(flow)) == 1
    assert encoded(encoder) == 13


def test_a_flow_holds_only_a_few_files_for_each_worker(
    flows: Callable[..., Flow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, begun = threading.Event(), []
    prepare = parecido.indexer.indexing.workers.prepare

    def gated(entry: FileEntry, *rest: Any) -> Prepared:
        begun.append(entry)
        gate.wait()
        return prepare(entry, *rest)

    monkeypatch.setattr("parecido.indexer.indexing.workers.prepare", gated)
    flow = flows(workers=2)
    files = save_pictures(tmp_path, 2 * AHEAD + 20)
    put, done = [], []

    def feed() -> None:
        for path in files:
            flow.put(entry_of(path), None)
            put.append(path)
            while flow.is_full:
                done.extend(flow.get(PATIENCE))
        done.extend(all_of(flow))

    feeding = threading.Thread(target=feed)
    feeding.start()
    until(lambda: len(put) > 2 * AHEAD)
    assert len(begun) <= 2
    gate.set()
    feeding.join()
    assert len(done) == len(files)


def test_what_fails_in_a_worker_is_raised_where_the_answers_are_taken(
    flows: Callable[..., Flow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> Prepared:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("parecido.indexer.indexing.workers.prepare", failing)
    flow = flows()
    flow.put(entry_of(save_picture(tmp_path / "a.png", 1)), None)
    with pytest.raises(ZeroDivisionError, match="a defect"):
        flow.get(PATIENCE)
