"""Libraries that somebody prepared: no command hangs, takes all memory or ends in a defect."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parecido.indexer.catalogue.sqlite import errors, known_schemas, opening
from parecido.indexer.catalogue.sqlite.connections import SCHEMA_VERSION, Connections
from parecido.indexer.catalogue.sqlite.known_schemas import SCHEMAS, describe_schema
from parecido.indexer.catalogue.sqlite.upgrade import engine
from parecido.indexer.errors import LibraryDamaged, ParecidoError
from parecido.indexer.indexing.pipeline import index
from parecido.indexer.learning.space import Space
from parecido.indexer.library.layout import CATALOGUE
from parecido.indexer.library.library import Library
from parecido.search.cli import cli
from tests.support.fakes import save_picture, save_pictures
from tests.support.harness import assert_one_line, run_parecido
from tests.support.serving import labelled_encoder, serving, use_fakes

HUGE = 10**9


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of 80 pictures with a space and chance, and a picture to search for beside it."""
    place = tmp_path_factory.mktemp("prepared")
    save_pictures(place / "pictures", 80)
    save_picture(place / "query.png", 7)
    with Library.create(place / "library") as library:
        index(library, [place / "pictures"], encoder=labelled_encoder())
        assert library.catalogue.settings.space() is not None
    return place


