"""What a network must tell to become an encoder.

A network is a name, a few numbers, a place where its weights lie and a way to build it in Keras.
Everything else (input, preprocessing, pooling, normalisation, head, runtimes, sizes) is added
around it by :mod:`parecido.indexer.encoders.building.assemble` and
:mod:`parecido.indexer.encoders.encoder`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parecido.indexer.errors import InvalidRequest
from parecido.indexer.records.choices import MAP_POOLINGS
from parecido.indexer.records.encoder import SizePolicy

__all__ = ["Network", "Parts"]


@dataclass(frozen=True)
class Parts:
    """A network taken apart, as Keras callables on symbolic tensors.

    ``preprocess`` takes float32 RGB in 0..255; ``body`` gives a feature map ``(n, h, w, c)`` or a
    vector ``(n, c)``; ``head``, where there is one, takes that vector (the average-pooled feature
    map) to class probabilities ``(n, 1000)``.
    """

    preprocess: Callable[[Any], Any]
    body: Callable[[Any], Any]
    head: Callable[[Any], Any] | None


class Network(ABC):
    """One network: a row of a family's table."""

    name: str
    dimension: int
    """Channels of the last feature map."""
    size: SizePolicy
    preprocessing: str
    pooling: str = "avg"
    """The pooling that suits it best, as far as is known."""

    @property
    def poolings(self) -> tuple[str, ...]:
        """The poolings that this network offers."""
        return MAP_POOLINGS

    def check_pooling(self, pooling: str) -> str:
        """That pooling.  Raises :class:`~parecido.InvalidRequest` where it is not offered."""
        if pooling not in self.poolings:
            raise InvalidRequest(
                f"Expected a pooling of {self.name} ({', '.join(self.poolings)}), got {pooling!r}.",
                "fc1 and fc2 are VGG's fully connected layers.",
            )
        return pooling

    def dimension_of(self, pooling: str) -> int:
        """Length of a descriptor with that pooling."""
        return self.dimension

    def size_of(self, pooling: str) -> SizePolicy:
        """The size policy with that pooling."""
        return self.size

    @abstractmethod
    def find_weights(self, pooling: str) -> Path | None:
        """The weights file if it is on this machine; imports no Keras, asks no network."""

    @abstractmethod
    def fetch_weights(self, pooling: str) -> Path:
        """The weights file, checked, and downloaded if it is missing or damaged.

        Raises :class:`~parecido.WeightsUnavailable` with the missing file, where it would be
        looked for and what works without it.
        """

    @abstractmethod
    def build(self, weights: Path, pooling: str) -> Parts:
        """The network in Keras with those weights.

        Raises :class:`~parecido.WeightsInvalid` where the file does not fit.
        """
