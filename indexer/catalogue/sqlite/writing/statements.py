"""How each change of :mod:`parecido.indexer.catalogue.changes` is written, inside the caller's
transaction.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from itertools import count, groupby

from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    bindparam,
    delete,
    insert,
    literal,
    select,
    text,
    update,
)

from parecido.indexer.catalogue.changes import (
    Add,
    AddLook,
    Annotate,
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
from parecido.indexer.catalogue.known import Mount, Root
from parecido.indexer.catalogue.sqlite.queries import chunks
from parecido.indexer.catalogue.sqlite.reading.uploads import KEPT, LEAVING, WAITING
from parecido.indexer.catalogue.sqlite.schema import (
    aside,
    descriptors,
    details,
    facts,
    looks,
    mounts,
    pictures,
    regions,
    removals,
    roots,
    skips,
    spaces,
    uploads,
)
from parecido.indexer.learning.space import Space
from parecido.indexer.records.details import Details
from parecido.indexer.records.pictures import Look

__all__ = [
    "await_regions",
    "drop_mount",
    "drop_orphans",
    "drop_root",
    "keep_regions",
    "put_mount",
    "put_root",
    "put_space",
    "set_setting",
    "setting",
    "write_changes",
]

_SPACES = ("space", "regional_space")


def set_setting(connection: Connection, key: str, value: str) -> None:
    connection.execute(insert(facts).prefix_with("OR REPLACE").values(key=key, value=value))


def setting(connection: Connection, key: str) -> str | None:
    return connection.scalar(select(facts.c.value).where(facts.c.key == key))


def put_space(connection: Connection, space: Space | None, key: str = "space") -> None:
    """Keep this space and no other under its key, a fact."""
    others = select(facts.c.value).where(facts.c.key.in_([k for k in _SPACES if k != key]))
    connection.execute(delete(spaces).where(spaces.c.fingerprint.not_in(others)))
    set_setting(connection, key, space.fingerprint if space is not None else "")
    if space is not None:
        values = {
            "fingerprint": space.fingerprint,
            "pictures": space.pictures,
            "mean": space.mean.astype("<f4").tobytes(),
            "matrix": space.matrix.astype("<f4").tobytes(),
        }
        connection.execute(insert(spaces).values(**values))


def keep_regions(connection: Connection, wanted: bool) -> None:
    """Let every picture wait for its regional descriptors, or let all of them go."""
    set_setting(connection, "within", "on" if wanted else "off")
    if wanted:
        await_regions(connection)
    else:
        connection.execute(delete(regions))
        put_space(connection, None, "regional_space")


def await_regions(connection: Connection, ids: Sequence[int] = ()) -> None:
    """Let these pictures, and those without a row, wait for their regional descriptors."""
    for chunk in chunks(ids):
        connection.execute(delete(regions).where(regions.c.picture_id.in_(chunk)))
    missing = select(pictures.c.id, literal(0), literal(0), literal(b"", LargeBinary)).where(
        pictures.c.id.not_in(select(regions.c.picture_id))
    )
    connection.execute(insert(regions).from_select(list(regions.c), missing))


def put_root(connection: Connection, root: Root) -> None:
    connection.execute(insert(roots).prefix_with("OR REPLACE").values(**root._asdict()))


def put_mount(connection: Connection, mount: Mount) -> None:
    connection.execute(insert(mounts).prefix_with("OR REPLACE").values(**mount._asdict()))


def drop_mount(connection: Connection, path: bytes) -> None:
    connection.execute(delete(mounts).where(mounts.c.path == path))


def drop_root(connection: Connection, path: bytes) -> None:
    connection.execute(delete(roots).where(roots.c.path == path))


def drop_orphans(connection: Connection) -> int:
    """Remove descriptors and whatever else is of no picture; how many rows."""
    return sum(
        connection.execute(
            delete(table).where(table.c.picture_id.not_in(select(pictures.c.id)))
        ).rowcount
        for table in (descriptors, regions, details, looks)
    )


def write_changes(connection: Connection, changes: Iterable[Change], generation: int) -> bool:
    """Write changes in their order; whether any changed pictures or descriptors."""
    changed = False
    for kind, group in groupby(changes, type):
        if kind is Add:
            _add(connection, [change for change in group if isinstance(change, Add)], generation)
            changed = True
        elif kind is AddLook:
            _add_looks(connection, [change for change in group if isinstance(change, AddLook)])
        else:
            written = [_write_change(connection, change, generation) for change in group]
            changed |= any(written)
    return changed


def _write_change(connection: Connection, change: Change, generation: int) -> bool:
    match change:
        case Move():
            _forget_skip(connection, change.path)
            connection.execute(
                update(pictures)
                .where(pictures.c.id == change.id)
                .values(
                    path=change.path,
                    file_size=change.file_size,
                    mtime_ns=change.mtime_ns,
                    ctime_ns=change.ctime_ns,
                )
            )
        case Annotate():
            at, camera = change.taken
            connection.execute(
                update(pictures)
                .where(pictures.c.id == change.id)
                .values(taken_at=at, camera=camera)
            )
            _put_details(connection, [(change.id, change.details)])
        case Touch():
            before = pictures.c.decoding
            connection.execute(
                update(pictures)
                .where(pictures.c.id == change.id)
                .values(
                    mtime_ns=change.mtime_ns,
                    file_size=change.file_size,
                    ctime_ns=change.ctime_ns,
                    decoding=before if change.decoding is None else change.decoding,
                )
            )
            return False
        case Remove():
            for chunk in chunks(change.ids):
                _remove(connection, pictures.c.id.in_(chunk), generation)
        case SetAside():
            for chunk in chunks(change.ids):
                which = pictures.c.id.in_(chunk)
                known = select(
                    pictures.c.path, pictures.c.id, pictures.c.added_at, literal(change.reason)
                )
                kept = insert(aside).prefix_with("OR REPLACE")
                connection.execute(kept.from_select(list(aside.c), known.where(which)))
                _remove(connection, which, generation)
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
                    decoder=change.decoder,
                    ctime_ns=change.ctime_ns,
                )
            )
            connection.execute(delete(aside).where(aside.c.path == change.path))
            if change.replaces is None:
                return False
            _remove(connection, pictures.c.id == change.replaces, generation)
        case Forget():
            for path in change.paths:
                _forget_skip(connection, path)
            return False
        case Own() | Withdraw() | Disown():
            _apply_upload(connection, change)
            return False
    return True


def _apply_upload(connection: Connection, change: Own | Withdraw | Disown) -> None:
    match change:
        case Own():
            indexed = select(pictures.c.id).where(
                pictures.c.path == change.path, pictures.c.content_hash == change.content_hash
            )
            values = {
                "path": change.path,
                "content_hash": change.content_hash,
                "before": change.before,
                "state": KEPT if connection.scalar(indexed) else WAITING,
                "stamp": change.stamp,
            }
            connection.execute(insert(uploads).prefix_with("OR REPLACE").values(**values))
        case Withdraw():
            connection.execute(
                update(uploads).where(uploads.c.path == change.path).values(state=LEAVING)
            )
        case Disown():
            for chunk in chunks(change.paths):
                connection.execute(delete(uploads).where(uploads.c.path.in_(chunk)))


def _add(connection: Connection, added: Sequence[Add], generation: int) -> None:
    """New pictures, or new content of known ones, in a few statements for all of them."""
    query = text("SELECT seq FROM sqlite_sequence WHERE name = 'pictures'")
    given = count(int(connection.scalar(query) or 0) + 1)
    now = time.time()
    rows = [
        {
            "id": next(given) if change.id is None else change.id,
            **change.entry._asdict(),
            "content_hash": change.content_hash,
            "width": change.described.width,
            "height": change.described.height,
            "format": change.described.format,
            "labels": json.dumps([[n, round(p, 6), i] for n, p, i in change.described.labels]),
            "taken_at": change.described.taken.at,
            "camera": change.described.taken.camera,
            "decoding": change.described.decoding,
        }
        for change in added
    ]
    coming = _find_aside(connection, [change.id for change in added if change.id is not None])
    fresh = [
        {**row, "added_at": coming.get(change.id) or now}
        for row, change in zip(rows, added, strict=True)
        if change.id is None or change.id in coming
    ]
    known = [
        {"known": row["id"], **{name: row[name] for name in row if name != "id"}}
        for row, change in zip(rows, added, strict=True)
        if change.id is not None and change.id not in coming
    ]
    if fresh:
        connection.execute(insert(pictures), fresh)
    if known:
        connection.execute(update(pictures).where(pictures.c.id == bindparam("known")), known)
    connection.execute(
        insert(descriptors).prefix_with("OR REPLACE"),
        [
            {"picture_id": row["id"], "generation": generation, "vector": change.described.vector}
            for row, change in zip(rows, added, strict=True)
        ],
    )
    _put_details(
        connection,
        [
            (int(str(row["id"])), change.described.details)
            for row, change in zip(rows, added, strict=True)
        ],
    )
    regional = [
        {
            "picture_id": row["id"],
            "map_rows": own.rows,
            "map_columns": own.columns,
            "vectors": own.vectors,
        }
        for row, change in zip(rows, added, strict=True)
        if (own := change.described.regional) is not None
    ]
    if regional:
        connection.execute(insert(regions).prefix_with("OR REPLACE"), regional)
    if len(regional) < len(rows) and setting(connection, "within") == "on":
        had = {row["picture_id"] for row in regional}
        await_regions(connection, [i for row in rows if (i := int(str(row["id"]))) not in had])
    _put_looks(
        connection,
        [(int(str(row["id"])), one.described.look) for row, one in zip(rows, added, strict=True)],
    )
    paths = [{"added": row["path"]} for row in rows]
    connection.execute(delete(skips).where(skips.c.path == bindparam("added")), paths)
    connection.execute(delete(aside).where(aside.c.path == bindparam("added")), paths)
    if connection.scalar(select(uploads.c.path).limit(1)) is not None:
        waiting = (uploads.c.path == bindparam("added")) & (uploads.c.state == WAITING)
        connection.execute(update(uploads).where(waiting).values(state=KEPT), paths)


def _put_details(connection: Connection, told: Sequence[tuple[int, Details]]) -> None:
    """A row for each, be it an empty one: it tells that the picture was asked."""
    rows = [
        {
            "picture_id": picture_id,
            **own._asdict(),
            "taken_from": own.taken_from or "",
            "is_utc": int(own.is_utc),
            "keywords": json.dumps(own.keywords),
            "sidecars": json.dumps(own.sidecars),
        }
        for picture_id, own in told
    ]
    connection.execute(insert(details).prefix_with("OR REPLACE"), rows)


def _add_looks(connection: Connection, added: Sequence[AddLook]) -> None:
    """For pictures that still have the bytes that were read."""
    for chunk in chunks(added):
        query = select(pictures.c.id, pictures.c.content_hash)
        which = pictures.c.id.in_([change.id for change in chunk])
        hashes = {row.id: row.content_hash for row in connection.execute(query.where(which))}
        same = [change for change in chunk if hashes.get(change.id) == change.content_hash]
        _put_looks(connection, [(change.id, change.look) for change in same])


def _put_looks(connection: Connection, given: Sequence[tuple[int, Look | None]]) -> None:
    """By which copies of pictures are known; of what they were before it goes."""
    rows = [
        {
            "picture_id": picture_id,
            "version": look.version,
            "thumbnail": look.thumbnail,
        }
        for picture_id, look in given
        if look is not None
    ]
    if rows:
        connection.execute(insert(looks).prefix_with("OR REPLACE"), rows)
    without = [picture_id for picture_id, look in given if look is None]
    for chunk in chunks(without):
        connection.execute(delete(looks).where(looks.c.picture_id.in_(chunk)))


def _find_aside(connection: Connection, ids: Sequence[int]) -> dict[int | None, float | None]:
    """Those of the ids whose pictures were set aside and come back; when each was added."""
    found: dict[int | None, float | None] = {}
    for chunk in chunks(ids):
        query = select(aside.c.picture_id, aside.c.added_at).where(aside.c.picture_id.in_(chunk))
        found.update((picture_id, added_at) for picture_id, added_at in connection.execute(query))
    for chunk in chunks([picture_id for picture_id in found if picture_id is not None]):
        connection.execute(delete(removals).where(removals.c.picture_id.in_(chunk)))
    return found


def _remove(connection: Connection, which: ColumnElement[bool], generation: int) -> int:
    """Remove pictures, their descriptors with them, and remember that they left; how many."""
    leaving = select(pictures.c.id, literal(generation)).where(which)
    columns = [removals.c.picture_id, removals.c.generation]
    connection.execute(insert(removals).prefix_with("OR REPLACE").from_select(columns, leaving))
    return connection.execute(delete(pictures).where(which)).rowcount


def _forget_skip(connection: Connection, path: bytes) -> None:
    connection.execute(delete(skips).where(skips.c.path == path))
    connection.execute(delete(aside).where(aside.c.path == path))