@pytest.fixture
def prepared(pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it that a test may change."""
    use_fakes(monkeypatch)
    monkeypatch.setattr("parecido.indexer.encoders.opening.open_encoder", labelled_encoder)
    shutil.copytree(pristine / "library", tmp_path / "library")
    return tmp_path / "library"


def change(library: Path, *statements: str, values: tuple[Any, ...] = ()) -> None:
    with closing(sqlite3.connect(library / CATALOGUE)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        for statement in statements:
            connection.execute(statement, values)


def check_ends_well(library: Path, query: Path) -> list[str]:
    """Assert that each command answers, or says in this project's words why it cannot: which."""
    told = []
    for words in (
        *(("info",), ("info", "--json"), ("verify", "--json"), ("labels", str(query))),
        ("search", str(query), "--json"),
        ("search", str(query), "--expand", "--label", "tench", "-k", "80"),
    ):
        done = CliRunner().invoke(cli, [*words, "--library", str(library)])
        assert "defect" not in done.stderr, (words, done.stderr)
        assert done.exception is None or isinstance(done.exception, SystemExit), words
        assert done.exit_code in (0, 1), (words, done.stderr)
        if done.exit_code and words[0] != "verify":
            told.append(done.stderr)
    try:
        with serving(library) as client:
            for path in ("/v1/library", "/v1/pictures", "/v1/pictures?sort=added"):
                answer = client.get(path)
                assert answer.status_code < 500 or "damaged" in answer.text, answer.text
    except ParecidoError as error:
        told.append(str(error))
    return told


SPEC: dict[str, Any] = {
    "dimension": 12,
    "model": "fake",
    "pooling": "avg",
    "preprocessing": "none",
    "size": {"height": 32, "width": 32, "step": 8, "keep_aspect": True},
    "weights_sha256": "0" * 64,
}
BAD_SPECS = [
    *("", "{", "[]", "null", "3", '"text"', "[" * 100_000, '{"model": 1}', "{" * 5000),
    *(json.dumps({**SPEC, "dimension": d}) for d in (HUGE, 0, -1, 1.5, "12", None, True, [12])),
    *(json.dumps({**SPEC, "size": s}) for s in ({}, [], None, 3, {"height": 32})),
    *(
        json.dumps({**SPEC, "size": {**SPEC["size"], name: value}})
        for name in ("height", "width", "step")
        for value in (HUGE, 0, -1, "32", None)
    ),
    *(json.dumps({**SPEC, "size": {**SPEC["size"], "keep_aspect": v}}) for v in ("no", 2, None)),
    *(json.dumps({**SPEC, n: v}) for n in ("pooling", "resample", "precision") for v in ("?", 1)),
    *(json.dumps({**SPEC, n: v}) for n in ("model", "weights_file") for v in (1, None, "x" * 9999)),
    json.dumps({**SPEC, "size": {**SPEC["size"], "height": float("nan")}}),
    json.dumps({**SPEC, "recipe": HUGE}),
]


@pytest.mark.parametrize("spec", BAD_SPECS, ids=range(len(BAD_SPECS)))
def test_a_prepared_encoder_is_refused_with_what_was_expected(spec: str, prepared: Path) -> None:
    change(prepared, "UPDATE facts SET value = ? WHERE key = 'encoder'", values=(spec,))
    with Library.open(prepared) as library:
        if spec:
            with pytest.raises(LibraryDamaged, match="does not record its encoder"):
                _ = library.encoder
        else:
            assert library.encoder is None


def _space(mean: Any, matrix: Any) -> tuple[str, tuple[Any, ...]]:
    made = Space(np.asarray(mean, np.float32), np.asarray(matrix, np.float32))
    return (
        "UPDATE spaces SET fingerprint = ?1, mean = ?2, matrix = ?3",
        (made.fingerprint, made.mean.tobytes(), made.matrix.tobytes()),
    )


def _set(key: str, value: Any) -> tuple[str, tuple[Any, ...]]:
    return f"UPDATE facts SET value = ? WHERE key = '{key}'", (value,)


def _all(column: str, value: Any, table: str = "pictures") -> tuple[str, tuple[Any, ...]]:
    return f"UPDATE OR REPLACE {table} SET {column} = ?", (value,)


def _one(column: str, value: Any, table: str = "pictures", key: str = "id") -> Any:
    return f"UPDATE {table} SET {column} = ? WHERE {key} = 5", (value,)


CHANGES: dict[str, tuple[str, tuple[Any, ...]]] = {
    "a generation that is no number": _set("generation", "many"),
    "a generation that is bytes": _set("generation", b"\xff"),
    "a generation far ahead": _set("generation", str(1 << 62)),
    "a generation with many digits": _set("generation", "9" * 10_000),
    "a dimension that is no number": _set("dimension", "lots"),
    "a space that is not there": _set("space", "0" * 16),
    "a space of many letters": _set("space", "x" * 1_000_000),
    "a space that is a path": _set("space", "../../etc"),
    "chance that is nested": _set("chance", "[" * 100_000),
    "chance that is no number": _set("chance", '{"slope": NaN, "spread": 1, "pictures": 1}'),
    "chance of texts": _set("chance", '{"slope":"","spread":[],"pictures":{},"space":1}'),
    "a judgement of texts": _set("judgement", '{"space":1,"kept":"","same_class":[]}'),
    "uploads that are nested": _set("uploads", "[" * 100_000),
    "labels that are no list": _all("labels", '{"a": 1}'),
    "labels that are no JSON": _all("labels", "tench"),
    "labels that are nested": _all("labels", "[" * 100_000),
    "labels of other things": _one("labels", '[[1, "x", null]]'),
    "labels that are bytes": _one("labels", b"\x00\xff"),
    "labels without end": _one("labels", json.dumps([["tench", 0.5, 0]] * 100_000)),
    "probabilities that are no numbers": _one("labels", '[["tench", NaN, 0]]'),
    "a path that is a number": _one("path", 17),
    "a path that is a text": _one("path", "/somewhere"),
    "a path with a NUL": _one("path", b"/a\x00b"),
    "an empty path": _one("path", b""),
    "a path of many bytes": _one("path", b"/" + b"x" * 1_000_000),
    "a width that is a text": _one("width", "wide"),
    "a height that is bytes": _one("height", b"high"),
    "a size beyond all": _one("file_size", (1 << 63) - 1),
    "a time that is a text": _one("mtime_ns", "now"),
    "a day that is no day": _one("taken_at", "yesterday"),
    "a day that is a number": _one("taken_at", 5.5),
    "a moment that never comes": _one("added_at", 9e999),
    "a camera that is bytes": _one("camera", b"\xff"),
    "a format of many letters": _one("format", "J" * 1_000_000),
    "a hash that is a text": _one("content_hash", "hash"),
    "descriptors of one number": _all("vector", b"\x00\x3c", "descriptors"),
    "a descriptor of odd length": _one("vector", b"\x00" * 23, "descriptors", "picture_id"),
    "a descriptor that is a text": _one("vector", "x" * 24, "descriptors", "picture_id"),
    "a descriptor of nothing": _one("vector", b"", "descriptors", "picture_id"),
    "a descriptor that is not finite": _one(
        "vector", b"\x00\x7c" * 12, "descriptors", "picture_id"
    ),
    "descriptors that are not finite": _all("vector", b"\x00\x7e" * 12, "descriptors"),
    "descriptors that are zero": _all("vector", bytes(24), "descriptors"),
    "descriptors of a generation to come": _all("generation", 1 << 62, "descriptors"),
    "descriptors of no generation": _all("generation", "x", "descriptors"),
    "a space of another length": _space(np.zeros(5), np.eye(5)),
    "a space that is not finite": _space(np.zeros(12), np.full((4, 12), np.nan)),
    "a space without directions": _space(np.zeros(12), np.zeros((0, 12))),
    "a space of nothing": _space(np.zeros(12), np.zeros((4, 12))),
    "a space beyond all": _space(np.zeros(12), np.full((4, 12), 3e38)),
    "a mean of nothing": _all("mean", b"", "spaces"),
    "a mean that is a text": _all("mean", "x" * 48, "spaces"),
    "a space of many pictures": _all("pictures", "many", "spaces"),
    "roots that are numbers": ("INSERT INTO roots VALUES (5, 'x', 'y', 7)", ()),
    "skips that are numbers": ("INSERT INTO skips VALUES (5, 'x', 'y', 1, 2, 3, 'z')", ()),
    "removals of all": (
        "INSERT OR REPLACE INTO removals SELECT id, 4611686018427387904 FROM pictures",
        (),
    ),
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("keeps_indexes", [True, False], ids=["", "without its indexes"])
def test_every_command_ends_well_on_a_library_with(
    what: str, keeps_indexes: bool, prepared: Path, pristine: Path
) -> None:
    statement, values = CHANGES[what]
    change(prepared, statement, values=values)
    if not keeps_indexes:
        shutil.rmtree(prepared / "vectors")
        shutil.rmtree(prepared / "neighbours", ignore_errors=True)
    check_ends_well(prepared, pristine / "query.png")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.sampled_from(["encoder", "chance", "judgement", "space", "dimension", "generation"]),
    value=JSON.map(json.dumps) | st.text(max_size=20) | st.integers() | st.binary(max_size=9),
    labels=JSON.map(json.dumps),
)
def test_no_facts_and_labels_that_are_made_up_are_a_defect(
    key: str, value: Any, labels: str, prepared: Path
) -> None:
    if isinstance(value, int):
        value %= 1 << 62
    elif isinstance(value, str):
        value = value.encode("utf-8", "replace").decode()
    change(prepared, *(_set(key, value)[:1]), values=(value,))
    change(prepared, _all("labels", labels)[0], values=(labels,))
    try:
        with Library.open(prepared) as library:
            for ask in (
                lambda: library.encoder,
                library.catalogue.settings.chance,
                library.catalogue.settings.judgement,
                library.catalogue.settings.space,
                library.catalogue.settings.dimension,
                library.catalogue.generation,
                lambda: library.catalogue.pictures([1, 2, 3]),
            ):
                try:
                    ask()
                except ParecidoError:
                    continue
    except ParecidoError:
        pass


# -- what a file defines ---------------------------------------------------------------------------

ENDLESS = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i), 'x' FROM n"
)
DEFINED = {
    "a view": "CREATE VIEW extra AS SELECT 1",
    "a trigger": "CREATE TRIGGER extra AFTER UPDATE ON facts BEGIN DELETE FROM pictures; END",
    "a table": "CREATE TABLE extra (x)",
    "a virtual table": "CREATE VIRTUAL TABLE extra USING fts5(x)",
    "a computed index": "CREATE INDEX extra ON pictures (hex(zeroblob(1000)))",
    "a computed column": "ALTER TABLE pictures ADD COLUMN extra AS (hex(path))",
    "a column": "ALTER TABLE pictures ADD COLUMN extra",
}


