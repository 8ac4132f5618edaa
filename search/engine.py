"""Ask a library: encode the query, find candidates, score them exactly."""

from __future__ import annotations

import numbers
import os
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from indexer.decode import Limits, decode, pillow_limit, probe
from indexer.discover import absolute, signed64
from indexer.encoders import Encoder, EncoderSpec, open_encoder
from indexer.errors import EncoderMismatch, InvalidRequest, LibraryNotFound, PathNotFound
from indexer.exhaustive import Nearest
from indexer.library import Library
from indexer.records import Picture
from search.results import Hit, Results

if TYPE_CHECKING:
    from indexer.vectors import VectorIndex

__all__ = ["DEFAULT_K", "Engine"]

DEFAULT_K = 10
# Float32 sums of 4096 products differ from exact ones by about 1e-6: candidates this close to the
# last wanted one may belong before it.
_SLACK = 1e-5

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
    ) -> None:
        self.library = library
        self._encoder = encoder
        self._given = encoder is not None
        self._device = device
        self._limits = limits or Limits()
        self._vectors: VectorIndex | None = None
        self._vectors_of = ""
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
        self._vectors = None
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
                    spec, device=self._device, streams=1, folder=self.library.folder
                )
            return self._encoder

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
        if self._vectors_of != spec.fingerprint:
            self._vectors = None
        return spec

    def search(
        self,
        query: str | os.PathLike[str],
        *,
        k: int | None = None,
        min_score: float | None = None,
        include_self: bool = False,
        exact: bool = False,
    ) -> Results:
        """The pictures most like a picture file.

        An indexed path is answered from its stored descriptor, without encoding, and is left out of
        its own hits unless ``include_self``.  ``k`` is 10 by default, or as many as there are;
        ``min_score`` is a cosine.  Hits are ordered by score, equal ones by id.  Scores are exact;
        with ``exact`` every descriptor of the library is looked at, also where it has a compressed
        index, which may miss one neighbour in a hundred.

        Raises :class:`~indexer.errors.PathNotFound`, ``PictureUnreadable``, or ``InvalidRequest``
        for a ``k`` below 1 or above the number of pictures in the library.
        """
        started = time.perf_counter()
        self._check(k, min_score)
        vector, picture = self._descriptor(query)
        leave_out = picture.id if picture is not None and not include_self else None
        hits = self._nearest(vector, k, min_score, leave_out, exact)
        return self._results(os.fspath(query), started, hits)

    def search_bytes(
        self,
        data: bytes,
        *,
        k: int | None = None,
        min_score: float | None = None,
        name: str = "-",
        exact: bool = False,
    ) -> Results:
        """The pictures most like a picture given as the bytes of a file."""
        started = time.perf_counter()
        self._check(k, min_score)
        hits = self._nearest(self._encode(data), k, min_score, None, exact)
        return self._results(name, started, hits)

    def search_vector(
        self,
        vector: Vectors,
        *,
        k: int | None = None,
        min_score: float | None = None,
        leave_out: int | None = None,
        exact: bool = False,
    ) -> tuple[Hit, ...]:
        """The pictures nearest to a descriptor ``(dimension,)`` of any positive length.

        ``leave_out`` is the id of a picture that is no answer.
        """
        self._check(k, min_score)
        vector = np.asarray(vector, np.float64)
        spec = self.spec
        length = float(np.linalg.norm(vector)) if vector.ndim == 1 else 0.0
        if vector.shape != (spec.dimension,) or not np.isfinite(length) or length == 0:
            raise InvalidRequest(
                f"Expected a finite, nonzero vector of {spec.dimension} numbers, "
                f"got shape {vector.shape} of length {length}.",
                "Use descriptors of the library's own encoder.",
            )
        unit = (vector / length).astype(np.float32)
        return self._nearest(unit, k, min_score, leave_out, exact)

    def descriptors(
        self, queries: Iterable[str | os.PathLike[str]] | str | os.PathLike[str]
    ) -> Vectors:
        """Descriptors ``(n, dimension)`` of picture files, stored ones where they are indexed."""
        if isinstance(queries, (str, os.PathLike)):
            queries = [queries]
        rows = [self._descriptor(query)[0] for query in queries]
        return np.stack(rows) if rows else np.empty((0, self.spec.dimension), np.float32)

    # -- inside ----------------------------------------------------------------------------------

    def _results(self, query: str, started: float, hits: tuple[Hit, ...]) -> Results:
        took = (time.perf_counter() - started) * 1000
        return Results(query, self.spec.title, took, hits)

    def _encode(self, data: bytes) -> Vectors:
        with pillow_limit(self._limits):
            decoded = decode(data, self.spec, self._limits)
        vector: Vectors = self.encoder.encode([decoded.pixels]).descriptors[0]
        return vector

    def _descriptor(self, query: str | os.PathLike[str]) -> tuple[Vectors, Picture | None]:
        """A query's descriptor, and the picture that it is where it is indexed.

        The stored descriptor, unless the file has changed since it was indexed.
        """
        path = absolute(query)
        picture = self._indexed(path)
        if picture is not None and not _has_changed(path, picture):
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
        return self._encode(data), picture

    def _indexed(self, path: str) -> Picture | None:
        """The indexed picture at a path, or at what it links to."""
        picture = self.library.catalogue.picture_at(path)
        if picture is None and os.path.realpath(path) != path:
            picture = self.library.catalogue.picture_at(os.path.realpath(path))
        return picture

    def _check(self, k: int | None, min_score: float | None) -> None:
        if k is not None and not isinstance(k, numbers.Integral):
            raise InvalidRequest(f"k is {k!r}; expected a whole number.", "Give k=10, say.")
        if k is not None and k < 1:
            raise InvalidRequest(f"k is {k}; expected 1 or more.", "Ask for at least one hit.")
        if min_score is not None and not -1 <= min_score <= 1:
            raise InvalidRequest(
                f"The minimum score is {min_score}; expected a cosine from -1 to 1.",
                "Hits of the same thing mostly score above 0.5.",
            )
        if k is not None and k > DEFAULT_K:
            count = self.library.catalogue.counts()[0]
            if k > max(count, DEFAULT_K):
                raise InvalidRequest(
                    f"k is {k}, and the library holds {count} pictures.",
                    f"Ask for at most {count}.",
                )

    def _nearest(
        self,
        query: Vectors,
        k: int | None,
        min_score: float | None,
        leave_out: int | None,
        exact: bool,
    ) -> tuple[Hit, ...]:
        ids, scores = self._ranked(query, int(k or DEFAULT_K), leave_out, exact)
        if min_score is not None:
            ids, scores = ids[scores >= min_score], scores[scores >= min_score]
        pictures = {p.id: p for p in self.library.catalogue.pictures(ids.tolist())}
        found = [
            (i, s) for i, s in zip(ids.tolist(), scores.tolist(), strict=True) if i in pictures
        ]
        return tuple(Hit.of(rank, s, pictures[i]) for rank, (i, s) in enumerate(found, 1))

    def _ranked(
        self, query: Vectors, k: int, leave_out: int | None, exact: bool
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Ids and cosines of the ``k`` nearest, by the catalogue's descriptors, ties by id."""
        wanted = k + (leave_out is not None)
        asked = wanted + 8
        while True:
            candidates, rough, count, is_complete = self._candidates(query, asked, exact)
            ids, vectors = self.library.catalogue.descriptors(candidates.tolist())
            scores = exact_scores(query, vectors)
            order = np.lexsort((ids, -scores))
            # enough when the worst candidate is clearly below the last wanted one: others that
            # were left out cannot come before it
            if len(candidates) >= count or (
                len(order) >= wanted
                and (not is_complete or rough[-1] < scores[order[wanted - 1]] - _SLACK)
            ):
                break
            asked *= 4
        keep = [i for i in order if ids[i] != leave_out][:k]
        return ids[keep], scores[keep]

    def _candidates(
        self, query: Vectors, asked: int, exact: bool
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], int, bool]:
        """Candidates' ids and rough scores, best first; how many pictures there are; whether none
        is left out that has a better score."""
        with self._lock:
            spec = self._current()
            if self._vectors is None:
                self._vectors = self.library.vectors()
                self._vectors_of = spec.fingerprint
                if self._vectors.file_bytes == 0:
                    self._vectors.save_if_worthwhile()  # lost or damaged: for the next time
            self._vectors.refresh()
            index = self._vectors
            count = index.count
            asked = max(1, min(asked, count))
            if index.is_exhaustive or not exact:
                scores, found = index.search(query[None], asked)
                is_complete = index.is_exhaustive
        if exact and not index.is_exhaustive:  # others need not wait for it
            nearest = Nearest(query[None], asked)
            for ids, vectors in self.library.catalogue.descriptors_after(-1):
                nearest.see(ids, vectors)
            scores, found = nearest.best()
            is_complete = True
        there = found[0] >= 0
        return found[0][there], scores[0][there], count, is_complete


def _has_changed(path: str, picture: Picture) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return False  # an unplugged disk: its pictures can still be asked about
    seen = (status.st_size, signed64(status.st_mtime_ns))
    return seen != (picture.file_size, picture.mtime_ns)


def exact_scores(query: Vectors, vectors: Vectors) -> Vectors:
    """Cosines of a unit query ``(d,)`` with unit rows ``(n, d)``, float32.

    Summed in float64 row by row and then rounded, so that equal descriptors score equally wherever
    they lie.
    """
    if not len(vectors):
        return np.empty(0, np.float32)
    products = vectors.astype(np.float64) * query.astype(np.float64)
    scores: Vectors = np.clip(products.sum(axis=1), -1, 1).astype(np.float32)
    return scores


def similarity_table(descriptors: Vectors | Sequence[Vectors]) -> Vectors:
    """The cosines among unit descriptors: ``(n, d)`` → ``(n, n)``, symmetric, 1 on the diagonal."""
    rows = np.asarray(descriptors, np.float64)
    table: Vectors = np.clip(rows @ rows.T, -1, 1).astype(np.float32)
    return table
