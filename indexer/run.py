"""One indexing run: discover → decode → encode → catalogue, overlapped.

Worker threads read and decode ahead of the encoder, at most a few files for each worker, so memory
does not depend on the size of the collection.  The calling thread walks, encodes and writes.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TypeVar

from indexer.catalogue import Catalogue, Known, Root, pack
from indexer.changes import Add, Change, Forget, Move, Remove, SkipFile, Touch
from indexer.discover import SEPARATOR, FileEntry, Walk
from indexer.encoders import Encoder, EncoderSpec, open_encoder
from indexer.errors import ParecidoError, PathNotFound
from indexer.idset import IdSet
from indexer.options import IndexOptions
from indexer.prepare import Prepared, prepare
from indexer.records import IndexReport, Label, Skip

__all__ = ["Progress", "Run", "within"]

COMMIT_SECONDS = 1.0
PATIENCE_SECONDS = 2.0  # how long a decoded picture waits for others of its shape
COMMIT_CHANGES = 512
# What refused these may be otherwise now, with the file as it was: permissions, the limits
_WORTH_ANOTHER_TRY = ("unreadable", "too-large")
_LOOKUP = 256  # files looked up in the catalogue together

Progress = Callable[[IndexReport], None]


@dataclass(frozen=True)
class _Described:
    """What the encoder said of some bytes; every file that holds them shares it."""

    width: int
    height: int
    format: str
    labels: tuple[Label, ...]
    vector: bytes


@dataclass
class _Waiting:
    """A picture on its way to the catalogue, with the files that hold the same bytes."""

    prepared: Prepared
    since: float = field(default_factory=time.monotonic)
    copies: list[Prepared] = field(default_factory=list)


class Run:
    """One indexing run.

    ``new_roots`` are written with the first commit, so that a run that is killed leaves them known.
    Below ``absent`` (roots that are not there, unplugged disks) nothing counts as gone.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        spec: EncoderSpec,
        encoder: Encoder | None,
        options: IndexOptions,
        report: IndexReport,
        progress: Progress | None,
        stop: Callable[[], bool],
        new_roots: Iterable[Root] = (),
        absent: Iterable[bytes] = (),
    ) -> None:
        self._catalogue = catalogue
        self._spec = spec
        self._encoder = encoder
        self._options = options
        self._report = report
        self._progress = progress
        self._stop = stop
        self._seen = IdSet(catalogue.largest_id())
        self._seen_skips: set[bytes] = set()
        self._buckets: dict[tuple[int, ...], list[_Waiting]] = {}
        self._waiting: dict[bytes, _Waiting] = {}
        # encoded and not yet committed
        self._fresh: dict[bytes, _Described] = {}
        self._changes: list[Change] = []
        self._new_roots = list(new_roots)
        self._absent = list(absent)
        self._claimed: set[int] = set()
        self._committed = time.monotonic()
        self._files = 0

    def all(self, walk: Walk) -> None:
        workers = self._options.workers or os.cpu_count() or 1
        pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
        try:
            for prepared in self._prepared(walk, pool, ahead=4 * workers):
                self._take(prepared)
                if self._stop():
                    self._report.interrupted = True
                    break
        except ParecidoError:
            # Ctrl-C reaches a child that builds the encoder too; its failure is not the news
            if not self._stop():
                raise
            self._report.interrupted = True
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        if self._report.interrupted and self._encoder is None:
            self._buckets.clear()  # nothing was encoded yet, and building the encoder takes long
        for shape in list(self._buckets):
            self._encode(shape)
        report = self._report
        if not report.interrupted:
            self._remove_gone(walk)
            for path in walk.broken:
                self._skip(path, "the link leads nowhere", "vanished")
            for path in walk.unreadable:
                self._skip(path, "it cannot be looked into; its pictures are kept", "unreadable")
        if self._files or report.removed or report.skipped:
            self._commit()
        elif not report.interrupted and not report.missing_roots:
            raise PathNotFound(
                f"There are no files in {', '.join(walk.roots)}.",
                "Hidden folders are left out unless --hidden is given.",
            )

    # -- read and decode -------------------------------------------------------------------------

    def _prepared(
        self, walk: Iterable[FileEntry], pool: ThreadPoolExecutor, ahead: int
    ) -> Iterator[Prepared]:
        """Files that are new or changed, decoded, in the order of the walk."""
        queue: deque[Future[Prepared]] = deque()
        for entry, known in self._with_known(walk):
            if known is not None and self._unchanged(entry, known):
                if self._stop():
                    self._report.interrupted = True
                    break
                continue
            queue.append(
                pool.submit(
                    prepare, entry, known, self._spec, self._options.limits, self._have_bytes
                )
            )
            while len(queue) > ahead or (queue and queue[0].done()):
                yield queue.popleft().result()
        while queue:
            yield queue.popleft().result()

    def _with_known(self, walk: Iterable[FileEntry]) -> Iterator[tuple[FileEntry, Known | None]]:
        for chunk in _chunked(walk, _LOOKUP):
            known = self._catalogue.known([entry.path for entry in chunk])
            for entry in chunk:
                self._files += 1
                yield entry, known.get(entry.path)

    def _unchanged(self, entry: FileEntry, known: Known) -> bool:
        if (entry.file_size, entry.mtime_ns) != (known.file_size, known.mtime_ns):
            return False
        if known.kind in _WORTH_ANOTHER_TRY:
            return False
        if known.id is None:
            self._seen_skips.add(entry.path)
            self._skip(entry.path, known.reason, known.kind)
        else:
            self._seen.add(known.id)
            self._report.unchanged += 1
            self._tell()
        return True

    def _have_bytes(self, digest: bytes) -> bool:
        return bool(self._catalogue.twins(digest))

    # -- decide ----------------------------------------------------------------------------------

    def _take(self, prepared: Prepared) -> None:
        if prepared.refused is not None:
            self._refuse(prepared)
        elif prepared.known_bytes:
            self._take_known_bytes(prepared)
        else:
            self._take_decoded(prepared)
        self._tell()
        if (
            len(self._changes) >= COMMIT_CHANGES
            or time.monotonic() - self._committed >= COMMIT_SECONDS
        ):
            self._encode_old()
            self._commit()

    def _refuse(self, prepared: Prepared) -> None:
        entry, error = prepared.entry, prepared.refused
        assert error is not None
        self._skip(entry.path, error.reason, error.kind)
        if error.kind == "vanished":
            return  # not seen: if it was a picture, it is gone
        self._seen_skips.add(entry.path)
        now = Known(None, entry.file_size, entry.mtime_ns, b"", error.reason, error.kind)
        if prepared.known == now:
            return  # as it was
        replaces = prepared.known.id if prepared.known else None
        self._changes.append(
            SkipFile(
                entry.path, entry.file_size, entry.mtime_ns, error.kind, error.reason, replaces
            )
        )

    def _take_known_bytes(self, prepared: Prepared) -> None:
        """Bytes that the catalogue has: the file was touched, moved or copied."""
        entry, known = prepared.entry, prepared.known
        if (
            known is not None
            and known.id is not None
            and known.content_hash == prepared.content_hash
        ):
            self._seen.add(known.id)
            self._changes.append(Touch(known.id, entry.file_size, entry.mtime_ns))
            self._report.unchanged += 1
            return
        twins = self._catalogue.twins(prepared.content_hash)
        if known is None or known.id is None:
            for twin_id, path in twins:
                if twin_id not in self._claimed and self._is_gone(path):
                    self._claimed.add(twin_id)
                    self._seen.add(twin_id)
                    self._changes.append(Move(twin_id, entry.path, entry.file_size, entry.mtime_ns))
                    self._report.moved += 1
                    return
        for twin in self._catalogue.pictures([twin_id for twin_id, _ in twins]):
            _, vectors = self._catalogue.descriptors([twin.id])
            if len(vectors):
                self._add(
                    _Described(twin.width, twin.height, twin.format, twin.labels, pack(vectors[0])),
                    prepared,
                )
                return
        # the twin was given other content since the worker looked: decode after all
        again = prepare(entry, known, self._spec, self._options.limits, lambda _: False)
        self._refuse(again) if again.refused else self._wait_for_network(again)

    def _take_decoded(self, prepared: Prepared) -> None:
        waiting = self._waiting.get(prepared.content_hash)
        if waiting is not None:
            waiting.copies.append(replace(prepared, decoded=None))
            return
        twin = self._fresh.get(prepared.content_hash)
        if twin is not None:
            self._add(twin, prepared)
            return
        if self._have_bytes(prepared.content_hash):  # committed since the worker looked
            self._take_known_bytes(prepared)
            return
        self._wait_for_network(prepared)

    def _wait_for_network(self, prepared: Prepared) -> None:
        assert prepared.decoded is not None
        waiting = self._waiting[prepared.content_hash] = _Waiting(prepared)
        shape = prepared.decoded.pixels.shape
        bucket = self._buckets.setdefault(shape, [])
        bucket.append(waiting)
        if len(bucket) >= self._batch_size():
            self._encode(shape)

    def _is_gone(self, path: bytes) -> bool:
        """Whether nothing lies at an indexed path any more, and it is no absent disk's."""
        return not os.path.lexists(path) and not below_any(path, self._absent)

    # -- encode and write ------------------------------------------------------------------------

    def _batch_size(self) -> int:
        if self._encoder is None:
            started = time.monotonic()
            self._encoder = open_encoder(
                self._spec, device=self._options.device, batch_size=self._options.batch_size
            )
            self._report.preparing_seconds = time.monotonic() - started
        return self._encoder.batch_size

    def _encode_old(self) -> None:
        """Pictures of a rare shape do not wait for a full batch for ever."""
        long_ago = time.monotonic() - PATIENCE_SECONDS
        for shape, bucket in list(self._buckets.items()):
            if bucket[0].since < long_ago:
                self._encode(shape)

    def _encode(self, shape: tuple[int, ...]) -> None:
        batch = self._buckets.pop(shape)
        self._batch_size()
        assert self._encoder is not None
        decoded = [waiting.prepared.decoded for waiting in batch]
        encoding = self._encoder.encode([d.pixels for d in decoded if d is not None])
        self._report.encoded += len(batch)
        for waiting, picture, vector, labels in zip(
            batch, decoded, encoding.descriptors, encoding.labels, strict=True
        ):
            assert picture is not None
            del self._waiting[waiting.prepared.content_hash]
            described = _Described(
                picture.width, picture.height, picture.format, labels, pack(vector)
            )
            for prepared in (waiting.prepared, *waiting.copies):
                self._add(described, prepared)

    def _add(self, described: _Described, prepared: Prepared) -> None:
        entry, known = prepared.entry, prepared.known
        picture_id = known.id if known else None
        self._changes.append(
            Add(
                path=entry.path,
                file_size=entry.file_size,
                mtime_ns=entry.mtime_ns,
                content_hash=prepared.content_hash,
                width=described.width,
                height=described.height,
                format=described.format,
                labels=described.labels,
                vector=described.vector,
                id=picture_id,
            )
        )
        self._fresh[prepared.content_hash] = described
        if picture_id is None:
            self._report.added += 1
        else:
            self._seen.add(picture_id)
            self._report.updated += 1

    def _commit(self) -> None:
        self._committed = time.monotonic()
        own = self._catalogue.encoder()
        # its file may have another place, with the fingerprint as it was
        encoder_moved = own is not None and own != self._spec
        if not (self._changes or self._new_roots or encoder_moved):
            return
        self._catalogue.write(
            self._changes,
            encoder=self._spec if own != self._spec else None,
            seen_roots=self._new_roots,
        )
        self._changes, self._new_roots = [], []
        self._claimed.clear()
        self._fresh = {}

    # -- what is gone ----------------------------------------------------------------------------

    def _remove_gone(self, walk: Walk) -> None:
        self._commit()  # moves first: a moved picture is not gone
        gone: list[int] = []
        forgotten: list[bytes] = []
        unknown = [*self._absent, *walk.unreadable, *walk.broken]
        for root in walk.roots:
            raw = os.fsencode(root)
            for picture_id, path in self._catalogue.under(raw):
                if picture_id not in self._seen and not below_any(path, unknown):
                    gone.append(picture_id)
            for path in self._catalogue.skips_under(raw):
                if path not in self._seen_skips and not below_any(path, unknown):
                    forgotten.append(path)
        if gone:
            gone = sorted(set(gone))
            self._changes.append(Remove(gone))
            self._report.removed += len(gone)
        if forgotten:
            self._changes.append(Forget(forgotten))

    def _skip(self, path: bytes, reason: str, kind: str) -> None:
        self._report.skipped.append(Skip(os.fsdecode(path), reason, kind))
        self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._report)


def within(path: bytes, folder: bytes) -> bool:
    """Whether a path is a folder's own or lies below it."""
    return path == folder or path.startswith(folder.rstrip(SEPARATOR) + SEPARATOR)


def below_any(path: bytes, folders: Sequence[bytes]) -> bool:
    """Whether a path is one of the folders or lies below one."""
    return any(within(path, folder) for folder in folders)


_T = TypeVar("_T")


def _chunked(values: Iterable[_T], size: int) -> Iterator[list[_T]]:
    iterator = iter(values)
    while chunk := list(islice(iterator, size)):
        yield chunk
