"""What somebody should know of answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parecido.indexer.records.filters import Filter

if TYPE_CHECKING:
    from parecido.indexer.library.library import Library

__all__ = ["note_path"]


def note_path(library: Library, wanted: Filter, count: int) -> str:
    """Why there are no answers, where no picture has the wanted path; empty for any other reason.

    ``count`` is how many answers there are.
    """
    if count or wanted.path is None:
        return ""
    if library.catalogue.list_pictures(Filter(path=wanted.path), "path", 1):
        return ""
    return f"No picture has a path like {wanted.path}."
