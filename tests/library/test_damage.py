"""Damaged files: what is rebuilt in silence, what is told, what a repair saves."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt
import pytest

from parecido import Engine, IndexOptions, Library, index, remove, verify
from parecido.indexer.catalogue.sqlite.connections import Connections
from parecido.indexer.catalogue.sqlite.reading.descriptors import pack
from parecido.indexer.catalogue.sqlite.upgrade import install
from parecido.indexer.checkup.repair import repair
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.errors import LibraryDamaged, LibraryTooNew
from parecido.indexer.library.layout import CATALOGUE
from parecido.indexer.library.upkeep import bring_up_to_date, is_up_to_date
from tests.support.fakes import DIMENSION, fake_encoder, save_picture, save_pictures
from tests.support.harness import (
    Row,
    assert_one_line,
    check_sound,
    drop_seals,
    holdings,
    in_child,
    page_size,
    run_parecido,
    seal_anew,
    snapshot,
)

# -- the vector index, a cache ---------------------------------------------------------------------


def vector_file(library: Library) -> Path:
    """The one file of the vector index."""
    (path,) = (library.folder / "vectors").glob("*.faiss")
    return path


def oracle(library: Library, query: npt.NDArray[np.float32]) -> list[tuple[int, float]]:
    """NumPy's ten best of the catalogue's descriptors, ties by id."""
    ids, vectors = library.catalogue.descriptors.of(library.catalogue.descriptors.ids().tolist())
    scores = (vectors.astype(np.float64) @ query.astype(np.float64)).astype(np.float32)
    best = np.lexsort((ids, -scores))[:10]
    return list(zip(ids[best].tolist(), scores[best].tolist(), strict=True))


def check_search(library: Library, each: int = 7) -> None:
    """Assert that searches for each seventh stored and other descriptors are what NumPy says."""
    _, stored = library.catalogue.descriptors.of(library.catalogue.descriptors.ids().tolist())
    other = np.abs(np.random.default_rng(3).normal(size=(2, DIMENSION))).astype(np.float32)
    with Engine(library, encoder=fake_encoder()) as engine:
        for query in (*stored[::each], *other):
            hits = engine.search_vector(query)
            wanted = oracle(library, query / np.float32(np.linalg.norm(query)))
            assert [hit.id for hit in hits] == [i for i, _ in wanted]
            assert [hit.score for hit in hits] == pytest.approx([s for _, s in wanted], abs=1e-6)


def _files(folder: Path) -> dict[str, bytes]:
    """What lies in the vector index's folder."""
    found = (folder / "vectors").glob("*")
    return {path.name: path.read_bytes() for path in found}


def _missing(path: Path) -> None:
    path.unlink()


def _folder_missing(path: Path) -> None:
    shutil.rmtree(path.parent)


def _garbage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40] + np.random.default_rng(1).bytes(5000))


def _zeros(path: Path) -> None:
    path.write_bytes(bytes(5000))


def _another_dimension(path: Path) -> None:
    _write_index(path, np.eye(20, 7, dtype=np.float32), np.arange(1, 21))


def _another_order(path: Path) -> None:
    # a whole file, but of distances: nothing tells it from the right one but its first bytes
    data = bytearray(path.read_bytes())
    data[33] ^= 1
    path.unlink()
    path.write_bytes(data)


def _of_a_later_generation(path: Path) -> None:
    path.rename(path.with_name("000000000999.faiss"))


def _not_named_after_a_generation(path: Path) -> None:
    path.rename(path.with_name("newest.faiss"))


def _write_index(path: Path, vectors: npt.NDArray[np.float32], ids: npt.NDArray[np.int64]) -> None:
    index = faiss.IndexIDMap2(faiss.IndexFlatIP(vectors.shape[1]))
    index.add_with_ids(vectors, ids)
    path.unlink()
    faiss.write_index(index, str(path))


