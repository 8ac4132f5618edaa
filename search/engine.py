"""Ask a library: encode the query, find candidates, score them exactly."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self, Unpack

import numpy as np
import numpy.typing as npt

from parecido.indexer.arithmetic import cosines, unit
from parecido.indexer.arrays import Pixels, Vectors
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.encoders.opening import open_encoder
from parecido.indexer.errors import EncoderMismatch, InvalidRequest
from parecido.indexer.learning.chance import LEAST_PICTURES
from parecido.indexer.learning.space import Space
from parecido.indexer.library.library import Library
from parecido.indexer.pictures.decoding.decoder import Decoder, DecoderHere
from parecido.indexer.pictures.in_memory import Source, list_sources
from parecido.indexer.pictures.limits import Limits
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.records.filters import Filter
from parecido.indexer.records.pictures import Look, Picture
from parecido.indexer.records.regions import Region
from parecido.search.asking.ask import Ask, check_within
from parecido.search.asking.describer import Describer
from parecido.search.asking.presence import look_for_files
from parecido.search.asking.request import Request
from parecido.search.asking.terms import ALL, DEFAULT_K, Terms, TermsGiven
from parecido.search.asking.views import pixels_of, seek
from parecido.search.ranking.parts import Within, views
from parecido.search.ranking.ranked import Ranked, merge
from parecido.search.ranking.ranking import Ranking
from parecido.search.results import Hit, Results
from parecido.search.sameness.shown import Found, Shown, judge

__all__ = ["DEFAULT_K", "Engine", "similarity_table"]


_COMPARED = 100  # hits of a page: copies come first, and ten take 1.4 ms, 4 where all are copies


class Engine:
    """Answers queries from one library, from its committed state at the time of each query.

    Opening is cheap: the encoder and the vector index come with the first query that needs them.
    Safe to use from several threads.  With ``isolate``, pictures are decoded in processes of their
    own, as a backend wants whose pictures come from strangers: one that crashes a decoder, or never
    ends, is refused.  The first costs a tenth of a second more.
    """

    def __init__(
        self,
        library: Library,
        *,
        encoder: Encoder | None = None,
        device: str = "cpu",
        limits: Limits | None = None,
        streams: int = 1,
        isolate: bool = False,
    ) -> None:
        self.library = library
        self._encoder = encoder
        self._given = encoder is not None
        self._device = device
        decoder = _isolated_decoder() if isolate else DecoderHere()
        self.describer = Describer(library, lambda: self.encoder, limits or Limits(), decoder)
        # 1 gives the soonest answer to one question, one for each core the most answers
        self._streams = streams
        self._ranking = Ranking(library)
        self._within = Within(library)
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the index and the encoder; the library stays open."""
        self._ranking.close()
        self._within.close()
        self._encoder = None

    @property
    def spec(self) -> EncoderSpec:
        """The library's encoder.  Raises ``LibraryNotFound`` where it holds no pictures yet."""
        return self.describer.spec

    @property
    def encoder(self) -> Encoder:
        """The library's encoder, ready to run.

        Raises :class:`~parecido.EncoderMismatch` where the engine was given another one.
        """
        with self._lock:
            spec = self._current()
            if self._encoder is None:
                self._encoder = open_encoder(
                    spec, device=self._device, streams=self._streams, folder=self.library.folder
                )
            return self._encoder

    @property
    def has_labels(self) -> bool:
        """Whether the library's pictures have ImageNet classes."""
        newest = self.library.catalogue.list_pictures(ALL, "added", 1)
        return bool(newest and newest[0].labels)

    def _current(self) -> EncoderSpec:
        """The library's encoder now; what belongs to an earlier one is let go.

        A library that was emptied may be filled again with another encoder.
        """
        spec = self.spec
        if self._encoder is not None and self._encoder.spec.fingerprint != spec.fingerprint:
            if self._given:
                raise EncoderMismatch(
                    f"The library {self.library.folder} was built with {spec.title}, and the "
                    f"engine was given {self._encoder.spec.title}.",
                    "Leave out the encoder, or open the library that it built.",
                )
            self._encoder = None
        return spec

    @property
    def space(self) -> Space | None:
        """The space that scores are of; None is the encoder's own."""
        return self.library.gallery().space

    def search(
        self,
        query: Source,
        *,
        region: Region | None = None,
        any_orientation: bool = False,
        include_self: bool = False,
        **terms: Unpack[TermsGiven],
    ) -> Results:
        """The pictures most like a given one, or like a ``region`` of it.

        ``query`` is a path, the bytes of a file, a binary file that is open, a picture of PIL's, or
        an array (``uint8``, or floating point from 0 to 1; grey, RGB or RGBA, channels last).  An
        indexed path is answered from its stored descriptor, without encoding, and is left out of
        its own hits unless ``include_self``.  With ``any_orientation`` a hit may be turned or
        mirrored.  ``terms`` are the fields of :class:`~parecido.search.asking.terms.Terms`: ``k``
        is 10 by default, or as many as there are; ``offset`` leaves out so many of the best;
        ``min_score`` is a cosine; only pictures that pass the filter ``wanted`` are looked at;
        ``expand`` and ``rerank`` look at a shortlist again.  Hits are ordered by score, equal ones
        by id.  Scores are exact; with ``exact`` every descriptor of the library is looked at, also
        where it has a compressed index, which may miss one neighbour in a hundred.

        Raises :class:`~parecido.PathNotFound`, ``PictureUnreadable``, or ``InvalidRequest``
        for a ``k`` below 1 or above the number of pictures in the library.
        """
        ask = Ask((query,), region=region, any_orientation=any_orientation)
        return self.ask(ask, include_self=include_self, **terms)

    def ask(
        self,
        ask: Ask,
        *,
        name: str = "",
        include_self: bool = False,
        **terms: Unpack[TermsGiven],
    ) -> Results:
        """The pictures that several given ones ask for together; see :class:`~parecido.Ask`.

        ``name`` is what the results are called; by default it is made of the paths.
        """
        started = time.perf_counter()
        wanted = Terms(**terms)
        self.check(wanted)
        if wanted.within:
            hits = self._within_pictures(ask, wanted, include_self)
            return self._results(name or ask.name, started, hits)
        self._ranking.open_ahead(self.spec.fingerprint)
        sought = seek(self.describer, ask)
        leave_out = frozenset() if include_self else sought.known
        request = Request(sought.descriptors, wanted, leave_out, sought.weights, sought.shown)
        (hits,) = self.answer([request])
        return self._results(name or ask.name, started, hits)

    def _within_pictures(self, ask: Ask, terms: Terms, include_self: bool) -> tuple[Hit, ...]:
        """The pictures that hold a given one as a part, and where."""
        self.check_within(ask, terms)
        given, known = pixels_of(self.describer, ask)
        return self.answer_within(given, terms, frozenset() if include_self else known)

    def check_within(self, ask: Ask, terms: Terms) -> None:
        """Raise ``InvalidRequest`` for what no search within this library's pictures can do.

        ``LibraryNotFound`` where it holds none yet.
        """
        self._current()
        check_within(ask, terms)
        self._within.check()

    def answer_within(
        self, given: Sequence[Pixels], terms: Terms, out: frozenset[int]
    ) -> tuple[Hit, ...]:
        """The pictures, but for those left ``out``, that hold one of some given ones, and where.

        These are ``(height, width, 3)`` at the encoder's size.
        """
        queries = views(self.encoder, *given)
        found = self._within.nearest(
            queries,
            terms.offset + terms.count + len(out),
            self.spec.fingerprint,
            allowed=None if terms.wanted.passes_all else self._ranking.passing(terms.wanted),
            exact=terms.exact,
        )
        keep = np.flatnonzero(np.isin(found.ids, list(out), invert=True))
        page = terms.page(Ranked(found.ids[keep], found.scores[keep]))
        pictures = {p.id: p for p in self.library.catalogue.pictures(page.ids.tolist())}
        boxes = dict(zip(found.ids.tolist(), found.boxes, strict=True))
        hits = _make_hits(page, pictures, _look_for(pictures), terms, {})
        return tuple(replace(hit, box=boxes[hit.id]) for hit in hits)

    def search_bytes(
        self,
        data: bytes,
        *,
        name: str = "-",
        region: Region | None = None,
        **terms: Unpack[TermsGiven],
    ) -> Results:
        """The pictures most like a picture given as the bytes of a file; as :meth:`search`."""
        return self.ask(Ask((data,), region=region), name=name, **terms)

    def search_vector(
        self, vector: Vectors, *, leave_out: int | None = None, **terms: Unpack[TermsGiven]
    ) -> tuple[Hit, ...]:
        """The pictures nearest to a descriptor ``(dimension,)`` of any positive length.

        ``leave_out`` is the id of a picture that is no answer; ``terms`` as for :meth:`search`.
        """
        wanted = Terms(**terms)
        self.check(wanted)
        out = frozenset() if leave_out is None else frozenset([leave_out])
        request = Request((self.unit(vector)[None],), wanted, out)
        request.check()
        return self.answer([request])[0]

    def descriptors(self, queries: Iterable[Source] | Source) -> Vectors:
        """Descriptors ``(n, dimension)`` of pictures, stored ones where they are indexed.

        A picture is given as for :meth:`search`.
        """
        given = [self.describer.find(one) for one in list_sources(queries)]
        rows = [self.describer.describe(one) for one in given]
        return np.stack(rows) if rows else np.empty((0, self.spec.dimension), np.float32)

    # -- for many questions at once --------------------------------------------------------------

    def unit(self, vector: npt.ArrayLike) -> Vectors:
        """A descriptor ``(dimension,)`` of any positive length, brought to unit length.

        Raises :class:`~parecido.InvalidRequest` for anything else.
        """
        given = np.asarray(vector, np.float64)
        spec = self.spec
        with np.errstate(over="ignore"):  # beyond any range: refused below
            length = float(np.linalg.norm(given)) if given.ndim == 1 else 0.0
        if given.shape != (spec.dimension,) or not np.isfinite(length) or length == 0:
            raise InvalidRequest(
                f"Expected a finite, nonzero vector of {spec.dimension} numbers, "
                f"got shape {given.shape} of length {length}.",
                "Use descriptors of the library's own encoder.",
            )
        # of any size: first by a power of two, which rounds nothing
        row: Vectors = unit(np.ldexp(given, -np.frexp(np.abs(given).max())[1])[None])[0]
        return row

    def check(self, terms: Terms) -> None:
        """Raise :class:`~parecido.InvalidRequest` for terms that cannot be met."""
        terms.check()
        self.check_chance(terms)
        if terms.k is not None and terms.k > DEFAULT_K:
            count = self.library.catalogue.counts()[0]
            if terms.k > max(count, DEFAULT_K):
                raise InvalidRequest(
                    f"k is {terms.k}, and the library holds {count} pictures.",
                    f"Ask for at most {count}.",
                )

    def check_chance(self, terms: Terms) -> None:
        """Raise ``InvalidRequest`` where chance is asked for, and nothing is known of it."""
        if terms.max_chance is not None and self.library.catalogue.settings.chance() is None:
            raise InvalidRequest(
                "The library is too small to tell what is chance, or was indexed before that was "
                "learned.",
                f"From {LEAST_PICTURES} pictures on the next run of index learns it; or give a "
                "minimum score.",
            )

    def answer(self, requests: Sequence[Request]) -> list[tuple[Hit, ...]]:
        """The hits of each request, from one state of the library as nearly as can be."""
        spec = self._current()
        by_default = self.library.catalogue.settings.reranks_by_default()
        asked_for = [request.questions(by_default) for request in requests]
        every = [question for questions in asked_for for question in questions]
        found = iter(self._ranking.nearest(every, spec.fingerprint))
        pages = [
            request.terms.page(merge([next(found) for _ in questions]))
            for request, questions in zip(requests, asked_for, strict=True)
        ]
        ids = {i for page in pages for i in page.ids.tolist()}
        pictures = {p.id: p for p in self.library.catalogue.pictures(sorted(ids))}
        there = _look_for(pictures)
        looks = self.library.catalogue.looks.of(_list_nearest(requests, pages))
        same = [
            _judge(request.shown, page, pictures, looks)
            for request, page in zip(requests, pages, strict=True)
        ]
        return [
            _make_hits(page, pictures, there, request.terms, own)
            for request, page, own in zip(requests, pages, same, strict=True)
        ]

    def count(self, wanted: Filter = ALL) -> int:
        """How many pictures pass a filter."""
        return self._ranking.count(wanted)

    def _results(self, query: str, started: float, hits: tuple[Hit, ...]) -> Results:
        """Hits with what is told beside them; ``started`` as ``time.perf_counter`` gave it."""
        took = (time.perf_counter() - started) * 1000
        return Results(query, self.spec.title, took, hits)


