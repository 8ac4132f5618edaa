"""Words for ImageNet's classes: their names, synonyms and broader words, without a download.

``words.tsv`` is made by ``data/make_words.py`` from WordNet 3.0, whose rules it tells; it
is read when the first word is asked for.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from parecido.indexer.errors import InvalidRequest

__all__ = ["classes_of", "key", "known_words"]

# how a plural ends, and what stands there instead in the singular; irregular ones are in the table
_PLURALS = (("s", ""), ("es", ""), ("ies", "y"), ("ves", "f"), ("ves", "fe"), ("men", "man"))
_NAMED = 4  # words that an error names
_LONGEST = 60  # letters; no word of the table has half as many, and what is nearest takes its time


class _Entry(NamedTuple):
    """A word of the table."""

    word: str
    classes: str
    """Indices, as in the file: ``281-285,287``."""


def key(word: str) -> str:
    """A word by its letters and digits alone: ``Hot-Dog``, ``hot_dog`` and ``hotdog`` are one.

    Accents are left out too.
    """
    return "".join(c for c in unicodedata.normalize("NFKD", word.casefold()) if c.isalnum())


@cache
def _entries() -> dict[str, _Entry]:
    """The whole table by :func:`key`: 10 ms, once."""
    text = files("parecido.indexer.encoders.imagenet").joinpath("words.tsv").read_text("utf-8")
    rows = (line.split("\t") for line in text.splitlines())
    return {
        key(word): _Entry(word, classes) for classes, words in rows for word in words.split(", ")
    }


def known_words() -> tuple[str, ...]:
    """Every word that some class has, in alphabetical order."""
    return tuple(sorted((entry.word for entry in _entries().values()), key=str.casefold))


def classes_of(word: str) -> frozenset[int]:
    """Indices of the classes that a word stands for: dog for all 118 breeds and kinds of dogs.

    Capitals, spaces, hyphens, underscores and accents do not matter; a plural stands for its
    singular and the reverse (WordNet has cows, but no cow) where it is no word of its own.

    Raises :class:`~parecido.InvalidRequest` for a word that no class has, which names the
    nearest that some have.
    """
    entries = _entries()
    given = key(word)
    for form in (given, *_singulars(given), f"{given}s"):
        if form in entries:
            return frozenset(_indices(entries[form].classes))
    near = _nearest(given)
    shown = word if len(word) <= _LONGEST else f"{word[:_LONGEST]}…"
    raise InvalidRequest(
        f"No class of ImageNet goes by the word {shown!r}.",
        f"Near it are: {', '.join(near)}." if near else "Try a broader word: dog, vehicle, fruit.",
    )


def _singulars(given: str) -> Iterator[str]:
    """What a word could be the plural of."""
    if given.endswith("ss"):
        return
    for plural, singular in _PLURALS:
        if given.endswith(plural) and len(given) > len(plural):
            yield given.removesuffix(plural) + singular


def _indices(classes: str) -> Iterator[int]:
    for part in classes.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _nearest(given: str) -> list[str]:
    """Words spelled like this one, the nearest first, and one for each set of classes."""
    from difflib import get_close_matches

    if not given or len(given) > _LONGEST:
        return []
    entries = _entries()
    found: dict[str, str] = {}
    for near in get_close_matches(given, entries, n=3 * _NAMED):
        found.setdefault(entries[near].classes, entries[near].word)
    return list(found.values())[:_NAMED]
