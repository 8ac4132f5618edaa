"""How the catalogue's SQLite file is opened: modes, transactions, versions, errors."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, exc, text
from sqlalchemy.pool import NullPool, QueuePool

from indexer.durable import sync_folder
from indexer.errors import (
    LibraryBusy,
    LibraryDamaged,
    LibraryNotFound,
    LibraryReadOnly,
    LibraryTooNew,
    NoSpace,
    ParecidoError,
)
from indexer.schema import SCHEMA_VERSION

__all__ = ["connect", "explained", "install", "migrate", "version"]

BUSY_SECONDS = 30


def connect(path: Path, *, write: bool) -> Engine:
    """An engine on the catalogue file, for reading only or for writing too.

    Writing: WAL journal, synced at every commit, transactions that take the write lock at their
    start.  Reading works beside a writer, and on media that cannot be written at all.
    """

    def open_connection() -> sqlite3.Connection:
        if write:
            connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)
            connection.execute("PRAGMA journal_mode = WAL")
            # an indexer commits once a second, so that a sync each time costs nothing
            connection.execute("PRAGMA synchronous = FULL")
        else:
            connection = _open_for_reading(path)
        connection.execute("PRAGMA foreign_keys = ON")
        # transactions are begun below, not by the driver's guess
        connection.isolation_level = None
        return connection

    engine = create_engine(
        "sqlite://",
        creator=open_connection,
        poolclass=QueuePool if write else NullPool,
        **({"pool_size": 1, "max_overflow": 64} if write else {}),
    )

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _open_for_reading(path: Path) -> sqlite3.Connection:
    uri = f"file:{quote(os.fsencode(path))}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, check_same_thread=False)
    try:
        connection.execute("PRAGMA schema_version").fetchone()
        return connection
    except sqlite3.OperationalError:
        connection.close()
        wal = path.with_name(path.name + "-wal")
        if not path.exists() or (wal.exists() and wal.stat().st_size > 0):
            raise
        # On a disk that cannot be written SQLite cannot make the files that WAL readers share.
        # With no journal beside it the file is complete and nobody can change it.
        return sqlite3.connect(uri + "&immutable=1", uri=True, check_same_thread=False)


def install(fresh: Path, path: Path) -> None:
    """Let a closed catalogue file take its place, without the journal of what lay there before.

    SQLite would replay an old journal into the new file.
    """
    with explained(path), closing(sqlite3.connect(fresh)) as connection:
        # folds the file's own journal into it, which a full disk prevents when it is closed
        connection.execute("PRAGMA journal_mode = DELETE")
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    os.replace(fresh, path)
    sync_folder(path.parent)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Map SQLite's errors to the project's, at this one seam."""
    try:
        yield
    except exc.DBAPIError as error:
        raise _explain(path, error.orig) from error
    except sqlite3.Error as error:
        raise _explain(path, error) from error


def _explain(path: Path, error: Any) -> ParecidoError:
    said = str(error)
    folder = path.parent
    if "full" in said:
        return NoSpace(
            f"The disk that holds the library {folder} is full; everything committed is kept.",
            "Free some space and run the command again.",
        )
    if "readonly" in said or "read-only" in said:
        return LibraryReadOnly(
            f"The library {folder} cannot be written; nothing was changed.",
            "Check its permissions, or choose another with --library.",
        )
    if "locked" in said:
        return LibraryBusy(
            f"The catalogue {path} stayed locked for {BUSY_SECONDS} seconds.",
            "Another program holds it: wait for it, or end it.",
        )
    if "unable to open" in said:
        if not path.exists():
            return LibraryNotFound(
                f"There is no library at {folder}.", "Make one: parecido index FOLDER."
            )
        return LibraryReadOnly(
            f"The catalogue {path} cannot be opened.",
            "Check the permissions of the file and its folder.",
        )
    if "disk I/O error" in said:
        return NoSpace(
            f"The disk under {folder} refused a read or a write; everything committed is kept.",
            "Check the disk and its free space.",
        )
    return LibraryDamaged(
        f"The catalogue {path} is damaged ({said}).",
        "Save what can be read: parecido verify --repair.",
    )


def version(connection: Connection) -> str | None:
    """The revision of the schema; None in an empty file."""
    has_table = connection.scalar(
        text("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'")
    )
    return connection.scalar(text("SELECT version_num FROM alembic_version")) if has_table else None


def migrate(engine: Engine, path: Path) -> None:
    """Bring the schema to this program's version, in one transaction; nothing to do as a rule.

    Raises :class:`LibraryTooNew` where a newer program wrote it.
    """
    with engine.connect().execution_options(immediate=True) as connection, connection.begin():
        found = version(connection)
        if found == SCHEMA_VERSION:
            return
        check_version(found, path)
        # imported here: a quarter of a second that only new and old libraries pay
        from alembic import command
        from alembic.config import Config

        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", "indexer:migrations")
        command.upgrade(config, SCHEMA_VERSION)


def check_version(found: str | None, path: Path) -> None:
    """Raise :class:`LibraryTooNew` for a revision after this program's own."""
    if found is not None and found > SCHEMA_VERSION:
        raise LibraryTooNew(
            f"The library {path.parent} has schema {found}, written by a newer parecido; this one "
            f"reads up to {SCHEMA_VERSION}.",
            "Upgrade: pip install --upgrade parecido.",
        )
