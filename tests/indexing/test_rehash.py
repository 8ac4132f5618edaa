"""``index --rehash``: edits that keep size and times are seen, and the same bytes cost a read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from parecido import IndexOptions, Library, index, verify
from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter
from parecido.indexer.encoders.encoder import Encoder
from tests.support.fakes import quadrants, save_picture, save_pictures
from tests.support.harness import holdings

REHASH = IndexOptions(rehash=True)


def encoded(encoder: Encoder) -> int:
    """How many pictures went through the fake network so far."""
    return encoder._runtime.pictures  # type: ignore[attr-defined, no-any-return]


def replace_unseen(path: Path, data: bytes) -> None:
    """Other bytes in a file's place, of the same length, with its time put back."""
    before = os.stat(path)
    assert len(data) == before.st_size
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = os.stat(path)
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def other_picture(path: Path, seed: int) -> bytes:
    """A picture of another seed, in as many bytes as the file at a path."""
    other = save_picture(path.with_name("other.bmp"), seed)
    data = other.read_bytes()
    other.unlink()
    return data


@pytest.fixture(autouse=True)
def without_change_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a system that does not keep them: nothing else tells such an edit."""
    monkeypatch.setattr("parecido.indexer.pictures.walking.walk._KEEPS_CHANGE_TIME", False)


@pytest.fixture
def bitmaps(library: Library, tmp_path: Path, encoder: Encoder) -> list[Path]:
    """Six indexed pictures in a format whose files are all equally long."""
    files = save_pictures(tmp_path / "p", 6, suffix=".bmp")
    index(library, [tmp_path / "p"], encoder=encoder)
    return files


def test_an_edit_that_keeps_size_and_time_is_seen_when_every_file_is_read(
    library: Library, tmp_path: Path, encoder: Encoder, bitmaps: list[Path]
) -> None:
    before = holdings(library)
    replace_unseen(bitmaps[2], other_picture(bitmaps[2], 77))
    assert index(library, [tmp_path / "p"], encoder=encoder).unchanged == 6
    report = index(library, [tmp_path / "p"], REHASH, encoder=encoder)
    assert (report.unchanged, report.updated, report.added, report.removed) == (5, 1, 0, 0)
    assert encoded(encoder) == 7
    after = holdings(library)
    assert {path: i for path, (i, _) in after.items()} == {p: i for p, (i, _) in before.items()}
    differing = [path for path in after if after[path] != before[path]]
    assert differing == [os.fsencode(bitmaps[2])]
    picture_id = after[differing[0]][0]
    from PIL import Image

    pixels = np.asarray(Image.open(bitmaps[2]))
    stored = library.catalogue.descriptors.of([picture_id])[1][0]
    assert stored == pytest.approx(quadrants(pixels[None])[0], abs=2e-2)
    assert verify(library) == []


def test_what_holds_the_same_bytes_is_neither_decoded_nor_written(
    library: Library,
    tmp_path: Path,
    encoder: Encoder,
    bitmaps: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "p" / "notes.png").write_text("no picture")
    index(library, [tmp_path / "p"], encoder=encoder)
    generation = library.catalogue.generation()

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("nothing is to be written")

    monkeypatch.setattr(CatalogueWriter, "write", fail)
    report = index(library, [tmp_path / "p"], REHASH, encoder=encoder)
    assert (report.unchanged, report.updated, len(report.skipped)) == (6, 0, 1)
    assert (report.encoded, encoded(encoder)) == (0, 6)
    assert library.catalogue.generation() == generation


def test_a_touched_file_is_still_written_when_every_file_is_read(
    library: Library, tmp_path: Path, encoder: Encoder, bitmaps: list[Path]
) -> None:
    os.utime(bitmaps[0], ns=(5, 5))
    assert index(library, [tmp_path / "p"], REHASH, encoder=encoder).unchanged == 6
    known = library.catalogue.known(os.fsencode(bitmaps[0]))
    assert known is not None
    assert known.mtime_ns == 5
    assert encoded(encoder) == 6


def test_a_file_that_was_no_picture_is_read_again_although_it_looks_the_same(
    library: Library, tmp_path: Path, encoder: Encoder, bitmaps: list[Path]
) -> None:
    good = other_picture(bitmaps[0], 50)
    late = tmp_path / "p" / "late.bmp"
    late.write_bytes(bytes(len(good)))
    assert len(index(library, [tmp_path / "p"], encoder=encoder).skipped) == 1
    replace_unseen(late, good)
    assert index(library, [tmp_path / "p"], encoder=encoder).added == 0
    report = index(library, [tmp_path / "p"], REHASH, encoder=encoder)
    assert (report.added, report.unchanged, report.skipped) == (1, 6, [])


def test_two_files_that_swap_their_bytes_unseen_swap_their_descriptors(
    library: Library, tmp_path: Path, encoder: Encoder, bitmaps: list[Path]
) -> None:
    before = holdings(library)
    first, second = bitmaps[0].read_bytes(), bitmaps[1].read_bytes()
    replace_unseen(bitmaps[0], second)
    replace_unseen(bitmaps[1], first)
    report = index(library, [tmp_path / "p"], REHASH, encoder=encoder)
    assert (report.unchanged, report.updated) == (4, 2)
    after = holdings(library)
    one, other = (os.fsencode(path) for path in bitmaps[:2])
    assert (after[one][0], after[other][0]) == (before[one][0], before[other][0])
    assert (after[one][1], after[other][1]) == (before[other][1], before[one][1])
    assert verify(library) == []
