"""Why a picture of the library matches a query: what each place of both adds to their score."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from parecido.indexer.records.pictures import Picture
from parecido.indexer.records.regions import Region
from parecido.search.explaining.explanation import Look, explanation_dict
from parecido.search.web.errors import json_response
from parecido.search.web.routes.bodies import PICTURE_BODY, one_picture
from parecido.search.web.routes.shared import PICTURE_ID, errors, picture_of, service_of
from parecido.search.web.schemas.why import WhyByIdTerms, WhyOut, WhyTerms
from parecido.search.web.service import Service

__all__ = ["router"]

router = APIRouter(prefix="/v1/pictures", tags=["search"])
Reached = Annotated[Service, Depends(service_of)]


@router.get(
    "/{picture_id}/why",
    response_model=WhyOut,
    responses=errors(400, 404, 413, 422),
    summary="Why a picture matches another one of the library",
)
async def why_by_id(
    picture_id: PICTURE_ID, service: Reached, given: Annotated[WhyByIdTerms, Query()]
) -> Response:
    """What each place of a query and of its hit adds to their score, both from the library.

    Both files are read.  The values of either picture sum to the score; values below zero are
    places that speak against a match.
    """
    hit, query = picture_of(service, picture_id), picture_of(service, given.query_id)
    looked = await service.look_at(query, _region(given))
    return await _answer(service, looked, hit)


@router.post(
    "/{picture_id}/why",
    response_model=WhyOut,
    responses=errors(400, 404, 408, 413, 415, 422),
    openapi_extra=PICTURE_BODY,
    summary="Why a picture matches an uploaded one",
)
async def why_by_picture(
    picture_id: PICTURE_ID,
    request: Request,
    service: Reached,
    given: Annotated[WhyTerms, Query()],
) -> Response:
    """The same, where the query is the picture in the body."""
    hit, region = picture_of(service, picture_id), _region(given)
    upload = await one_picture(request)
    return await _answer(service, await service.look(upload.data, upload.name, region), hit)


async def _answer(service: Service, query: Look, hit: Picture) -> Response:
    found = await service.explain(query, await service.look_at(hit))
    return json_response(explanation_dict(found))


def _region(given: WhyTerms) -> Region | None:
    return None if given.region is None else Region.parse(given.region)
