"""Find a picture by a part of it: queries against the regions of a library's pictures.

A picture scores the largest cosine of the query with its own descriptor and its nine regional ones,
in the space of regions.  What is a part of a picture is larger in a query than it was there, so a
query is looked at three times: at its own size, and smaller, as if it were a part of a picture.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from parecido.indexer.arithmetic import cosines
from parecido.indexer.arrays import Ids, Pixels, Vectors
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.encoders.pooling import pool_gem
from parecido.indexer.errors import InvalidRequest
from parecido.indexer.library.library import Library
from parecido.indexer.records.regions import Box
from parecido.indexer.regional.codes import box
from parecido.indexer.regional.source import STRIDE, row_ids
from parecido.indexer.vectors.gallery import Gallery
from parecido.search.ranking.open_index import OpenIndex

__all__ = ["SIZES", "Placed", "Within", "views"]


# The source of a crop of 15, 30 or 50 % of the area comes first among 1000 photographs: at its own
# size alone 0.762, 0.975, 0.993; with three quarters of it 0.772, 0.985, 0.993; with half 0.800,
# 0.983, 0.993; with both 0.807, 0.985, 0.993.  Around it lies grey, the mean of most networks'
# inputs: with mirrored or repeated edges the source came first in 0.42 to 0.80 of the crops of 30 %
# where it does in 0.95 with grey.
SIZES = (0.75, 0.5)
"""Of a query as if it were a part of a picture, beside its own."""
_GREY = 127

_SPARE = 8  # pictures beyond the wanted ones, for ties and for what is left out
_ROWS_A_PICTURE = 4  # of its ten that are expected among the best
# Up to so many pictures that pass a filter are compared one by one; each takes ten rows.
_FEW = 512
_PAGE = 256  # pictures that are compared together


class Placed(NamedTuple):
    """The nearest pictures, best first, equal scores by id, and where in them."""

    ids: Ids
    scores: Vectors
    """Exact cosines in the space of regions, float32."""
    boxes: tuple[Box | None, ...]
    """Where the query lies in each, as far as nine regions tell; None is the whole picture."""


class _Scored(NamedTuple):
    """Pictures ``(n,)``, best first, with their scores and the best of their ten descriptors."""

    ids: Ids
    scores: Vectors
    regions: Ids


def views(encoder: Encoder, *given: Pixels) -> Vectors:
    """Three descriptors of each query ``(height, width, 3)`` at the encoder's size, one by one.

    ``(3n, dimension)``.  The first is the picture's own; the others are pooled from where it lies,
    made smaller, in the middle of a grey picture.  All pass the network together.  Raises
    ``InvalidRequest`` where descriptors are not pooled from a feature map.
    """
    step = encoder.spec.size.step
    placed = [[_smaller(pixels, share, step) for share in SIZES] for pixels in given]
    seen = [[one, *(canvas for canvas, _ in two)] for one, two in zip(given, placed, strict=True)]
    found = iter(encoder.maps([picture for three in seen for picture in three]))
    rows = []
    for pixels, others in zip(given, placed, strict=True):
        rows.append(next(found).descriptor)
        for _, (top, left, bottom, right) in others:
            features = next(found).features
            down = _cells(top, bottom, pixels.shape[0], features.shape[0])
            across = _cells(left, right, pixels.shape[1], features.shape[1])
            rows.append(pool_gem(features[down, across]))
    return np.stack(rows)


def _smaller(pixels: Pixels, share: float, step: int) -> tuple[Pixels, tuple[int, int, int, int]]:
    """A grey picture of the same size with this one in it, and its top, left, bottom and right.

    Its sides and its place are whole steps, so that it fills whole cells of the feature map.
    """
    height, width = pixels.shape[:2]
    tall, wide = (max(min(step, n), round(n * share / step) * step) for n in (height, width))
    top, left = ((n - inner) // 2 // step * step for n, inner in ((height, tall), (width, wide)))
    canvas = np.full_like(pixels, _GREY)
    small = Image.fromarray(pixels).resize((wide, tall), Image.Resampling.BICUBIC)
    canvas[top : top + tall, left : left + wide] = np.asarray(small)
    return canvas, (top, left, top + tall, left + wide)


def _cells(start: int, end: int, pixels: int, cells: int) -> slice:
    """The cells along a side whose middles lie between two pixels; one at least."""
    first = min(cells - 1, max(0, round(start * cells / pixels)))
    return slice(first, max(first + 1, round(end * cells / pixels)))


class Within:
    """Finds the pictures of a library that have something in them.

    From its committed state at the time of a question.  Safe to use from several threads.
    """

    def __init__(self, library: Library) -> None:
        self._folder = library.folder
        self._catalogue = library.catalogue
        self._index = OpenIndex(
            library.regions, library.catalogue.settings.regional_space_fingerprint
        )
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of the index."""
        with self._lock:
            self._index.close()

    def check(self) -> None:
        """Raise :class:`~parecido.InvalidRequest` where the library keeps no regions."""
        if not self._catalogue.settings.keeps_regions():
            raise InvalidRequest(
                f"The library {self._folder} keeps no regional descriptors, so it cannot be "
                "searched for a part of a picture.",
                "Index its folders again with --within.",
            )

    def nearest(
        self,
        queries: Vectors,
        k: int,
        fingerprint: str,
        *,
        allowed: Ids | None = None,
        leave_out: int | None = None,
        exact: bool = False,
    ) -> Placed:
        """The ``k`` pictures with the largest cosine to any of some descriptors ``(v, dimension)``.

        These are one query's :func:`views`, or a descriptor alone.  Only pictures with ``allowed``
        ids, ascending, are looked at; ``exact`` looks at every descriptor.  ``fingerprint`` is the
        encoder's: a library that was emptied may have got another.  Raises ``InvalidRequest`` where
        the library keeps no regions.
        """
        self.check()
        wanted = k + (leave_out is not None)
        found = self._score(queries, wanted, fingerprint, allowed, exact)
        keep = np.flatnonzero(found.ids != leave_out)[:k] if leave_out is not None else slice(k)
        ids, scores, numbers = found.ids[keep], found.scores[keep], found.regions[keep]
        regional = self._catalogue.regional.of(ids.tolist())
        boxes: list[Box | None] = []
        for picture, number in zip(ids.tolist(), numbers.tolist(), strict=True):
            own = regional.get(picture)
            there = number > 0 and own is not None
            boxes.append(box(number - 1, own.rows, own.columns) if own and there else None)
        return Placed(ids, scores, tuple(boxes))

    # -- inside ----------------------------------------------------------------------------------

    def _score(
        self, queries: Vectors, wanted: int, fingerprint: str, allowed: Ids | None, exact: bool
    ) -> _Scored:
        """At least the ``wanted`` best, where there are so many."""
        rows = row_ids(allowed) if allowed is not None else None
        asked = _ROWS_A_PICTURE * (wanted + _SPARE)
        while True:
            with self._lock:
                index = self._index.refresh(fingerprint)
                gallery = index.gallery
                prepared = gallery.project(np.ascontiguousarray(queries, np.float32))
                few = allowed is not None and len(allowed) <= _FEW
                most = max(1, index.count if rows is None else min(index.count, len(rows)))
                ids, _, bound = index.search(prepared, min(asked, most), rows)
            if bound is None and (exact or few):
                break
            candidates = np.unique(ids[ids >= 0] // STRIDE)
            found = _scan(prepared, gallery, self._pages(candidates), wanted)
            if bound is not None:
                if asked >= most:
                    return found
                # no descriptor that was left out scores more than the bound
                if len(found.ids) >= wanted and found.scores[wanted - 1] > bound.max():
                    return found
            elif len(found.ids) >= wanted:
                return found
            elif asked >= most:
                break  # one that knows no bound looks near the query alone
            asked *= 4
        return _scan(prepared, gallery, self._pages(allowed), wanted)

    def _pages(self, allowed: Ids | None) -> Iterator[Ids]:
        ids = self._catalogue.descriptors.ids() if allowed is None else allowed
        for start in range(0, len(ids), _PAGE):
            yield ids[start : start + _PAGE]


def _rank(queries: Vectors, gallery: Gallery, pictures: Ids) -> _Scored:
    """Pictures ``(n,)`` by their exact scores; those that have just left are left out."""
    rows, vectors = gallery.of(row_ids(pictures).tolist())
    if not len(rows):
        return _Scored(rows, np.empty(0, np.float32), rows)
    scores = cosines(queries, vectors).max(axis=0)
    # the best of each picture first, of equal ones the first
    order = np.lexsort((rows, -scores))
    owners = rows[order] // STRIDE
    best = np.sort(np.unique(owners, return_index=True)[1])
    return _Scored(owners[best], scores[order][best], rows[order][best] % STRIDE)


def _scan(queries: Vectors, gallery: Gallery, pages: Iterator[Ids], wanted: int) -> _Scored:
    """The best of all pictures in some pages of ids."""
    nothing = np.empty(0, np.int64)
    best = _Scored(nothing, np.empty(0, np.float32), nothing)
    for page in pages:
        some = _rank(queries, gallery, page)
        ids = np.concatenate([best.ids, some.ids])
        scores = np.concatenate([best.scores, some.scores])
        regions = np.concatenate([best.regions, some.regions])
        order = np.lexsort((ids, -scores))[:wanted]
        best = _Scored(ids[order], scores[order], regions[order])
    return best
