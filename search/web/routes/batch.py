"""Several queries in one request."""

from __future__ import annotations

import asyncio
import binascii
import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Request
from fastapi import Query as Parameters
from starlette.responses import Response

from parecido.indexer.errors import InvalidRequest, ParecidoError
from parecido.search.asking.request import Request as Asked
from parecido.search.asking.terms import Terms
from parecido.search.results import Hit
from parecido.search.web.errors import Refused, error_dict, json_response
from parecido.search.web.routes.bodies import is_form, several_pictures
from parecido.search.web.routes.json_bodies import Query, read_batch
from parecido.search.web.routes.shared import errors, make_page, service_of, terms_of
from parecido.search.web.schemas.requests import BatchIn, BatchOut, SearchTerms
from parecido.search.web.service import Service

__all__ = ["router"]

_HITS = 20_000  # of all queries of a request
# Of them, so that other requests have their turns: what they share with these is the interpreter.
_AT_ONCE = 16
_PIECE = 4 << 18  # bytes of Base64, a multiple of four

router = APIRouter(prefix="/v1", tags=["search"])
Reached = Annotated[Service, Depends(service_of)]


@router.post(
    "/search/batch",
    response_model=BatchOut,
    responses=errors(400, 404, 408, 413, 415),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": BatchIn.document()},
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["image"],
                        "properties": {
                            "image": {
                                "type": "array",
                                "minItems": 1,
                                "items": {"type": "string", "format": "binary"},
                            }
                        },
                    }
                },
            },
        }
    },
    summary="Several queries at once",
)
async def search_batch(
    request: Request, service: Reached, given: Annotated[SearchTerms, Parameters()]
) -> Response:
    """An answer for each query in order: hits, or what is wrong with that query."""
    terms = terms_of(service, given)
    most = service.settings.pictures_per_request
    service.engine.spec  # noqa: B018  # told for all of them where the library holds nothing
    if is_form(request):
        uploads = await several_pictures(request, most)
        ones = [Query(upload.name, upload.data) for upload in uploads]
    else:
        ones = await read_batch(request, most)
    if len(ones) * terms.count > _HITS:
        raise Refused(
            400,
            "too_many",
            f"Expected at most {_HITS:,} hits of all queries at once.",
            "Send several requests, or ask for fewer hits.",
        )
    results = await _Batch(service, terms).answer(ones)
    body = b"".join([b'{"results":[', b",".join(results), b"]}"])
    return Response(body, media_type="application/json")


class _Batch:
    """The queries of one request.

    What is no picture is answered on a thread for such, a few at a time: neither the event loop nor
    the searches of others wait for a thousand vectors.
    """

    def __init__(self, service: Service, terms: Terms) -> None:
        self._service = service
        self._terms = terms

    async def answer(self, ones: Sequence[Query]) -> list[bytes]:
        """An answer in JSON for each query, in order."""
        pictures = [at for at, one in enumerate(ones) if isinstance(one.what, (bytes, str))]
        others = [at for at, one in enumerate(ones) if not isinstance(one.what, (bytes, str))]
        answers = [b""] * len(ones)
        at_once = asyncio.Semaphore(_AT_ONCE)

        async def answer_picture(at: int) -> None:
            async with at_once:
                answers[at] = await self._answer_picture(ones[at])

        async def answer_others() -> None:
            for begin in range(0, len(others), _AT_ONCE):
                group = others[begin : begin + _AT_ONCE]
                found = self._service.threads.ask_several(
                    self._answer_group, [ones[at] for at in group]
                )
                for at, one in zip(group, await found, strict=True):
                    answers[at] = one

        await asyncio.gather(answer_others(), *map(answer_picture, pictures))
        return answers

    async def _answer_picture(self, one: Query) -> bytes:
        started = time.perf_counter()
        try:
            data = one.what
            if isinstance(data, str):
                data = await self._service.threads.call(_decode_base64, data)
            assert isinstance(data, bytes)
            seen = await self._service.describe(data)
            asked = Asked((seen.descriptor[None],), self._terms, shown=(seen.shown,))
            hits = await self._service.hits(asked, "picture")
        except ParecidoError as error:
            return _refusal(one.name, error)
        return await self._service.threads.ask(self._page, one.name, hits, started)

    def _answer_group(self, ones: Sequence[Query]) -> list[bytes]:
        """The answers to ids and vectors; in the place of one's, what is wrong with it."""
        started = time.perf_counter()
        try:
            sought = list(self._seek(ones))
            asked = [one for _, one in sought if isinstance(one, Asked)]
            kinds = ["id" if one.leave_out else "vector" for one in asked]
            hits = iter(self._service.answer(asked, kinds) if asked else ())
        except ParecidoError as error:  # nothing of one query
            return [_refusal(one.name, error) for one in ones]
        return [
            self._page(name, next(hits), started) if isinstance(one, Asked) else _refusal(name, one)
            for name, one in sought
        ]

    def _seek(self, ones: Sequence[Query]) -> Iterator[tuple[str, Asked | ParecidoError]]:
        """What each query is called, an id by its path, and what it asks, or why it cannot."""
        ids = [one.what for one in ones if isinstance(one.what, int)]
        found = dict(zip(ids, self._service.find_all(ids), strict=True)) if ids else {}
        for one in ones:
            if isinstance(one.what, int):
                stored = found[one.what]
                if isinstance(stored, ParecidoError):
                    yield one.name, stored
                else:
                    sought, out = (stored.descriptor[None],), frozenset([one.what])
                    yield stored.path, Asked(sought, self._terms, out, shown=(stored.shown,))
                continue
            assert isinstance(one.what, np.ndarray)
            try:
                asked = Asked((self._service.engine.unit(one.what)[None],), self._terms)
                asked.check()
            except InvalidRequest as error:
                yield one.name, error
            else:
                yield one.name, asked

    def _page(self, name: str, hits: tuple[Hit, ...], started: float) -> bytes:
        return _json(make_page(self._service, name, hits, self._terms, started))


def _refusal(name: str, error: ParecidoError) -> bytes:
    return _json({"query": name, "error": error_dict(error)})


def _json(content: dict[str, Any]) -> bytes:
    return bytes(json_response(content).body)


def _decode_base64(text: str) -> bytes:
    """In pieces, so that other threads get a turn."""
    given = text.encode("ascii", "replace")
    last = max(0, len(given) - 4)
    if b"=" in given[:last]:  # between two pieces it would pass
        raise _no_base64()
    try:
        pieces = (given[at : at + _PIECE] for at in range(0, len(given), _PIECE))
        return b"".join([binascii.a2b_base64(piece, strict_mode=True) for piece in pieces])
    except ValueError:
        raise _no_base64() from None


def _no_base64() -> InvalidRequest:
    return InvalidRequest("The image is not Base64.", "Encode the file's bytes.")
