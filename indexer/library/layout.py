"""Where in a library what lies, and where libraries lie."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = [
    "CATALOGUE",
    "NEIGHBOURS",
    "REGIONS",
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
THUMBNAILS = "thumbnails"
UPLOADS = "uploads"


def default_library() -> Path:
    """``$PARECIDO_LIBRARY``, or ``library`` in the user's data folder for parecido."""
    chosen = os.environ.get("PARECIDO_LIBRARY")
    if chosen:
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_data_dir("parecido")) / "library"


def library_path(folder: str | os.PathLike[str] | None) -> Path:
    """The absolute path of a library's folder; None is the user's own."""
    return Path(os.path.abspath(Path(folder or default_library()).expanduser()))