@pytest.mark.parametrize("what", DEFINED)
def test_a_catalogue_that_defines_more_is_refused_by_name(
    what: str, prepared: Path, pristine: Path
) -> None:
    change(prepared, DEFINED[what])
    told = check_ends_well(prepared, pristine / "query.png")
    assert len(told) == 6
    assert all("is not as parecido makes it: " in text and "extra" in text for text in told)
    with pytest.raises(LibraryDamaged, match="extra"), Library.open(prepared) as library:
        index(library, [pristine / "pictures"], encoder=labelled_encoder())


@pytest.mark.parametrize("table", ["facts", "pictures", "descriptors", "alembic_version", "roots"])
def test_a_view_in_the_place_of_a_table_is_refused_before_it_is_asked(
    table: str, prepared: Path, pristine: Path
) -> None:
    change(prepared, f"DROP TABLE {table}", f"CREATE VIEW {table}(key, value) AS {ENDLESS}")
    told = check_ends_well(prepared, pristine / "query.png")
    assert len(told) == 6
    assert all(table in text for text in told)


@pytest.mark.parametrize("column", ["type", "name", "tbl_name", "sql"])
@pytest.mark.parametrize("table", ["roots", "pictures"])
def test_a_definition_that_is_no_text_is_damage_and_a_repair_saves_what_can_be_read(
    table: str, column: str, prepared: Path, pristine: Path
) -> None:
    """As one flipped bit of a row's header makes it; SQLite reads the definition all the same."""
    change(
        prepared,
        "PRAGMA writable_schema = ON",
        f"UPDATE sqlite_master SET {column} = CAST({column} AS BLOB) WHERE name = '{table}'",
    )
    told = check_ends_well(prepared, pristine / "query.png")
    assert len(told) == 6
    done = run_parecido("verify", "--repair", "--library", prepared)
    assert done.returncode == 0, done.stderr
    assert run_parecido("verify", "--library", prepared).returncode == 0


