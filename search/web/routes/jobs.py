"""Indexing on demand, and the jobs that change the library."""

from __future__ import annotations

import os
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from starlette.responses import Response

from parecido.search.web.errors import Refused, json_response
from parecido.search.web.jobs import Job
from parecido.search.web.routes.json_bodies import document_body, json_body
from parecido.search.web.routes.shared import errors, location_header, service_of, writable
from parecido.search.web.schemas.json import job_dict
from parecido.search.web.schemas.requests import IndexIn, JobOut, JobsOut
from parecido.search.web.service import Service

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["jobs"])
Reached = Annotated[Service, Depends(service_of)]
Writable = Annotated[Service, Depends(writable)]
JobId = Annotated[str, Path(min_length=1, max_length=40)]


@router.post(
    "/index",
    status_code=202,
    response_model=JobOut,
    responses=errors(400, 408, 413, 415),
    openapi_extra=document_body(IndexIn),
    summary="Index a folder",
)
async def index(
    body: Annotated[IndexIn, Depends(json_body(IndexIn))], request: Request, service: Writable
) -> Response:
    """Bring the library up to date with a folder or a picture on the server's disks.

    Only below folders that the operator allows, symbolic links resolved.
    """
    path = await service.threads.ask(_check_path, service, body.path)
    job = service.jobs.put(Job("index", path))
    return json_response(job_dict(job), 202, location_header(request, f"/v1/jobs/{job.id}"))


@router.get("/jobs", response_model=JobsOut, responses=errors(), summary="List jobs")
async def jobs(service: Reached) -> Response:
    """Jobs that wait, run, or ended not long ago, newest first."""
    return json_response({"jobs": [job_dict(job) for job in service.jobs.all()]})


@router.get("/jobs/{job_id}", response_model=JobOut, responses=errors(400, 404), summary="A job")
async def job(job_id: JobId, service: Reached) -> Response:
    """How far a job has come."""
    return json_response(job_dict(service.jobs.get(job_id)))


@router.delete(
    "/jobs/{job_id}",
    status_code=202,
    response_model=JobOut,
    responses=errors(400, 404),
    summary="Stop a job",
)
async def stop(job_id: JobId, service: Writable) -> Response:
    """Ask a job to commit what is ready and to end."""
    found = service.jobs.get(job_id)
    service.jobs.stop(found)
    return json_response(job_dict(found), 202)


def _check_path(service: Service, path: str) -> str:
    """The path, where it lies in a folder that clients may have indexed.

    Whether anything is there is not told of other places.
    """
    refused = Refused(
        403,
        "path_not_allowed",
        "This path may not be indexed through the server.",
        "Allow its folder: parecido serve --allow-index FOLDER.",
    )
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise refused from None
    if not os.path.isabs(path) or "\0" in path:
        raise refused
    # it goes into the library by the name it was given, as from the command line; what is allowed
    # is decided by where that leads
    path = os.path.abspath(path)
    real = os.path.realpath(path)
    for root in service.settings.index_roots:
        folder = os.path.realpath(root)
        if real == folder or os.path.commonpath([real, folder]) == folder:
            if not os.path.exists(real):
                raise Refused(400, "path_not_found", "There is nothing at this path.", "Check it.")
            return path
    raise refused
