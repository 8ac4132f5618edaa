"""Files that crash their decoders, hang in them, or eat all memory."""

from __future__ import annotations

import gc
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import parecido.indexer.pictures.decoding.allowance
from parecido import IndexOptions, InvalidRequest, Library, PictureUnreadable, Region, index
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.pictures.decoding.decoder import Decoder, DecoderHere, Stopped
from parecido.indexer.pictures.decoding.messages import DRAWN, Channel, Ended
from parecido.indexer.pictures.decoding.orders import Order
from parecido.indexer.pictures.decoding.processes import DecoderProcesses
from parecido.indexer.pictures.decoding.stock import STOCK
from parecido.indexer.pictures.limits import Limits
from parecido.indexer.pictures.wanted import Fitting, ForEncoder
from tests.support.bad_files import BAD_DECODER, bad_file
from tests.support.fakes import fake_encoder, fake_spec, save_picture, save_pictures
from tests.support.harness import check_sound
from tests.support.waiting import PATIENCE, until


@pytest.fixture
def bad_decoder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Processes that import a bad decoder where a file asks for it."""
    STOCK.close()
    monkeypatch.syspath_prepend(str(BAD_DECODER))
    yield
    STOCK.close()


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """No minute is waited for a sign of life."""
    monkeypatch.setattr(parecido.indexer.pictures.decoding.allowance, "_WALL_SECONDS", 2.0)
    monkeypatch.setattr(parecido.indexer.pictures.decoding.allowance, "_WALL_A_CPU_SECOND", 0.0)


def order_of(path: Path) -> Order:
    return Order(ForEncoder(fake_spec()), Limits(), str(path), path.stat().st_size)


# -- both decoders -------------------------------------------------------------------------------


@pytest.fixture(params=[DecoderHere, DecoderProcesses])
def decoder(request: pytest.FixtureRequest) -> Decoder:
    made: Decoder = request.param()
    return made


def test_both_decoders_draw_the_same(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png", 1, (300, 200))
    wanted = (
        ForEncoder(fake_spec()),
        ForEncoder(fake_spec(), Region(10, 20, 50, 40, in_percent=True)),
        Fitting(64),
        Fitting(640),
        Fitting(640, shrinks=False),
    )
    here, apart = DecoderHere(), DecoderProcesses()
    for one in wanted:
        for order, content in (
            (Order(one, Limits()), path.read_bytes()),
            (Order(one, Limits(), str(path), path.stat().st_size), b""),
        ):
            assert here.decode(order, content) == apart.decode(order, content)


def test_a_file_that_lies_outside_by_now_is_not_opened_for_whoever_may_not_see_it(
    decoder: Decoder, tmp_path: Path
) -> None:
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    allowed = (str(inner.resolve()),)
    for folder in (inner / "sub", outer):
        folder.mkdir(parents=True)
    own = save_picture(inner / "sub" / "a.png", 1, (60, 40))
    secret = save_picture(outer / "a.png", 2, (60, 40))
    order = Order(Fitting(64), Limits(), str(own), own.stat().st_size, allowed)
    right = decoder.decode(order)
    assert right is not None
    (inner / "near.png").symlink_to(own)
    assert decoder.decode(replace(order, path=str(inner / "near.png"))) == right

    def refused() -> None:
        with pytest.raises(PictureUnreadable, match="leads out") as error:
            decoder.decode(order)
        assert error.value.kind == "unreadable"
        assert decoder.decode(replace(order, inside=())) != right

    own.unlink()
    own.symlink_to(secret)  # the file itself was replaced
    refused()
    own.unlink()
    (inner / "sub").rmdir()
    (inner / "sub").symlink_to(outer)  # or a folder above it
    refused()


def test_a_decoder_refuses_in_the_same_words(decoder: Decoder, tmp_path: Path) -> None:
    good = save_picture(tmp_path / "a.png", 1, (300, 200))
    (tmp_path / "bad.png").write_bytes(good.read_bytes()[:60])
    (tmp_path / "text.png").write_text("no picture")
    small = Limits(pixels=1000)
    for path, limits, kind in (
        (tmp_path / "bad.png", Limits(), "damaged"),
        (tmp_path / "text.png", Limits(), "not-a-picture"),
        (tmp_path / "gone.png", Limits(), "vanished"),
        (tmp_path, Limits(), "unreadable"),
        (good, small, "too-large"),
        (good, Limits(bytes=100), "too-large"),
    ):
        with pytest.raises(PictureUnreadable) as caught:
            decoder.decode(Order(ForEncoder(fake_spec()), limits, str(path)))
        assert caught.value.kind == kind
    outside = ForEncoder(fake_spec(), Region(290, 190, 50, 50))
    with pytest.raises(InvalidRequest, match="outside"):
        decoder.decode(Order(outside, Limits(), str(good)))


def test_bytes_that_nobody_claims_are_not_decoded(decoder: Decoder, tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png", 1)
    asked: list[bytes] = []

    def claim(digest: bytes) -> bool:
        asked.append(digest)
        return len(asked) > 1

    assert decoder.decode(order_of(path), claim=claim) is None
    assert decoder.decode(order_of(path), claim=claim) is not None
    assert asked[0] == asked[1]


def test_a_claim_that_fails_leaves_no_process_behind_that_waits_for_its_answer(
    decoder: Decoder, tmp_path: Path
) -> None:
    path = save_picture(tmp_path / "a.png", 1)

    def fail(_: bytes) -> bool:
        raise InvalidRequest("the catalogue cannot be read")

    for _ in range(3):
        with pytest.raises(InvalidRequest):
            decoder.decode(order_of(path), claim=fail)
        assert decoder.decode(order_of(path), claim=lambda _: False) is None
        assert decoder.decode(order_of(path), claim=lambda _: True) is not None


def test_a_name_that_is_no_utf_8_reaches_the_file(decoder: Decoder, tmp_path: Path) -> None:
    plain = save_picture(tmp_path / "a.png", 1)
    odd = os.fsencode(tmp_path) + b"/\xff\xfe \xe4\n.png"
    os.rename(plain, odd)
    order = Order(ForEncoder(fake_spec()), Limits(), os.fsdecode(odd), 1000)
    assert decoder.decode(order) is not None


def test_a_decoder_that_was_stopped_decodes_no_more(decoder: Decoder, tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png", 1)
    decoder.stop()
    with pytest.raises(Stopped):
        decoder.decode(order_of(path))


# -- what brings a process down ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "kind", "told"),
    [
        ("crashes", "crashed", "SIGSEGV"),
        ("exits", "crashed", "exit status 3"),
        ("dies", "crashed", "SIGKILL"),
        ("hangs", "too-slow", "does not come to an end"),
        ("loops", "too-slow", "does not come to an end"),
        ("eats", "too-much-memory", "memory"),
    ],
)
@pytest.mark.usefixtures("bad_decoder", "short_patience")
def test_a_file_that_brings_its_decoder_down_is_refused_and_its_neighbours_are_not(
    word: str, kind: str, told: str, tmp_path: Path
) -> None:
    decoder = DecoderProcesses()
    good, bad = save_picture(tmp_path / "a.png", 1), bad_file(tmp_path / "bad.heic", word)
    fine = bad_file(tmp_path / "fine.heic", "fine")
    assert decoder.decode(order_of(fine)) is not None
    with pytest.raises(PictureUnreadable, match=told) as caught:
        decoder.decode(order_of(bad))
    assert caught.value.kind == kind
    with pytest.raises(PictureUnreadable, match=told):
        decoder.decode(Order(ForEncoder(fake_spec()), Limits()), bad.read_bytes())
    assert decoder.decode(order_of(good)) is not None


@pytest.mark.usefixtures("bad_decoder")
def test_a_file_that_computes_for_ever_is_ended_by_its_share_of_the_processor(
    tmp_path: Path,
) -> None:
    with pytest.raises(PictureUnreadable, match="too much time") as caught:
        DecoderProcesses().decode(order_of(bad_file(tmp_path / "bad.heic", "computes")))
    assert caught.value.kind == "too-slow"


@pytest.mark.usefixtures("bad_decoder", "short_patience")
def test_a_file_after_one_that_crashed_is_not_blamed_for_it(tmp_path: Path) -> None:
    """Each that falls in a process that had others before it gets another."""
    met = tmp_path / "met"
    decoder = DecoderProcesses()
    good, bad = save_picture(tmp_path / "a.png", 1), tmp_path / "bad.heic"
    bad_file(bad, f"crashes {met}")
    assert decoder.decode(order_of(good)) is not None
    with pytest.raises(PictureUnreadable):
        decoder.decode(order_of(bad))
    assert met.read_text().split() == ["crashes"] * 2  # once after the other, once by itself
    with pytest.raises(PictureUnreadable):
        decoder.decode(order_of(bad))
    assert len(met.read_text().split()) == 3  # it was the first of its process


def test_a_process_that_was_killed_between_two_pictures_is_replaced(tmp_path: Path) -> None:
    STOCK.close()
    decoder, path = DecoderProcesses(), save_picture(tmp_path / "a.png", 1)
    for _ in range(3):
        assert decoder.decode(order_of(path)) is not None
        (process,) = STOCK.idle
        os.kill(process.pid, signal.SIGKILL)


@pytest.mark.usefixtures("bad_decoder")
def test_a_stop_ends_what_is_being_decoded(tmp_path: Path) -> None:
    decoder, met = DecoderProcesses(), tmp_path / "met"
    bad = bad_file(tmp_path / "bad.heic", f"loops {met}")
    ends: list[str] = []

    def work() -> None:
        try:
            decoder.decode(order_of(bad))
        except Stopped:
            ends.append("stopped")

    thread = threading.Thread(target=work)
    thread.start()
    until(met.exists)
    decoder.stop()
    thread.join()
    assert ends == ["stopped"]


def test_processes_end_with_their_owner_also_in_the_middle_of_a_picture(tmp_path: Path) -> None:
    met = tmp_path / "met"
    bad_file(tmp_path / "bad.heic", f"hangs {met}")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from tests.pictures.test_decoding import *\n"
        "from pathlib import Path\n"
        "d = DecoderProcesses()\n"
        "t = threading.Thread(target=d.decode, args=(order_of(Path(sys.argv[2])),), daemon=True)\n"
        "t.start()\n"
        "until(lambda: d._busy)\n"
        "print(*[p.pid for p in d._busy], flush=True)\n"
        "t.join()\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script, str(BAD_DECODER), str(tmp_path / "bad.heic")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    until(met.exists)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    until(lambda: not is_running(pid))


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def test_a_script_without_a_main_guard_indexes_once(tmp_path: Path) -> None:
    save_pictures(tmp_path / "p", 5)
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from parecido import Library, index\n"
        "from tests.support.fakes import fake_encoder\n"
        "print('begun')\n"
        "with Library.create(sys.argv[1]) as library:\n"
        "    print(index(library, [sys.argv[2]], encoder=fake_encoder()).added)\n"
    )
    done = subprocess.run(
        [sys.executable, script, tmp_path / "library", tmp_path / "p"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "begun\n5\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_program_that_forks_shares_no_process_with_its_child(tmp_path: Path) -> None:
    decoder, path = DecoderProcesses(), save_picture(tmp_path / "a.png", 1)
    expected = decoder.decode(order_of(path))
    child = os.fork()
    if child == 0:
        same = all(decoder.decode(order_of(path)) == expected for _ in range(20))
        STOCK.close()
        os._exit(0 if same else 1)
    for _ in range(20):
        assert decoder.decode(order_of(path)) == expected
    assert os.waitpid(child, 0)[1] == 0


def test_where_no_process_can_be_started_pictures_are_decoded_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    STOCK.close()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    path = save_picture(tmp_path / "a.png", 1)
    assert DecoderProcesses().decode(order_of(path)) is not None
    assert "no other can be started" in caplog.text


def test_a_process_holds_few_imports(tmp_path: Path) -> None:
    """NumPy is more than all the rest of what a process needs, and most files are JPEG."""
    STOCK.close()
    DecoderProcesses().decode(order_of(save_picture(tmp_path / "a.jpg", 1)))
    (process,) = STOCK.idle
    mapped = Path(f"/proc/{process.pid}/maps").read_text()
    assert "_imaging" in mapped
    assert "numpy" not in mapped
    assert "_avif" not in mapped


@given(
    told=st.lists(st.tuples(st.text(max_size=40), st.integers(0, 200_000)), min_size=1, max_size=4),
    cuts=st.lists(st.integers(1, 100_000), min_size=1, max_size=8),
)
@settings(max_examples=60, deadline=None)
def test_messages_arrive_whole_however_their_bytes_come(
    told: list[tuple[str, int]], cuts: list[int]
) -> None:
    """Several at once, or one in pieces."""
    messages = [(DRAWN, {"name": name}, random.Random(size).randbytes(size)) for name, size in told]
    sink, written = socket.socketpair()
    ours, theirs = socket.socketpair()
    with sink, written, ours, theirs:

        def copy() -> None:
            for cut in itertools.cycle(cuts):
                if not (piece := sink.recv(cut)):
                    break
                theirs.sendall(piece)
            theirs.shutdown(socket.SHUT_WR)

        def send() -> None:
            sender = Channel(written)
            for message in messages:
                sender.send(*message)
            written.shutdown(socket.SHUT_WR)

        with ThreadPoolExecutor(2) as pool:
            pool.submit(copy)
            pool.submit(send)
            receiver = Channel(ours)
            assert [tuple(receiver.receive(PATIENCE)) for _ in messages] == messages
            with pytest.raises(Ended):
                receiver.receive(PATIENCE)


# -- a library -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("bad_decoder", "short_patience")
def test_of_300_files_the_bad_ones_are_named_once_and_the_others_are_there(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    met, encoder = tmp_path / "met", fake_encoder()
    words = ("crashes", "hangs", "eats")
    good = save_pictures(tmp_path / "p", 300 - len(words))
    for number, word in zip((0, 150, 299), words, strict=True):
        bad_file(tmp_path / "p" / f"{number:04d}-{word}.heic", f"{word} {met}")
    report = index(library, [tmp_path / "p"], encoder=encoder)
    assert report.added == len(good)
    assert sorted(skip.kind for skip in report.skipped) == [
        "crashed",
        "too-much-memory",
        "too-slow",
    ]
    assert len(check_sound(library.folder)) == len(good)
    tries = len(met.read_text().split())
    again = index(library, [tmp_path / "p"], encoder=encoder)
    assert (again.added, again.unchanged, len(again.skipped)) == (0, len(good), len(words))
    assert len(met.read_text().split()) == tries  # nothing met them again
    # but once with other versions of the decoders
    versions = "parecido.indexer.indexing.{}.decoder_versions"
    for module in ("changed_files", "run"):
        monkeypatch.setattr(versions.format(module), lambda: "another version")
    index(library, [tmp_path / "p"], encoder=encoder)
    assert len(met.read_text().split()) > tries
    tries = len(met.read_text().split())
    index(library, [tmp_path / "p"], encoder=encoder)
    assert len(met.read_text().split()) == tries
    # and when they change
    os.utime(tmp_path / "p" / "0000-crashes.heic", (1, 1))
    index(library, [tmp_path / "p"], encoder=encoder)
    assert len(met.read_text().split()) > tries


@pytest.mark.usefixtures("bad_decoder")
def test_what_is_ready_is_committed_while_a_file_hangs_and_a_stop_need_not_wait_for_it(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    good = save_pictures(tmp_path / "p", 50)
    bad_file(tmp_path / "p" / "0000-hangs.heic", "hangs")
    counted: list[int] = []

    def stop() -> bool:
        counted.append(library.catalogue.counts()[0])
        return counted[-1] == len(good)

    started = time.monotonic()
    report = index(library, [tmp_path / "p"], IndexOptions(workers=2), encoder=encoder, stop=stop)
    assert report.interrupted
    assert report.added == counted[-1] == len(good)
    assert time.monotonic() - started < parecido.indexer.pictures.decoding.allowance._WALL_SECONDS
    gc.collect()