def _look_for(pictures: dict[int, Picture]) -> dict[int, bool | None]:
    """Whether the files of pictures are there, by id."""
    there = look_for_files([picture.path for picture in pictures.values()])
    return dict(zip(pictures, there, strict=True))


def _make_hits(
    page: Ranked,
    pictures: dict[int, Picture],
    there: dict[int, bool | None],
    terms: Terms,
    same: dict[int, bool | None],
) -> tuple[Hit, ...]:
    """A page of hits with their ranks; what has left meanwhile is not among them."""
    rows = [
        row
        for row, i in enumerate(page.ids.tolist())
        if i in pictures and (not terms.same or same.get(i))
    ]
    hits = []
    for rank, row in enumerate(rows, terms.offset + 1):
        second = None if page.seconds is None else float(page.seconds[row])
        picture = pictures[int(page.ids[row])]
        hits.append(
            Hit.of(
                rank,
                float(page.scores[row]),
                picture,
                chance=None if page.chances is None else float(page.chances[row]),
                second=None if second is None or math.isnan(second) else second,
                there=there[int(page.ids[row])],
                same=same.get(picture.id),
            )
        )
    return tuple(hits)


def _list_nearest(requests: Sequence[Request], pages: Sequence[Ranked]) -> list[int]:
    """Ids of the hits whose pixels are looked at."""
    ids = {
        i
        for request, page in zip(requests, pages, strict=True)
        if request.shown
        for i in page.ids[:_COMPARED].tolist()
    }
    return sorted(ids)


def _judge(
    shown: Sequence[Shown], page: Ranked, pictures: dict[int, Picture], looks: dict[int, Look]
) -> dict[int, bool | None]:
    """Whether hits show the same picture as one that was asked about, by their ids."""
    if not shown:
        return {}
    ids = [i for i in page.ids[:_COMPARED].tolist() if i in pictures]
    found = [Found(pictures[i].content_hash, looks.get(i)) for i in ids]
    return dict(zip(ids, judge(shown, found), strict=True))


def _isolated_decoder() -> Decoder:
    # here: sockets and the like are 10 ms that a search from the shell does without
    from parecido.indexer.pictures.decoding.processes import DecoderProcesses

    return DecoderProcesses()


def similarity_table(descriptors: Vectors | Sequence[Vectors]) -> Vectors:
    """The cosines among unit descriptors: ``(n, d)`` → ``(n, n)``, symmetric, 1 on the diagonal."""
    rows = unit(np.asarray(descriptors, np.float64))
    return cosines(rows, rows)
