"""What the routes share: the service behind the application, pictures by id, documented errors."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import Path, Request

from parecido.indexer.records.pictures import Picture
from parecido.search.asking.notes import note_path
from parecido.search.asking.terms import Terms
from parecido.search.asking.words import require_labels
from parecido.search.results import Hit, Results
from parecido.search.web.errors import Refused, no_picture
from parecido.search.web.schemas.json import page_dict
from parecido.search.web.schemas.requests import ErrorOut, SearchTerms
from parecido.search.web.service import Service

__all__ = [
    "PICTURE_ID",
    "errors",
    "location_header",
    "make_page",
    "picture_of",
    "service_of",
    "terms_of",
    "writable",
]

PICTURE_ID = Annotated[int, Path(ge=1, le=2**63 - 1, description="Of a picture of the library.")]

_REASONS = {
    400: "Something in the request is not as expected.",
    401: "The token is missing or wrong.",
    403: "The server does not allow it.",
    404: "There is no such thing, or the library holds nothing yet.",
    408: "The body came too slowly.",
    409: "The state of the library does not allow it now.",
    413: "The body, a list in it, or the picture is too large.",
    415: "The body is of a type that is not read.",
    416: "The file is shorter than the range.",
    421: "The server does not go by that name.",
    422: "The picture cannot be read.",
    429: "Too many wrong tokens came from this address.",
    431: "The request's head is too long.",
    503: "Busy, starting, stopping, out of time, or without an encoder: try again.",
    507: "The disk is full, or uploads take all that they may.",
}
_EVERYWHERE = (401, 403, 421, 429, 431, 503)


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For the OpenAPI document: the errors of a route, and those of every route."""
    return {
        status: {"model": ErrorOut, "description": _REASONS[status]}
        for status in sorted({*statuses, *_EVERYWHERE})
    }


async def service_of(request: Request) -> Service:
    """The service behind the application.

    A coroutine, as the framework would call a function on a thread: 0.5 ms a request.
    """
    service: Service = request.app.state.service
    return service


def location_header(request: Request, path: str) -> dict[str, str]:
    """The header that tells where a new thing is, below where the application is mounted."""
    return {"Location": request.scope.get("root_path", "") + path}


def picture_of(service: Service, picture_id: int) -> Picture:
    """The picture with that id.  Raises :class:`~parecido.search.web.errors.Refused`."""
    found = service.library.catalogue.pictures([picture_id])
    if not found:
        raise no_picture(picture_id)
    return found[0]


def terms_of(service: Service, given: SearchTerms) -> Terms:
    """The terms of a search.  Raises ``InvalidRequest`` for labels where pictures have none."""
    if given.label is not None:
        require_labels(service.library)
    return given.terms()


def make_page(
    service: Service, name: str, hits: tuple[Hit, ...], terms: Terms, started: float
) -> dict[str, Any]:
    """The answer to a query; ``started`` as ``time.perf_counter`` gave it."""
    note = note_path(service.library, terms.wanted, len(hits))
    took = (time.perf_counter() - started) * 1000
    return page_dict(Results(name, service.engine.spec.title, took, hits, note), terms)


async def writable(request: Request) -> Service:
    """The service, where it may be changed."""
    service = await service_of(request)
    if service.settings.read_only:
        raise Refused(403, "read_only", "This server only answers.", "Ask its operator.")
    return service
