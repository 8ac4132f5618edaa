"""The digests of rows: written with every change, and computed for a library from before them."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parecido import Library, LibraryDamaged, index, repair, verify
from parecido.indexer.catalogue.changes import (
    Add,
    Change,
    Disown,
    Forget,
    Move,
    Own,
    Remove,
    SetAside,
    SkipFile,
    Touch,
    Withdraw,
)
from parecido.indexer.catalogue.known import Root
from parecido.indexer.catalogue.sqlite.sealing.digests import list_fields, row_digest
from parecido.indexer.catalogue.sqlite.sealing.seals import seal_everything
from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter
from parecido.indexer.library.layout import CATALOGUE
from parecido.indexer.records.pictures import Described, FileEntry
from parecido.indexer.records.regions import Regional
from tests.support.fakes import fake_encoder, fake_spec, save_pictures
from tests.support.harness import drop_seals, in_child, make_outdated
from tests.support.records import find_wrong, make_rich_library, read_records, tamper

# -- what is sealed --------------------------------------------------------------------------------


def test_every_column_of_every_table_is_sealed_with_its_key_first(library: Library) -> None:
    with closing(sqlite3.connect(library.folder / CATALOGUE)) as connection:
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        columns = {
            name: connection.execute(f"PRAGMA table_info({name})").fetchall() for (name,) in tables
        }
    del columns["seals"]  # each of its rows holds a digest of itself
    assert {name: {row[1] for row in rows} for name, rows in columns.items()} == {
        name: set(fields) for name, fields in list_fields().items()
    }
    keys = {name: [row[1] for row in rows if row[5]] for name, rows in columns.items()}
    assert keys == {name: [fields[0]] for name, fields in list_fields().items()}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([b"ab", b"c"], [b"a", b"bc"]),
        ([b"a"], ["a"]),
        ([1], ["1"]),
        ([1], [1.0]),
        ([None], [b""]),
        ([None], [""]),
        ([0.0], [-0.0]),
        ([b"b1:a"], [b"a"]),
    ],
)
def test_a_digest_tells_types_and_bounds_of_values_apart(
    one: list[object], other: list[object]
) -> None:
    assert row_digest("facts", one) == row_digest("facts", list(one))
    assert row_digest("facts", one) != row_digest("facts", other)
    assert row_digest("facts", one) != row_digest("roots", one)


# -- written with every change ---------------------------------------------------------------------

PATHS = st.sampled_from([b"/p/%d" % number for number in range(12)])
IDS = st.integers(1, 8)


def _described(seed: int) -> Described:
    regional = Regional(1, 2, bytes([seed] * 9)) if seed % 2 else None
    return Described(seed, seed + 1, "PNG", (), bytes([seed] * 24), regional=regional)


ADDS = st.builds(
    lambda path, seed, known: Add(
        FileEntry(path, seed, seed), bytes([seed] * 16), _described(seed), known
    ),
    PATHS,
    st.integers(0, 200),
    st.none() | IDS,
)
OTHERS = st.one_of(
    st.builds(lambda i, path: Move(i, path, 1, 2), IDS, PATHS),
    st.builds(lambda i, n: Touch(i, n, n), IDS, st.integers(0, 9)),
    st.builds(Remove, st.lists(IDS, max_size=3)),
    st.builds(lambda ids: SetAside(ids, "so"), st.lists(IDS, max_size=3)),
    st.builds(lambda path, i: SkipFile(path, 1, 1, "empty", "so", i), PATHS, st.none() | IDS),
    st.builds(Forget, st.lists(PATHS, max_size=3)),
    st.builds(lambda path: Own(path, b"h", b"", 1), PATHS),
    st.builds(Withdraw, PATHS),
    st.builds(Disown, st.lists(PATHS, max_size=2)),
)


def read_seals(path: Path) -> list[tuple[object, ...]]:
    """All seals, in order."""
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT table_name, bucket, version, entries, digest FROM seals ORDER BY 1, 2"
        return connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue with nothing in it, without a journal."""
    folder = tmp_path_factory.mktemp("empty")
    Library.create(folder / "library").close()
    return folder / "library" / CATALOGUE


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.lists(ADDS | OTHERS, max_size=5), st.sampled_from("wqe ")), max_size=6)
)
def test_after_any_changes_the_seals_are_those_that_are_computed_anew(
    empty: Path, batches: list[tuple[list[Change], str]]
) -> None:
    path = empty.with_name("catalogue.sqlite.any")
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)
    shutil.copy(empty, path)
    with CatalogueWriter(path) as catalogue:
        for number, (changes, more) in enumerate(batches):
            root = [Root(b"/p", number, 1)]
            # a change that asks for what cannot be is refused, and with it the whole batch
            try:
                catalogue.write(changes, encoder=fake_spec(), seen_roots=root)
            except Exception as error:
                if "constraint failed" not in str(error):
                    raise
            if more == "w":
                catalogue.keep_regions(number % 2 == 0)
            elif more == "q":
                catalogue.drop_orphans()
            elif more == "e":
                catalogue.drop_roots([b"/p"])
        assert catalogue.examine().tell() == [], batches
    before = read_seals(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        seal_everything(connection)
    assert read_seals(path) == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE seals SET entries = zeroblob(24) WHERE table_name = 'pictures'",
        "DELETE FROM seals WHERE table_name = 'pictures' AND bucket = -1",
    ],
    ids=["a sheet", "the sum of all sheets is gone"],
)
def test_a_write_among_damaged_seals_is_refused_and_seals_nothing(
    statement: str, indexed: Library, tmp_path: Path
) -> None:
    tamper(indexed.folder, statement)
    before = read_records(indexed.folder)
    save_pictures(tmp_path / "pictures", 3, first=50)
    with pytest.raises(LibraryDamaged, match="the seals of its pictures"):
        index(indexed, [tmp_path / "pictures"], encoder=fake_encoder())
    assert read_records(indexed.folder) == before
    repair(indexed.folder, encoder=fake_encoder())
    assert verify(indexed) == []
    assert read_records(indexed.folder).keys() == before.keys()


