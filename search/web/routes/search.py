"""Search: by an uploaded picture, by a picture of the library, by a vector, several at once."""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends, Query, Request
from pydantic import ValidationError
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
    whole_body,
)
from parecido.search.web.routes.shared import PICTURE_ID, errors, picture_of, service_of
from parecido.search.web.schemas.json import page_dict
from parecido.search.web.schemas.requests import (
    BatchIn,
    BatchOut,
    LabelsOut,
    QueryIn,
    RegionTerms,
    ResultsOut,
    SearchTerms,
    SimilarTerms,
    VectorIn,
)
from parecido.search.web.service import Service

__all__ = ["router"]

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
    request: Request, service: Reached, given: Annotated[RegionTerms, Query()]
) -> Response:
    """The pictures most like the one in the body, or like a region of it."""
    started = time.perf_counter()
    terms, region = _terms(service, given), _region(given)
    upload = await one_picture(request)
    if given.within:
        hits = await service.hits_within(upload.data, region, given.any_orientation, terms)
        return json_response(_make_page(service, hits, terms, started, upload.name))
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
    picture_id: PICTURE_ID, service: Reached, given: Annotated[SimilarTerms, Query()]
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
        return json_response(_make_page(service, hits, terms, started, picture.path))
    if given.any_orientation:
        sought = await service.describe_orientations(picture, region)
    else:
        assert region is not None
        sought = ((await service.describe_part(picture, region))[None],)
    return await _answer(service, Asked(sought, terms, out), started, "id", picture.path)


@router.post(
    "/search/vector",
    response_model=ResultsOut,
    responses=errors(400, 404, 413),
    summary="Search by a vector",
)
async def search_vector(
    body: VectorIn, service: Reached, given: Annotated[SearchTerms, Query()]
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
    request: Request, service: Reached, given: Annotated[SearchTerms, Query()]
) -> Response:
    """An answer for each query in order: hits, or what is wrong with that query."""
    terms = _terms(service, given)
    most = service.settings.pictures_per_request
    service.engine.spec  # noqa: B018  # told for all of them where the library holds nothing
    if is_form(request):
        uploads = await several_pictures(request, most)
        ones = [_One(upload.name, upload.data) for upload in uploads]
    else:
        queries = (await _batch(request)).queries
        if sum(query.image is not None for query in queries) > most or len(queries) > 1000:
            raise Refused(
                400,
                "too_many",
                f"Expected at most {most} pictures and 1000 queries at once.",
                "Send several requests.",
            )
        ones = [_read_query(query) for query in queries]
    answers = (_answer_one(service, terms, one) for one in ones)
    return json_response({"results": await asyncio.gather(*answers)})


@router.post(
    "/labels",
    response_model=LabelsOut,
    responses=errors(400, 404, 408, 413, 415, 422, 503),
    openapi_extra=PICTURE_BODY,
    summary="The likeliest classes of a picture",
)
async def labels(
    request: Request, service: Reached, k: Annotated[int, Query(ge=1, le=1000)] = 5
) -> Response:
    """The ImageNet classes that the library's encoder sees in a picture."""
    upload = await one_picture(request)
    _, found = await service.describe(upload.data, labels=k)
    rows = [[name, round(probability, 6), index] for name, probability, index in found]
    return json_response({"image": upload.name, "labels": rows})


# -- inside ----------------------------------------------------------------------------------------


async def _answer(service: Service, asked: Asked, started: float, by: str, name: str) -> Response:
    return json_response(await _page(service, asked, started, by, name))


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


async def _batch(request: Request) -> BatchIn:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(
            415, "unsupported_media_type", "Expected JSON or a form.", "See /docs for both."
        )
    try:
        return BatchIn.model_validate_json(await whole_body(request))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "The body"
        raise InvalidRequest(f"{where}: {first['msg']}.", "See /docs for the shape.") from None


class _One(NamedTuple):
    """One of several queries."""

    name: str
    what: int | list[float] | bytes | str
    """The id of a picture, a vector, or a picture: its bytes, or these in Base64."""


def _read_query(query: QueryIn) -> _One:
    named = ((str(query.id), query.id), ("vector", query.vector), ("-", query.image))
    given = [_One(name, what) for name, what in named if what is not None]
    if len(given) != 1:
        raise InvalidRequest(
            "Each query has an id, a vector or an image, and one of them only.",
            'Send {"queries": [{"id": 7}]}, say.',
        )
    return given[0]


async def _answer_one(service: Service, terms: Terms, one: _One) -> dict[str, Any]:
    """The answer to one of several queries; what is wrong with it, if it fails."""
    started = time.perf_counter()
    try:
        if isinstance(one.what, int):  # it is told by its path
            path, vector = await service.find(one.what)
            asked = Asked((vector[None],), terms, frozenset([one.what]))
            return await _page(service, asked, started, "id", path)
        if isinstance(one.what, list):
            asked = Asked((service.engine.unit(one.what)[None],), terms)
            return await _page(service, asked, started, "vector", one.name)
        data = _decode_base64(one.what) if isinstance(one.what, str) else one.what
        found, _ = await service.describe(data)
        return await _page(service, Asked((found[None],), terms), started, "picture", one.name)
    except ParecidoError as error:
        return {"query": one.name, "error": error_dict(error)}


def _decode_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest("The image is not Base64.", "Encode the file's bytes.") from None
