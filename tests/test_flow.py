"""The workers of a run: nothing is lost between them, and they end with it."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import indexer.flow
import indexer.prepare
from indexer import IndexOptions, IndexReport, Library, index
from indexer.catalogue import Known, unpack
from indexer.changes import Add
from indexer.decode import Decoded, decode
from indexer.discover import FileEntry, Walk
from indexer.encoders import Encoder
from indexer.errors import EncoderUnavailable, PictureUnreadable
from indexer.flow import Flow
from indexer.prepare import Prepared, content_hash
from indexer.writer import CatalogueWriter
from tests.fakes import FakeRuntime, fake_encoder, fake_spec, quadrants, save_picture, save_pictures
from tests.harness import check_sound


def until(condition: Callable[[], bool]) -> None:
    """Wait, and fail rather than wait for ever."""
    for _ in range(60_000):
        if condition():
            return
        time.sleep(0.001)
    raise AssertionError("what was waited for did not come")


AHEAD = 4


@pytest.fixture(autouse=True)
def _few_files_are_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """The calling thread is never far ahead of the workers, whatever suits real runs."""
    monkeypatch.setattr("indexer.flow.AHEAD", AHEAD)


@pytest.fixture(autouse=True)
def _no_thread_outlives_its_run() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert [thread.name for thread in threading.enumerate() if thread not in before] == []


def encoded(encoder: Encoder) -> int:
    """How many pictures went through the fake network so far."""
    return encoder._runtime.pictures  # type: ignore[attr-defined, no-any-return]


# -- one flow --------------------------------------------------------------------------------------


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
        made.append(Flow(encoder.spec, encoder, IndexOptions(), workers, have))
        return made[-1]

    yield make
    for flow in made:
        flow.close()


def entry_of(path: Path) -> FileEntry:
    status = os.stat(path)
    return FileEntry(os.fsencode(path), status.st_size, status.st_mtime_ns)


def all_of(flow: Flow) -> list[Prepared]:
    """Everything that a flow still gives."""
    found: list[Prepared] = []
    for flushed in (False, True):
        if flushed:
            flow.flush()
        while done := flow.get(wait=True):
            found += done
    return found


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
        found += flow.get(wait=False)
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
    assert flow.get(wait=True) == []  # in a bucket that nothing fills
    flow.flush()
    assert len(flow.get(wait=True)) == 3
    for path in copies[2:]:
        flow.put(entry_of(path), None)
    assert len(all_of(flow)) == 2
    assert encoded(encoder) == 1
    flow.forget([content_hash(first.read_bytes())])
    assert flow._claims == {}


def test_a_flush_leaves_younger_buckets_to_fill(flows: Callable[..., Flow], tmp_path: Path) -> None:
    flow = flows(fake_encoder(batch_size=100))
    flow.put(entry_of(save_picture(tmp_path / "a.png", 1)), None)
    assert flow.get(wait=True) == []
    flow.flush(older_than=3600)
    assert flow.get(wait=True) == []
    flow.flush(older_than=0)
    assert len(flow.get(wait=True)) == 1


def test_a_flow_holds_only_a_few_files_for_each_worker(
    flows: Callable[..., Flow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, begun = threading.Event(), []
    prepare = indexer.flow.prepare

    def gated(entry: FileEntry, *rest: Any) -> Prepared:
        begun.append(entry)
        gate.wait()
        return prepare(entry, *rest)

    monkeypatch.setattr("indexer.flow.prepare", gated)
    flow = flows(workers=2)
    files = save_pictures(tmp_path, 2 * AHEAD + 20)
    put, done = [], []

    def feed() -> None:
        for path in files:
            flow.put(entry_of(path), None)
            put.append(path)
            done.extend(flow.get(wait=False))
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

    monkeypatch.setattr("indexer.flow.prepare", failing)
    flow = flows()
    flow.put(entry_of(save_picture(tmp_path / "a.png", 1)), None)
    with pytest.raises(ZeroDivisionError, match="a defect"):
        flow.get(wait=True)


# -- the same bytes under many names ---------------------------------------------------------------

NAMES, CROWD = 12, 4


@pytest.fixture
def copies(tmp_path: Path) -> list[Path]:
    """The same bytes under many names."""
    first = save_picture(tmp_path / "p" / "00.png", 1)
    return [first] + [
        Path(shutil.copy(first, first.with_name(f"{n:02d}.png"))) for n in range(1, NAMES)
    ]


def hold_the_first_decoder(
    monkeypatch: pytest.MonkeyPatch, copy: Path, then: Callable[[], None] = lambda: None
) -> list[bytes]:
    """A copy is first decoded when the others wait for it; the bytes of all that is decoded."""
    copied = copy.read_bytes()
    decoded: list[bytes] = []
    flow_of: list[Flow] = []
    one = Flow._one

    def telling(flow: Flow, entry: FileEntry, known: Known | None, anyway: bool) -> list[Prepared]:
        flow_of.append(flow)
        return one(flow, entry, known, anyway)

    def held(data: bytes, *rest: Any) -> Decoded:
        is_held = data == copied and copied not in decoded
        decoded.append(data)
        if is_held:
            claims = flow_of[0]._claims
            until(lambda: len(claims[content_hash(data)].copies) >= CROWD)
            then()
        return decode(data, *rest)

    monkeypatch.setattr(Flow, "_one", telling)
    monkeypatch.setattr("indexer.prepare.decode", held)
    return decoded


def test_bytes_whose_first_decoder_fails_are_skipped_under_every_name(
    copies: list[Path], library: Library, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise PictureUnreadable("the data breaks off", "damaged")

    decoded = hold_the_first_decoder(monkeypatch, copies[0], fail)
    save_pictures(copies[0].parent / "later", 3, first=50)
    report = index(library, [copies[0].parent], IndexOptions(workers=2), encoder=encoder)
    # those that came later were decoded by themselves, and well
    assert len(decoded) <= 2 + 3
    refused = {skip.path for skip in report.skipped}
    assert refused <= set(map(str, copies))
    assert len(refused) == len(report.skipped) > CROWD
    assert {(skip.reason, skip.kind) for skip in report.skipped} == {
        ("the data breaks off", "damaged")
    }
    assert report.added == NAMES + 3 - len(refused)
    assert library.catalogue.counts() == (report.added, len(refused))
    assert {skip.path for skip in library.catalogue.skipped()} == refused
    check_sound(library.folder)


def test_bytes_whose_first_decoder_is_slow_are_one_descriptor_under_every_name(
    copies: list[Path], library: Library, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = hold_the_first_decoder(monkeypatch, copies[0])
    report = index(library, [copies[0].parent], IndexOptions(workers=2), encoder=encoder)
    assert (report.added, len(decoded), encoded(encoder)) == (NAMES, 1, 1)
    assert len(check_sound(library.folder)) == NAMES


def test_bytes_that_no_decoder_reads_are_skipped_under_every_name_and_left_alone_then(
    copies: list[Path], library: Library, encoder: Encoder
) -> None:
    for path in copies:
        path.write_bytes(b"\x89PNG no more")
    save_picture(copies[0].with_name("good.png"), 7)
    for _ in range(2):
        report = index(library, [copies[0].parent], IndexOptions(workers=4), encoder=encoder)
        assert sorted(skip.path for skip in report.skipped) == sorted(map(str, copies))
    assert library.catalogue.counts() == (1, NAMES)


def test_a_crowd_of_copies_of_a_known_picture_is_added_whole(
    library: Library, tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = save_picture(tmp_path / "p" / "a.png", 1)
    index(library, [tmp_path / "p"], encoder=encoder)
    for number in range(300):
        shutil.copy(first, tmp_path / "p" / f"{number:03d}.png")
    monkeypatch.setattr("indexer.run.COMMIT_CHANGES", 3)
    report = index(library, [tmp_path / "p"], IndexOptions(workers=8), encoder=encoder)
    assert (report.added, report.unchanged, encoded(encoder)) == (300, 1, 1)
    assert len(check_sound(library.folder)) == 301


def test_a_crowd_of_copies_of_a_known_picture_is_not_compared_with_itself(
    library: Library, tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = save_picture(tmp_path / "p" / "a.png", 1)
    index(library, [tmp_path / "p"], encoder=encoder)
    looks, lexists = itertools.count(), os.path.lexists

    def counted(path: bytes) -> bool:
        next(looks)
        return lexists(path)

    monkeypatch.setattr("indexer.run.os.path.lexists", counted)
    monkeypatch.setattr("indexer.run.COMMIT_CHANGES", 10)
    for number in range(200):
        shutil.copy(first, tmp_path / "p" / f"{number:03d}.png")
    assert index(library, [tmp_path / "p"], encoder=encoder).added == 200
    # whether each copy is another one that moved: a look or two for each, not one for each pair
    assert next(looks) <= 3 * 200


def test_bytes_whose_last_holder_changes_after_a_worker_looked_are_decoded_after_all(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = save_picture(tmp_path / "p" / "original.png", 1)
    index(library, [tmp_path / "p"], encoder=fake_encoder(batch_size=1))
    copy = Path(shutil.copy(original, tmp_path / "p" / "copy.png"))
    save_picture(original, 2)
    monkeypatch.setattr("indexer.run.COMMIT_SECONDS", 0.0)
    write, make, committed = CatalogueWriter.write, Flow.__init__, threading.Event()

    def telling(writer: CatalogueWriter, changes: list[Any], **named: Any) -> None:
        write(writer, changes, **named)
        if any(isinstance(c, Add) and c.path == os.fsencode(original) for c in changes):
            committed.set()

    def make_late(flow: Flow, *given: Any) -> None:
        before, have, rest = given[:4], given[4], given[5:]

        def late(digest: bytes) -> bool:
            found = bool(have(digest))
            if found:
                committed.wait()
            return found

        make(flow, *before, late, *rest)

    monkeypatch.setattr(CatalogueWriter, "write", telling)
    monkeypatch.setattr(Flow, "__init__", make_late)
    encoder = fake_encoder(batch_size=1)
    report = index(library, [tmp_path / "p"], IndexOptions(workers=2), encoder=encoder)
    assert (report.updated, report.added, encoded(encoder)) == (1, 1, 2)
    for path in (original, copy):
        picture = library.catalogue.picture_at(str(path))
        assert picture is not None
        assert picture.content_hash == content_hash(path.read_bytes())
        pixels = decode(path.read_bytes(), encoder.spec, IndexOptions().limits).pixels
        stored = library.catalogue.descriptors([picture.id])[1][0]
        assert stored == pytest.approx(quadrants(pixels[None])[0], abs=1e-3)
    check_sound(library.folder)


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

    prepare = indexer.flow.prepare

    def telling(*given: Any) -> Prepared:
        prepared = prepare(*given)
        others.append(1)
        return prepared

    monkeypatch.setattr("indexer.pipeline.resolve", lambda *_, **__: fake_spec())
    monkeypatch.setattr("indexer.flow.open_encoder", unavailable)
    monkeypatch.setattr("indexer.flow.prepare", telling)
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
        stop=lambda: len(told) >= 40,
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
    stopped, prepare = threading.Event(), indexer.flow.prepare

    def stop() -> bool:
        stopped.set()
        return True

    def slow(*given: Any) -> Prepared:
        prepared = prepare(*given)
        stopped.wait()
        time.sleep(0.2)  # for the run to pass the stop on
        return prepared

    def long(*_: object, **__: object) -> Encoder:
        raise AssertionError("building the encoder takes minutes")

    monkeypatch.setattr("indexer.pipeline.resolve", lambda *_, **__: fake_spec())
    monkeypatch.setattr("indexer.flow.open_encoder", long)
    monkeypatch.setattr("indexer.flow.prepare", slow)
    report = index(library, [tmp_path / "p"], stop=stop)
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

    def interrupted(flow: Flow, *, wait: bool) -> list[Prepared]:
        if taken.is_set():
            left.set()
            raise KeyboardInterrupt  # as a second Ctrl-C does, while the answers are waited for
        return get(flow, wait=wait)

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
