"""The project's errors: one tree; a class has an exit code, an HTTP status and a code for programs.

Library code raises these and nothing else on purpose; foreign errors are mapped where they enter
and chained.  ``message`` says what was expected and what came; ``remedy`` says what to do next.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "EncoderMismatch",
    "EncoderUnavailable",
    "InvalidRequest",
    "LibraryBusy",
    "LibraryDamaged",
    "LibraryNotFound",
    "LibraryReadOnly",
    "LibraryTooNew",
    "NoSpace",
    "ParecidoError",
    "PathNotFound",
    "PictureUnreadable",
    "UnknownEncoder",
    "WeightsInvalid",
    "WeightsUnavailable",
]


class ParecidoError(Exception):
    """Base of every error that this project raises on purpose."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class InvalidRequest(ParecidoError):
    """An argument is outside its range (k of 0, an unknown option value)."""

    code = "invalid_request"
    http_status = 400


class PathNotFound(ParecidoError):
    """A path that the caller named does not exist."""

    code = "path_not_found"
    http_status = 404


class PictureUnreadable(ParecidoError):
    """One picture cannot be decoded.

    ``kind`` groups reasons for summaries: ``not-a-picture``, ``damaged``, ``too-large``, ``empty``,
    ``vanished``, ``unreadable``, ``unsupported``.
    """

    code = "picture_unreadable"
    http_status = 422

    def __init__(self, reason: str, kind: str = "damaged") -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind = kind


class LibraryNotFound(ParecidoError):
    """There is no library at the path."""

    code = "library_not_found"
    http_status = 404


class LibraryBusy(ParecidoError):
    """Another process holds the writer lock, or keeps the catalogue locked."""

    code = "library_busy"
    http_status = 409


class LibraryReadOnly(ParecidoError):
    """The library's folder or files cannot be written."""

    code = "library_read_only"
    http_status = 403


class LibraryDamaged(ParecidoError):
    """The catalogue is not a readable parecido catalogue."""

    code = "library_damaged"


class LibraryTooNew(ParecidoError):
    """The library was written by a newer version of the program."""

    code = "library_too_new"


class NoSpace(ParecidoError):
    """The disk that holds the library is full."""

    code = "no_space"
    http_status = 507


class EncoderMismatch(ParecidoError):
    """The library was built with another encoder than the one asked for."""

    code = "encoder_mismatch"
    http_status = 409


class UnknownEncoder(ParecidoError):
    """No encoder has this name."""

    code = "unknown_encoder"
    http_status = 400


class EncoderUnavailable(ParecidoError):
    """The encoder is known but cannot run here (a missing package, a failed build)."""

    code = "encoder_unavailable"
    http_status = 503


class WeightsUnavailable(EncoderUnavailable):
    """A weights file is not on this machine and could not be downloaded."""

    code = "weights_unavailable"


class WeightsInvalid(ParecidoError):
    """A weights file is there but is not what it should be (digest, shapes, contents)."""

    code = "weights_invalid"
    http_status = 422
