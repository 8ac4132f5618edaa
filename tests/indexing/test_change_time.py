"""An edit that keeps a file's size and time is seen by its change time, which none can set."""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from parecido import Engine, Library, index, repair, verify
from parecido.indexer.checkup.pictures import verify_pictures
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.library.library import CATALOGUE
from parecido.indexer.records.runs import IndexReport
from tests.support.fakes import save_picture
from tests.support.harness import check_sound, make_sealed_before
from tests.support.records import tamper


def overwrite(path: Path, seed: int) -> None:
    """Other bytes in the same file, of the same size, with the time put back."""
    before = path.stat()
    other = save_picture(path.with_name("other.ppm"), seed).read_bytes()
    path.with_name("other.ppm").unlink()
    assert len(other) == before.st_size
    with path.open("r+b") as file:
        file.write(other)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def groups(report: IndexReport) -> tuple[int, int, int, int]:
    """How many were added, updated, unchanged and encoded."""
    return report.added, report.updated, report.unchanged, report.encoded


def change_times(library: Library) -> list[int | None]:
    """Of pictures and skips, by path."""
    with closing(sqlite3.connect(library.folder / CATALOGUE)) as connection:
        query = "SELECT ctime_ns FROM (SELECT path, ctime_ns FROM pictures UNION ALL SELECT path,"
        query += " ctime_ns FROM skips) ORDER BY path"
        return [row[0] for row in connection.execute(query)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, and a file that is none."""
    for seed in range(3):
        save_picture(tmp_path / "p" / f"{seed}.ppm", seed)
    (tmp_path / "p" / "none.png").write_bytes(b"no picture")
    return tmp_path / "p"


def test_an_edit_that_keeps_size_and_time_is_seen(
    library: Library, folder: Path, encoder: Encoder
) -> None:
    index(library, [folder], encoder=encoder)
    assert groups(index(library, [folder], encoder=encoder)) == (0, 0, 3, 0)
    overwrite(folder / "1.ppm", 77)
    assert groups(index(library, [folder], encoder=encoder)) == (0, 1, 2, 1)
    with Engine(library, encoder=encoder) as engine:
        (best,) = engine.search(folder / "1.ppm", k=1, include_self=True).hits
    assert (best.path, best.score) == (os.fspath(folder / "1.ppm"), pytest.approx(1, abs=1e-3))
    check_sound(library.folder)


def test_other_rights_let_a_file_be_read_once_and_nothing_be_encoded(
    library: Library, folder: Path, encoder: Encoder
) -> None:
    index(library, [folder], encoder=encoder)
    for path in folder.iterdir():
        path.chmod(0o600)
    generation = library.catalogue.generation()
    for _ in range(2):
        assert groups(index(library, [folder], encoder=encoder)) == (0, 0, 3, 0)
    assert library.catalogue.generation() == generation
    assert change_times(library) == [path.stat().st_ctime_ns for path in sorted(folder.iterdir())]


def test_a_query_is_described_by_what_its_file_holds_now(
    library: Library, folder: Path, encoder: Encoder
) -> None:
    index(library, [folder], encoder=encoder)
    twin = save_picture(folder.parent / "twin.ppm", 2)
    overwrite(folder / "1.ppm", 2)
    with Engine(library, encoder=encoder) as engine:
        asked = [engine.search(path, k=3, include_self=True) for path in (folder / "1.ppm", twin)]
    assert [[hit.id for hit in one.hits] for one in asked[:1]] == [
        [hit.id for hit in one.hits] for one in asked[1:]
    ]
    assert asked[0].hits[0].path == os.fspath(folder / "2.ppm")


def test_a_check_of_the_files_calls_an_edit_no_damage(
    library: Library, folder: Path, encoder: Encoder
) -> None:
    index(library, [folder], encoder=encoder)
    overwrite(folder / "1.ppm", 77)
    check = verify_pictures(library)
    assert (check.outdated, check.changed, check.is_sound) == (
        [os.fspath(folder / "1.ppm")],
        [],
        True,
    )


# -- libraries of before ---------------------------------------------------------------------------


def test_a_library_from_before_takes_change_times_over_without_reading_a_file(
    library: Library, folder: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    index(library, [folder], encoder=encoder)
    found = change_times(library)
    library.close()
    make_sealed_before(library.folder)

    def refuse(*_: object) -> None:
        raise AssertionError("a file was read")

    monkeypatch.setattr("parecido.indexer.indexing.workers.prepare", refuse)
    with Library.open(library.folder) as opened:
        assert change_times(opened) == [None] * 4
        assert groups(index(opened, [folder], encoder=encoder)) == (0, 0, 3, 0)
        assert change_times(opened) == found
        assert verify(opened) == []


def test_a_library_from_before_that_is_damaged_is_mended_by_its_own_seals(
    library: Library, folder: Path, encoder: Encoder
) -> None:
    index(library, [folder], encoder=encoder)
    library.close()
    make_sealed_before(library.folder)
    tamper(library.folder, "UPDATE pictures SET width = width + 1 WHERE id = 2")
    done = repair(library.folder, encoder=encoder)
    assert any("set 1 picture aside" in line for line in done), done
    with Library.open(library.folder) as opened:
        assert verify(opened) == []
        assert opened.catalogue.counts() == (3, 1)
    check_sound(library.folder)


def test_a_run_over_unchanged_files_imports_nothing_that_writes(
    library: Library, folder: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    index(library, [folder], encoder=encoder)
    # SQLAlchemy comes with it: 0.15 s, where the run takes a fiftieth of a second
    name = "parecido.indexer.catalogue.sqlite.writing.statements"
    monkeypatch.delitem(sys.modules, name)
    assert groups(index(library, [folder], encoder=encoder)) == (0, 0, 3, 0)
    assert name not in sys.modules
