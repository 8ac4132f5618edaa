"""What an encoder is, as plain data: enough to recognise it, refuse another and build it again.

And what people choose of it, which is less: the rest depends on the machine.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, fields
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import Any

from parecido.indexer.records.choices import FILTERS, POOLINGS, PRECISIONS

__all__ = ["CACHE_FOLDER", "QUANTISED_FOLDER", "EncoderChoice", "EncoderSpec", "SizePolicy"]

QUANTISED_FOLDER = "encoder"
"""Where in a library its quantised model lies."""
CACHE_FOLDER = "cache"
"""Where in a library built encoders lie when the user's own cache cannot be written."""

# A picture more elongated than this is squeezed to it.  It bounds the number of shapes (17 for a
# 224-pixel network), each of which costs a compilation, and keeps both sides well above the
# network's stride.
MAX_ASPECT = 3.0


@dataclass(frozen=True)
class SizePolicy:
    """The size at which a picture enters the network.

    ``height`` and ``width`` are the native size in pixels.  With ``keep_aspect`` the picture keeps
    its shape on about the native area, both sides a whole number of ``step`` pixels away from the
    native side, so that a square picture gets exactly the native size.
    """

    height: int
    width: int
    step: int = 32
    keep_aspect: bool = True

    def target(self, width: int, height: int) -> tuple[int, int]:
        """The ``(width, height)`` for an upright picture of that width and height in pixels."""
        if not self.keep_aspect:
            return self.width, self.height
        elongation = min(max(width, height) / min(width, height), MAX_ASPECT)
        area = self.width * self.height
        # computed once and then laid along the picture, so that a turned picture gets the turned
        # size also where rounding is a matter of the last bit
        longer, shorter = math.sqrt(area * elongation), math.sqrt(area / elongation)
        across, down = (longer, shorter) if width >= height else (shorter, longer)
        return self._snap(across, self.width), self._snap(down, self.height)

    def _snap(self, side: float, native: int) -> int:
        smallest = native - (native - self.step) // self.step * self.step
        return max(smallest, native + self.step * round((side - native) / self.step))


@dataclass(frozen=True)
class EncoderChoice:
    """Which encoder somebody wants; what is left open, a machine and a quality decide.

    :func:`parecido.indexer.encoders.resolve.resolve` makes a spec of it.
    """

    model: str = "auto"
    """``auto``, a name that ``parecido models`` lists, or the path of a network saved by Keras."""
    pooling: str | None = None
    """By default the network's own."""
    weights: str | os.PathLike[str] | None = None
    """A file with other weights for a named network."""
    preprocessing: str | None = None
    """Of a network file; ``none`` by default."""
    precision: str = "auto"
    """``float32``, ``half``, or ``auto``: half where a GPU is visible."""
    size: str | None = None
    """``256`` or ``224x224``, see :func:`parecido.indexer.encoders.presets.with_size`; by default
    as measured for the network, or its own."""
    resample: str | None = None
    """Filter with which pictures are brought to size; bicubic by default."""
    quality: str | None = None
    """``fast``, ``balanced`` or ``best``, which decides what is left open."""


@dataclass(frozen=True)
class EncoderSpec:
    """Architecture, weights, preprocessing, size policy and pooling of one encoder.

    Two encoders with equal :attr:`fingerprint` give the same descriptors; with different ones their
    descriptors must never be compared.
    """

    model: str
    """Registry name, or ``file`` for a user's own network."""
    pooling: str
    """``avg``, ``max``, ``gem``, ``fc1``, ``fc2``, or ``none`` where the network gives a vector."""
    dimension: int
    """Length of a descriptor."""
    weights_sha256: str
    """Digest of the weights file."""
    preprocessing: str
    """How pixels in 0..255 become the network's input."""
    size: SizePolicy
    resample: str = "bicubic"
    """Filter with which a picture is brought to size."""
    weights_file: str = ""
    """Where a user's own file lay; a hint for building again, no part of the fingerprint."""
    precision: str = "float32"
    """``float32``; ``half``: 16 bits inside the network where the device is faster so, with
    descriptors that agree with float32's to a cosine of about 0.999; or ``int8``, quantised for one
    library by its own pictures."""
    calibration: str = ""
    """Digest of the quantised model, which cannot be made again; empty for other precisions."""
    recipe: int = 1
    """Raised when a change of this program's own code changes descriptors."""

    @cached_property
    def fingerprint(self) -> str:
        """32 hexadecimal digits over everything that decides a descriptor."""
        parts = asdict(self)
        del parts["weights_file"]
        if not self.calibration:
            del parts["calibration"]  # so that the other precisions' are as before it came
        return blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()

    @property
    def title(self) -> str:
        """One line for people: ``resnet50 · avg · 2048-d · 1b2c3d4e``."""
        precision = "" if self.precision == "float32" else f" · {self.precision}"
        return (
            f"{self.model} · {self.pooling} · {self.dimension}-d{precision} · "
            f"{self.fingerprint[:8]}"
        )

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    @lru_cache(maxsize=8)  # it is asked for with every search
    def from_json(cls, text: str) -> EncoderSpec:
        """The spec written by :meth:`to_json`.  Raises ``ValueError`` for anything else."""
        data: dict[str, Any] = json.loads(text)
        known = {field.name for field in fields(cls)}
        if not isinstance(data, dict) or not {"model", "size"} <= set(data) <= known:
            raise ValueError(f"Expected the fields of an encoder, got {text[:80]!r}.")
        data["size"] = SizePolicy(**data["size"])
        spec = cls(**data)
        _check(spec)
        return spec


# what is asked of a spec that was written down, by whomever; no network comes near these
_MOST_NUMBERS = 1 << 16
_MOST_PIXELS = 4096  # on a side: activations of such a picture take 2 GB
_MOST_LETTERS = 4096


def _check(spec: EncoderSpec) -> None:
    """Raise ``ValueError`` where a value is of another type or size than an encoder has."""
    size = spec.size
    sides: list[tuple[str, Any]] = [(n, getattr(size, n)) for n in ("height", "width", "step")]
    bounds: list[tuple[str, Any, int, int]] = [
        ("dimension", spec.dimension, 1, _MOST_NUMBERS),
        ("recipe", spec.recipe, 0, 99),
        *((name, value, 1, _MOST_PIXELS) for name, value in sides),
    ]
    if type(size.keep_aspect) is not bool:
        raise ValueError(f"Expected true or false for keep_aspect, got {size.keep_aspect!r:.80}.")
    for name, value, least, most in bounds:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"Expected {name} from {least} to {most}, got {value!r:.80}.")
    for field in fields(spec):
        text = getattr(spec, field.name)
        if field.type != "str":
            continue
        if type(text) is not str or len(text) > _MOST_LETTERS or "\0" in text:
            raise ValueError(f"Expected a short text for {field.name}, got {text!r:.80}.")
    for name, word, words in (
        *(("pooling", spec.pooling, POOLINGS), ("resample", spec.resample, FILTERS)),
        ("precision", spec.precision, PRECISIONS),
    ):
        if word not in words:
            raise ValueError(f"Expected {name} of {', '.join(words)}, got {word!r:.80}.")
