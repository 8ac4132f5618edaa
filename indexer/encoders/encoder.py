"""The encoder: pictures in, descriptors and labels out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np

from parecido.indexer.arrays import Pixels, Vectors
from parecido.indexer.encoders.imagenet.classes import IMAGENET_CLASSES, top_labels
from parecido.indexer.encoders.pooling import window_side
from parecido.indexer.encoders.runtimes.base import MapRuntime, Runtime
from parecido.indexer.errors import InvalidRequest, PictureUnreadable, WeightsInvalid
from parecido.indexer.pictures.decode import decode
from parecido.indexer.pictures.in_memory import Source, list_sources, to_content
from parecido.indexer.pictures.limits import Limits, pillow_limit
from parecido.indexer.pictures.read import decode_file
from parecido.indexer.records.choices import MAP_POOLINGS
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.records.pictures import Encoding, Label

__all__ = ["Encoder", "FeatureMaps"]

_FILES_AT_ONCE = 64  # decoded before they are encoded: 10 MB at 224 × 224


@dataclass(frozen=True, eq=False)
class FeatureMaps:
    """What the network sees of one picture before pooling, and what pooling makes of it."""

    descriptor: Vectors
    """``(dimension,)``, of unit length: what :meth:`Encoder.encode` gives."""
    features: Vectors
    """``(rows, columns, dimension)``, channels last; its cells divide the picture evenly."""
    labels: tuple[Label, ...] = ()
    """Its likeliest classes, best first, as many as were asked for."""


class Encoder:
    """A headless network with its preprocessing and pooling, ready to run.

    A stateless function of its pictures: the same picture gives the same descriptor alone or in
    any batch (to a cosine of 0.9999).  Safe to use from several threads.
    """

    def __init__(self, spec: EncoderSpec, runtime: Runtime) -> None:
        self.spec = spec
        self._runtime = runtime

    def __repr__(self) -> str:
        return f"<Encoder {self.spec.title} on {self._runtime.name}>"

    @property
    def dimension(self) -> int:
        """Length of a descriptor."""
        return self.spec.dimension

    @property
    def batch_size(self) -> int:
        """Pictures of one shape that run together."""
        return self._runtime.batch_size

    @property
    def bucket_size(self) -> int:
        """Pictures of one shape that an indexing run collects before it runs them."""
        return self._runtime.bucket_size

    def encode(self, pictures: Sequence[Pixels] | Pixels, labels: int = 5) -> Encoding:
        """Describe pictures given as arrays.

        Each is upright RGB, uint8, ``(height, width, 3)``; shapes may differ.  They enter the
        network at the size they have: :meth:`encode_files` brings files to the right one.
        ``labels`` is how many classes to give for each.  Returns descriptors ``(n, dimension)``
        float32 of unit length, in the order of the pictures.  Raises ``InvalidRequest`` for an
        array of another shape or type.
        """
        arrays = [self._check_array(np.asarray(picture)) for picture in pictures]
        descriptors = np.empty((len(arrays), self.dimension), np.float32)
        found: list[tuple[Label, ...]] = [()] * len(arrays)
        for rows, batch in _by_shape(arrays):
            vectors, probabilities = self._runtime.run(batch)
            descriptors[rows] = vectors
            for i, best in zip(rows, _classes(probabilities, labels, len(rows)), strict=True):
                found[i] = best
        return Encoding(_unit(descriptors, self.spec), found)

    def maps(self, pictures: Sequence[Pixels] | Pixels, labels: int = 0) -> list[FeatureMaps]:
        """Descriptors, feature maps and classes of pictures given as arrays, in their order.

        They are as :meth:`encode` takes them, pass the network once, in batches, and get the same
        descriptors (to a cosine of 0.9999).  A map of 7 × 7 cells of 1280 channels takes 250 kB.
        Raises ``InvalidRequest`` where descriptors are not pooled from a map.
        """
        if self.spec.pooling not in MAP_POOLINGS or not isinstance(self._runtime, MapRuntime):
            raise InvalidRequest(
                f"{self.spec.title} does not pool its descriptors from a feature map, so no place "
                "of a picture can be told apart in them.",
                f"Index into a new library with --pooling {', '.join(MAP_POOLINGS)}.",
            )
        arrays = [self._check_array(np.asarray(picture)) for picture in pictures]
        found: list[FeatureMaps | None] = [None] * len(arrays)
        for rows, batch in _by_shape(arrays):
            vectors, probabilities, features = self._runtime.run_with_maps(batch)
            classes = _classes(probabilities, labels, len(rows))
            parts = zip(rows, _unit(vectors, self.spec), features, classes, strict=True)
            for i, vector, own, best in parts:
                found[i] = FeatureMaps(vector, own, best)
        return [maps for maps in found if maps is not None]

    @cached_property
    def window(self) -> int:
        """Side in cells of the windows of regional pooling; 0 where there is none."""
        if self.spec.pooling != "rgem":
            return 0
        size = self.spec.size
        blank = np.zeros((size.height, size.width, 3), np.uint8)
        rows, columns, _ = self.maps([blank])[0].features.shape
        return window_side(rows, columns)

    def encode_files(
        self,
        files: Iterable[Source] | Source,
        labels: int = 5,
        limits: Limits | None = None,
    ) -> Encoding:
        """Describe pictures: files by their paths, and what lies in memory.

        In memory a picture is the bytes of a file, a binary file that is open, a picture of PIL's
        (its EXIF orientation is applied), or an array: ``uint8``, or floating point from 0 to 1;
        grey, RGB or RGBA, channels last.  Each is brought to the size at which it enters the
        network.  Raises :class:`~parecido.PictureUnreadable` for the first that is no picture.
        """
        limits = limits or Limits()
        remaining = iter(list_sources(files))
        pieces = []
        while chunk := list(islice(remaining, _FILES_AT_ONCE)):
            pixels = [_pixels(file, self.spec, limits) for file in chunk]
            pieces.append(self.encode(pixels, labels))
        if not pieces:
            return self.encode([], labels)
        return Encoding(
            np.concatenate([piece.descriptors for piece in pieces]),
            [found for piece in pieces for found in piece.labels],
        )

    def _check_array(self, array: Pixels) -> Pixels:
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
            raise InvalidRequest(
                f"Expected a picture as uint8 (height, width, 3), got {array.dtype} {array.shape}.",
                "Convert it to RGB with values in 0..255.",
            )
        size = self.spec.size
        if not size.keep_aspect and array.shape[:2] != (size.height, size.width):
            raise InvalidRequest(
                f"{self.spec.model} with {self.spec.pooling} takes pictures of {size.height} × "
                f"{size.width} only, got {array.shape[0]} × {array.shape[1]}.",
                "Resize it, or give the file to encode_files.",
            )
        return array


def _by_shape(
    arrays: Sequence[Pixels],
) -> Iterator[tuple[list[int], Pixels]]:
    """The numbers of the pictures of each shape, and these as ``(n, height, width, 3)``."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for i, array in enumerate(arrays):
        by_shape.setdefault(array.shape, []).append(i)
    for rows in by_shape.values():
        yield rows, np.stack([arrays[i] for i in rows])


