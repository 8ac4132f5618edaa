"""parecido's read side: ask a library what looks like a picture.

>>> from indexer import Library
>>> from search import Engine
>>> with Library.open("my-library") as library, Engine(library) as engine:
...     best = engine.search("photo.jpg", k=5).hits[0]
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.engine import Engine as Engine
    from search.results import Hit as Hit
    from search.results import Results as Results

# resolved on first use: importing the package costs nothing
_HOMES = {"Engine": "search.engine", "Hit": "search.results", "Results": "search.results"}

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'search' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
