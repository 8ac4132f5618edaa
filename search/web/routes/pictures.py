"""The pictures of the library: their records, thumbnails and files; adding and removing some."""

from __future__ import annotations

import os
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from parecido.indexer.errors import PictureUnreadable
from parecido.indexer.records.details import NO_DETAILS
from parecido.indexer.records.pictures import Picture
from parecido.search.asking.words import require_labels
from parecido.search.web.callers.turns import TURN, Turn
from parecido.search.web.errors import Refused, json_response, report_loss
from parecido.search.web.jobs import Job
from parecido.search.web.routes.bodies import PICTURE_BODY, one_picture
from parecido.search.web.routes.originals import OpenFile, open_original
from parecido.search.web.routes.shared import (
    PICTURE_ID,
    errors,
    location_header,
    picture_of,
    service_of,
    writable,
)
from parecido.search.web.schemas.json import job_dict, picture_dict
from parecido.search.web.schemas.requests import JobOut, ListTerms, PictureOut, PicturesOut
from parecido.search.web.service import Service
from parecido.search.web.thumbnails import SIZES

__all__ = ["router"]

router = APIRouter(prefix="/v1/pictures", tags=["pictures"])
Reached = Annotated[Service, Depends(service_of)]
Writable = Annotated[Service, Depends(writable)]

# as long as a client is kept waiting for a change before it gets a job to ask about
_PATIENCE = 10.0
_SHARE = 0.5  # of the time that a request may take
# what browsers show as a picture and never run; everything else is only saved
_SHOWN = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
    "BMP": "image/bmp",
    "ICO": "image/x-icon",
}
_RANGE = re.compile(r"\s*([0-9]{0,18})-([0-9]{0,18})\s*")
# browsers lay a lone picture out with styles of their own
_PICTURE_POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_PICTURE_FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}
}
_ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {"model": JobOut, "description": "It takes longer: ask for the job."}
}


@router.get("", response_model=PicturesOut, responses=errors(400), summary="List pictures")
async def listed(service: Reached, given: Annotated[ListTerms, Query()]) -> Response:
    """Pictures of the library that pass the filters: newest first, by path, or some at random."""
    if given.label is not None:
        require_labels(service.library)
    wanted, catalogue = given.filter(), service.library.catalogue
    total = await service.threads.ask(service.engine.count, wanted)
    if given.order == "random":
        pictures = await service.threads.ask(catalogue.handful, wanted, given.limit)
        more = total > len(pictures)
    else:
        pictures = await service.threads.ask(
            catalogue.list_pictures, wanted, given.order, given.limit, given.offset
        )
        more = given.offset + len(pictures) < total and bool(pictures)
    uploaded = await service.threads.ask(
        catalogue.uploads.among, [picture.id for picture in pictures]
    )
    details = await service.threads.ask(catalogue.details.of, [picture.id for picture in pictures])
    shown = [
        picture_dict(picture, picture.id in uploaded, details.get(picture.id, NO_DETAILS))
        for picture in pictures
    ]
    return json_response({"pictures": shown, "total": total, "more": more})


@router.get(
    "/{picture_id}", response_model=PictureOut, responses=errors(400, 404), summary="A picture"
)
async def record(picture_id: PICTURE_ID, service: Reached) -> Response:
    """What the library knows of a picture."""
    return json_response(_show(service, picture_of(service, picture_id)))


