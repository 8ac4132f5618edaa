"""Where in a library what lies, and where libraries lie."""

from __future__ import annotations

import os
from pathlib import Path

from parecido.indexer.errors import LibraryNotFound

__all__ = [
    "CATALOGUE",
    "NEIGHBOURS",
    "REGIONS",
    "SCRUB",
    "SESSIONS",
    "SIGNATURE",
    "THUMBNAILS",
    "UPLOADS",
    "VECTORS",
    "default_library",
    "library_path",
]

CATALOGUE = "catalogue.sqlite"
SIGNATURE = "writer.json"
"""Who holds the lock."""
VECTORS = "vectors"
NEIGHBOURS = "neighbours"
REGIONS = "regions"
SCRUB = "scrub.json"
"""Up to which picture the files of pictures were read and compared."""
SESSIONS = "sessions.json"
"""Which sessions of a server's were ended."""
THUMBNAILS = "thumbnails"
UPLOADS = "uploads"


def default_library() -> Path:
    """``$PARECIDO_LIBRARY``, or ``library`` in the user's data folder for parecido.

    Raises :class:`~parecido.LibraryNotFound` of a user without a home.
    """
    chosen = os.environ.get("PARECIDO_LIBRARY")
    if chosen:
        return Path(chosen)
    import platformdirs

    try:
        data = platformdirs.user_data_dir("parecido")
    except RuntimeError:
        data = ""
    if not os.path.isabs(data):
        raise LibraryNotFound(
            "This user has no home folder that a library of its own could lie in.",
            "Name one with --library, or set PARECIDO_LIBRARY.",
        )
    return Path(data) / "library"


def library_path(folder: str | os.PathLike[str] | None) -> Path:
    """The absolute path of a library's folder; None is the user's own."""
    return Path(os.path.abspath(os.path.expanduser(folder or default_library())))
