"""Which patterns roots keep, and what somebody may not name because a rule leaves it out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from parecido.indexer.catalogue.sqlite.reading.catalogue import Catalogue
from parecido.indexer.errors import LibraryDamaged
from parecido.indexer.indexing.options import IndexOptions
from parecido.indexer.pictures.walking.rules import Rules
from parecido.indexer.records.rules import RootRules

__all__ = ["find_forbidden", "read_rules"]


def read_rules(catalogue: Catalogue) -> dict[bytes, RootRules]:
    """The known roots, with the patterns that each keeps.

    Raises :class:`~parecido.LibraryDamaged` for what are no such patterns.
    """
    try:
        return {root.path: RootRules.from_json(root.rules) for root in catalogue.roots()}
    except (ValueError, TypeError) as error:
        raise LibraryDamaged(
            "What a root of the library excludes cannot be read.", "Try parecido verify --repair."
        ) from error


def find_forbidden(
    given: Sequence[str], kept: Mapping[bytes, RootRules], options: IndexOptions
) -> list[bytes]:
    """What rules leave out of what was given by somebody who has to stay inside some folders.

    Whoever named these folders is the owner, and no other name takes anything in; but hidden
    folders may be named.
    """
    if not options.inside:
        return []
    inside = [os.fsencode(os.path.realpath(os.fspath(folder))) for folder in options.inside]
    rules = Rules(kept, True, lambda _: None, inside)
    found = []
    for path in dict.fromkeys(given):
        raw = os.fsencode(path)
        try:
            is_left_out = any(rules.find_above(one)[1] for one in {raw, os.path.realpath(raw)})
        except FileNotFoundError:
            continue  # which is told elsewhere
        except OSError:
            is_left_out = True  # a rule that cannot be read may say so
        if is_left_out:
            found.append(raw)
    return found
