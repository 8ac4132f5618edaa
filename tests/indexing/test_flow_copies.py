"""The same bytes under many names, on several workers."""

from __future__ import annotations

import itertools
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from parecido import IndexOptions, Library, index
from parecido.indexer.catalogue.changes import Add
from parecido.indexer.catalogue.known import Known
from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.errors import PictureUnreadable
from parecido.indexer.indexing.plan import Plan
from parecido.indexer.indexing.prepare import Prepared
from parecido.indexer.indexing.workers import Flow
from parecido.indexer.pictures.decode import decode
from parecido.indexer.pictures.wanted import Drawn, draw
from parecido.indexer.records.pictures import FileEntry
from parecido.indexer.system.files import content_hash
from tests.support.fakes import fake_encoder, quadrants, save_picture, save_pictures
from tests.support.flowing import encoded
from tests.support.harness import check_sound
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("few_files_ahead", "no_thread_outlives_its_run")


NAMES, CROWD = 12, 4


@pytest.fixture
def copies(tmp_path: Path) -> list[Path]:
    """The same bytes under many names."""
    first = save_picture(tmp_path / "p" / "00.png", 1)
    return [first] + [
        Path(shutil.copy(first, first.with_name(f"{n:02d}.png"))) for n in range(1, NAMES)
    ]


def here(workers: int) -> IndexOptions:
    """Options of a run that decodes in this process, where the test can see it."""
    return IndexOptions(workers=workers, isolate=False)


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

    def held(data: bytes, *rest: Any) -> Drawn:
        is_held = data == copied and copied not in decoded
        decoded.append(data)
        if is_held:
            claims = flow_of[0]._claims
            until(lambda: len(claims[content_hash(data)].copies) >= CROWD)
            then()
        return draw(data, *rest)

    monkeypatch.setattr(Flow, "_one", telling)
    monkeypatch.setattr("parecido.indexer.pictures.decoding.decoder.draw", held)
    return decoded


def test_bytes_whose_first_decoder_fails_are_skipped_under_every_name(
    copies: list[Path], library: Library, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise PictureUnreadable("the data breaks off", "damaged")

    decoded = hold_the_first_decoder(monkeypatch, copies[0], fail)
    save_pictures(copies[0].parent / "later", 3, first=50)
    report = index(
        library, [copies[0].parent], IndexOptions(workers=2, isolate=False), encoder=encoder
    )
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
    assert {skip.path for skip in library.catalogue.list_skips()} == refused
    check_sound(library.folder)


def test_bytes_whose_first_decoder_is_slow_are_one_descriptor_under_every_name(
    copies: list[Path], library: Library, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = hold_the_first_decoder(monkeypatch, copies[0])
    report = index(
        library, [copies[0].parent], IndexOptions(workers=2, isolate=False), encoder=encoder
    )
    assert (report.added, len(decoded), encoded(encoder)) == (NAMES, 1, 1)
    assert len(check_sound(library.folder)) == NAMES


def test_bytes_that_no_decoder_reads_are_skipped_under_every_name_and_left_alone_then(
    copies: list[Path], library: Library, encoder: Encoder
) -> None:
    for path in copies:
        path.write_bytes(b"\x89PNG no more")
    save_picture(copies[0].with_name("good.png"), 7)
    for _ in range(2):
        report = index(
            library, [copies[0].parent], IndexOptions(workers=4, isolate=False), encoder=encoder
        )
        assert sorted(skip.path for skip in report.skipped) == sorted(map(str, copies))
    assert library.catalogue.counts() == (1, NAMES)


def test_a_crowd_of_copies_of_a_known_picture_is_added_whole(
    library: Library, tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = save_picture(tmp_path / "p" / "a.png", 1)
    index(library, [tmp_path / "p"], encoder=encoder)
    for number in range(300):
        shutil.copy(first, tmp_path / "p" / f"{number:03d}.png")
    monkeypatch.setattr("parecido.indexer.indexing.run.COMMIT_CHANGES", 3)
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

    monkeypatch.setattr("parecido.indexer.indexing.run.os.path.lexists", counted)
    monkeypatch.setattr("parecido.indexer.indexing.run.COMMIT_CHANGES", 10)
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
    monkeypatch.setattr("parecido.indexer.indexing.run.COMMIT_SECONDS", 0.0)
    write, make, committed = CatalogueWriter.write, Flow.__init__, threading.Event()

    def telling(writer: CatalogueWriter, changes: list[Any], **named: Any) -> None:
        write(writer, changes, **named)
        if any(isinstance(c, Add) and c.entry.path == os.fsencode(original) for c in changes):
            committed.set()

    def make_late(flow: Flow, plan: Plan, have: Callable[[bytes], bool]) -> None:
        def late(digest: bytes) -> bool:
            found = bool(have(digest))
            if found:
                committed.wait()
            return found

        make(flow, plan, late)

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
        stored = library.catalogue.descriptors.of([picture.id])[1][0]
        assert stored == pytest.approx(quadrants(pixels[None])[0], abs=1e-3)
    check_sound(library.folder)
