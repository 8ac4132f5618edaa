"""parecido finds the pictures that look like a given one.

>>> from parecido import Engine, Library, index
>>> with Library.create("my-library") as library:
...     report = index(library, ["pictures"])
...     with Engine(library) as engine:
...         best = engine.search("photo.jpg", k=5).hits[0]

Every public name is here, and those of a server are in :mod:`parecido.web`.  What lies below
``parecido.indexer`` (the write side) and ``parecido.search`` (the read side) may move.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parecido.indexer.checkup.pictures import verify_pictures
    from parecido.indexer.checkup.repair import repair
    from parecido.indexer.checkup.verify import verify
    from parecido.indexer.encoders.encoder import Encoder
    from parecido.indexer.encoders.imagenet.words import known_words
    from parecido.indexer.encoders.opening import load_encoder
    from parecido.indexer.errors import (
        EncoderMismatch,
        EncoderUnavailable,
        InvalidRequest,
        LibraryBusy,
        LibraryDamaged,
        LibraryNotFound,
        LibraryReadOnly,
        LibraryTooNew,
        NoSpace,
        ParecidoError,
        PathNotFound,
        PictureUnreadable,
        UnknownEncoder,
        WeightsInvalid,
        WeightsUnavailable,
    )
    from parecido.indexer.indexing.options import IndexOptions
    from parecido.indexer.indexing.pipeline import index, remove
    from parecido.indexer.indexing.places.relocation import relocate
    from parecido.indexer.library.backup.backup import backup
    from parecido.indexer.library.backup.restore import restore
    from parecido.indexer.library.library import Library
    from parecido.indexer.pictures.limits import Limits
    from parecido.indexer.records.backups import Backup
    from parecido.indexer.records.filters import Filter
    from parecido.indexer.records.left_out import LeftOut
    from parecido.indexer.records.pictures import Encoding, Label, Picture, Skip
    from parecido.indexer.records.regions import Region
    from parecido.indexer.records.runs import IndexReport, PictureCheck, Problem
    from parecido.search.asking.ask import Ask
    from parecido.search.asking.words import label_filter, search_labels
    from parecido.search.engine import Engine
    from parecido.search.evaluating.evaluation import Evaluation, evaluate
    from parecido.search.evaluating.labelled_pictures import Collection, load_collection
    from parecido.search.evaluating.recipe import Recipe, parse_recipe
    from parecido.search.evaluating.setup import EvaluationSetup, EvaluationWatch
    from parecido.search.explaining.explanation import Explanation, GivenPicture, explain
    from parecido.search.results import Hit, Results

# resolved on first use: importing the package costs nothing
_HOMES = {
    name: f"parecido.{home}"
    for home, names in {
        "indexer.encoders.encoder": "Encoder",
        "indexer.encoders.imagenet.words": "known_words",
        "indexer.encoders.opening": "load_encoder",
        "indexer.errors": "EncoderMismatch EncoderUnavailable InvalidRequest LibraryBusy"
        " LibraryDamaged LibraryNotFound LibraryReadOnly LibraryTooNew NoSpace ParecidoError"
        " PathNotFound PictureUnreadable UnknownEncoder WeightsInvalid WeightsUnavailable",
        "indexer.indexing.options": "IndexOptions",
        "indexer.indexing.pipeline": "index remove",
        "indexer.indexing.places.relocation": "relocate",
        "indexer.library.backup.backup": "backup",
        "indexer.library.backup.restore": "restore",
        "indexer.library.library": "Library",
        "indexer.checkup.pictures": "verify_pictures",
        "indexer.checkup.repair": "repair",
        "indexer.checkup.verify": "verify",
        "indexer.pictures.limits": "Limits",
        "indexer.records.backups": "Backup",
        "indexer.records.filters": "Filter",
        "indexer.records.left_out": "LeftOut",
        "indexer.records.pictures": "Encoding Label Picture Skip",
        "indexer.records.regions": "Region",
        "indexer.records.runs": "IndexReport PictureCheck Problem",
        "search.asking.ask": "Ask",
        "search.asking.words": "label_filter search_labels",
        "search.engine": "Engine",
        "search.evaluating.evaluation": "Evaluation evaluate",
        "search.evaluating.labelled_pictures": "Collection load_collection",
        "search.evaluating.recipe": "Recipe parse_recipe",
        "search.evaluating.setup": "EvaluationSetup EvaluationWatch",
        "search.explaining.explanation": "Explanation GivenPicture explain",
        "search.results": "Hit Results",
    }.items()
    for name in names.split()
}

__all__ = [
    "Ask",
    "Backup",
    "Collection",
    "Encoder",
    "EncoderMismatch",
    "EncoderUnavailable",
    "Encoding",
    "Engine",
    "Evaluation",
    "EvaluationSetup",
    "EvaluationWatch",
    "Explanation",
    "Filter",
    "GivenPicture",
    "Hit",
    "IndexOptions",
    "IndexReport",
    "InvalidRequest",
    "Label",
    "LeftOut",
    "Library",
    "LibraryBusy",
    "LibraryDamaged",
    "LibraryNotFound",
    "LibraryReadOnly",
    "LibraryTooNew",
    "Limits",
    "NoSpace",
    "ParecidoError",
    "PathNotFound",
    "Picture",
    "PictureCheck",
    "PictureUnreadable",
    "Problem",
    "Recipe",
    "Region",
    "Results",
    "Skip",
    "UnknownEncoder",
    "WeightsInvalid",
    "WeightsUnavailable",
    "backup",
    "evaluate",
    "explain",
    "index",
    "known_words",
    "label_filter",
    "load_collection",
    "load_encoder",
    "parse_recipe",
    "relocate",
    "remove",
    "repair",
    "restore",
    "search_labels",
    "verify",
    "verify_pictures",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'parecido' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value  # the next use finds it without this function
    return value


def __dir__() -> list[str]:
    return list(__all__)
