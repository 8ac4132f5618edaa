"""Pictures by what they show: words for ImageNet's classes, as a filter or as the question."""

from __future__ import annotations

from dataclasses import replace

from parecido.indexer.errors import InvalidRequest
from parecido.indexer.library.library import Library
from parecido.indexer.records.filters import Filter
from parecido.search.asking.terms import ALL, Terms
from parecido.search.results import Hit

__all__ = ["label_filter", "require_labels", "search_labels"]


def label_filter(wanted: Filter, word: str) -> Filter:
    """A filter that also lets through only what shows the thing that a word stands for.

    Synonyms and broader words count: see
    :func:`parecido.indexer.encoders.imagenet.words.classes_of`, which raises
    :class:`~parecido.InvalidRequest` for a word that no class has.
    """
    from parecido.indexer.encoders.imagenet.words import classes_of

    return replace(wanted, classes=tuple(classes_of(word)))


def require_labels(library: Library) -> None:
    """Raise :class:`~parecido.InvalidRequest` where the library's pictures have no labels.

    All have some or none has, since one encoder gave them.  An empty library is let through.
    """
    catalogue = library.catalogue
    for picture in catalogue.pictures([catalogue.largest_id()]):
        if not picture.labels:
            spec = library.encoder
            raise InvalidRequest(
                f"The pictures of {library.folder} have no labels: its encoder"
                f"{f', {spec.title},' if spec else ''} has no ImageNet classifier.",
                "Leave out the label, or index into another library with an encoder that has one: "
                "--model efficientnet-lite0.",
            )


def search_labels(
    library: Library, wanted: Filter = ALL, *, k: int | None = None, offset: int = 0
) -> tuple[Hit, ...]:
    """The pictures that show the ``classes`` of a filter, the likeliest first, equal ones by id.

    A hit's score is the probability of these classes together, 0.05 to 1, as far as they are among
    the picture's five likeliest.  ``k`` is 10 by default, ``offset`` leaves out so many of the
    best; there are fewer hits than ``k`` only where fewer pictures pass.

    Raises :class:`~parecido.InvalidRequest` where the filter has no classes, the library's
    pictures have no labels, or ``k`` or ``offset`` is outside its range.
    """
    terms = Terms(k, offset, wanted=wanted)
    terms.check()
    if wanted.classes is None:
        raise InvalidRequest("There is nothing to rank by.", "Give a label: label_filter().")
    require_labels(library)
    found = library.catalogue.by_label(wanted, terms.count, offset)
    return tuple(Hit.of(n, score, picture) for n, (picture, score) in enumerate(found, offset + 1))
