"""Files in, described pictures out: what the worker threads of an indexing run do.

There is a worker more than cores, and each carries its picture all the way: read, hash, decode,
wait in the bucket of its shape, and whoever finds a bucket full takes it through the network.  So
decoding and the network share the cores without queues between them, and no core waits while there
is work.
Pillow, OpenVINO and SQLite release the interpreter's lock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue

import numpy as np

from parecido.indexer.arrays import Pixels
from parecido.indexer.catalogue.known import Known
from parecido.indexer.catalogue.sqlite.reading.descriptors import pack
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.encoders.opening import open_encoder
from parecido.indexer.indexing.plan import Plan
from parecido.indexer.indexing.prepare import Prepared, prepare
from parecido.indexer.pictures.decoding.decoder import Stopped
from parecido.indexer.pictures.formats.changes import DECODING
from parecido.indexer.pictures.looks.drawing import draw_look
from parecido.indexer.records.pictures import Described, Encoding, FileEntry
from parecido.indexer.records.regions import Regional
from parecido.indexer.regional.codes import describe
from parecido.indexer.regional.codes import pack as pack_regions

__all__ = ["Flow"]

# Files on their way for each worker, while the calling thread commits: 16 take a tenth of a second,
# and no memory, since a file is read when a worker comes to it.
AHEAD = 16
LABELS = 5  # for each picture, as Encoder.encode gives


@dataclass
class _Claim:
    """Some bytes on their way through the network, with the other files that hold them."""

    described: Described | None = None
    copies: list[Prepared] = field(default_factory=list)


@dataclass
class _Bucket:
    """Decoded pictures of one shape that wait until they are enough for a batch."""

    since: float = field(default_factory=time.monotonic)
    pictures: list[Prepared] = field(default_factory=list)


class Flow:
    """The worker side of a run.  One thread puts files in and gets answers out.

    ``have`` tells whether the catalogue has a picture with a content hash, and all that is to be
    said of it.
    """

    def __init__(self, plan: Plan, have: Callable[[bytes], bool]) -> None:
        self._plan = plan
        self._have = have
        workers = plan.workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="worker")
        self._answers: SimpleQueue[list[Prepared] | BaseException] = SimpleQueue()
        self._outstanding = 0
        self._ahead = AHEAD * workers
        self._lock = threading.Lock()
        self._claims: dict[bytes, _Claim] = {}
        self._buckets: dict[tuple[int, ...], _Bucket] = {}
        self._encoder = plan.encoder
        self._opening = threading.Lock()
        self._failure: Exception | None = None
        self._abandoned = False
        self.preparing_seconds = 0.0
        """How long opening the encoder took; building it where it was not cached."""
        self.encoded = 0
        """Pictures that went through the network."""

    # -- for the thread that owns it -------------------------------------------------------------

    def put(self, entry: FileEntry, known: Known | None, *, anyway: bool = False) -> None:
        """Let a worker look at a file; ``anyway`` decodes it although its bytes are known."""
        self._submit(self._one, entry, known, anyway)

    @property
    def is_busy(self) -> bool:
        """Whether anything that was put in has not come out."""
        return self._outstanding > 0

    @property
    def is_full(self) -> bool:
        """Whether the workers have enough to do for a while."""
        return self._outstanding > self._ahead

    def get(self, seconds: float = 0.0) -> list[Prepared]:
        """Files that are done, in no particular order; waits so long for the first.

        Raises what failed in a worker.
        """
        done: list[Prepared] = []
        while self._outstanding:
            try:
                answer = self._answers.get(timeout=seconds) if seconds else self._answers.get(False)
            except Empty:
                break
            seconds = 0.0
            self._outstanding -= 1
            if isinstance(answer, BaseException):
                raise answer
            done += answer
        return done

    def flush(self, older_than: float = 0.0) -> None:
        """Send buckets through the network that have waited that many seconds, full or not."""
        limit = time.monotonic() - older_than
        with self._lock:
            shapes = [shape for shape, b in self._buckets.items() if b.since <= limit]
            batches = [self._buckets.pop(shape).pictures for shape in shapes]
        for batch in batches:
            self._submit(self._encode_all, batch)

    def forget(self, digests: Iterable[bytes]) -> None:
        """These bytes are in the catalogue now."""
        with self._lock:
            for digest in digests:
                claim = self._claims.get(digest)
                # one that is not described yet is another worker's, which will end it
                if claim is not None and claim.described is not None:
                    del self._claims[digest]

    def abandon(self) -> None:
        """Look at no further file, and let go of those that are being read or decoded."""
        self._abandoned = True
        self._plan.decoder.stop()

    def close(self) -> None:
        """Wait for the workers; what they still do is lost."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _submit(self, work: Callable[..., list[Prepared]], *arguments: object) -> None:
        def answer() -> None:
            try:
                self._answers.put(work(*arguments))
            except BaseException as error:
                self._answers.put(error)

        self._outstanding += 1
        self._pool.submit(answer)

    # -- on the workers --------------------------------------------------------------------------

    def _one(self, entry: FileEntry, known: Known | None, anyway: bool) -> list[Prepared]:
        if self._abandoned:
            return []
        early: list[Prepared] = []
        here = Prepared(entry, known)

        def claim(digest: bytes) -> bool:
            """Whether to decode; else the bytes are known, described, or on another worker."""
            mine = replace(here, content_hash=digest)
            with self._lock:
                other = self._claims.get(digest)
                if other is None:
                    self._claims[digest] = _Claim()
                elif other.described is None:
                    other.copies.append(mine)
                    return False
                else:
                    early.append(replace(mine, described=other.described))
                    return False
            # asked after the claim, so that the bytes are always either claimed or in the catalogue
            if anyway or not self._have(digest):
                return True
            early.extend((mine, *self._release(digest)))
            return False

        try:
            prepared = prepare(entry, known, self._plan, claim)
        except Stopped:
            return []
        if prepared.refused is not None:
            copies = self._release(prepared.content_hash)
            return [prepared, *(replace(copy, refused=prepared.refused) for copy in copies)]
        if prepared.decoded is None:
            return early
        if self._abandoned and self._encoder is None:
            return []  # building one takes long, and nothing else is ready
        self._into_bucket(prepared)
        # Decoding goes on while the encoder is opened: whoever opens it takes what waits then.  So
        # the other cores are not idle in the third of a second that it takes.
        if self._encoder is None and self._opening.locked():
            return []
        return self._encode_full()

    def _release(self, digest: bytes) -> list[Prepared]:
        """The other files with bytes that nobody claims any more."""
        with self._lock:
            claim = self._claims.pop(digest, None)
            return claim.copies if claim else []

    def _into_bucket(self, prepared: Prepared) -> None:
        assert prepared.decoded is not None
        with self._lock:
            bucket = self._buckets.setdefault(prepared.decoded.pixels.shape, _Bucket())
            bucket.pictures.append(prepared)

    def _encode_full(self) -> list[Prepared]:
        """Take the buckets that are full through the network, until none is or the run ends."""
        done: list[Prepared] = []
        while not self._abandoned and (batch := self._take_full()):
            done += self._encode(batch)
        return done

    def _take_full(self) -> list[Prepared]:
        """As many pictures of one shape as the encoder takes at once; else nothing."""
        full = self._open_encoder().bucket_size
        with self._lock:
            for shape, bucket in self._buckets.items():
                if len(bucket.pictures) >= full:
                    batch, rest = bucket.pictures[:full], bucket.pictures[full:]
                    del self._buckets[shape]
                    if rest:
                        self._buckets[shape] = _Bucket(pictures=rest)
                    return batch
        return []

    def _open_encoder(self) -> Encoder:
        with self._opening:
            if self._failure is not None:
                raise self._failure  # the other workers need not try it again
            if self._encoder is None:
                started = time.monotonic()
                try:
                    self._encoder = open_encoder(
                        self._plan.spec,
                        device=self._plan.options.device,
                        batch_size=self._plan.options.batch_size,
                        folder=self._plan.folder,
                    )
                except Exception as error:
                    self._failure = error
                    raise
                self.preparing_seconds = time.monotonic() - started
            return self._encoder

    def _encode_all(self, batch: Sequence[Prepared]) -> list[Prepared]:
        return [*self._encode(batch), *self._encode_full()]

    def _encode(self, batch: Sequence[Prepared]) -> list[Prepared]:
        decoded = [prepared.decoded for prepared in batch if prepared.decoded is not None]
        pixels = [picture.pixels for picture in decoded]
        encoding, regional = self._describe(pixels)
        looks = [draw_look(one) for one in pixels]
        done: list[Prepared] = []
        with self._lock:
            self.encoded += len(batch)
            for prepared, picture, vector, labels, regions, look in zip(
                batch, decoded, encoding.descriptors, encoding.labels, regional, looks, strict=True
            ):
                described = Described(
                    picture.width,
                    picture.height,
                    picture.format,
                    labels,
                    pack(vector),
                    picture.taken,
                    regions,
                    picture.details,
                    picture.note,
                    DECODING,
                    look,
                )
                claim = self._claims[prepared.content_hash]
                claim.described = described
                done.append(replace(prepared, decoded=None, described=described))
                done += [replace(copy, described=described) for copy in claim.copies]
                claim.copies = []
        return done

    def _describe(self, pixels: Sequence[Pixels]) -> tuple[Encoding, list[Regional | None]]:
        """Descriptors and labels of pictures, and their regional descriptors if they are wanted."""
        encoder = self._open_encoder()
        if not self._plan.keeps_regions:
            return encoder.encode(pixels), [None] * len(pixels)
        descriptors, labels, regional = [], [], []
        for maps in encoder.maps(pixels, LABELS):
            rows, columns, _ = maps.features.shape
            regional.append(Regional(rows, columns, pack_regions(describe(maps.features))))
            descriptors.append(maps.descriptor)
            labels.append(maps.labels)
        return Encoding(np.stack(descriptors), labels), list(regional)