@router.get(
    "/{picture_id}/thumbnail",
    response_class=Response,
    responses={**_PICTURE_FILE, 304: {"description": "As before."}, **errors(400, 404, 413, 422)},
    summary="A small picture",
)
async def thumbnail(
    picture_id: PICTURE_ID,
    request: Request,
    service: Reached,
    size: Annotated[Literal["128", "256", "512", "1024"], Query()] = "256",
) -> Response:
    """A JPEG, upright, its longer side at most `size` pixels."""
    picture = picture_of(service, picture_id)
    tag = f'"{picture.content_hash.hex()}-{size}"'
    headers = {"ETag": tag, "Cache-Control": "private, max-age=600"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    assert int(size) in SIZES
    try:
        data = await service.threads.call(service.thumbnails.get, picture, int(size))
    except PictureUnreadable as error:
        raise report_loss(error) from error
    return Response(data, headers=headers, media_type="image/jpeg")


@router.get(
    "/{picture_id}/original",
    response_class=Response,
    responses={
        **_PICTURE_FILE,
        206: {"description": "A part of the file, as the range asks for."},
        304: {"description": "As before."},
        **errors(400, 404, 416),
    },
    summary="The picture's file",
)
async def original(
    picture_id: PICTURE_ID, request: Request, service: Reached, download: bool = False
) -> Response:
    """The file as it lies on the disk; formats that browsers do not show are only saved."""
    picture = picture_of(service, picture_id)
    file = await service.threads.write(open_original, picture)
    try:
        return _send(file, picture, request, download)
    except BaseException:
        file.close()
        raise


def _send(file: BinaryIO, picture: Picture, request: Request, download: bool) -> Response:
    headers = {"ETag": f'"{picture.content_hash.hex()}"', "Cache-Control": "private, no-cache"}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        file.close()
        return Response(status_code=304, headers=headers)
    headers["Content-Security-Policy"] = _PICTURE_POLICY
    status = os.fstat(file.fileno())
    _check_range(request, status.st_size)
    media = _SHOWN.get(picture.format)
    return OpenFile(
        file,
        picture.path,
        media_type=media or "application/octet-stream",
        filename=os.fsencode(os.path.basename(picture.path)).decode("utf-8", "replace"),
        content_disposition_type="attachment" if download or media is None else "inline",
        stat_result=status,
        headers=headers,
    )


@router.post(
    "",
    status_code=201,
    response_model=PictureOut,
    responses={**_ACCEPTED, **errors(400, 404, 408, 409, 413, 415, 422, 507)},
    openapi_extra=PICTURE_BODY,
    summary="Add a picture",
)
async def add(
    request: Request,
    service: Writable,
    name: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
) -> Response:
    """Put a picture into the server's own folder and into the library."""
    upload = await one_picture(request)
    await service.check_picture(upload.data)

    def take() -> Job:
        # in one step: a request that ends in between must leave no bytes without a job
        arrival = service.uploads.take(upload.data, name or upload.name)
        return service.jobs.put(Job("add", str(arrival.place), arrival=arrival))

    job = await service.threads.write(take)
    return await _answer_change(request, job, 201)


@router.put(
    "/{picture_id}",
    response_model=PictureOut,
    responses={**_ACCEPTED, **errors(400, 404, 408, 409, 413, 415, 422, 507)},
    openapi_extra=PICTURE_BODY,
    summary="Replace an uploaded picture",
)
async def replace(picture_id: PICTURE_ID, request: Request, service: Writable) -> Response:
    """Give an uploaded picture other bytes; its id stays."""
    picture = picture_of(service, picture_id)
    if not service.library.catalogue.uploads.among([picture_id]):
        raise Refused(
            403,
            "not_owned",
            "Only pictures that were uploaded here can be replaced.",
            "Change the file itself, and index its folder.",
        )
    upload = await one_picture(request)
    await service.check_picture(upload.data)

    def take() -> Job:
        arrival = service.uploads.take_other(Path(picture.path), upload.data)
        return service.jobs.put(Job("replace", picture.path, picture_id, arrival))

    job = await service.threads.write(take)
    return await _answer_change(request, job, 200)


@router.delete(
    "/{picture_id}",
    status_code=204,
    response_class=Response,
    responses={**_ACCEPTED, **errors(400, 404, 409, 507)},
    summary="Remove a picture",
)
async def delete(picture_id: PICTURE_ID, request: Request, service: Writable) -> Response:
    """Take a picture out of the library; its file goes only where it was uploaded here."""
    picture = picture_of(service, picture_id)
    job = service.jobs.put(Job("delete", picture.path, picture_id))
    if not await _wait(request, job, service):
        return _answer_later(request, job)
    if not service.library.catalogue.has_bytes(picture.content_hash):
        await service.threads.write(service.thumbnails.forget, picture)
    return Response(status_code=204)


# -- inside ----------------------------------------------------------------------------------------


async def _wait(request: Request, job: Job, service: Service) -> bool:
    """Whether a job ended while its client was kept waiting, which takes no other's place."""
    turn: Turn | None = request.scope.get(TURN)
    with turn.waiting() if turn else nullcontext(True) as may_wait:
        seconds = min(_PATIENCE, _SHARE * service.settings.seconds) if may_wait else 0.0
        return await job.wait(seconds)


async def _answer_change(request: Request, job: Job, status: int) -> Response:
    """The picture that a job made or changed, or the job where that takes long."""
    service = await service_of(request)
    if not await _wait(request, job, service):
        return _answer_later(request, job)
    if job.picture is None:
        raise Refused(409, "not_added", "The picture was not added.", "Try again.")
    picture = picture_of(service, job.picture)
    location = location_header(request, f"/v1/pictures/{picture.id}") if status == 201 else {}
    return json_response(_show(service, picture), status, location)


def _show(service: Service, picture: Picture) -> dict[str, Any]:
    catalogue, own = service.library.catalogue, [picture.id]
    details = catalogue.details.of(own).get(picture.id, NO_DETAILS)
    return picture_dict(picture, bool(catalogue.uploads.among(own)), details)


def _answer_later(request: Request, job: Job) -> Response:
    return json_response(job_dict(job), 202, location_header(request, f"/v1/jobs/{job.id}"))


def _check_range(request: Request, size: int) -> None:
    """Raise for parts beyond a file's end; what is no range is as if it were not there."""
    asked = request.headers.get("range", "")
    found = [_RANGE.fullmatch(part) for part in asked.removeprefix("bytes=").split(",")]
    parts = [(match[1], match[2]) for match in found if match and match[0].strip() != "-"]
    is_range = asked.startswith("bytes=") and len(parts) == len(found)
    if not is_range or any(a and b and int(a) > int(b) for a, b in parts):
        request.scope["headers"] = [h for h in request.scope["headers"] if h[0] != b"range"]
    elif any(int(a) >= size if a else int(b) == 0 for a, b in parts):
        raise Refused(
            416,
            "range_not_satisfiable",
            f"The file has {size} bytes.",
            "Ask for a part within it.",
            {"Content-Range": f"bytes */{size}"},
        )
