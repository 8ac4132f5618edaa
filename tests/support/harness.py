"""What the tests of faults share: child processes, and what a library holds, to compare."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from parecido import Library, verify
from parecido.indexer.catalogue.changes import Add
from parecido.indexer.catalogue.sqlite.reading.descriptors import pack, unpack
from parecido.indexer.catalogue.sqlite.sealing.digests import (
    TOP,
    Top,
    in_buckets,
    key_bytes,
    list_fields,
    row_digest,
)
from parecido.indexer.catalogue.sqlite.sealing.seals import seal_everything
from parecido.indexer.catalogue.sqlite.sealing.structure import digest_schema
from parecido.indexer.library.layout import CATALOGUE
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.records.pictures import Described, FileEntry, Label
from tests.support.fakes import fake_spec
from tests.support.places import PYTHONPATH, REPOSITORY

_T = TypeVar("_T")


# Children are forked from a process that has imported everything and holds no thread and no file
# of ours: one takes 20 ms instead of a second.
CHILDREN = multiprocessing.get_context("forkserver")
CHILDREN.set_forkserver_preload(
    [
        *(
            "alembic.command",
            "faiss",
            "filelock",
            "parecido.indexer.catalogue.sqlite.writing.statements",
            "parecido.indexer.catalogue.sqlite.upgrade",
        ),
        *(
            "parecido.indexer.indexing.pipeline",
            "parecido.indexer.vectors.local.index",
            "platformdirs",
            "pytest",
            "parecido.search.engine",
        ),
        "tests.support.harness",
    ]
)


def put(
    library: Library,
    vectors: npt.NDArray[np.floating],
    ids: Sequence[int | None] | None = None,
    spec: EncoderSpec | None = None,
) -> None:
    """Put bare descriptors into a library, past the pipeline, as new pictures or over old ones."""
    changes = [
        Add(
            FileEntry(b"/v/" + os.urandom(8).hex().encode(), 1, 1),
            os.urandom(16),
            Described(
                width=1,
                height=1,
                format="PNG",
                labels=(),
                vector=pack(vector / np.linalg.norm(vector)),
            ),
            i,
        )
        for vector, i in zip(vectors, ids or [None] * len(vectors), strict=True)
    ]
    with library.writer() as writing:
        writing.catalogue.write(changes, encoder=spec or fake_spec())


class Row(NamedTuple):
    """One picture of a library, without what differs from run to run (its id, when it came)."""

    content_hash: bytes
    width: int
    height: int
    format: str
    file_size: int
    labels: tuple[Label, ...]
    descriptor: bytes


def holdings(library: Library) -> dict[bytes, tuple[int, Row]]:
    """Path → id and everything else of each picture; others may be added meanwhile."""
    listed = list(library.catalogue.under(b"/"))
    descriptors = {i: blob for rows in library.catalogue.descriptors.read_all() for i, blob in rows}
    found = {}
    for picture_id, path in listed:
        (picture,) = library.catalogue.pictures([picture_id])
        row = Row(
            picture.content_hash,
            picture.width,
            picture.height,
            picture.format,
            picture.file_size,
            picture.labels,
            descriptors[picture_id],
        )
        found[path] = (picture_id, row)
    return found


def check_sound(folder: Path) -> dict[bytes, tuple[int, Row]]:
    """Assert that a library opens and is whole; what it holds, nothing where there is none."""
    if not (folder / CATALOGUE).exists():
        return {}
    with Library.open(folder) as library:
        assert verify(library) == []
        count = library.catalogue.counts()[0]
        indexed = library.vectors().count if library.encoder is not None else 0
        found = holdings(library)
        assert indexed == count == len(found)
        return found


def run_parecido(*arguments: str | Path, fake: bool = True) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, with the fake encoder for new libraries."""
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.support.fake_cli" if fake else "parecido.search.cli",
            *map(str, arguments),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
    )


