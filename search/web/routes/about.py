"""The library, the encoder, the server's own state, and the page."""

from __future__ import annotations

import importlib.resources
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import FileResponse, Response

from parecido.indexer.encoders.imagenet.classes import class_names
from parecido.indexer.errors import ParecidoError
from parecido.indexer.library.summary import summarise
from parecido.search.web.errors import Refused, json_response
from parecido.search.web.guard import COOKIE, Callers, read_session
from parecido.search.web.routes.json_bodies import document_body, json_body
from parecido.search.web.routes.shared import errors, service_of
from parecido.search.web.schemas.requests import EncoderOut, InfoOut, SessionIn
from parecido.search.web.service import Service

__all__ = ["router"]

router = APIRouter()
Reached = Annotated[Service, Depends(service_of)]

_PAGE = Path(__file__).parent.parent / "page"
_SWAGGER = ("swagger-ui-bundle.js", "swagger-ui.css")
_MOST_HITS = 1000


@router.get(
    "/v1/info", response_model=InfoOut, responses=errors(), tags=["library"], summary="The library"
)
async def info(request: Request, service: Reached) -> Response:
    """What the library holds, as `parecido info --json` tells it, and what the server allows."""
    facts = await service.threads.ask(_facts, service)
    callers: Callers = request.app.state.callers
    return json_response({**facts, "session": callers.has_session(request.headers)})


@router.get(
    "/v1/encoder",
    response_model=EncoderOut,
    responses=errors(404),
    tags=["library"],
    summary="The encoder",
)
async def encoder(service: Reached) -> Response:
    """The library's encoder, and the names of the classes that it knows."""
    spec = service.engine.spec
    known = service.engine.has_labels
    return json_response(
        {
            "title": spec.title,
            "model": spec.model,
            "dimension": spec.dimension,
            "pooling": spec.pooling,
            "fingerprint": spec.fingerprint,
            "labels": list(class_names()) if known else [],
        }
    )


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", tags=["server"], summary="Whether the server lives", responses=errors())
async def healthz() -> dict[str, str]:
    """Answers as long as the process does."""
    return {"status": "alive"}


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", tags=["server"], summary="Whether it can answer", responses=errors())
async def readyz(service: Reached) -> dict[str, str]:
    """Answers 200 when the encoder and the index are open, and 503 until then."""
    try:
        service.check_ready()
    except Refused:
        raise
    except ParecidoError as error:
        raise Refused(503, error.code, error.message, error.remedy) from error
    return {"status": "ready"}


@router.get(
    "/metrics",
    tags=["server"],
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **errors()},
)
async def metrics(service: Reached) -> Response:
    """Queries, latencies by stage, batch sizes, the library's size."""
    service.metrics.pictures.set(await service.threads.ask(service.engine.count))
    return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})


@router.post(
    "/session",
    status_code=204,
    response_class=Response,
    responses=errors(400, 408, 413, 415),
    openapi_extra=document_body(SessionIn),
    tags=["server"],
    summary="Let a browser in",
)
async def begin_session(
    body: Annotated[SessionIn, Depends(json_body(SessionIn))], request: Request, service: Reached
) -> Response:
    """Exchange the token for a cookie that no script can read."""
    callers: Callers = request.app.state.callers
    token = service.settings.token
    if token is not None and not await callers.is_right(body.token, token, request.scope):
        raise Refused(401, "token_wrong", "This is not the server's token.", "Ask its operator.")
    response = Response(status_code=204)
    if callers.sessions is not None:
        response.set_cookie(
            COOKIE,
            callers.sessions.begin(),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
            path=request.scope.get("root_path") or "/",
        )
    return response


@router.delete(
    "/session",
    status_code=204,
    response_class=Response,
    responses=errors(400, 507),
    tags=["server"],
    summary="Let it out again",
)
async def end_session(request: Request, service: Reached, everywhere: bool = False) -> Response:
    """End the session of the cookie, so that it opens nothing any more, wherever it is kept.

    With `everywhere` all sessions of the server end, which needs a session or the token.
    """
    callers: Callers = request.app.state.callers
    sessions, session = callers.sessions, read_session(request.headers)
    if sessions is not None:
        if everywhere:
            await callers.check(request.scope, service.settings.token or "")
            await service.threads.write(sessions.end_all)
        elif session is not None:
            await service.threads.write(sessions.end, session)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path=request.scope.get("root_path") or "/")
    return response


@router.head("/", include_in_schema=False)
@router.get("/", include_in_schema=False)
async def page() -> Response:
    """The page for people."""
    return FileResponse(_PAGE / "index.html", headers={"Cache-Control": "no-cache"})


@router.head("/static/{name}", include_in_schema=False)
@router.get("/static/{name}", include_in_schema=False)
async def static(name: str) -> Response:
    """The page's files, and those of the OpenAPI page; nothing else lies behind these names."""
    if name in _SWAGGER:
        file = Path(str(importlib.resources.files("fastapi_swagger") / "resources" / name))
    elif name in _page_files():
        file = _PAGE / name
    else:
        raise Refused(404, "not_found", "There is no such file.", "Start at the page.")
    return FileResponse(file, headers={"Cache-Control": "no-cache"})


@router.get("/favicon.ico", include_in_schema=False)
async def icon() -> Response:
    """Asked for by browsers that show a picture by itself."""
    return FileResponse(_PAGE / "favicon.svg", headers={"Cache-Control": "max-age=86400"})


@router.get("/docs", include_in_schema=False)
async def docs() -> Response:
    """The API's documentation, from this server alone."""
    return FileResponse(_PAGE / "docs.html", headers={"Cache-Control": "no-cache"})


def _page_files() -> frozenset[str]:
    return frozenset(path.name for path in _PAGE.iterdir() if path.is_file())


def _facts(service: Service) -> dict[str, Any]:
    settings = service.settings
    facts = summarise(service.library)
    facts.pop("rules", None)  # what somebody excluded is not everybody's business
    return {
        **facts,
        "version": version("parecido"),
        "read_only": settings.read_only,
        "uploads": not settings.read_only,
        "index_roots": [] if settings.read_only else [str(p) for p in settings.index_roots],
        "limits": {
            "upload_bytes": settings.upload_bytes,
            "pixels": settings.pixels,
            "pictures_per_request": settings.pictures_per_request,
            "hits": _MOST_HITS,
        },
    }
