"""The library behind a server: opened once, its encoder warm, its questions gathered.

Decoding, encoding, searching, questions about the catalogue and writing what was uploaded each have
threads of their own, off the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from parecido.indexer.arrays import Pixels, Vectors
from parecido.indexer.encoders.encoder import Encoder, FeatureMaps
from parecido.indexer.errors import InvalidRequest, ParecidoError, PictureUnreadable
from parecido.indexer.library.layout import THUMBNAILS, UPLOADS
from parecido.indexer.library.library import Library
from parecido.indexer.pictures.decoding.decoder import Stopped
from parecido.indexer.pictures.decoding.orders import Order
from parecido.indexer.pictures.decoding.processes import DecoderProcesses
from parecido.indexer.pictures.limits import Limits
from parecido.indexer.pictures.read import read_bytes
from parecido.indexer.pictures.wanted import Drawn, Fitting, ForEncoder
from parecido.indexer.records.pictures import Picture
from parecido.indexer.records.regions import Region
from parecido.indexer.system.files import content_hash
from parecido.search.asking.ask import Ask
from parecido.search.asking.describer import show
from parecido.search.asking.request import Request
from parecido.search.asking.terms import Terms
from parecido.search.asking.views import orientations
from parecido.search.engine import Engine
from parecido.search.explaining.explanation import Explanation, Look, View, explain_views
from parecido.search.results import Hit
from parecido.search.sameness.shown import Shown, thumbnail_of
from parecido.search.web.batching import Gatherer
from parecido.search.web.callers.turns import stopping
from parecido.search.web.errors import Refused, no_picture, report_change, report_loss
from parecido.search.web.jobs import Jobs
from parecido.search.web.settings import Settings
from parecido.search.web.telemetry import Metrics
from parecido.search.web.thumbnails import Thumbnails
from parecido.search.web.uploads import Space, Uploads

__all__ = ["Service"]

_OF_LIBRARY = Limits()  # as they were indexed; what is uploaded has the server's own
_REMEMBERED = 256  # descriptors of uploads: 5 kB each
_OPEN_AGAIN = 2.0  # seconds from one try to open the encoder that failed to the next
_HASHED = 1 << 20  # bytes that take a millisecond
_MAP_BYTES = 32 << 20  # of feature maps that are remembered: 250 kB each, as a rule
# How far a search within pictures goes: each of these takes ten descriptors, 0.2 ms.
_MOST_WITHIN = 2000
_FAR = 100  # hits: of 100,000 pictures they take 56 ms, 10 take 48, and 1,000 take 109
_T = TypeVar("_T")
_log = logging.getLogger("parecido")

Labels = tuple[tuple[str, float, int], ...]


class Seen(NamedTuple):
    """What the encoder says of a picture, and what copies of it are known by."""

    descriptor: Vectors
    labels: Labels
    shown: Shown


class Stored(NamedTuple):
    """A picture of the library, as it is searched for."""

    path: str
    descriptor: Vectors
    shown: Shown


Parts = tuple[Sequence[Pixels], Terms, frozenset[int]]


class _Readiness:
    """Whether the encoder and the index are open; opens them, again where that failed."""

    def __init__(self, library: Library, engine: Engine) -> None:
        self._library = library
        self._engine = engine
        self.tried = threading.Event()
        """Set once it is known."""
        self._is_open = False
        self._is_trying = False
        self._failed: ParecidoError | None = None
        self._tried = 0.0
        self._begin()

    def check(self) -> None:
        """Raise what stands in the way."""
        failed = self._failed
        if failed is not None:
            if not self._is_trying and time.monotonic() - self._tried > _OPEN_AGAIN:
                self._begin()
            raise failed
        if not self._is_open:
            retry = {"Retry-After": "1"}
            raise Refused(503, "starting", "The server is starting.", "Try again.", retry)

    def _begin(self) -> None:
        self._is_trying = True
        threading.Thread(target=self._open, name="warm-up", daemon=True).start()

    def _open(self) -> None:
        """Open what the first query would wait for."""
        failed: ParecidoError | None = None
        try:
            spec = self._library.encoder
            if spec is not None and self._library.catalogue.counts()[0]:
                height, width = spec.size.height, spec.size.width
                blank = np.zeros((height, width, 3), np.uint8)
                vector = self._engine.encoder.encode([blank]).descriptors[0]
                self._engine.search_vector(vector, k=1)
        except ParecidoError as error:
            failed = error
            if str(error) != str(self._failed):  # it is tried again and again
                _log.error("%s", error)
        except Exception:
            failed = ParecidoError("The server could not warm up.", "See its log.")
            if str(failed) != str(self._failed):
                _log.exception("The server could not warm up")
        self._is_open, self._failed, self._tried = failed is None, failed, time.monotonic()
        self._is_trying = False
        self.tried.set()


class Threads:
    """What takes a while, off the event loop, apart by what it waits for."""

    def __init__(self) -> None:
        self._decoding = ThreadPoolExecutor((os.cpu_count() or 1) + 1, thread_name_prefix="decode")
        self._questions = ThreadPoolExecutor(2, thread_name_prefix="catalogue")
        self._writes = ThreadPoolExecutor(2, thread_name_prefix="uploads")
        self._parsing = ThreadPoolExecutor(1, thread_name_prefix="json")
        self._several = ThreadPoolExecutor(1, thread_name_prefix="several")

    def close(self) -> None:
        """Wait for what runs, but for JSON: nobody waits for what it reads."""
        for pool in (self._decoding, self._questions, self._writes, self._several):
            pool.shutdown(wait=True, cancel_futures=True)
        self._parsing.shutdown(wait=False, cancel_futures=True)

    async def call(self, function: Callable[..., _T], *arguments: object) -> _T:
        """Run what takes a while on a thread."""
        try:
            return await _run(self._decoding, function, *arguments)
        except Stopped:
            raise stopping() from None

    async def ask(self, function: Callable[..., _T], *arguments: object) -> _T:
        """As :meth:`call`, for a question about the catalogue, which waits for no picture."""
        return await _run(self._questions, function, *arguments)

    async def ask_several(self, function: Callable[..., _T], *arguments: object) -> _T:
        """As :meth:`call`, for several questions at once, which hold up no single one."""
        return await _run(self._several, function, *arguments)

    async def read_json(self, function: Callable[..., _T], *arguments: object) -> _T:
        """As :meth:`call`, for long JSON: one after the other, for each holds much memory."""
        return await _run(self._parsing, function, *arguments)

    async def write(self, function: Callable[..., _T], *arguments: object) -> _T:
        """As :meth:`call`, for what waits for a disk."""
        return await _run(self._writes, function, *arguments)


async def _run(pool: ThreadPoolExecutor, function: Callable[..., _T], *arguments: object) -> _T:
    return await asyncio.get_running_loop().run_in_executor(pool, function, *arguments)


class Service:
    """What the routes use.  Made and closed within the event loop that serves."""

    def __init__(self, library: Library, settings: Settings, metrics: Metrics) -> None:
        self.library = library
        self.settings = settings
        self.metrics = metrics
        space = Space(settings.uploads_bytes, library.catalogue)
        self.uploads = Uploads((settings.uploads or library.folder / UPLOADS).absolute(), space)
        cores = os.cpu_count() or 1
        self.engine = Engine(library, device=settings.device, limits=settings.limits, streams=cores)
        self._decoder = DecoderProcesses()
        self.thumbnails = Thumbnails(
            library.folder / THUMBNAILS, settings.thumbnail_bytes, _OF_LIBRARY, self._decoder
        )
        self.jobs = Jobs(library, self.uploads, settings, self._encoder_if_open)
        self.threads = Threads()
        self._encoding: Gatherer[tuple[Pixels, int], tuple[Vectors, Labels]] = Gatherer(
            "encode",
            self._encode,
            threads=cores,
            most=32 if settings.device != "cpu" else 4,
            kind=lambda asked: (asked[0].shape, asked[1]),
            told=lambda size: metrics.batch("encode", size),
        )
        self._searching: Gatherer[Request, tuple[Hit, ...]] = Gatherer(
            "search", self.engine.answer, most=64, told=lambda size: metrics.batch("search", size)
        )
        # of many hits, or through all descriptors: these take so long that the others do not wait
        self._searching_far: Gatherer[Request, tuple[Hit, ...]] = Gatherer(
            "far", self.engine.answer, most=16, told=lambda size: metrics.batch("search", size)
        )
        self._mapping: Gatherer[Pixels, FeatureMaps] = Gatherer(
            "maps",
            self._map,
            most=32 if settings.device != "cpu" else 4,
            kind=lambda pixels: pixels.shape,
            told=lambda size: metrics.batch("encode", size),
        )
        self._finding: Gatherer[int, Stored] = Gatherer("find", self.find_all, most=64)
        # on a thread of its own, so that long ones hold up no other requests
        self._searching_within: Gatherer[Parts, tuple[Hit, ...]] = Gatherer(
            "within", lambda asked: [self.engine.answer_within(*one) for one in asked], most=1
        )
        # by content, region and encoder; touched by the event loop alone
        self._described: OrderedDict[Hashable, Seen] = OrderedDict()
        self._looks: OrderedDict[Hashable, tuple[View, FeatureMaps]] = OrderedDict()
        self._readiness = _Readiness(library, self.engine)

    def close(self) -> None:
        """Let running jobs commit and stop, answer what waits, and let go of everything."""
        self._decoder.stop()
        self.jobs.close()
        self.threads.close()
        self._encoding.close()
        self._mapping.close()
        self._finding.close()
        self._searching.close()
        self._searching_far.close()
        self._searching_within.close()
        self.engine.close()

    # -- readiness -------------------------------------------------------------------------------

    def check_ready(self) -> None:
        """Raise while the encoder is being opened, or where it cannot be, which is tried again."""
        self._readiness.check()

    def _encoder_if_open(self) -> Encoder | None:
        """For indexing runs: the network is not loaded twice."""
        return self.engine.encoder if self.library.catalogue.counts()[0] else None

    # -- asking ----------------------------------------------------------------------------------

    async def see(
        self, data: bytes, region: Region | None = None, limits: Limits | None = None
    ) -> Drawn:
        """A picture, or a part of it, at the encoder's size.  Raises ``PictureUnreadable``."""
        order = Order(ForEncoder(self.engine.spec, region), limits or self.settings.limits)
        with self.metrics.stage("decode"):
            drawn = await self.threads.call(self._decoder.decode, order, data)
        assert drawn is not None  # nobody was asked whether it is wanted
        return drawn

    async def check_picture(self, data: bytes) -> None:
        """Raise for what is no picture, whether the library has an encoder yet or not."""
        if self.library.encoder is not None:
            await self.see(data)
        else:
            order = Order(Fitting(1), self.settings.limits)
            await self.threads.call(self._decoder.decode, order, data)

    async def describe(
        self,
        data: bytes,
        region: Region | None = None,
        labels: int = 0,
        limits: Limits | None = None,
    ) -> Seen:
        """The descriptor of a picture's bytes, and its likeliest classes.

        Remembered for a while: the next page of hits comes with the same picture.
        """
        hashed = await self._hash(data)
        key = (hashed, region, self.engine.spec.fingerprint)
        if not labels and key in self._described:
            self._described.move_to_end(key)
            return self._described[key]
        seen = await self.see(data, region, limits)
        with self.metrics.stage("encode"):
            vector, classes = await self._encoding.ask((seen.pixels, labels))
        shown = show(seen)._replace(content_hash=hashed if region is None else None)
        described = Seen(vector, classes, shown)
        if not labels:  # a thousand of them take more than all descriptors
            self._described[key] = described
        while len(self._described) > _REMEMBERED:
            self._described.popitem(last=False)
        return described

    async def _hash(self, data: bytes) -> bytes:
        """The hash of a picture's bytes; of many, off the event loop."""
        return (
            content_hash(data)
            if len(data) < _HASHED
            else await self.threads.ask(content_hash, data)
        )

    async def file_of(self, picture: Picture) -> bytes:
        """The bytes of an indexed picture's file.

        Raises ``Refused`` where it cannot be read, or is another one than was indexed.
        """
        try:
            data = await self.threads.call(read_bytes, Path(picture.path), _OF_LIBRARY)
        except PictureUnreadable as error:
            raise report_loss(error) from error
        if await self._hash(data) != picture.content_hash:
            raise report_change()
        return data

    async def describe_part(self, picture: Picture, region: Region) -> Seen:
        """What is known of a part of an indexed picture, from its file."""
        return await self.describe(await self.file_of(picture), region, limits=_OF_LIBRARY)

    async def describe_orientations(
        self, source: bytes | Picture, region: Region | None
    ) -> tuple[tuple[Vectors, ...], Shown]:
        """The descriptors of the eight orientations of a picture, or of a part of it.

        The picture is its bytes, or one of the library, whose file is read.
        """
        data = source if isinstance(source, bytes) else await self.file_of(source)
        seen = await self.see(data, region, None if data is source else _OF_LIBRARY)
        hashed = await self._hash(data) if region is None else None
        with self.metrics.stage("encode"):
            asked = [self._encoding.ask((one, 0)) for one in orientations(seen.pixels)]
            found = await asyncio.gather(*asked)
        shown = show(seen)._replace(content_hash=hashed)
        return tuple(vector[None] for vector, _ in found), shown

    # -- explaining ------------------------------------------------------------------------------

    async def look(
        self,
        data: bytes,
        name: str,
        region: Region | None = None,
        limits: Limits | None = None,
        stored: Vectors | None = None,
    ) -> Look:
        """A picture's bytes as the network sees them; ``stored`` is its descriptor, where known.

        Remembered for a while: the next question is about the same query and another hit.
        """
        key = (await self._hash(data), region, self.engine.spec.fingerprint)
        if key in self._looks:
            self._looks.move_to_end(key)
        else:
            seen = await self.see(data, region, limits)
            with self.metrics.stage("encode"):
                maps = await self._mapping.ask(seen.pixels)
            self._looks[key] = View(name, seen.width, seen.height, seen.box), maps
            while len(self._looks) > 1 and _map_bytes(self._looks.values()) > _MAP_BYTES:
                self._looks.popitem(last=False)
        view, maps = self._looks[key]
        descriptor = maps.descriptor if stored is None or region is not None else stored
        return Look(replace(view, name=name), data, descriptor, maps.features)

    async def look_at(self, picture: Picture, region: Region | None = None) -> Look:
        """An indexed picture, or a part of it, from its file; as :meth:`file_of`."""
        data = await self.file_of(picture)
        _, vectors = await self.threads.ask(self.library.catalogue.descriptors.of, [picture.id])
        stored = vectors[0] if len(vectors) else None
        return await self.look(data, picture.path, region, _OF_LIBRARY, stored)

    async def explain(self, query: Look, hit: Look) -> Explanation:
        """Which places of two pictures made them match."""
        return await self.threads.call(explain_views, self.engine, query, hit)

    # -- searching -------------------------------------------------------------------------------

    async def hits(self, request: Request, by: str) -> tuple[Hit, ...]:
        """The hits of a request; ``by`` is how it was asked, for the metrics."""
        request.terms.check()
        request.check()
        self.engine.check_chance(request.terms)
        searching = self._searching_far if _is_far(request.terms) else self._searching
        with self.metrics.stage("search"):
            found = await searching.ask(request)
        self.metrics.queries.labels(by).inc()
        return found

    def answer(self, requests: Sequence[Request], by: Sequence[str]) -> list[tuple[Hit, ...]]:
        """As :meth:`hits`, of several requests, on the caller's thread."""
        for terms in {request.terms for request in requests}:
            terms.check()
            self.engine.check_chance(terms)
        with self.metrics.stage("search"):
            found = self.engine.answer(requests)
        self.metrics.batch("search", len(requests))
        for one in by:
            self.metrics.queries.labels(one).inc()
        return found

    async def find(self, picture_id: int) -> Stored:
        """A picture of the library with what is stored of it.

        Raises :class:`~parecido.search.web.errors.Refused` for an id that the library has not.
        """
        return await self._finding.ask(picture_id)

    def find_all(self, ids: Sequence[int]) -> list[Stored | Refused]:
        """As :meth:`find`, of several, on the caller's thread; what is wrong in a one's place."""
        catalogue = self.library.catalogue
        wanted = sorted(set(ids))
        pictures = {picture.id: picture for picture in catalogue.pictures(wanted)}
        looks = catalogue.looks.of(wanted)
        thumbnails = {one: thumbnail_of(look) for one, look in looks.items()}
        stored = dict(zip(*catalogue.descriptors.of(wanted), strict=True))
        return [
            Stored(
                pictures[one].path,
                stored[one],
                Shown(pictures[one].content_hash, thumbnails.get(one)),
            )
            if one in pictures and one in stored
            else no_picture(one)
            for one in ids
        ]

    async def hits_within(
        self,
        source: bytes | Picture,
        region: Region | None,
        turned: bool,
        terms: Terms,
        out: frozenset[int] = frozenset(),
    ) -> tuple[Hit, ...]:
        """The pictures, but for those left ``out``, that hold a picture or a part of it.

        The picture is its bytes, or one of the library, whose file is read.
        """
        terms.check()
        self.engine.check_within(Ask((b"",)), terms)
        if terms.offset + terms.count > _MOST_WITHIN:
            raise InvalidRequest(
                f"A search within pictures goes as far as the {_MOST_WITHIN} best, and those from "
                f"{terms.offset + 1} to {terms.offset + terms.count} were asked for.",
                "Give a filter or a minimum score to see fewer.",
            )
        if isinstance(source, bytes):
            by, seen = "picture", await self.see(source, region)
        else:
            by = "id"
            seen = await self.see(await self.file_of(source), region, _OF_LIBRARY)
        given = orientations(seen.pixels) if turned else [seen.pixels]
        with self.metrics.stage("search"):
            hits = await self._searching_within.ask((given, terms, out))
        self.metrics.queries.labels(by).inc()
        return hits

    def _encode(self, asked: Sequence[tuple[Pixels, int]]) -> Sequence[tuple[Vectors, Labels]]:
        encoding = self.engine.encoder.encode([pixels for pixels, _ in asked], asked[0][1])
        return list(zip(encoding.descriptors, encoding.labels, strict=True))

    def _map(self, asked: Sequence[Pixels]) -> Sequence[FeatureMaps]:
        return self.engine.encoder.maps(asked)


def _is_far(terms: Terms) -> bool:
    return terms.exact or terms.offset + terms.count > _FAR or not terms.wanted.passes_all


def _map_bytes(looks: Iterable[tuple[View, FeatureMaps]]) -> int:
    return sum(maps.features.nbytes for _, maps in looks)
