"""Search: by an uploaded picture, by a picture of the library, by a vector."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi import Query as Parameters
from starlette.responses import Response

from parecido.indexer.records.regions import Region
from parecido.search.asking.request import Request as Asked
from parecido.search.asking.terms import Terms
from parecido.search.results import Hit
from parecido.search.web.errors import json_response
from parecido.search.web.routes.bodies import PICTURE_BODY, one_picture
from parecido.search.web.routes.json_bodies import document_body, json_body
from parecido.search.web.routes.shared import (
    PICTURE_ID,
    errors,
    make_page,
    picture_of,
    service_of,
    terms_of,
)
from parecido.search.web.schemas.requests import (
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
_LONG = 100  # hits whose JSON takes a millisecond

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
    terms, region = terms_of(service, given), _region(given)
    upload = await one_picture(request)
    if given.within:
        hits = await service.hits_within(upload.data, region, given.any_orientation, terms)
        return await _show(service, hits, terms, started, upload.name)
    if given.any_orientation:
        sought, shown = await service.describe_orientations(upload.data, region)
    else:
        seen = await service.describe(upload.data, region)
        sought, shown = (seen.descriptor[None],), seen.shown
    asked = Asked(sought, terms, shown=(shown,))
    return await _answer(service, asked, started, "picture", upload.name)


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
    terms, region = terms_of(service, given), _region(given)
    out = frozenset() if given.include_self else frozenset([picture_id])
    if region is None and not given.any_orientation and not given.within:
        stored = await service.find(picture_id)
        asked = Asked((stored.descriptor[None],), terms, out, shown=(stored.shown,))
        return await _answer(service, asked, started, "id", stored.path)
    picture = picture_of(service, picture_id)
    if given.within:
        turned = given.any_orientation
        hits = await service.hits_within(picture, region, turned, terms, out)
        return await _show(service, hits, terms, started, picture.path)
    if given.any_orientation:
        sought, shown = await service.describe_orientations(picture, region)
    else:
        assert region is not None
        seen = await service.describe_part(picture, region)
        sought, shown = (seen.descriptor[None],), seen.shown
    asked = Asked(sought, terms, out, shown=(shown,))
    return await _answer(service, asked, started, "id", picture.path)


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
    asked = Asked((service.engine.unit(body.vector)[None],), terms_of(service, given))
    return await _answer(service, asked, started, "vector", "vector")


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
    seen = await service.describe(upload.data, labels=k)
    rows = [[name, round(probability, 6), index] for name, probability, index in seen.labels]
    return json_response({"image": upload.name, "labels": rows})


# -- inside ----------------------------------------------------------------------------------------


async def _answer(service: Service, asked: Asked, started: float, by: str, name: str) -> Response:
    hits = await service.hits(asked, by)
    return await _show(service, hits, asked.terms, started, name)


async def _show(
    service: Service, hits: tuple[Hit, ...], terms: Terms, started: float, name: str
) -> Response:
    def show() -> Response:
        return json_response(make_page(service, name, hits, terms, started))

    quick = hits and len(hits) < _LONG  # without hits, the catalogue is asked why
    return show() if quick else await service.threads.ask(show)


def _region(given: RegionTerms) -> Region | None:
    return None if given.region is None else Region.parse(given.region)
