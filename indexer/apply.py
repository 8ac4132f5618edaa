"""How each change of :mod:`indexer.changes` is written, inside the caller's transaction."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from sqlalchemy import Connection, delete, insert, update

from indexer.changes import Add, Change, Forget, Move, Remove, SkipFile, Touch
from indexer.schema import descriptors, facts, pictures, skips

__all__ = ["apply", "chunks", "put"]

_T = TypeVar("_T")
_CHUNK = 500  # parameters in one IN (…), below every SQLite's limit


def put(connection: Connection, key: str, value: str) -> None:
    connection.execute(insert(facts).prefix_with("OR REPLACE").values(key=key, value=value))


def apply(connection: Connection, change: Change, generation: int) -> bool:
    """Write one change; whether it changed pictures or descriptors."""
    match change:
        case Add():
            _add(connection, change, generation)
        case Move():
            _forget_skip(connection, change.path)
            connection.execute(
                update(pictures)
                .where(pictures.c.id == change.id)
                .values(path=change.path, file_size=change.file_size, mtime_ns=change.mtime_ns)
            )
        case Touch():
            connection.execute(
                update(pictures)
                .where(pictures.c.id == change.id)
                .values(mtime_ns=change.mtime_ns, file_size=change.file_size)
            )
            return False
        case Remove():
            for chunk in chunks(change.ids):
                connection.execute(delete(pictures).where(pictures.c.id.in_(chunk)))
        case SkipFile():
            connection.execute(
                insert(skips)
                .prefix_with("OR REPLACE")
                .values(
                    path=change.path,
                    file_size=change.file_size,
                    mtime_ns=change.mtime_ns,
                    kind=change.kind,
                    reason=change.reason,
                )
            )
            if change.replaces is None:
                return False
            connection.execute(delete(pictures).where(pictures.c.id == change.replaces))
        case Forget():
            for path in change.paths:
                _forget_skip(connection, path)
            return False
    return True


def _add(connection: Connection, change: Add, generation: int) -> None:
    _forget_skip(connection, change.path)
    columns = {
        "path": change.path,
        "file_size": change.file_size,
        "mtime_ns": change.mtime_ns,
        "content_hash": change.content_hash,
        "width": change.width,
        "height": change.height,
        "format": change.format,
        "labels": json.dumps([[n, round(p, 6), i] for n, p, i in change.labels]),
    }
    picture_id = change.id
    if picture_id is None:
        result = connection.execute(insert(pictures).values(**columns, added_at=time.time()))
        picture_id = int(result.lastrowid)
    else:
        connection.execute(update(pictures).where(pictures.c.id == picture_id).values(**columns))
    connection.execute(
        insert(descriptors)
        .prefix_with("OR REPLACE")
        .values(picture_id=picture_id, generation=generation, vector=change.vector)
    )


def _forget_skip(connection: Connection, path: bytes) -> None:
    connection.execute(delete(skips).where(skips.c.path == path))


def chunks(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Pieces short enough for one ``IN (…)``."""
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]
