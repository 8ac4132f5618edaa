"""Every error as one JSON shape: a code, a message, a remedy."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from parecido.indexer.errors import ParecidoError, PictureUnreadable

__all__ = [
    "Refused",
    "add_error_handlers",
    "error_dict",
    "error_response",
    "json_response",
    "no_picture",
    "report_change",
    "report_defect",
    "report_loss",
]

_log = logging.getLogger("parecido")

_TOO_LARGE = ("too-large", 413)


class Refused(ParecidoError):
    """A request that is refused for what it is or how it comes."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        remedy: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, remedy)
        self.status = status
        self.own_code = code
        self.headers = dict(headers or {})


def no_picture(picture_id: int) -> Refused:
    """For an id that the library has not."""
    return Refused(
        404,
        "picture_not_found",
        f"The library has no picture {picture_id}.",
        "It may have been removed.",
    )


def report_change() -> Refused:
    """For a file that is not the one that was indexed: nobody allowed that one to be shown."""
    return Refused(
        404, "picture_changed", "The file has changed since it was indexed.", "Index it again."
    )


def report_loss(error: Exception) -> Refused:
    """For an indexed picture whose file cannot be read now."""
    if isinstance(error, PictureUnreadable) and error.kind not in ("vanished", "unreadable"):
        return Refused(422, "picture_unreadable", f"The picture cannot be read: {error.reason}.")
    return Refused(
        404,
        "file_not_found",
        "The picture's file cannot be reached.",
        "It may lie on a disk that is not there now; its record stays.",
    )


def json_response(
    content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """JSON in ASCII, as the command line prints it, so that any path survives."""
    body = json.dumps(content, separators=(",", ":"))
    return Response(body, status, dict(headers or {}), "application/json")


def error_dict(error: ParecidoError) -> dict[str, str]:
    """An error as JSON shows it."""
    if isinstance(error, Refused):
        return {"code": error.own_code, "message": error.message, "remedy": error.remedy}
    if isinstance(error, PictureUnreadable):
        return {
            "code": error.code,
            "message": f"The picture cannot be read: {error.reason}.",
            "remedy": "Give a picture that opens, in a usual format.",
        }
    return {"code": error.code, "message": error.message, "remedy": error.remedy}


def error_response(error: ParecidoError) -> Response:
    """The answer to a request that failed."""
    headers = error.headers if isinstance(error, Refused) else {}
    return json_response({"error": error_dict(error)}, status_of(error), headers)


def report_defect(error: Exception, doing: str) -> Refused:
    """For what nobody thought of: the log tells of it, the answer does not."""
    _log.error("%s failed", doing, exc_info=error)
    message = "Something unexpected went wrong in the server."
    remedy = "This is a defect; the server's log tells more."
    return Refused(500, "internal", message, remedy)


def status_of(error: ParecidoError) -> int:
    """The HTTP status for an error."""
    if isinstance(error, Refused):
        return error.status
    if isinstance(error, PictureUnreadable) and error.kind == _TOO_LARGE[0]:
        return _TOO_LARGE[1]
    return error.http_status


_CODES = {
    400: ("invalid_request", "Look at /docs for what is expected."),
    404: ("not_found", "Look at /docs for what is there."),
    405: ("method_not_allowed", "Look at /docs for the methods of each address."),
    415: ("unsupported_media_type", "Send the picture itself, or a multipart form with it."),
}


def add_error_handlers(app: FastAPI) -> None:
    """Let an application answer with this shape what goes wrong in its routes."""

    @app.exception_handler(ParecidoError)
    async def answer_error(request: Request, error: ParecidoError) -> Response:
        return error_response(error)

    @app.exception_handler(HTTPException)
    async def from_framework(request: Request, error: HTTPException) -> Response:
        code, remedy = _CODES.get(error.status_code, ("refused", ""))
        refused = Refused(error.status_code, code, f"{error.detail}.", remedy, error.headers)
        return error_response(refused)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part not in ("query", "body"))
        message = f"{where or 'The body'}: {first['msg']}."
        return error_response(Refused(400, "invalid_request", message, _CODES[400][1]))