def drop_seals(connection: sqlite3.Connection) -> None:
    """Leave a catalogue as the version before seals left it."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'seals'").fetchone():
        return
    drop_folders(connection)
    for table in ("seals", "spare_facts", "aside"):
        connection.execute(f"DROP TABLE {table}")
    connection.execute("ALTER TABLE skips DROP COLUMN decoder")
    connection.execute("DELETE FROM facts WHERE key IN ('schema', 'largest id')")
    connection.execute("UPDATE alembic_version SET version_num = '0005'")


def drop_folders(connection: sqlite3.Connection) -> None:
    """Leave a catalogue with the tables of the version before change times, its seals apart."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'looks'").fetchone():
        return
    for table in ("details", "looks", "mounts"):
        connection.execute(f"DROP TABLE {table}")
    for table, column in (
        *(("pictures", "ctime_ns"), ("pictures", "decoding")),
        *(("skips", "ctime_ns"), ("roots", "rules")),
    ):
        connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    connection.execute("UPDATE alembic_version SET version_num = '0006'")


def make_sealed_before(folder: Path) -> None:
    """Leave a library as the version before change times left it, its rows sealed."""
    with closing(sqlite3.connect(folder / CATALOGUE)) as connection, connection:
        drop_folders(connection)
        connection.execute("DELETE FROM seals")
        for name in ("facts", "spare_facts"):
            made = f"UPDATE {name} SET value = ? WHERE key = 'schema'"
            connection.execute(made, (digest_schema(connection),))
        for table, fields in list_fields(1).items():
            query = f"SELECT {', '.join(fields)} FROM {table} ORDER BY 1"
            top = Top()
            for bucket, rows in in_buckets(table, connection.execute(query)):
                by_key = sorted((key_bytes(key), digest) for key, digest in rows)
                entries = b"".join(key + digest for key, digest in by_key)
                digest = _put_sheet(connection, table, bucket, entries)
                top = top.with_sheets([digest])
            _put_sheet(connection, table, TOP, top.pack(table).entries)


def _put_sheet(connection: sqlite3.Connection, table: str, bucket: int, entries: bytes) -> bytes:
    digest = row_digest("seals", [table, bucket, 1, entries])
    row = (table, bucket, 1, entries, digest)
    connection.execute("INSERT INTO seals VALUES (?, ?, ?, ?, ?)", row)
    return digest


def seal_anew(folder: Path) -> None:
    """Seal a library's rows as they are, as if its program had written them."""
    with closing(sqlite3.connect(folder / CATALOGUE)) as connection, connection:
        seal_everything(connection)


def make_outdated(folder: Path) -> None:
    """Leave a library as the version before uploads had rows left it, its journal folded."""
    with closing(sqlite3.connect(folder / CATALOGUE)) as connection, connection:
        drop_seals(connection)
        connection.execute("DROP TABLE uploads")
        connection.execute("UPDATE alembic_version SET version_num = '0004'")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def assert_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Assert an expected failure: exit code 1 and one line on stderr that says these words."""
    lines = done.stderr.splitlines()
    assert (done.returncode, len(lines)) == (1, 1), done.stderr
    assert lines[0].startswith("parecido: ")
    assert [word for word in words if word not in lines[0]] == []


def page_size(path: Path) -> int:
    """Bytes in a page of a SQLite file, as its header tells."""
    with path.open("rb") as file:
        file.seek(16)
        told = int.from_bytes(file.read(2), "big")
    return 1 << 16 if told == 1 else told


def cosine(one: bytes, other: bytes) -> float:
    """The cosine of two stored descriptors."""
    a, b = (unpack(blob).astype(np.float64) for blob in (one, other))
    product: npt.NDArray[np.float64] = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    return float(product)


def in_child(function: Callable[..., _T], *arguments: object) -> _T:
    """What a function gives, or the error that it raises, in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=CHILDREN) as pool:
        return pool.submit(function, *arguments).result()


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder with its time and its bytes."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
