"""The ASGI application: for ``parecido serve``, and for mounting in another program."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from parecido.indexer.library.layout import SESSIONS
from parecido.indexer.library.library import Library
from parecido.search.web.callers.sessions import Sessions
from parecido.search.web.errors import add_error_handlers
from parecido.search.web.guard import Callers, Guard
from parecido.search.web.routes import about as routes_about
from parecido.search.web.routes import batch as routes_batch
from parecido.search.web.routes import jobs as routes_jobs
from parecido.search.web.routes import pictures as routes_pictures
from parecido.search.web.routes import search as routes_search
from parecido.search.web.routes import why as routes_why
from parecido.search.web.service import Service
from parecido.search.web.settings import Settings
from parecido.search.web.telemetry import AccessLog, Metrics

__all__ = ["create_app", "running"]

_DESCRIPTION = """
Finds the pictures of a library that look like a given one.

Shapes and names are those of the command line's JSON. Every error has a `code` for programs, a
`message` and a `remedy` for people.

```
curl -F image=@photo.jpg 'http://127.0.0.1:8000/v1/search?k=5'
```
"""


_ROUTES = (
    *(routes_search, routes_batch, routes_why),
    *(routes_pictures, routes_jobs, routes_about),
)


class _Application(FastAPI):
    """As FastAPI, whose document promises a shape for invalid requests that is not ours."""

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        for path in document["paths"].values():
            for operation in path.values():
                if "HTTPValidationError" in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]
        for name in ("HTTPValidationError", "ValidationError"):
            document["components"]["schemas"].pop(name, None)
        return document


def create_app(
    library: str | os.PathLike[str] | None = None, settings: Settings | None = None
) -> FastAPI:
    """An application that answers from the library in that folder; by default the user's own.

    It opens the library when it starts and lets go of it when it stops.  Mounted in another
    application, whose ``lifespan`` does not reach it, enter :func:`running` there.
    """
    settings = settings or Settings()
    metrics, callers = Metrics(), Callers(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running(app):
            yield

    middleware = [
        Middleware(AccessLog, metrics=metrics),
        Middleware(Guard, settings=settings, callers=callers),
    ]
    if settings.origins:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.origins,
                allow_methods=["*"],
                allow_headers=["*"],
            )
        )
    app = _Application(
        title="parecido",
        summary="Image similarity search.",
        description=_DESCRIPTION,
        version=version("parecido"),
        lifespan=lifespan,
        middleware=middleware,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    app.state.library, app.state.settings = library, settings
    app.state.metrics, app.state.callers = metrics, callers
    for routes in _ROUTES:
        app.include_router(routes.router)
    add_error_handlers(app)
    return app


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[None]:
    """Open an application's library for as long as the block lasts.

    >>> @asynccontextmanager
    ... async def lifespan(outer):
    ...     async with running(gallery):
    ...         yield
    >>> outer = FastAPI(lifespan=lifespan)
    >>> outer.mount("/gallery", gallery)
    """
    state = app.state
    with Library.open(state.library) as library:
        service = Service(library, state.settings, state.metrics)
        state.service = service
        if state.settings.token is not None:
            state.callers.sessions = Sessions(state.settings.token, library.folder / SESSIONS)
        try:
            yield
        finally:
            service.close()
