"""JSON out of request bodies: how long its lists are is seen before any of it is read.

A parser makes Python's objects of each number: 31 MB of JSON become 5.6 GB.  So bodies have sizes
by what belongs in them, and several queries are cut apart first and read one by one, on a thread.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from parecido.indexer.errors import InvalidRequest
from parecido.search.web.errors import Refused
from parecido.search.web.routes.bodies import cut_short, kind_of
from parecido.search.web.routes.shared import service_of
from parecido.search.web.schemas.requests import BatchIn, QueryIn

__all__ = ["SMALL", "Query", "document_body", "json_body", "read_batch"]

_M = TypeVar("_M", bound=BaseModel)

SMALL = 65_536
"""Bytes of a body with a few words in it."""
_NUMBERS = 65_536  # in a list, as the schemas have it
_LIST_BYTES = 32 * _NUMBERS
_SLACK = 64  # marks that a query has beside its numbers
_QUERIES = 1000
_SPACE = rb"[ \t\r\n]{0,1000}"
_OPENING = re.compile(rb"%b\{%b\"queries\"%b:%b\[" % ((_SPACE,) * 4))
_BLANK = re.compile(_SPACE)
_MARK = re.compile(rb"[\"{}\[\]]")
_SHAPE = "See /docs for the shape."


class Query(NamedTuple):
    """One of several queries."""

    name: str
    what: int | npt.NDArray[np.float64] | bytes | str
    """The id of a picture, a vector, or a picture: its bytes, or these in Base64."""


def document_body(model: type[BaseModel]) -> dict[str, Any]:
    """For the OpenAPI document: what :func:`json_body` takes."""
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


def json_body(model: type[_M], most_bytes: int = SMALL) -> Callable[[Request], Awaitable[_M]]:
    """What gives a route its body, checked; one that is larger is refused."""

    async def read(request: Request) -> _M:
        body = await _read_at_most(request, most_bytes)
        if body.count(b",") > _NUMBERS + _SLACK:
            raise _too_long()
        service = await service_of(request)
        return await service.threads.ask(_validate, model, body)

    return read


async def read_batch(request: Request, pictures: int) -> list[Query]:
    """The queries of a body with several, so many of them pictures."""
    service = await service_of(request)
    body = await _read_at_most(request, service.settings.upload_bytes)
    if len(body) <= SMALL:
        return await service.threads.ask(_read_small, body, pictures)
    return await service.threads.read_json(_read_large, body, pictures)


def _read_small(body: bytes, pictures: int) -> list[Query]:
    queries = _validate(BatchIn, body).queries
    images = sum(query.image is not None for query in queries)
    if images > pictures or len(queries) > _QUERIES:
        raise _too_many(pictures)
    return [_read_query(query) for query in queries]


def _read_large(body: bytes, pictures: int) -> list[Query]:
    found: list[Query] = []
    images = 0
    for number, (start, end) in enumerate(_cut(body)):
        if number == _QUERIES:
            raise _too_many(pictures)
        if body.count(b",", start, end) > _NUMBERS + _SLACK:
            raise _too_long()
        query = _read_query(_validate(QueryIn, body[start:end], f"queries.{number}"))
        images += isinstance(query.what, str)
        if images > pictures:
            raise _too_many(pictures)
        found.append(query)
    return found


async def _read_at_most(request: Request, most: int) -> bytes:
    """A body of JSON with at most so many bytes."""
    if kind_of(request) != "application/json":
        raise Refused(415, "unsupported_media_type", "Expected JSON.", "See /docs for its shape.")
    pieces, size = [], 0
    try:
        async for piece in request.stream():
            size += len(piece)
            if size > most:
                raise _too_large(most)
            pieces.append(piece)
    except ClientDisconnect:
        raise cut_short() from None
    return b"".join(pieces)


def _validate(model: type[_M], body: bytes, where: str = "") -> _M:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        named = ".".join(filter(None, (where, *map(str, first["loc"]))))
        raise InvalidRequest(f"{named or 'The body'}: {first['msg']}.", _SHAPE) from None


def _read_query(query: QueryIn) -> Query:
    vector = None if query.vector is None else np.asarray(query.vector, np.float64)
    named = ((str(query.id), query.id), ("vector", vector), ("-", query.image))
    given = [Query(name, what) for name, what in named if what is not None]
    if len(given) != 1:
        raise InvalidRequest(
            "Each query has an id, a vector or an image, and one of them only.",
            'Send {"queries": [{"id": 7}]}, say.',
        )
    return given[0]


# -- cutting ---------------------------------------------------------------------------------------


def _cut(body: bytes) -> Iterator[tuple[int, int]]:
    """Where each query begins and ends.  Raises ``InvalidRequest`` for what is no list of such.

    Looks at strings and brackets alone, and at no more of them than a query has.
    """
    opening = _OPENING.match(body)
    if opening is None:
        raise InvalidRequest("The body is no list of queries.", _SHAPE)
    at = opening.end()
    while True:
        start = _after_blank(body, at)
        if body[start : start + 1] != b"{":
            raise InvalidRequest("Each query is an object.", _SHAPE)
        end = _end_of_query(body, start)
        yield start, end
        at = _after_blank(body, end)
        if body[at : at + 1] == b"]":
            break
        if body[at : at + 1] != b",":
            raise _broken()
        at += 1
    if body[at + 1 :].strip() != b"}":
        raise _broken()


def _after_blank(body: bytes, at: int) -> int:
    found = _BLANK.match(body, at)
    return found.end() if found else at


def _end_of_query(body: bytes, start: int) -> int:
    at = start
    depth = 0
    for _ in range(_SLACK):
        found = _MARK.search(body, at, at + _LIST_BYTES)
        if found is None:
            raise _broken() if at + _LIST_BYTES > len(body) else _too_long()
        at = found.end()
        if found[0] == b'"':
            at = _end_of_string(body, at)
        elif found[0] in b"{[":
            depth += 1
        else:
            depth -= 1
            if depth == 0:
                return at
    raise InvalidRequest("A query has an id, a vector or an image, and no more.", _SHAPE)


def _end_of_string(body: bytes, at: int) -> int:
    for _ in range(_SLACK):
        end = body.find(b'"', at)
        if end < 0:
            break
        before = body[max(at, end - _SLACK) : end]
        if (len(before) - len(before.rstrip(b"\\"))) % 2 == 0:
            return end + 1
        at = end + 1
    raise _broken()


# -- refusals --------------------------------------------------------------------------------------


def _broken() -> InvalidRequest:
    return InvalidRequest("The body is no JSON, or is cut short.", _SHAPE)


def _too_long() -> Refused:
    return Refused(
        413,
        "too_many_numbers",
        f"A list has more than {_NUMBERS:,} numbers.",
        "Send descriptors of the library's own encoder.",
    )


def _too_large(most: int) -> Refused:
    return Refused(
        413,
        "too_large",
        f"The body is larger than {most / 1e6:.3g} MB, the limit for this request.",
        _SHAPE,
        {"Connection": "close"},
    )


def _too_many(pictures: int) -> Refused:
    return Refused(
        400,
        "too_many",
        f"Expected at most {pictures} pictures and {_QUERIES} queries at once.",
        "Send several requests.",
    )
