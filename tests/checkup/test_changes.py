"""Deliberate changes to a catalogue, one by one: each is found, and a repair believes none."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from parecido import Engine, Library, ParecidoError, index, repair, verify
from parecido.indexer.library.layout import CATALOGUE
from tests.support.fakes import fake_encoder
from tests.support.records import (
    Records,
    find_wrong,
    make_rich_library,
    read_records,
    tamper,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that every test copies, and its pictures."""
    made = tmp_path_factory.mktemp("rich")
    make_rich_library(made)
    return made


@pytest.fixture(scope="module")
def right(folder: Path) -> Records:
    """What the untouched library holds."""
    return read_records(folder / "library")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A copy of the library."""
    shutil.copytree(folder / "library", tmp_path / "library")
    return tmp_path / "library"


def _set(table: str, what: str, where: str) -> str:
    return f"UPDATE {table} SET {what} WHERE {where}"


def _fact(key: str, value: str) -> str:
    return _set("facts", f"value = {value}", f"key = '{key}'")


NINE = "id = 9"
OF_NINE = "picture_id = 9"
OLD = "(SELECT id FROM older.pictures WHERE CAST(path AS TEXT) LIKE '%/0005.png')"
ATTACH = "ATTACH '{older}' AS older"
BUCKET = "bucket >= 0 AND table_name = 'pictures'"
ANY = "rowid = (SELECT min(rowid) FROM {})"

CHANGES: dict[str, tuple[str, ...]] = {
    # every column of a picture
    "a picture's path, which is no file": (_set("pictures", "path = path || 'x'", NINE),),
    "a picture's path, which is another file": (
        _set("pictures", "path = replace(path, '0008.png', 'notes.png')", NINE),
        "UPDATE pictures SET path = CAST(path AS BLOB)",
    ),
    "a picture's path, as text": (_set("pictures", "path = CAST(path AS TEXT)", NINE),),
    "a picture's size": (_set("pictures", "file_size = file_size + 1", NINE),),
    "a picture's time": (_set("pictures", "mtime_ns = mtime_ns + 1", NINE),),
    "a picture's hash": (_set("pictures", "content_hash = zeroblob(16)", NINE),),
    "a picture's width": (_set("pictures", "width = width + 1", NINE),),
    "a picture's height": (_set("pictures", "height = 0", NINE),),
    "a picture's format": (_set("pictures", "format = 'JPEG'", NINE),),
    "a picture's labels": (_set("pictures", "labels = '[[\"cat\", 0.9, 281]]'", NINE),),
    "a picture's labels, which are no JSON": (_set("pictures", "labels = '['", NINE),),
    "when a picture came": (_set("pictures", "added_at = 1.5", NINE),),
    "when a picture was taken": (_set("pictures", "taken_at = '2024-05-01T12:30:00'", NINE),),
    "a picture's change time": (_set("pictures", "ctime_ns = ctime_ns + 1", NINE),),
    "how a picture was decoded": (_set("pictures", "decoding = decoding + 1", NINE),),
    "a picture's camera": (_set("pictures", "camera = 'Box'", NINE),),
    "a picture's id": (
        _set("pictures", "id = 500", NINE),
        _set("descriptors", "picture_id = 500", OF_NINE),
        _set("regions", "picture_id = 500", OF_NINE),
    ),
    "the ids of two pictures": (
        _set("pictures", "id = -1", NINE),
        _set("pictures", "id = 9", "id = 10"),
        _set("pictures", "id = 10", "id = -1"),
    ),
    "all rows of a picture missing": (
        "DELETE FROM pictures WHERE id = 9",
        "DELETE FROM descriptors WHERE picture_id = 9",
        "DELETE FROM regions WHERE picture_id = 9",
    ),
    "a picture's row missing": ("DELETE FROM pictures WHERE id = 9",),
    "all pictures missing": (
        "DELETE FROM pictures",
        "DELETE FROM descriptors",
        "DELETE FROM regions",
    ),
    "a picture doubled": (
        "INSERT INTO pictures SELECT 300, path || '2', file_size, mtime_ns, content_hash, width,"
        " height, format, labels, added_at, taken_at, camera, ctime_ns, decoding FROM pictures"
        " WHERE id = 9",
        "INSERT INTO descriptors SELECT 300, generation, vector FROM descriptors"
        " WHERE picture_id = 9",
    ),
    "an older picture": (
        ATTACH,
        f"REPLACE INTO pictures SELECT * FROM older.pictures WHERE id = {OLD}",
    ),
    "an older picture with its descriptor": (
        ATTACH,
        f"REPLACE INTO pictures SELECT * FROM older.pictures WHERE id = {OLD}",
        f"REPLACE INTO descriptors SELECT * FROM older.descriptors WHERE picture_id = {OLD}",
        f"REPLACE INTO regions SELECT * FROM older.regions WHERE picture_id = {OLD}",
    ),
    "an older picture with its descriptor and their seals": (
        ATTACH,
        f"REPLACE INTO pictures SELECT * FROM older.pictures WHERE id >> 6 = {OLD} >> 6",
        "REPLACE INTO descriptors SELECT * FROM older.descriptors WHERE picture_id >> 6 ="
        f" {OLD} >> 6",
        "REPLACE INTO seals SELECT * FROM older.seals WHERE table_name IN ('pictures',"
        f" 'descriptors') AND bucket = {OLD} >> 6",
    ),
    # descriptors
    "a bit of a descriptor": (
        _set("descriptors", "vector = x'01' || substr(vector, 2)", OF_NINE),
        "UPDATE descriptors SET vector = CAST(vector AS BLOB)",
    ),
    "another picture's descriptor": (
        _set(
            "descriptors",
            "vector = (SELECT vector FROM descriptors WHERE picture_id = 10)",
            OF_NINE,
        ),
    ),
    "the descriptors of two pictures": (
        _set("descriptors", "picture_id = -1", OF_NINE),
        _set("descriptors", "picture_id = 9", "picture_id = 10"),
        _set("descriptors", "picture_id = 10", "picture_id = -1"),
    ),
    "a descriptor's generation raised": (_set("descriptors", "generation = 9999", OF_NINE),),
    "a descriptor's generation lowered": (_set("descriptors", "generation = 0", OF_NINE),),
    "a descriptor that is text": (_set("descriptors", "vector = 'none'", OF_NINE),),
    "a descriptor missing": ("DELETE FROM descriptors WHERE picture_id = 9",),
    "an older descriptor": (
        ATTACH,
        f"REPLACE INTO descriptors SELECT * FROM older.descriptors WHERE picture_id = {OLD}",
    ),
    # regions
    "the regions of a picture": (
        _set("regions", "vectors = (SELECT vectors FROM regions WHERE picture_id = 10)", OF_NINE),
    ),
    "a map's rows": (_set("regions", "map_rows = map_rows + 1", OF_NINE),),
    "a map's columns": (_set("regions", "map_columns = map_columns + 1", OF_NINE),),
    "regions that wait although they are there": (
        _set("regions", "map_rows = 0, map_columns = 0, vectors = x''", OF_NINE),
    ),
    "regions missing": ("DELETE FROM regions WHERE picture_id = 9",),
    # removals
    "a removal missing": ("DELETE FROM removals",),
    "a removal's generation": ("UPDATE removals SET generation = generation + 1",),
    "the removal of a picture that is there": ("INSERT INTO removals VALUES (9, 2)",),
    "a removal of another picture": ("UPDATE removals SET picture_id = picture_id + 1000",),
    # facts
    "the encoder's pooling": (_fact("encoder", "replace(value, 'avg', 'max')"),),
    "an encoder that is no JSON": (_fact("encoder", "'{'"),),
    "the encoder missing": ("DELETE FROM facts WHERE key = 'encoder'",),
    "the encoder missing in both places": (
        "DELETE FROM facts WHERE key = 'encoder'",
        "DELETE FROM spare_facts WHERE key = 'encoder'",
    ),
    "the generation lowered": (_fact("generation", "'1'"),),
    "the generation raised": (_fact("generation", "'99999'"),),
    "a generation that is no number": (_fact("generation", "'many'"),),
    "the generation lowered in both places": (
        _fact("generation", "'1'"),
        "UPDATE spare_facts SET value = '1' WHERE key = 'generation'",
    ),
    "the generation missing in both places": (
        "DELETE FROM facts WHERE key = 'generation'",
        "DELETE FROM spare_facts WHERE key = 'generation'",
    ),
    "the space in use": (_fact("space", "''"),),
    "the space of regions in use": (_fact("regional_space", "'0123456789abcdef'"),),
    "what chance gives": (_fact("chance", "replace(value, 'slope', 'slop')"),),
    "what chance gives, another number": (
        _fact("chance", "replace(value, '\"slope\": ', '\"slope\": 1')"),
    ),
    "what the space loses": (_fact("judgement", "''"),),
    "whether searches think twice": (_fact("think_twice", "'off'"),),
    "whether regions are kept": (_fact("within", "'off'"),),
    "which dimension was asked for": ("INSERT INTO facts VALUES ('dimension', '7')",),
    "whether the index is exhaustive": ("INSERT INTO facts VALUES ('index', 'exact')",),
    "the largest id": (_fact("largest id", "'3'"),),
    "a fact of no meaning": ("INSERT INTO facts VALUES ('of no', 'meaning')",),
    "a second copy of a fact": ("UPDATE spare_facts SET value = 'off' WHERE key = 'think_twice'",),
    "all second copies missing": ("DELETE FROM spare_facts",),
    "all facts missing": ("DELETE FROM facts",),
    # roots
    "a root's path": ("UPDATE roots SET path = CAST(path || 'x' AS BLOB)",),
    "a root's device": ("UPDATE roots SET device = device + 1",),
    "a root's inode": ("UPDATE roots SET inode = inode + 1",),
    "a root missing": ("DELETE FROM roots",),
    "a root more": ("INSERT INTO roots VALUES (x'2f746d70', 1, 1, '')",),
    # spaces
    "a space's mean": ("UPDATE spaces SET mean = zeroblob(length(mean))",),
    "a space's matrix": ("UPDATE spaces SET matrix = zeroblob(length(matrix))",),
    "how many pictures a space was learned from": ("UPDATE spaces SET pictures = 3",),
    "a space missing": ("DELETE FROM spaces",),
    "a space more": ("INSERT INTO spaces SELECT 'x', pictures, mean, matrix FROM spaces LIMIT 1",),
    # skips, uploads, what is set aside
    "a skip's reason": ("UPDATE skips SET reason = 'because'",),
    "a skip's kind": ("UPDATE skips SET kind = 'vanished'",),
    "a skip's path": ("UPDATE skips SET path = CAST(path || 'x' AS BLOB)",),
    "a skip's decoder": ("UPDATE skips SET decoder = 'x'",),
    "a skip missing": ("DELETE FROM skips",),
    "a skip more": ("INSERT INTO skips VALUES (x'2f746d702f78', 1, 1, 'empty', 'it is', '', 1)",),
    "an upload's hash": ("UPDATE uploads SET content_hash = zeroblob(16)",),
    "an upload's state": ("UPDATE uploads SET state = 'leaving'",),
    "an upload missing": ("DELETE FROM uploads",),
    "an upload more": (
        "INSERT INTO uploads SELECT path, content_hash, x'', 'kept', 1 FROM pictures WHERE id = 12",
    ),
    "a picture set aside that is there": ("INSERT INTO aside VALUES (x'2f78', 9, 1.0, 'so')",),
    # the file
    "the version of before": ("UPDATE alembic_version SET version_num = '0005'",),
    "the first version": ("UPDATE alembic_version SET version_num = '0001'",),
    "two versions": ("INSERT INTO alembic_version VALUES ('0005')",),
    "the counter of ids at 0": ("UPDATE sqlite_sequence SET seq = 0",),
    "the counter of ids lowered": ("UPDATE sqlite_sequence SET seq = seq - 1",),
    "the counter of ids raised": ("UPDATE sqlite_sequence SET seq = 9223372036854775807",),
    "the counter of ids missing": ("DELETE FROM sqlite_sequence",),
    "an index missing": ("DROP INDEX ix_pictures_content_hash",),
    "a trigger more": (
        "CREATE TRIGGER later AFTER INSERT ON pictures BEGIN DELETE FROM skips; END",
    ),
    "a view more": ("CREATE VIEW seen AS SELECT * FROM pictures",),
    "a table more": ("CREATE TABLE others (a)",),
    "a column more": ("ALTER TABLE pictures ADD COLUMN more TEXT",),
    "a column missing": ("ALTER TABLE pictures DROP COLUMN camera",),
    "a table missing": ("DROP TABLE removals",),
    "all seals missing with their table": ("DROP TABLE seals",),
    "another user version": ("PRAGMA user_version = 3",),
    "another application": ("PRAGMA application_id = 3",),
    # seals
    "a seal's entries": (f"UPDATE seals SET entries = zeroblob(length(entries)) WHERE {BUCKET}",),
    "a seal's digest": (f"UPDATE seals SET digest = zeroblob(16) WHERE {BUCKET}",),
    "a seal's version": (f"UPDATE seals SET version = 1 WHERE {BUCKET}",),
    "a seal missing": (f"DELETE FROM seals WHERE {BUCKET} AND bucket = 0",),
    "a seal and its rows missing": (
        "DELETE FROM seals WHERE bucket = 0 AND table_name IN ('pictures', 'descriptors')",
        "DELETE FROM pictures WHERE id < 64",
        "DELETE FROM descriptors WHERE picture_id < 64",
        "DELETE FROM regions WHERE picture_id < 64",
    ),
    "the top of the seals": ("DELETE FROM seals WHERE bucket = -1 AND table_name = 'pictures'",),
    "a seal of a table that is none": (
        "INSERT INTO seals SELECT 'nothing', bucket, version, entries, digest FROM seals LIMIT 1",
    ),
    "all seals missing": ("DELETE FROM seals",),
}


def is_found(library: Path) -> bool:
    """Whether ``verify`` finds something, or says that the library is damaged."""
    try:
        with Library.open(library) as opened:
            return verify(opened) != []
    except ParecidoError:
        return True


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_found_and_repaired_to_what_is_right_or_dropped(
    change: str, copy: Path, folder: Path, right: Records
) -> None:
    assert not is_found(copy)
    older = folder / "older" / CATALOGUE
    tamper(copy, *(statement.replace("{older}", str(older)) for statement in CHANGES[change]))
    assert is_found(copy)
    done = repair(copy, encoder=fake_encoder())
    print("\n".join(done))
    assert done != []
    with Library.open(copy) as library:
        assert verify(library) == []
        assert find_wrong(right, read_records(copy)) == [], done
        report = index(library, [folder / "pictures"], encoder=fake_encoder())
        assert report.removed == 0
        assert verify(library) == []
    after = read_records(copy)
    assert find_wrong(right, after) == []
    paths = {row[1] for row in right["pictures"].values()}
    assert {row[1] for row in after["pictures"].values()} == paths
    assert after["skips"] == right["skips"]
    assert after["aside"] == {}


def test_there_are_enough_changes() -> None:
    assert len(CHANGES) >= 100


def test_a_repair_of_a_sound_library_does_nothing(copy: Path, right: Records) -> None:
    assert repair(copy, encoder=fake_encoder()) == []
    assert read_records(copy) == right


def test_a_picture_whose_file_is_away_is_set_aside_named_and_comes_back_with_its_id(
    copy: Path, folder: Path, right: Records
) -> None:
    path = os.fsdecode(right["pictures"][9][1])
    tamper(copy, _set("pictures", "width = width + 1", NINE))
    # the folder and not the file, whose change time stays
    away = folder / "away" / os.path.basename(path)
    os.rename(folder / "pictures", folder / "away")
    try:
        done = repair(copy, encoder=fake_encoder())
        assert any(path in line for line in done)
        with Library.open(copy) as library:
            assert verify(library) == []
            (aside,) = library.catalogue.aside.list_aside()
            assert (aside.path, aside.kind) == (path, "set-aside")
            with Engine(library, encoder=fake_encoder()) as engine:
                for how in ({}, {"rerank": True}, {"within": True}, {"exact": True}):
                    hits = engine.search(away, k=68, **how).hits
                    assert 9 not in [hit.id for hit in hits]
            # twice is as once
            assert any(path in line for line in repair(copy, encoder=fake_encoder()))
    finally:
        os.rename(folder / "away", folder / "pictures")
    with Library.open(copy) as library:
        report = index(library, [folder / "pictures"], encoder=fake_encoder())
        assert (report.added, report.updated) == (0, 1)
        assert library.catalogue.aside.list_aside() == []
        assert verify(library) == []
        assert library.catalogue.pictures([9])[0].path == path
        with Engine(library, encoder=fake_encoder()) as engine:
            (best,) = engine.search(path, k=1, include_self=True).hits
            assert best.id == 9
    assert find_wrong(right, read_records(copy)) == []


def test_a_picture_that_is_set_aside_and_whose_file_is_gone_leaves_with_the_next_run(
    copy: Path, right: Records, tmp_path: Path
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    with Library.create(tmp_path / "own") as library:
        for name in ("0000.png", "0001.png", "0002.png"):
            shutil.copy(Path(os.fsdecode(right["pictures"][9][1])).with_name(name), pictures)
        index(library, [pictures], encoder=fake_encoder())
    tamper(
        tmp_path / "own", "UPDATE pictures SET width = 1 WHERE CAST(path AS TEXT) LIKE '%/0001.png'"
    )
    (pictures / "0001.png").unlink()
    repair(tmp_path / "own", encoder=fake_encoder())
    with Library.open(tmp_path / "own") as library:
        assert [one.path for one in library.catalogue.aside.list_aside()] == [
            os.fspath(pictures / "0001.png")
        ]
        index(library, [pictures], encoder=fake_encoder())
        assert library.catalogue.aside.list_aside() == []
        assert (library.catalogue.counts()[0], verify(library)) == (2, [])


def test_where_there_is_no_encoder_pictures_are_set_aside_until_there_is_one(
    copy: Path, folder: Path, right: Records
) -> None:
    tamper(copy, _set("descriptors", "generation = 0", OF_NINE))
    assert any(line.startswith("nothing was read again") for line in repair(copy))
    with Library.open(copy) as library:
        assert verify(library) == []
        assert len(library.catalogue.aside.list_aside()) == 1
        index(library, [folder / "pictures"], encoder=fake_encoder())
        assert verify(library) == []
    assert find_wrong(right, read_records(copy)) == []


def test_ids_that_were_given_are_never_given_again_after_the_counter_was_lost(
    copy: Path, folder: Path, right: Records, tmp_path: Path
) -> None:
    tamper(copy, "DELETE FROM sqlite_sequence")
    repair(copy, encoder=fake_encoder())
    with closing(sqlite3.connect(copy / CATALOGUE)) as connection:
        (largest,) = connection.execute("SELECT seq FROM sqlite_sequence").fetchone()
    assert largest == int(right["facts"]["largest id"][1])
