"""What a process is told to do with one picture."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Self

from parecido.indexer.pictures.limits import Limits
from parecido.indexer.pictures.wanted import Fitting, ForEncoder, Wanted
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.records.regions import Region

__all__ = ["Order"]


@dataclass(frozen=True)
class Order:
    """One picture, and what is wanted of it."""

    wanted: Wanted | None
    """None where only what the file tells beside its pixels is asked for."""
    limits: Limits
    path: str | None = None
    """Of the picture's file; None where its bytes come along."""
    file_bytes: int = 0
    """Of that file, as it was when it was found."""
    inside: tuple[str, ...] = ()
    """Real paths of folders, where that file must lie in one of them."""

    def to_header(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "wanted": _tell(self.wanted, self.limits),
            "path": self.path,
            "file_bytes": self.file_bytes,
            "inside": self.inside,
        }

    @classmethod
    def from_header(cls, header: dict[str, Any]) -> Self:
        """From what :meth:`to_header` gave."""
        wanted, limits = _read(header["wanted"])
        return cls(wanted, limits, header["path"], header["file_bytes"], tuple(header["inside"]))

    def __str__(self) -> str:
        return self.path if self.path is not None else "a picture in memory"


# A run wants the same of all its pictures, and what is kept saves a tenth of what an order costs.


@lru_cache(maxsize=16)
def _tell(wanted: Wanted | None, limits: Limits) -> str:
    told: dict[str, Any] = {"limits": asdict(limits)}
    if isinstance(wanted, ForEncoder):
        told["spec"] = wanted.spec.to_json()
        told["region"] = asdict(wanted.region) if wanted.region is not None else None
    elif wanted is not None:
        told["fitting"] = asdict(wanted)
    return json.dumps(told)


@lru_cache(maxsize=16)
def _read(told: str) -> tuple[Wanted | None, Limits]:
    given = json.loads(told)
    limits = Limits(**given["limits"])
    if "fitting" in given:
        return Fitting(**given["fitting"]), limits
    if "spec" not in given:
        return None, limits
    region = Region(**given["region"]) if given["region"] is not None else None
    return ForEncoder(EncoderSpec.from_json(given["spec"]), region), limits
