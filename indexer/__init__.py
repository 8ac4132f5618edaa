"""parecido's write side: encoders, libraries, indexing.

>>> from indexer import Library, index
>>> library = Library.create("my-library")
>>> report = index(library, ["pictures"])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from indexer.checkup import verify as verify
    from indexer.decode import Limits as Limits
    from indexer.encoders import Encoder as Encoder
    from indexer.encoders import load_encoder as load_encoder
    from indexer.errors import ParecidoError as ParecidoError
    from indexer.filters import Filter as Filter
    from indexer.library import Library as Library
    from indexer.options import IndexOptions as IndexOptions
    from indexer.pipeline import index as index
    from indexer.pipeline import remove as remove
    from indexer.records import Encoding as Encoding
    from indexer.records import IndexReport as IndexReport
    from indexer.records import Label as Label
    from indexer.records import Picture as Picture
    from indexer.records import Skip as Skip
    from indexer.region import Region as Region

# resolved on first use: importing the package costs nothing
_HOMES = {
    "Encoder": "indexer.encoders",
    "Encoding": "indexer.records",
    "Filter": "indexer.filters",
    "IndexOptions": "indexer.options",
    "IndexReport": "indexer.records",
    "Label": "indexer.records",
    "Library": "indexer.library",
    "Limits": "indexer.decode",
    "ParecidoError": "indexer.errors",
    "Picture": "indexer.records",
    "Region": "indexer.region",
    "Skip": "indexer.records",
    "index": "indexer.pipeline",
    "load_encoder": "indexer.encoders",
    "remove": "indexer.pipeline",
    "verify": "indexer.checkup",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'indexer' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