def _classes(probabilities: Vectors | None, labels: int, count: int) -> list[tuple[Label, ...]]:
    """The likeliest ImageNet classes of each picture; none where the head has other classes."""
    if not labels or probabilities is None or probabilities.shape[1] != IMAGENET_CLASSES:
        return [()] * count
    return list(top_labels(probabilities, labels))


def _pixels(source: Source, spec: EncoderSpec, limits: Limits) -> Pixels:
    content = to_content(source)
    if content is not None:
        with pillow_limit(limits):
            return decode(content, spec, limits).pixels
    if not isinstance(source, (str, os.PathLike)):
        raise InvalidRequest(f"Expected a picture, got {type(source).__name__}.", "Give a path.")
    try:
        return decode_file(Path(source), spec, limits).pixels
    except PictureUnreadable as error:
        raise PictureUnreadable(f"{source}: {error.reason}", error.kind) from error


def _unit(rows: Vectors, spec: EncoderSpec) -> Vectors:
    """Rows of exactly unit length.

    A picture in which the network sees nothing at all (every feature zero) gets the one direction
    that prefers no feature, so that it has a descriptor, near to others like it.
    """
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(lengths).all():
        raise WeightsInvalid(
            f"{spec.title} gives numbers that are not finite.",
            "Check its weights; networks in half precision overflow.",
        )
    blank = np.full_like(rows, 1 / np.sqrt(spec.dimension))
    unit: Vectors = np.where(lengths > 1e-12, rows / np.maximum(lengths, np.float32(1e-12)), blank)
    return unit