def test_one_line_tells_of_a_prepared_library(prepared: Path) -> None:
    change(prepared, DEFINED["a view"])
    done = run_parecido("info", "--library", prepared)
    assert_one_line(done, "is not as parecido makes it: it has a view extra", "verify --repair")


def test_a_repair_takes_what_can_be_read_and_leaves_what_was_defined(prepared: Path) -> None:
    change(prepared, DEFINED["a trigger"], DEFINED["a view"].replace("extra", "other"))
    done = run_parecido("verify", "--repair", "--library", prepared)
    assert done.returncode == 0, done.stderr
    with Library.open(prepared) as library:
        assert library.catalogue.counts() == (80, 0)


@pytest.mark.parametrize("harmless", ["DROP INDEX ix_pictures_content_hash", "ANALYZE"])
def test_an_index_more_or_less_is_no_matter(harmless: str, prepared: Path) -> None:
    change(prepared, harmless)
    with Library.open(prepared) as library:
        assert library.catalogue.counts() == (80, 0)


def test_the_tables_of_each_version_are_those_that_its_migrations_make(tmp_path: Path) -> None:
    from alembic import command
    from alembic.config import Config

    assert max(SCHEMAS) == SCHEMA_VERSION
    for version in sorted(SCHEMAS):
        with engine(tmp_path / "catalogue").connect() as connection, connection.begin():
            config = Config(attributes={"connection": connection, "folder": tmp_path})
            place = "parecido.indexer.catalogue.sqlite:migrations"
            config.set_main_option("script_location", place)
            command.upgrade(config, version)
        with closing(sqlite3.connect(tmp_path / "catalogue")) as connection:
            assert describe_schema(connection) == known_schemas._expect(version)


def test_a_new_catalogue_is_what_the_migrations_make(tmp_path: Path) -> None:
    (tmp_path / "migrated" / "uploads").mkdir(parents=True)  # of which a migration takes over files
    made = {}
    for name in ("new", "migrated"):
        Library.create(tmp_path / name).close()
        with closing(sqlite3.connect(tmp_path / name / CATALOGUE)) as connection:
            texts = connection.execute("SELECT name, sql FROM sqlite_master").fetchall()
            made[name] = {one: " ".join((sql or "").split()) for one, sql in texts}
            made[name] |= connection.execute("SELECT 'version', * FROM alembic_version").fetchall()
            facts = connection.execute("SELECT key FROM facts ORDER BY key").fetchall()
            made[name]["facts by name"] = str(facts)
    assert made["new"]["version"] == SCHEMA_VERSION
    assert made["new"] == made["migrated"]


