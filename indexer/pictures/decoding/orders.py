"""What a process is told to do with one picture."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from parecido.indexer.pictures.limits import Limits
from parecido.indexer.pictures.wanted import Fitting, ForEncoder, Wanted
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.records.regions import Region

__all__ = ["Order"]


@dataclass(frozen=True)
class Order:
    """One picture, and what is wanted of it."""

    wanted: Wanted
    limits: Limits
    path: str | None = None
    """Of the picture's file; None where its bytes come along."""
    file_bytes: int = 0
    """Of that file, as it was when it was found."""
    inside: tuple[str, ...] = ()
    """Real paths of folders, where that file must lie in one of them."""

    def to_header(self) -> dict[str, Any]:
        """Plain data for JSON."""
        if isinstance(self.wanted, ForEncoder):
            region = self.wanted.region
            wanted = {
                "spec": self.wanted.spec.to_json(),
                "region": asdict(region) if region is not None else None,
            }
        else:
            wanted = asdict(self.wanted)
        return {
            "wanted": wanted,
            "limits": asdict(self.limits),
            "path": self.path,
            "file_bytes": self.file_bytes,
            "inside": self.inside,
        }

    @classmethod
    def from_header(cls, header: dict[str, Any]) -> Self:
        """From what :meth:`to_header` gave."""
        given = header["wanted"]
        wanted: Wanted
        if "spec" in given:
            region = Region(**given["region"]) if given["region"] is not None else None
            wanted = ForEncoder(EncoderSpec.from_json(given["spec"]), region)
        else:
            wanted = Fitting(**given)
        limits, inside = Limits(**header["limits"]), tuple(header["inside"])
        return cls(**{**header, "wanted": wanted, "limits": limits, "inside": inside})

    def __str__(self) -> str:
        return self.path if self.path is not None else "a picture in memory"
