"""What an operator decides about a server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from parecido.indexer.pictures.limits import Limits

__all__ = ["LOOPBACK", "Settings"]

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Settings:
    """How a server behaves.  The defaults suit one person on their own machine."""

    token: str | None = None
    """What clients must present; None lets everybody in."""
    read_only: bool = False
    """Nothing can be added, replaced, deleted or indexed."""
    uploads: Path | None = None
    """The server's own folder for uploaded pictures; by default ``uploads`` in the library's."""
    index_roots: tuple[Path, ...] = ()
    """Folders below which clients may have pictures indexed."""
    hosts: tuple[str, ...] = LOOPBACK
    """Names by which clients may call the server, without ports; ``*`` for any.

    A page of another site whose name suddenly leads to this machine is told apart by it.
    """
    origins: tuple[str, ...] = ()
    """Other sites whose pages may use the API, as ``https://photos.example``."""
    upload_bytes: int = 32_000_000
    """Largest body of a request."""
    uploads_bytes: int = 10_000_000_000
    """Most that uploaded pictures may take; 0 for any."""
    pixels: int = 100_000_000
    """Largest picture that is decoded."""
    pictures_per_request: int = 16
    concurrent: int = 64
    """Requests at once; more are asked to try again."""
    seconds: float = 30.0
    """Longest time for a request."""
    thumbnail_bytes: int = 256 << 20
    """Most that is kept of thumbnails."""
    device: str = "cpu"
    """Where the encoder runs: ``cpu``, ``gpu`` or ``auto``."""

    @property
    def limits(self) -> Limits:
        """What uploaded pictures must keep to."""
        return Limits(pixels=self.pixels, bytes=self.upload_bytes)