# -- a library from before -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with rows in every table."""
    return make_rich_library(tmp_path_factory.mktemp("rich"))


@pytest.fixture
def old(rich: Path, tmp_path: Path) -> Path:
    """The library as the version before seals left it."""
    shutil.copytree(rich, tmp_path / "library")
    with closing(sqlite3.connect(tmp_path / "library" / CATALOGUE)) as connection, connection:
        drop_seals(connection)
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return tmp_path / "library"


def test_a_library_without_seals_gets_them_of_what_is_there_and_no_picture_is_read(
    old: Path, rich: Path, caplog: pytest.LogCaptureFixture
) -> None:
    right = read_records(rich)
    caplog.set_level("INFO", "parecido")
    with Library.open(old) as library:
        assert verify(library) == []
        assert "The records of 69 pictures in" in caplog.text
        encoder = fake_encoder()
        index(library, [rich.parent / "pictures"], encoder=encoder)
        assert encoder._runtime.pictures == 0  # type: ignore[attr-defined]
    found = read_records(old)
    for table in ("pictures", "descriptors", "regions", "roots", "removals", "uploads", "skips"):
        assert found[table] == right[table]


def test_one_of_two_versions_before_gets_seals_too(rich: Path, tmp_path: Path) -> None:
    shutil.copytree(rich, tmp_path / "library")
    make_outdated(tmp_path / "library")
    with Library.open(tmp_path / "library") as library:
        assert verify(library) == []
    right, found = read_records(rich), read_records(tmp_path / "library")
    for table in ("descriptors", "regions", "roots", "removals"):
        assert found[table] == right[table]
    # but for the change times, and the rules of decoding, which it did not keep
    for table, kept in (("pictures", -2), ("skips", -2)):
        assert {key: row[:kept] for key, row in found[table].items()} == {
            key: row[:kept] for key, row in right[table].items()
        }


def _die_sealing(library: Path, after: int) -> None:
    from parecido.indexer.catalogue.sqlite.sealing import seals

    put, left = seals._put_sheets, [after]

    def put_or_die(*arguments: object) -> None:
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        put(*arguments)  # type: ignore[arg-type]

    seals._put_sheets = put_or_die  # type: ignore[assignment]
    Library.open(library)


@pytest.mark.parametrize("after", [0, 1, 15, 25])
def test_killed_while_it_gets_its_seals_it_is_as_it_was_and_gets_them_later(
    after: int, old: Path, rich: Path
) -> None:
    with pytest.raises(BrokenProcessPool):
        in_child(_die_sealing, old, after)
    with closing(sqlite3.connect(old / CATALOGUE)) as connection:
        query = "SELECT version_num FROM alembic_version"
        assert connection.execute(query).fetchall() == [("0005",)]
        names = connection.execute("SELECT name FROM sqlite_master").fetchall()
        assert ("seals",) not in names
    with Library.open(old) as library:
        assert verify(library) == []
    assert find_wrong(read_records(rich), read_records(old)) == []
