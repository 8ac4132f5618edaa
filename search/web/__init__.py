"""The HTTP side of parecido: an ASGI application that answers queries, and a page for people.

>>> from search.web import Settings, create_app
>>> app = create_app("my-library", Settings(read_only=True))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.web.app import create_app as create_app
    from search.web.app import running as running
    from search.web.settings import Settings as Settings

# resolved on first use: importing the package costs nothing
_HOMES = {
    "Settings": "search.web.settings",
    "create_app": "search.web.app",
    "running": "search.web.app",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'search.web' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
