"""Ask a library: encode the query, find candidates, score them exactly."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from indexer.decode import Limits, decode, pillow_limit, probe
from indexer.discover import absolute, signed64
from indexer.encoders import Encoder, EncoderSpec, open_encoder
from indexer.errors import EncoderMismatch, InvalidRequest, LibraryNotFound, PathNotFound
from indexer.filters import Filter
from indexer.library import Library
from indexer.records import Picture
from indexer.region import Region, decode_region
from search.query import ALL, DEFAULT_K, Query, Terms
from search.ranking import Ranking
from search.results import Hit, Results

__all__ = ["DEFAULT_K", "Engine", "similarity_table"]

Vectors = npt.NDArray[np.float32]


class Engine:
    """Answers queries from one library, from its committed state at the time of each query.

    Opening is cheap: the encoder and the vector index come with the first query that needs them.
    Safe to use from several threads.
    """

    def __init__(
        self,
        library: Library,
        *,
        encoder: Encoder | None = None,
        device: str = "cpu",
        limits: Limits | None = None,
        streams: int = 1,
    ) -> None:
        self.library = library
        self._encoder = encoder
        self._given = encoder is not None
        self._device = device
        self._limits = limits or Limits()
        # 1 gives the soonest answer to one question, one for each core the most answers
        self._streams = streams
        self._ranking = Ranking(library)
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
        self._encoder = None

    @property
    def spec(self) -> EncoderSpec:
        """The library's encoder.  Raises ``LibraryNotFound`` where it holds no pictures yet."""
        spec = self.library.encoder
        if spec is None:
            raise LibraryNotFound(
                f"The library {self.library.folder} holds no pictures yet.",
                "Add some: parecido index FOLDER.",
            )
        return spec

    @property
    def encoder(self) -> Encoder:
        """The library's encoder, ready to run.

        Raises :class:`~indexer.errors.EncoderMismatch` where the engine was given another one.
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
        newest = self.library.catalogue.listed(ALL, "added", 1)
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

    def search(
        self,
        query: str | os.PathLike[str],
        *,
        k: int | None = None,
        offset: int = 0,
        min_score: float | None = None,
        include_self: bool = False,
        exact: bool = False,
        wanted: Filter = ALL,
        region: Region | None = None,
    ) -> Results:
        """The pictures most like a picture file, or like a ``region`` of it.

        An indexed path is answered from its stored descriptor, without encoding, and is left out of
        its own hits unless ``include_self``.  ``k`` is 10 by default, or as many as there are;
        ``offset`` leaves out so many of the best; ``min_score`` is a cosine; only pictures that
        pass the filter ``wanted`` are looked at.  Hits are ordered by score, equal ones by id.
        Scores are exact; with ``exact`` every descriptor of the library is looked at, also where it
        has a compressed index, which may miss one neighbour in a hundred.

        Raises :class:`~indexer.errors.PathNotFound`, ``PictureUnreadable``, or ``InvalidRequest``
        for a ``k`` below 1 or above the number of pictures in the library.
        """
        started = time.perf_counter()
        terms = Terms(k, offset, min_score, exact, wanted)
        self.check(terms)
        vector, picture = self._descriptor(query, region)
        leave_out = picture.id if picture is not None and not include_self else None
        (hits,) = self.answer([Query(vector, terms, leave_out)])
        return self._results(os.fspath(query), started, hits)

    def search_bytes(
        self,
        data: bytes,
        *,
        k: int | None = None,
        offset: int = 0,
        min_score: float | None = None,
        name: str = "-",
        exact: bool = False,
        wanted: Filter = ALL,
        region: Region | None = None,
    ) -> Results:
        """The pictures most like a picture given as the bytes of a file."""
        started = time.perf_counter()
        terms = Terms(k, offset, min_score, exact, wanted)
        self.check(terms)
        (hits,) = self.answer([Query(self._encode(data, region), terms)])
        return self._results(name, started, hits)

    def search_vector(
        self,
        vector: Vectors,
        *,
        k: int | None = None,
        offset: int = 0,
        min_score: float | None = None,
        leave_out: int | None = None,
        exact: bool = False,
        wanted: Filter = ALL,
    ) -> tuple[Hit, ...]:
        """The pictures nearest to a descriptor ``(dimension,)`` of any positive length.

        ``leave_out`` is the id of a picture that is no answer.
        """
        terms = Terms(k, offset, min_score, exact, wanted)
        self.check(terms)
        return self.answer([Query(self.unit(vector), terms, leave_out)])[0]

    def descriptors(
        self, queries: Iterable[str | os.PathLike[str]] | str | os.PathLike[str]
    ) -> Vectors:
        """Descriptors ``(n, dimension)`` of picture files, stored ones where they are indexed."""
        if isinstance(queries, (str, os.PathLike)):
            queries = [queries]
        rows = [self._descriptor(query)[0] for query in queries]
        return np.stack(rows) if rows else np.empty((0, self.spec.dimension), np.float32)

    # -- for many questions at once --------------------------------------------------------------

    def unit(self, vector: npt.ArrayLike) -> Vectors:
        """A descriptor ``(dimension,)`` of any positive length, brought to unit length.

        Raises :class:`~indexer.errors.InvalidRequest` for anything else.
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
        unit: Vectors = (given / length).astype(np.float32)
        return unit

    def check(self, terms: Terms) -> None:
        """Raise :class:`~indexer.errors.InvalidRequest` for terms that cannot be met."""
        terms.check()
        if terms.k is not None and terms.k > DEFAULT_K:
            count = self.library.catalogue.counts()[0]
            if terms.k > max(count, DEFAULT_K):
                raise InvalidRequest(
                    f"k is {terms.k}, and the library holds {count} pictures.",
                    f"Ask for at most {count}.",
                )

    def answer(self, queries: Sequence[Query]) -> list[tuple[Hit, ...]]:
        """The hits of each query, from one state of the library as nearly as can be."""
        spec = self._current()
        found = self._ranking.nearest([query.question for query in queries], spec.fingerprint)
        pages = [query.terms.page(*ranked) for query, ranked in zip(queries, found, strict=True)]
        ids = {i for page in pages for i in page.ids.tolist()}
        pictures = {p.id: p for p in self.library.catalogue.pictures(sorted(ids))}
        answers = []
        for query, page in zip(queries, pages, strict=True):
            pairs = zip(page.ids.tolist(), page.scores.tolist(), strict=True)
            there = [(pictures[i], score) for i, score in pairs if i in pictures]
            first = query.terms.offset + 1
            answers.append(tuple(Hit.of(n, s, p) for n, (p, s) in enumerate(there, first)))
        return answers

    def count(self, wanted: Filter = ALL) -> int:
        """How many pictures pass a filter."""
        return self._ranking.count(wanted)

    def _results(self, query: str, started: float, hits: tuple[Hit, ...]) -> Results:
        """Hits with what is told beside them; ``started`` as ``time.perf_counter`` gave it."""
        took = (time.perf_counter() - started) * 1000
        return Results(query, self.spec.title, took, hits)

    # -- inside ----------------------------------------------------------------------------------

    def _encode(self, data: bytes, region: Region | None = None) -> Vectors:
        with pillow_limit(self._limits):
            if region is None:
                decoded = decode(data, self.spec, self._limits)
            else:
                decoded = decode_region(data, region, self.spec, self._limits)
        vector: Vectors = self.encoder.encode([decoded.pixels]).descriptors[0]
        return vector

    def _descriptor(
        self, query: str | os.PathLike[str], region: Region | None = None
    ) -> tuple[Vectors, Picture | None]:
        """A query's descriptor, and the picture that it is where it is indexed.

        The stored descriptor, unless the file has changed since it was indexed.
        """
        path = absolute(query)
        picture = self._indexed(path)
        if picture is not None and region is None and not _has_changed(path, picture):
            ids, vectors = self.library.catalogue.descriptors([picture.id])
            if len(ids):
                return vectors[0], picture
        if not os.path.lexists(path):
            raise PathNotFound(
                f"{os.fspath(query)} is not there, and the library holds no picture by that path.",
                "Give a picture file, an indexed path, or - for standard input.",
            )
        with pillow_limit(self._limits):
            data = probe(Path(path), self._limits)
        return self._encode(data, region), picture

    def _indexed(self, path: str) -> Picture | None:
        """The indexed picture at a path, or at what it links to."""
        picture = self.library.catalogue.picture_at(path)
        if picture is None and os.path.realpath(path) != path:
            picture = self.library.catalogue.picture_at(os.path.realpath(path))
        return picture


def _has_changed(path: str, picture: Picture) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return False  # an unplugged disk: its pictures can still be asked about
    seen = (status.st_size, signed64(status.st_mtime_ns))
    return seen != (picture.file_size, picture.mtime_ns)


def similarity_table(descriptors: Vectors | Sequence[Vectors]) -> Vectors:
    """The cosines among unit descriptors: ``(n, d)`` → ``(n, n)``, symmetric, 1 on the diagonal."""
    rows = np.asarray(descriptors, np.float64)
    table: Vectors = np.clip(rows @ rows.T, -1, 1).astype(np.float32)
    return table
