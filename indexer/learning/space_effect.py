"""What a space with few dimensions loses or gains, told by the library's own pictures."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np

from parecido.indexer.arrays import Ids, Vectors
from parecido.indexer.learning.space import Space

__all__ = ["QUERIES", "SAMPLE", "Judgement", "judge"]


SAMPLE = 8192
"""Pictures among which neighbours are looked for."""
QUERIES = 1024
"""Pictures whose neighbours are looked for."""
_NEAREST = 10


@dataclass(frozen=True)
class Judgement:
    """The ten nearest of a sample of pictures, in a space and in others."""

    space: str
    """The fingerprint of the space that was judged."""
    kept: float
    """Share of the ten nearest with all of the space's dimensions that are among the ten nearest
    with those that were kept."""
    same_class: float | None
    """Share of the ten nearest whose likeliest ImageNet class is the query's; None without."""
    same_class_before: float | None
    """The same for descriptors as the encoder gives them."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Judgement:
        """What :meth:`to_json` wrote.  Raises ``ValueError`` or ``TypeError`` for other things."""
        found = cls(**json.loads(text))
        shares = (found.kept, found.same_class, found.same_class_before)
        if type(found.space) is not str or not all(_is_share(one) for one in shares):
            raise ValueError(f"Expected what a space was found to lose, got {text[:80]!r}.")
        return found


def _is_share(value: object) -> bool:
    return value is None or (type(value) in (int, float) and 0 <= value <= 1)  # type: ignore[operator]


def judge(whole: Space, space: Space, vectors: Vectors, classes: Ids) -> Judgement:
    """A space that keeps the first dimensions of a ``whole`` one.

    ``vectors`` ``(n, d)`` are descriptors of the encoder, ``classes`` ``(n,)`` their likeliest
    classes, -1 where there are none.
    """
    ours = _nearest(space.apply(vectors))
    theirs = _nearest(whole.apply(vectors)) if whole.dimension > space.dimension else ours
    both = [len(np.intersect1d(a, b)) for a, b in zip(ours, theirs, strict=True)]
    has_classes = bool((classes >= 0).all()) and len(classes) > 1
    return Judgement(
        space.fingerprint,
        round(float(np.sum(both) / max(ours.size, 1)), 4),
        _same(ours, classes) if has_classes else None,
        _same(_nearest(vectors), classes) if has_classes else None,
    )


def _nearest(vectors: Vectors) -> Ids:
    """For each of the first pictures the ten nearest others ``(q, 10)``, in no order."""
    queries = min(len(vectors), QUERIES)
    k = min(_NEAREST, len(vectors) - 1)
    scores = vectors[:queries] @ vectors.T
    scores[np.arange(queries), np.arange(queries)] = -np.inf
    # of 1,024 among 2,560 pictures sorting takes 118 ms, this 22
    best: Ids = np.argpartition(scores, len(vectors) - k - 1, axis=1)[:, -k:]
    return best


def _same(nearest: Ids, classes: Ids) -> float:
    return round(float((classes[nearest] == classes[: len(nearest), None]).mean()), 4)
