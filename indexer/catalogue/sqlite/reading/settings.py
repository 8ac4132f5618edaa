"""The single values that a catalogue keeps: what the library was told, and what it learned."""

from __future__ import annotations

import json
import re

import numpy as np

from parecido.indexer.catalogue.sqlite.connections import Connections
from parecido.indexer.errors import LibraryDamaged
from parecido.indexer.learning.chance import Chance
from parecido.indexer.learning.space import Space
from parecido.indexer.learning.space_effect import Judgement
from parecido.indexer.records.choices import DIMENSIONS
from parecido.indexer.records.encoder import EncoderSpec

__all__ = ["Settings"]


class Settings:
    """What a library was told, and what it learned: the table ``facts`` and its spaces.

    The keys are told in :mod:`parecido.indexer.catalogue.sqlite.schema`.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def encoder(self) -> EncoderSpec | None:
        """The encoder that the library was built with; None before the first picture."""
        value = self._value("encoder")
        try:
            return EncoderSpec.from_json(value) if value else None
        except (ValueError, TypeError, RecursionError) as error:
            raise LibraryDamaged(
                f"{self._connections.path} does not record its encoder ({error}).",
                "It may come from a newer version: pip install --upgrade parecido.",
            ) from error

    def keeps_exact_index(self) -> bool:
        """Whether the library's index was asked to be exhaustive at any size."""
        return self._value("index") == "exact"

    def dimension(self) -> str:
        """Of the space, as it was asked for: ``auto``, ``full`` (the encoder's own) or a number."""
        asked = self._value("dimension") or "auto"
        if asked not in DIMENSIONS and not re.fullmatch(r"\d{1,6}", asked):
            raise LibraryDamaged(
                f"{self._connections.path} does not record how many numbers it compares: expected "
                f"one, {' or '.join(DIMENSIONS)}, got {asked[:80]!r}.",
                "Say it again: parecido index --dimension auto.",
            )
        return asked

    def reranks_by_default(self) -> bool:
        """Whether searches expand and re-rank unless told otherwise."""
        return self._value("think_twice") == "on"

    def chance(self) -> Chance | None:
        """What is known of chance in the space in use; None where nothing is."""
        text = self._value("chance")
        try:
            found = Chance.from_json(text) if text else None
        except (ValueError, TypeError, RecursionError):
            return None  # learned again with the next run
        return found if found and found.space == self.space_fingerprint() else None

    def judgement(self) -> Judgement | None:
        """What the space in use was found to lose or gain; None where there is none."""
        text = self._value("judgement")
        try:
            found = Judgement.from_json(text) if text else None
        except (ValueError, TypeError, RecursionError):
            return None
        return found if found and found.space == self.space_fingerprint() else None

    def uploads_taken_over(self) -> list[str] | None:
        """Folders whose uploads of before they had rows got some; None in a newer library."""
        text = self._value("uploads")
        try:
            found = json.loads(text) if text else None
        except (ValueError, RecursionError):
            found = []
        return found if found is None or isinstance(found, list) else []

    def keeps_regions(self) -> bool:
        """Whether the library keeps regional descriptors beside the global ones."""
        return self._value("within") == "on"

    def regional_space_fingerprint(self) -> str:
        """Of the space in which they are compared; empty where it is the encoder's own."""
        return self._value("regional_space") or ""

    def space_fingerprint(self) -> str:
        """Of the library's own space; empty where it has none."""
        return self._value("space") or ""

    def space(self, key: str = "space") -> Space | None:
        """The library's own space, or its ``regional_space``; None where it has none.

        Raises :class:`~parecido.LibraryDamaged` where it is not what was written.
        """
        query = (
            "SELECT mean, matrix, fingerprint, pictures FROM spaces JOIN facts ON key = ?"
            " AND value = fingerprint"
        )
        rows = self._connections.rows(query, (key,))
        if not rows:
            return None
        fingerprint, pictures = rows[0][2:]
        try:
            mean, matrix = (np.frombuffer(blob, "<f4").astype(np.float32) for blob in rows[0][:2])
            space = Space(mean, matrix.reshape(-1, len(mean)), int(pictures))
            is_sound = space.fingerprint == fingerprint and self._fits(space)
        except (ValueError, TypeError):
            is_sound = False
        if not is_sound:
            raise LibraryDamaged(
                f"The space that {self._connections.path} has learned is damaged.",
                "Learn it again: parecido verify --repair.",
            )
        return space

    def _fits(self, space: Space) -> bool:
        """Whether the encoder's descriptors can be compared in a space."""
        spec = self.encoder()
        is_finite = bool(np.isfinite(space.mean).all() and np.isfinite(space.matrix).all())
        return (
            is_finite and len(space.matrix) > 0 and (not spec or len(space.mean) == spec.dimension)
        )

    def _value(self, key: str) -> str | None:
        rows = self._connections.rows("SELECT value FROM facts WHERE key = ?", (key,), (str,))
        return rows[0][0] if rows else None