def test_a_question_without_end_is_ended(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "QUESTION_SECONDS", 0.05)
    connections = Connections(prepared / CATALOGUE)
    with pytest.raises(LibraryDamaged, match="took more than 600 seconds and was ended"):
        connections.rows(ENDLESS)
    assert connections.rows("SELECT 1") == [(1,)]
    connections.close()
    assert errors.QUESTION_SECONDS == 600


@pytest.mark.parametrize("writes", [True, False])
def test_no_connection_trusts_what_a_file_defines(writes: bool, prepared: Path) -> None:
    path = prepared / CATALOGUE
    with closing(opening.open_for_writing(path) if writes else opening.open_to_read(path)) as one:
        assert one.execute("PRAGMA trusted_schema").fetchone() == (0,)
        assert one.execute("PRAGMA cell_size_check").fetchone() == (1,)
        with pytest.raises(sqlite3.Error, match="too big"):
            one.execute("SELECT length(zeroblob(400000000))").fetchone()


# -- media that cannot be written ------------------------------------------------------------------

Seal = Callable[[Path], None]


def leave_journal(library: Path) -> bytes:
    """Commit something that stays in the journal; the path that it is about."""
    with closing(sqlite3.connect(library / CATALOGUE)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("UPDATE pictures SET path = ? WHERE id = 1", (b"/moved.png",))
        connection.commit()
        kept = {end: (library / f"{CATALOGUE}{end}").read_bytes() for end in ("", "-wal")}
    (library / f"{CATALOGUE}-shm").unlink(missing_ok=True)
    for end, data in kept.items():
        (library / f"{CATALOGUE}{end}").write_bytes(data)
    return b"/moved.png"


@pytest.fixture
def read_only(prepared: Path, tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """Mount the library where it cannot be written; the place."""
    import subprocess

    place = tmp_path / "mounted"
    place.mkdir()
    mounted = []

    def mount() -> Path:
        try:
            for words in (["--bind", str(prepared), str(place)], ["-o", "remount,ro,bind"]):
                more = [str(place)] if words[0] == "-o" else []
                subprocess.run(["mount", *words, *more], check=True, capture_output=True)
                mounted.append(words)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"mounting is not allowed here ({error})")
        return place

    yield mount
    if mounted:
        subprocess.run(["umount", str(place)], check=True)


def test_a_library_that_cannot_be_written_is_read_with_its_journal(
    prepared: Path, read_only: Callable[[], Path], pristine: Path
) -> None:
    path = leave_journal(prepared)
    place = read_only()
    before = sorted(os.listdir(place))
    assert f"{CATALOGUE}-wal" in before
    assert f"{CATALOGUE}-shm" not in before
    with Library.open(place) as library:
        for _ in range(3):
            assert library.catalogue.known(path) is not None
        made = library.catalogue._connections._copy.path()
        assert made.parent.stat().st_mode & 0o077 == 0
    assert not made.parent.exists()
    assert check_ends_well(place, pristine / "query.png") == []
    assert sorted(os.listdir(place)) == before


def test_a_copy_follows_what_is_written_from_elsewhere(
    prepared: Path, read_only: Callable[[], Path]
) -> None:
    leave_journal(prepared)
    place = read_only()
    with Library.open(place) as library:
        assert library.catalogue.known(b"/moved.png") is not None
        change(prepared, "UPDATE pictures SET path = ? WHERE id = 2", values=(b"/second.png",))
        leave_journal(prepared)
        assert library.catalogue.known(b"/second.png") is not None


def test_what_is_too_large_for_a_copy_is_told(
    prepared: Path, read_only: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_journal(prepared)
    monkeypatch.setattr(opening, "_COPY_BYTES", 1000)
    done = CliRunner().invoke(cli, ["info", "--library", str(read_only())])
    assert done.exit_code == 1
    assert "its last changes lie in a journal that cannot be read so" in done.stderr