@pytest.mark.parametrize(
    "damage",
    [
        _missing,
        _folder_missing,
        _garbage,
        _zeros,
        _another_dimension,
        _another_order,
        _of_a_later_generation,
        _not_named_after_a_generation,
    ],
    ids=lambda damage: damage.__name__.strip("_").replace("_", " "),
)
def test_a_damaged_vector_index_is_built_again_in_silence(
    damage: Callable[[Path], None],
    indexed: Library,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = vector_file(indexed)
    data = before.read_bytes()
    damage(before)
    there = _files(indexed.folder)
    check_search(indexed)
    assert _files(indexed.folder) == there  # a search writes nothing
    check_sound(indexed.folder)
    index(indexed, [tmp_path / "pictures"], encoder=fake_encoder())  # finds nothing new
    assert before.read_bytes() == data
    check_search(indexed)
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


def test_a_vector_index_cut_short_anywhere_is_built_again(indexed: Library) -> None:
    path = vector_file(indexed)
    data = path.read_bytes()
    # every length where FAISS reads its first numbers, some among the vectors and the ids
    size = len(data)
    lengths = [*range(110), *range(110, size - 250, 41), *range(size - 250, size, 9), size - 1]
    for length in lengths:
        path.unlink(missing_ok=True)
        path.write_bytes(data[:length])
        check_search(indexed, each=20)
        assert path.read_bytes() == data[:length]  # a search writes nothing
    # by the next writer; but a file of one byte to three might be anybody's
    for length in (0, *lengths[4::11], size - 1):
        path.unlink()
        path.write_bytes(data[:length])
        with indexed.writer() as writing:
            assert not is_up_to_date(writing)
            bring_up_to_date(writing)
            assert is_up_to_date(writing)
        assert vector_file(indexed).read_bytes() == data


def test_bits_flipped_among_a_vector_indexs_numbers_and_ids_are_noticed(indexed: Library) -> None:
    path = vector_file(indexed)
    data = path.read_bytes()
    ids_start = data.rindex(b'{"facts"') - 20 * 8 - 8
    for position in (*range(90), *range(ids_start, len(data), 7)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        path.unlink(missing_ok=True)
        path.write_bytes(flipped)
        check_search(indexed, each=20)


def test_bits_flipped_among_the_vectors_are_noticed_and_it_is_built_again(
    indexed: Library,
) -> None:
    path = vector_file(indexed)
    data = bytearray(path.read_bytes())
    data[700:900] = bytes(200)
    path.unlink()
    path.write_bytes(data)
    assert verify(indexed) == []
    check_search(indexed)


def test_bits_flipped_among_a_large_ones_vectors_are_found_by_verify_and_mended_by_repair(
    indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "parecido.indexer.vectors.local.file._WHOLE_BYTES", 0
    )  # every file is a large one
    indexed.vectors().save()
    path = vector_file(indexed)
    data = path.read_bytes()
    for position in range(600, 1000, 50):
        flipped = bytearray(data)
        flipped[position + 3] ^= 0x40  # in an exponent: a small number becomes a large one
        path.unlink()
        path.write_bytes(flipped)
        (problem,) = verify(indexed)
        assert problem.repairable
        assert problem.what == "the vector index differs from the catalogue"
        assert repair(indexed.folder) == ["built the vector index again"]
        assert verify(indexed) == []
        check_search(indexed)


def test_a_vector_index_of_a_removed_catalogue_is_not_taken_for_the_new_ones(
    indexed: Library, tmp_path: Path
) -> None:
    generation = indexed.catalogue.generation()
    (indexed.folder / CATALOGUE).unlink()
    save_pictures(tmp_path / "others", 20, first=500)
    with Library.create(indexed.folder) as library:
        index(library, [tmp_path / "others"], encoder=fake_encoder())
        assert library.catalogue.generation() >= generation  # old and new cannot be told by number
        check_search(library)
        assert verify(library) == []


def test_a_catalogue_put_back_to_an_older_state_does_not_grow_into_a_later_vector_index(
    indexed: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = (indexed.folder / CATALOGUE).read_bytes()
    save_pictures(tmp_path / "pictures", 8, first=100)
    index(indexed, [tmp_path / "pictures"], encoder=fake_encoder())
    indexed.vectors().save()
    later = int(vector_file(indexed).stem)
    for name in (CATALOGUE, f"{CATALOGUE}-wal", f"{CATALOGUE}-shm"):
        (indexed.folder / name).unlink(missing_ok=True)
    (indexed.folder / CATALOGUE).write_bytes(older)
    assert indexed.catalogue.generation() < later
    shutil.rmtree(tmp_path / "pictures")
    save_pictures(tmp_path / "pictures", 28, first=300)
    monkeypatch.setattr("parecido.indexer.indexing.run.COMMIT_SECONDS", 0.0)
    index(indexed, [tmp_path / "pictures"], encoder=fake_encoder())
    assert indexed.catalogue.generation() > later
    check_search(indexed)
    check_sound(indexed.folder)


# -- the catalogue, the only truth -----------------------------------------------------------------

PICTURES = 400
LONG = 300  # numbers in a descriptor, so that there are pages to lose


def long_encoder() -> Encoder:
    return fake_encoder(dimension=LONG)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 pictures, and a library of them in ``library``."""
    made = tmp_path_factory.mktemp("large")
    save_pictures(made / "pictures", PICTURES)
    with Library.create(made / "library") as library:
        index(library, [made / "pictures"], IndexOptions(dimension="full"), encoder=long_encoder())
    return made


@pytest.fixture
def _long_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """New libraries of the command line have the same."""
    monkeypatch.setenv("FAKE_DIMENSION", str(LONG))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A copy of that library, without journal."""
    shutil.copytree(folder / "library", tmp_path / "copy")
    for suffix in ("-wal", "-shm"):
        (tmp_path / "copy" / f"{CATALOGUE}{suffix}").unlink(missing_ok=True)
    return tmp_path / "copy"


@pytest.fixture(scope="module")
def whole(folder: Path) -> dict[bytes, Row]:
    """What the undamaged library holds."""
    return {path: row for path, (_, row) in check_sound(folder / "library").items()}


def pages_of(library: Path, table: str) -> list[int]:
    """The pages of a table, its root first, as SQLite's own statistics tell."""
    connection = sqlite3.connect(library / CATALOGUE)
    try:
        found = connection.execute("SELECT pageno FROM dbstat WHERE name = ?", (table,)).fetchall()
    except sqlite3.OperationalError:
        pytest.skip("this SQLite was built without dbstat")
    finally:
        connection.close()
    return [number for (number,) in found]


def overwrite(path: Path, start: int, data: bytes) -> bytes:
    """Put other bytes into a file; what it holds then."""
    with path.open("r+b") as file:
        file.seek(start)
        file.write(data)
    return path.read_bytes()


def overwrite_page(path: Path, number: int, filling: str) -> bytes:
    """Put zeros or noise in the place of a catalogue's page; what the file holds then."""
    size = page_size(path)
    data = bytes(size) if filling == "zeros" else np.random.default_rng(5).bytes(size)
    return overwrite(path, (number - 1) * size, data)


def check_refused(library: Path) -> None:
    """Assert that using a damaged library tells so, with the way out."""
    with pytest.raises(LibraryDamaged) as caught, Library.open(library) as opened:
        verify(opened)
    assert "is damaged" in caught.value.message
    assert caught.value.remedy == "Save what can be read: parecido verify --repair."


def check_mended(
    library: Path,
    damaged: bytes,
    folder: Path,
    whole: dict[bytes, Row],
    kept: int,
    encoder: Encoder | None = None,
) -> None:
    """Assert that a repair keeps so many pictures and the old file, and the next run the rest.

    With an encoder, it may read others again.
    """
    repair(library, encoder=encoder)
    (aside,) = library.glob(f"{CATALOGUE}.damaged-*")
    assert aside.read_bytes() == damaged
    saved = {path: row for path, (_, row) in check_sound(library).items()}
    assert len(saved) == kept or (encoder is not None and len(saved) > kept)
    kept = len(saved)
    assert saved.items() <= whole.items()
    with Library.open(library) as opened:
        report = index(opened, [folder / "pictures"], encoder=long_encoder())
    # those whose paths are known keep their ids
    assert (report.added + report.updated, report.unchanged) == (PICTURES - kept, kept)
    assert {path: row for path, (_, row) in check_sound(library).items()} == whole


@pytest.mark.parametrize("filling", ["zeros", "noise"])
@pytest.mark.parametrize("table", ["pictures", "descriptors"])
def test_a_repair_saves_all_but_the_pictures_on_an_overwritten_page(
    table: str, filling: str, copy: Path, folder: Path, whole: dict[bytes, Row]
) -> None:
    page = pages_of(copy, table)[2]
    connection = sqlite3.connect(copy / CATALOGUE)
    (lost,) = connection.execute("SELECT ncell FROM dbstat WHERE pageno = ?", (page,)).fetchone()
    connection.close()
    damaged = overwrite_page(copy / CATALOGUE, page, filling)
    check_refused(copy)
    assert lost > 10
    check_mended(copy, damaged, folder, whole, PICTURES - lost)


@pytest.mark.parametrize("name", ["pictures", "descriptors"])
def test_a_repair_after_a_tables_root_is_lost_leaves_everything_to_the_next_run(
    name: str, copy: Path, folder: Path, whole: dict[bytes, Row]
) -> None:
    page = pages_of(copy, name)[0]
    damaged = overwrite_page(copy / CATALOGUE, page, "zeros")
    check_refused(copy)
    check_mended(copy, damaged, folder, whole, 0)


@pytest.mark.parametrize(
    "name",
    [
        *("roots", "skips", "removals", "ix_removals_generation", "ix_descriptors_generation"),
        *("ix_pictures_content_hash", "sqlite_autoindex_pictures_1"),
    ],
)
def test_a_repair_after_a_lesser_table_or_an_index_is_lost_keeps_every_picture(
    name: str, copy: Path, folder: Path, whole: dict[bytes, Row]
) -> None:
    page = pages_of(copy, name)[0]
    damaged = overwrite_page(copy / CATALOGUE, page, "noise")
    check_refused(copy)
    check_mended(copy, damaged, folder, whole, PICTURES)


@pytest.mark.parametrize("pages_lost", [1, 32, 40])
def test_a_repair_saves_what_lies_before_the_end_of_a_truncated_catalogue(
    pages_lost: int, copy: Path, folder: Path, whole: dict[bytes, Row]
) -> None:
    data, page = (copy / CATALOGUE).read_bytes(), page_size(copy / CATALOGUE)
    damaged = data[: len(data) - pages_lost * page]
    (copy / CATALOGUE).write_bytes(damaged)
    check_refused(copy)
    kept = _expected_to_stay(data, len(damaged) // page, copy)
    assert kept > 100
    # the last pages hold rows of lesser tables
    assert kept < PICTURES or pages_lost == 1
    # with the last pages the seals of many rows are lost; their pictures are read again
    check_mended(copy, damaged, folder, whole, kept, long_encoder())


def _expected_to_stay(data: bytes, pages: int, near: Path) -> int:
    """How many pictures lie, row and descriptor, on the first pages of an undamaged file."""
    path = near.with_name("undamaged.sqlite")
    path.write_bytes(data)
    connection = sqlite3.connect(path)
    starts: dict[str, set[int]] = {}
    for table in ("pictures", "descriptors"):
        # leaves in the order of their rows, with how many rows lie on each
        leaves = connection.execute(
            "SELECT pageno, ncell FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY path",
            (table,),
        ).fetchall()
        ids, standing = iter(range(1, PICTURES + 1)), set()
        for page, cells in leaves:
            rows = {next(ids) for _ in range(cells)}
            standing |= rows if page <= pages else set()
        starts[table] = standing
    connection.close()
    return len(starts["pictures"] & starts["descriptors"])


@pytest.mark.usefixtures("_long_descriptors")
@pytest.mark.parametrize("lost", ["header", "first page", "everything"])
def test_a_catalogue_without_its_first_page_is_told_and_left_as_it_is(
    lost: str, copy: Path, folder: Path, whole: dict[bytes, Row]
) -> None:
    match lost:
        case "header":
            overwrite(copy / CATALOGUE, 0, b"x" * 100)
        case "first page":
            overwrite_page(copy / CATALOGUE, 1, "zeros")
        case "everything":
            (copy / CATALOGUE).write_bytes(b"")
    before = snapshot(copy)
    for command in (["index", folder / "pictures"], ["search", folder / "pictures"], ["verify"]):
        assert_one_line(run_parecido(*command, "--library", copy), str(copy / CATALOGUE))
    failed = run_parecido("verify", "--repair", "--library", copy)
    assert_one_line(failed, "Nothing usable can be read", "Remove the library's folder")
    after = snapshot(copy)
    assert {n: after[n] for n in before} == before
    assert [n for n in after if ".new" in n or ".damaged" in n] == []
    shutil.rmtree(copy)  # as it said
    done = run_parecido("index", folder / "pictures", "--library", copy)
    assert (done.returncode, done.stderr) == (0, "")
    assert {path: row for path, (_, row) in check_sound(copy).items()} == whole


def test_the_command_line_tells_of_damage_in_one_line_and_repairs(
    copy: Path, folder: Path, whole: dict[bytes, Row]
) -> None:
    page = pages_of(copy, "pictures")[2]
    overwrite_page(copy / CATALOGUE, page, "zeros")
    where = ("--library", copy)
    assert_one_line(run_parecido("verify", *where), "is damaged", "parecido verify --repair")
    repaired = run_parecido("verify", "--repair", *where)
    assert (repaired.returncode, repaired.stderr) == (0, "")
    assert "readable pictures into a new catalogue; the old one is " in repaired.stdout
    assert repaired.stdout.endswith("The library is sound.\n")
    done = run_parecido("index", folder / "pictures", *where)
    assert (done.returncode, done.stderr) == (0, "")
    assert {path: row for path, (_, row) in check_sound(copy).items()} == whole


def test_a_library_of_a_newer_version_is_refused_and_left_as_it_is(
    copy: Path, folder: Path
) -> None:
    connection = sqlite3.connect(copy / CATALOGUE)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    before = snapshot(copy)
    with pytest.raises(LibraryTooNew, match="has schema 9999, written by a newer parecido"):
        Library.open(copy)
    with pytest.raises(LibraryTooNew):
        Library.create(copy)
    with pytest.raises(LibraryTooNew):
        repair(copy)
    failed = run_parecido("index", folder / "pictures", "--library", copy)
    assert_one_line(failed, "9999", "Upgrade: pip install --upgrade parecido.")
    after = snapshot(copy)
    assert {name: after[name] for name in before} == before
    assert [n for n in after if n not in before and not n.endswith(("-wal", "-shm"))] == []


def _without_row(library: Path) -> None:
    with closing(sqlite3.connect(library / CATALOGUE)) as connection, connection:
        connection.execute("DELETE FROM alembic_version")


def _empty(library: Path) -> None:
    with closing(sqlite3.connect(library / CATALOGUE)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ''")


def _zeros(library: Path) -> None:
    # the page stands, and the row on it is nothing
    size, page = page_size(library / CATALOGUE), pages_of(library, "alembic_version")[0]
    overwrite(library / CATALOGUE, page * size - size // 2, bytes(size // 2))


@pytest.mark.parametrize(
    "damage",
    [_without_row, _empty, _zeros],
    ids=lambda damage: damage.__name__.strip("_").replace("_", " "),
)
def test_a_catalogue_that_does_not_tell_its_version_is_damaged_and_can_be_repaired(
    damage: Callable[[Path], None], copy: Path, whole: dict[bytes, Row]
) -> None:
    damage(copy)
    with pytest.raises(LibraryDamaged):
        Library.open(copy)
    repair(copy)
    assert {path: row for path, (_, row) in check_sound(copy).items()} == whole


def test_a_library_of_an_older_version_is_brought_up_to_date_when_it_is_opened(
    copy: Path, folder: Path, whole: dict[bytes, Row]
) -> None:
    gone = sorted((folder / "pictures").iterdir())[:5]
    with Library.open(copy) as opened:
        generation = opened.catalogue.generation()
        assert remove(opened, gone) == 5
    # what left before the update: the vector index's file still has it, and no table tells
    (vectors,) = (copy / "vectors").glob("*.faiss")
    assert int(vectors.stem) <= generation
    with closing(sqlite3.connect(copy / CATALOGUE)) as connection, connection:
        drop_seals(connection)
        connection.execute("DROP TABLE removals")
        connection.execute("DROP TABLE spaces")
        connection.execute("DROP TABLE regions")
        connection.execute("DROP TABLE uploads")
        for column in ("taken_at", "camera"):
            connection.execute(f"ALTER TABLE pictures DROP COLUMN {column}")
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
    assert len(check_sound(copy)) == PICTURES - 5
    with Library.open(copy) as opened, Engine(opened) as engine:
        _, stored = opened.catalogue.descriptors.of([opened.catalogue.largest_id()])
        assert len(engine.search_vector(stored[0], k=PICTURES - 5)) == PICTURES - 5
        assert index(opened, [folder / "pictures"], encoder=long_encoder()).added == 5
    assert {path: row for path, (_, row) in check_sound(copy).items()} == whole


# -- what was open meanwhile -----------------------------------------------------------------------


@pytest.mark.parametrize("where", ["in this process", "in another one"])
def test_an_engine_that_outlives_a_repair_answers_from_the_repaired_catalogue(
    where: str, copy: Path, folder: Path, whole: dict[bytes, Row]
) -> None:
    page = pages_of(copy, "descriptors")[2]
    query = save_picture(folder / "query.png", 4711)
    with Library.open(copy) as opened, Engine(opened, encoder=long_encoder()) as engine:
        assert len(engine.search(query, k=PICTURES).hits) == PICTURES
        overwrite_page(copy / CATALOGUE, page, "zeros")
        repair(copy) if where == "in this process" else in_child(repair, copy)
        repaired = check_sound(copy)
        assert 100 < len(repaired) < PICTURES
        assert holdings(opened) == repaired
        hits = engine.search(query, k=len(repaired)).hits
        assert {os.fsencode(hit.path) for hit in hits} == repaired.keys()
        # its lost pictures come back under new ids, some of which were other pictures' before
        with Library.open(copy) as another:
            index(another, [folder / "pictures"], encoder=long_encoder())
        assert {path: row for path, (_, row) in holdings(opened).items()} == whole
        best = {hit.path: hit.score for hit in engine.search(query, k=PICTURES).hits}
        fresh = Engine(opened, encoder=long_encoder()).search(query, k=PICTURES)
        assert best == {hit.path: hit.score for hit in fresh.hits}
        assert len(best) == PICTURES


def test_a_question_that_is_asked_during_a_repair_leaves_no_connection_to_the_old_file(
    indexed: Library, tmp_path: Path
) -> None:
    path = indexed.folder / CATALOGUE
    with Library.create(tmp_path / "other") as other:
        save_pictures(tmp_path / "few", 3, first=700)
        index(other, [tmp_path / "few"], encoder=fake_encoder())
    connections = Connections(path)
    with connections.take() as connection:
        assert connection.execute("SELECT count(*) FROM pictures").fetchone() == (20,)
        fresh = path.with_name(f"{CATALOGUE}.new")
        shutil.copy(tmp_path / "other" / CATALOGUE, fresh)
        install(fresh, path)
        # others notice the new file, and then the first question is answered
        assert connections.rows("SELECT count(*) FROM pictures") == [(3,)]
    for _ in range(3):
        assert connections.rows("SELECT count(*) FROM pictures") == [(3,)]
    connections.close()


def test_a_connection_whose_question_failed_is_not_used_again(indexed: Library) -> None:
    connections = Connections(indexed.folder / CATALOGUE)
    with connections.take() as first:
        pass
    with pytest.raises(LibraryDamaged):
        connections.rows("SELECT no_such_column FROM pictures")
    with connections.take() as second:
        assert second is not first
        assert second.execute("SELECT count(*) FROM pictures").fetchone() == (20,)
    connections.close()
    with pytest.raises(sqlite3.ProgrammingError):
        second.execute("SELECT 1")


# -- single descriptors ----------------------------------------------------------------------------


def _vector(*numbers: float) -> bytes:
    return pack(np.resize(np.array(numbers, np.float32), DIMENSION))


@pytest.mark.parametrize(
    ("vector", "said"),
    [
        (None, "1 pictures have no descriptor"),
        (b"", "1 descriptors are not of unit length or of another size"),
        (_vector(0.5)[:-2], "1 descriptors are not of unit length or of another size"),
        (_vector(0.5)[:-1], "1 descriptors are not of unit length or of another size"),
        (_vector(0.5) + b"\0\0", "1 descriptors are not of unit length or of another size"),
        (_vector(float("nan")), "1 descriptors are not of unit length or of another size"),
        (_vector(float("inf"), 0), "1 descriptors are not of unit length or of another size"),
        (_vector(0), "1 descriptors are not of unit length or of another size"),
        (_vector(0.5), "1 descriptors are not of unit length or of another size"),
    ],
    ids=["missing", "empty", "short", "odd", "long", "NaN", "infinite", "zero", "length 1.7"],
)
@pytest.mark.parametrize("sealed", [False, True], ids=["", "sealed so"])
@pytest.mark.parametrize("picture_id", [1, 9, 20])
def test_a_bad_descriptor_is_found_set_aside_and_made_again_by_the_next_run(
    vector: bytes | None, said: str, picture_id: int, sealed: bool, indexed: Library, tmp_path: Path
) -> None:
    before = holdings(indexed)
    connection = sqlite3.connect(indexed.folder / CATALOGUE)
    if vector is None:
        connection.execute("DELETE FROM descriptors WHERE picture_id = ?", (picture_id,))
    else:
        connection.execute(
            "UPDATE descriptors SET vector = ? WHERE picture_id = ?", (vector, picture_id)
        )
    connection.commit()
    connection.close()
    (problem,) = verify(indexed)
    verb = "missing" if vector is None else "not what was written"
    assert (problem.what, problem.repairable) == (f"1 row of descriptors is {verb}", True)
    if sealed:  # as the versions before seals may have left it
        seal_anew(indexed.folder)
    problems = [said] if sealed else [problem.what]
    if sealed and vector is None:
        problems.append("the vector index holds 20 descriptors, the catalogue 19")
    assert [(p.what, p.repairable) for p in verify(indexed)] == [(what, True) for what in problems]
    done = repair(indexed.folder)
    assert any(line.startswith("set 1 picture aside") for line in done)
    assert verify(indexed) == []
    assert indexed.catalogue.counts()[0] == 19
    report = index(indexed, [tmp_path / "pictures"], encoder=fake_encoder())
    assert (report.updated, report.unchanged) == (1, 19)
    assert check_sound(indexed.folder) == before
    check_search(indexed)
