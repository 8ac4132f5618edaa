"""The catalogue's tables, as the newest migration leaves them.

Paths are the file system's own bytes (``os.fsencode``): exact for any name, and ordered as bytes.
Descriptors are little-endian float16, ``2 × dimension`` bytes, of unit length.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

__all__ = [
    "aside",
    "descriptors",
    "details",
    "facts",
    "looks",
    "metadata",
    "mounts",
    "pictures",
    "regions",
    "removals",
    "roots",
    "seals",
    "skips",
    "spaces",
    "spare_facts",
    "uploads",
]

metadata = MetaData()


def _picture_id() -> Column[int]:
    """The key of a table that has a row for a picture, which leaves with it."""
    return Column(
        "picture_id",
        Integer,
        ForeignKey("pictures.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    )


facts = Table(
    "facts",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
"""Single values.

``encoder``: JSON of the spec.  ``generation``: rises with every change.  ``index``: ``exact`` or
``auto``.  ``dimension``: ``auto``, ``full`` or a number, as it was asked for.  ``space``: the
fingerprint of the space in use.  ``think_twice``: ``on`` or ``off``.  ``within``: ``on`` or
``off``, whether regional descriptors are kept.  ``regional_space``: the fingerprint of the space in
which they are compared.  ``chance``: JSON of what was learned of chance.  ``judgement``: JSON of
what the space loses or gains.  ``schema``: the digest of the schema.  ``largest id``: that was
ever given.  ``uploads``: JSON of the folders whose uploads of before they had
rows were taken over; only in libraries of that time.
"""

spare_facts = Table(
    "spare_facts",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
"""The facts once more: what is damaged in one place is put back from the other."""

roots = Table(
    "roots",
    metadata,
    Column("path", LargeBinary, primary_key=True),
    # the folder's identity tells an unplugged disk's empty mount point from an emptied folder
    Column("device", BigInteger, nullable=False),
    Column("inode", BigInteger, nullable=False),
    # JSON of what is left out below it and what is not; empty where only the common rules hold
    Column("rules", Text, nullable=False, server_default=""),
)
"""What was given to be indexed."""

mounts = Table(
    "mounts",
    metadata,
    Column("path", LargeBinary, primary_key=True),
    Column("device", BigInteger, nullable=False),
    Column("inode", BigInteger, nullable=False),
)
"""Roots, and folders below them, on which another file system was mounted when they were walked."""

pictures = Table(
    "pictures",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("path", LargeBinary, nullable=False, unique=True),
    Column("file_size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("content_hash", LargeBinary, nullable=False, index=True),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("format", Text, nullable=False),
    # JSON [[name, probability, class index], …], best first
    Column("labels", Text, nullable=False),
    # seconds since 1970, UTC
    Column("added_at", Float, nullable=False),
    # by the camera's clock, 2024-05-01T12:30:00, so that text sorts as time does
    Column("taken_at", Text),
    Column("camera", Text, nullable=False, server_default=""),
    # when the file or what is known of it changed last, by the file system's clock; none where
    # that is not known, and taken over unread when the file is seen
    Column("ctime_ns", BigInteger),
    # by which rules its pixels were made; see parecido.indexer.pictures
    Column("decoding", Integer, nullable=False, server_default="1"),
    # an id is never given twice: the vector index recognises deletions by ids that are gone
    sqlite_autoincrement=True,
)

descriptors = Table(
    "descriptors",
    metadata,
    _picture_id(),
    # the generation that wrote it: the vector index fetches what is newer than itself
    Column("generation", BigInteger, nullable=False, index=True),
    Column("vector", LargeBinary, nullable=False),
)

details = Table(
    "details",
    metadata,
    _picture_id(),
    # what told when it was taken; empty where nothing did
    Column("taken_from", Text, nullable=False),
    # 1 where that moment is by UTC and not by the camera's clock
    Column("is_utc", Integer, nullable=False),
    # -1 (rejected) to 5
    Column("rating", Integer),
    # degrees, north and east positive
    Column("latitude", Float),
    Column("longitude", Float),
    # JSON [word, …]
    Column("keywords", Text, nullable=False),
    # JSON [[name, size, mtime_ns], …] of the files beside it that told some of this
    Column("sidecars", Text, nullable=False),
)
"""What files tell of a picture beside its pixels."""

looks = Table(
    "looks",
    metadata,
    _picture_id(),
    # of how it is made; the index tells how many there are without a look at the thumbnails
    Column("version", Integer, nullable=False, index=True),
    # grey, 32 × 32
    Column("thumbnail", LargeBinary, nullable=False),
)
"""By which two files are known to show the same picture."""

removals = Table(
    "removals",
    metadata,
    Column("picture_id", Integer, primary_key=True, autoincrement=False),
    # the generation that removed it: a vector index drops what left since it was written
    Column("generation", BigInteger, nullable=False, index=True),
)
"""Pictures that left the library; their ids are never given again."""

spaces = Table(
    "spaces",
    metadata,
    Column("fingerprint", Text, primary_key=True),
    # how many there were when it was learned
    Column("pictures", Integer, nullable=False),
    # little-endian float32, (d,) and (m, d)
    Column("mean", LargeBinary, nullable=False),
    Column("matrix", LargeBinary, nullable=False),
)
"""The library's own spaces, one for whole pictures and one for regions, where it has them."""

regions = Table(
    "regions",
    metadata,
    _picture_id(),
    # cells of the feature map that they were pooled from; 0 where a picture waits for its own
    Column("map_rows", Integer, nullable=False),
    Column("map_columns", Integer, nullable=False),
    # nine descriptors, four bits a number
    Column("vectors", LargeBinary, nullable=False),
)
"""Regional descriptors: a row for every picture of a library that keeps them, else none."""

Index("ix_regions_waiting", regions.c.picture_id, sqlite_where=regions.c.map_rows == 0)

uploads = Table(
    "uploads",
    metadata,
    Column("path", LargeBinary, primary_key=True),
    Column("content_hash", LargeBinary, nullable=False),
    Column("before", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),
    Column("stamp", BigInteger, nullable=False),
)
"""Files that were uploaded to a server; see
:class:`parecido.indexer.catalogue.sqlite.reading.uploads.Upload`.
"""

skips = Table(
    "skips",
    metadata,
    Column("path", LargeBinary, primary_key=True),
    Column("file_size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("reason", Text, nullable=False),
    # versions of the decoders that failed on it, where that is why
    Column("decoder", Text, nullable=False, server_default=""),
    Column("ctime_ns", BigInteger),
)
"""Files that were left out, remembered so that they are tried again only when they change."""

aside = Table(
    "aside",
    metadata,
    Column("path", LargeBinary, primary_key=True),
    # that it had and gets again; none where that cannot be told
    Column("picture_id", Integer),
    Column("added_at", Float),
    Column("reason", Text, nullable=False),
)
"""Pictures whose records were damaged, until their files are read again."""

seals = Table(
    "seals",
    metadata,
    Column("table_name", Text, primary_key=True),
    Column("bucket", BigInteger, primary_key=True),
    # of the list of fields
    Column("version", Integer, nullable=False),
    # key and digest of each row
    Column("entries", LargeBinary, nullable=False),
    Column("digest", LargeBinary, nullable=False),
)
"""What every row of every other table must be; see
:mod:`parecido.indexer.catalogue.sqlite.sealing.digests`.
"""
