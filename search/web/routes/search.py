"""Search: by an uploaded picture, by a picture of the library, by a vector, several at once."""

from __future__ import annotations

import asyncio
import binascii
import time
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Request
from fastapi import Query as Parameters
from starlette.responses import Response

from parecido.indexer.errors import InvalidRequest, ParecidoError
from parecido.indexer.records.regions import Region
from parecido.search.asking.request import Request as Asked
from parecido.search.asking.terms import Terms
from parecido.search.asking.words import require_labels
from parecido.search.results import Hit, Results
from parecido.search.web.errors import Refused, error_dict, json_response
from parecido.search.web.routes.bodies import (
    PICTURE_BODY,
    is_form,
    one_picture,
    several_pictures,
)
from parecido.search.web.routes.json_bodies import Query, document_body, json_body, read_batch
from parecido.search.web.routes.shared import PICTURE_ID, errors, picture_of, service_of
from parecido.search.web.schemas.json import page_dict
from parecido.search.web.schemas.requests import (
    BatchIn,
    BatchOut,
    LabelsOut,
    RegionTerms,
    ResultsOut,
    SearchTerms,
    SimilarTerms,
    VectorIn,
)
from parecido.search.web.service import Service

__all__ = ["router"]

_VECTOR_BYTES = 2 << 20
_HITS = 20_000  # of all queries of a request
_AT_ONCE = 16  # of them, so that other requests have their turns
_LONG = 100  # hits whose JSON takes a millisecond
_PIECE = 4 << 18  # bytes of Base64, a multiple of four

router = APIRouter(prefix="/v1", tags=["search"])
Reached = Annotated[Service, Depends(service_of)]


@router.post(
    "/search",
    response_model=ResultsOut,
    responses=errors(400, 404, 408, 413, 415, 422),
    openapi_extra=PICTURE_BODY,
    summary="Search by an uploaded picture",
)
async def search(
    request: Request, service: Reached, given: Annotated[RegionTerms, Parameters()]
) -> Response:
    """The pictures most like the one in the body, or like a region of it."""
    started = time.perf_counter()
    terms, region = _terms(service, given), _region(given)
    upload = await one_picture(request)
    if given.within:
        hits = await service.hits_within(upload.data, region, given.any_orientation, terms)
        return await _show(service, hits, terms, started, upload.name)
    if given.any_orientation:
        sought = await service.describe_orientations(upload.data, region)
    else:
        sought = ((await service.describe(upload.data, region))[0][None],)
    return await _answer(service, Asked(sought, terms), started, "picture", upload.name)


@router.get(
    "/pictures/{picture_id}/similar",
    response_model=ResultsOut,
    responses=errors(400, 404, 413, 422),
    summary="Search by a picture of the library",
)
async def similar(
    picture_id: PICTURE_ID, service: Reached, given: Annotated[SimilarTerms, Parameters()]
) -> Response:
    """The pictures most like one that is in the library, or like a region of it.

    Answered from its stored descriptor; for a region, any orientation, or a search within pictures
    its file is read.
    """
    started = time.perf_counter()
    terms, region = _terms(service, given), _region(given)
    out = frozenset() if given.include_self else frozenset([picture_id])
    if region is None and not given.any_orientation and not given.within:
        path, vector = await service.find(picture_id)
        return await _answer(service, Asked((vector[None],), terms, out), started, "id", path)
    picture = picture_of(service, picture_id)
    if given.within:
        turned = given.any_orientation
        hits = await service.hits_within(picture, region, turned, terms, out)
        return await _show(service, hits, terms, started, picture.path)
    if given.any_orientation:
        sought = await service.describe_orientations(picture, region)
    else:
        assert region is not None
        sought = ((await service.describe_part(picture, region))[None],)
    return await _answer(service, Asked(sought, terms, out), started, "id", picture.path)


@router.post(
    "/search/vector",
    response_model=ResultsOut,
    responses=errors(400, 404, 408, 413, 415),
    openapi_extra=document_body(VectorIn),
    summary="Search by a vector",
)
async def search_vector(
    body: Annotated[VectorIn, Depends(json_body(VectorIn, _VECTOR_BYTES))],
    service: Reached,
    given: Annotated[SearchTerms, Parameters()],
) -> Response:
    """The pictures nearest to a descriptor of the library's own encoder, made elsewhere."""
    started = time.perf_counter()
    asked = Asked((service.engine.unit(body.vector)[None],), _terms(service, given))
    return await _answer(service, asked, started, "vector", "vector")


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
    terms = _terms(service, given)
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
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def answer(one: Query) -> bytes:
        async with at_once:
            return await _answer_one(service, terms, one)

    results = await asyncio.gather(*map(answer, ones))
    body = b"".join([b'{"results":[', b",".join(results), b"]}"])
    return Response(body, media_type="application/json")


@router.post(
    "/labels",
    response_model=LabelsOut,
    responses=errors(400, 404, 408, 413, 415, 422, 503),
    openapi_extra=PICTURE_BODY,
    summary="The likeliest classes of a picture",
)
async def labels(
    request: Request, service: Reached, k: Annotated[int, Parameters(ge=1, le=1000)] = 5
) -> Response:
    """The ImageNet classes that the library's encoder sees in a picture."""
    upload = await one_picture(request)
    _, found = await service.describe(upload.data, labels=k)
    rows = [[name, round(probability, 6), index] for name, probability, index in found]
    return json_response({"image": upload.name, "labels": rows})


# -- inside ----------------------------------------------------------------------------------------


async def _answer(service: Service, asked: Asked, started: float, by: str, name: str) -> Response:
    hits = await service.hits(asked, by)
    return await _show(service, hits, asked.terms, started, name)


async def _show(
    service: Service, hits: tuple[Hit, ...], terms: Terms, started: float, name: str
) -> Response:
    def show() -> Response:
        return json_response(_make_page(service, hits, terms, started, name))

    return show() if len(hits) < _LONG else await service.ask(show)


async def _page(
    service: Service, asked: Asked, started: float, by: str, name: str
) -> dict[str, Any]:
    return _make_page(service, await service.hits(asked, by), asked.terms, started, name)


def _make_page(
    service: Service, hits: tuple[Hit, ...], terms: Terms, started: float, name: str
) -> dict[str, Any]:
    took = (time.perf_counter() - started) * 1000
    return page_dict(Results(name, service.engine.spec.title, took, hits), terms)


def _terms(service: Service, given: SearchTerms) -> Terms:
    if given.label is not None:
        require_labels(service.library)
    return given.terms()


def _region(given: RegionTerms) -> Region | None:
    return None if given.region is None else Region.parse(given.region)


async def _answer_one(service: Service, terms: Terms, one: Query) -> bytes:
    """The answer to one of several queries, in JSON; what is wrong with it, if it fails."""
    return bytes(json_response(await _page_of(service, terms, one)).body)


async def _page_of(service: Service, terms: Terms, one: Query) -> dict[str, Any]:
    started = time.perf_counter()
    try:
        if isinstance(one.what, int):  # it is told by its path
            path, vector = await service.find(one.what)
            asked = Asked((vector[None],), terms, frozenset([one.what]))
            return await _page(service, asked, started, "id", path)
        if isinstance(one.what, np.ndarray):
            asked = Asked((service.engine.unit(one.what)[None],), terms)
            return await _page(service, asked, started, "vector", one.name)
        data = one.what
        if isinstance(data, str):
            data = await service.call(_decode_base64, data)
        found, _ = await service.describe(data)
        return await _page(service, Asked((found[None],), terms), started, "picture", one.name)
    except ParecidoError as error:
        return {"query": one.name, "error": error_dict(error)}


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
