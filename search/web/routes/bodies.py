"""Pictures out of request bodies: the picture itself, or a multipart form with some."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect

from parecido.search.web.errors import Refused

__all__ = ["PICTURE_BODY", "Upload", "cut_short", "kind_of", "one_picture", "several_pictures"]

FIELD = "image"
_BINARY = {"type": "string", "format": "binary"}

PICTURE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The picture: as the whole body, or in the field `image` of a form.",
        "content": {
            "image/*": {"schema": _BINARY},
            "application/octet-stream": {"schema": _BINARY},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {FIELD: _BINARY},
                }
            },
        },
    }
}
"""For the OpenAPI document: what :func:`one_picture` takes."""


@dataclass(frozen=True)
class Upload:
    """A picture that came with a request."""

    data: bytes
    name: str
    """As the client calls it; ``-`` where it does not."""


async def one_picture(request: Request) -> Upload:
    """The one picture of a request.  Raises :class:`~parecido.search.web.errors.Refused`."""
    kind = kind_of(request)
    if kind == "multipart/form-data":
        found = await several_pictures(request, 1)
        return found[0]
    if kind and not kind.startswith("image/") and kind != "application/octet-stream":
        raise Refused(
            415,
            "unsupported_media_type",
            f"A body of type {kind[:80]} is no picture.",
            "Send the picture as image/… or application/octet-stream, or a form with it.",
        )
    data = await _whole_body(request)
    if not data:
        raise Refused(400, "no_picture", "The body is empty.", "Send a picture in it.")
    return Upload(data, "-")


async def _whole_body(request: Request) -> bytes:
    """The bytes of a body.  Raises :class:`~parecido.search.web.errors.Refused` where it ends too
    soon.
    """
    try:
        return await request.body()
    except ClientDisconnect:
        raise cut_short() from None


async def several_pictures(request: Request, most: int) -> list[Upload]:
    """The pictures in the fields ``image`` of a form, in their order."""
    try:
        # the whole body has passed the limit already, so that no part can be larger
        async with request.form(max_files=most, max_fields=8) as form:
            found = [part for part in form.getlist(FIELD) if isinstance(part, UploadFile)]
            uploads = [Upload(await part.read(), part.filename or "-") for part in found]
    except ClientDisconnect:
        raise cut_short() from None
    if not uploads:
        raise Refused(
            400,
            "no_picture",
            f"The form has no file in a field {FIELD!r}.",
            f"Send one: curl -F {FIELD}=@photo.jpg.",
        )
    if len(uploads) > most:
        raise Refused(400, "too_many", f"Expected at most {most} pictures.", "Send fewer at once.")
    return uploads


def is_form(request: Request) -> bool:
    """Whether the body is a multipart form."""
    return kind_of(request) == "multipart/form-data"


def kind_of(request: Request) -> str:
    """The media type of a body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def cut_short() -> Refused:
    """For a body whose client went away."""
    return Refused(400, "body_cut_short", "The body ended before its time.", "Send it whole.")
