"""What every request passes before a route sees it.

Who may call (names, origins, token), how much at once and how long, and the headers that tell
browsers what they may do with an answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import re
from collections.abc import Iterator
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from parecido.indexer.errors import ParecidoError
from parecido.search.web.callers.guesses import Guesses
from parecido.search.web.callers.places import ABORT, peer_of
from parecido.search.web.callers.sessions import Sessions
from parecido.search.web.callers.turns import TURN, Turn, Turns
from parecido.search.web.errors import Refused, error_response, report_defect
from parecido.search.web.settings import Settings

__all__ = ["COOKIE", "Callers", "Guard", "peer_of_scope", "read_session", "token_matches"]

COOKIE = "parecido_session"

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::[0-9]*)?")
_RETRY = {"Retry-After": "1"}
_ANSWERING = 10  # times the limit is what a client may take to read an answer
_PIECE = 65_536  # bytes of an answer that are given out before the last are on their way
# without a token: what shows no picture and nothing of the library
_OPEN = frozenset(
    {"/", "/session", "/healthz", "/readyz", "/docs", "/openapi.json", "/favicon.ico"}
)
_OPEN_BELOW = "/static/"
_ALWAYS = frozenset({"/healthz", "/readyz"})  # answered when busy, too

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
# Swagger UI writes styles into its own page
_POLICIES = {"/docs": _POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")}


class Callers:
    """What a server knows of those who call it.  Touched by its event loop alone."""

    def __init__(self, settings: Settings) -> None:
        self.turns = Turns(settings)
        self.guesses = Guesses()
        self.sessions: Sessions | None = None
        """Of a server with a token, once its library is known."""

    async def check(self, scope: Scope, token: str) -> None:
        """Raise ``Refused`` unless a request has the token or a session."""
        headers = Headers(scope=scope)
        given = _read_token(headers)
        if given is None:
            is_right = self.has_session(headers)
            code = "token_missing" if read_session(headers) is None else "token_wrong"
        else:
            is_right, code = await self.is_right(given, token, scope), "token_wrong"
        if not is_right:
            raise Refused(
                401,
                code,
                "This server answers only with its token.",
                "Send it: Authorization: Bearer TOKEN.",
                {"WWW-Authenticate": "Bearer"},
            )

    def has_session(self, headers: Headers) -> bool:
        """Whether a browser sends a session along that holds."""
        session = read_session(headers)
        return bool(session and self.sessions and self.sessions.is_valid(session))

    async def is_right(self, given: str, token: str, scope: Scope) -> bool:
        """Whether what a client gives is the token, when it is its turn to be looked at."""
        peer = peer_of_scope(scope)
        await self.guesses.wait(peer)
        if token_matches(given, token):
            return True
        self.guesses.note_wrong(peer)
        return False


class Guard:
    """ASGI middleware that refuses what must not reach the routes."""

    def __init__(self, app: ASGIApp, settings: Settings, callers: Callers) -> None:
        self._app = app
        self._settings = settings
        self._callers = callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = _path(scope)
        send_headers = _with_headers(send, path)
        is_begun = False

        async def note_begin(message: Message) -> None:
            nonlocal is_begun
            is_begun = True
            await send_headers(message)

        try:
            self._check_names(scope)
            await self._check_token(scope, path)
            self._check_length(scope)
            refusal = await self._run_within_limits(scope, receive, note_begin)
        except Exception as error:
            if is_begun:
                raise
            await self._refusal(scope, error)(scope, receive, send_headers)
            return
        if refusal is None:
            return
        abort = scope.get("extensions", {}).get(ABORT)
        if not is_begun:
            await self._refusal(scope, refusal)(scope, receive, send_headers)
        elif abort is not None:
            abort()  # nothing else tells a reader who is too slow
        else:
            raise refusal

    def _refusal(self, scope: Scope, error: Exception) -> Response:
        if not isinstance(error, ParecidoError):
            error = report_defect(error, f"{scope['method']} {scope['path']}")
        response = error_response(error)
        origin = Headers(scope=scope).get("origin")
        if origin in self._settings.origins:  # their pages are to know why
            response.headers["Access-Control-Allow-Origin"] = origin or ""
            response.headers["Vary"] = "Origin"
        return response

    def _check_names(self, scope: Scope) -> None:
        """Raise for a request that means another server, or comes from a page of another site."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not _is_known_host(host, self._settings.hosts):
            raise Refused(
                421,
                "wrong_host",
                f"This server is not called {host[:100]!r}.",
                "Name it to the server: parecido serve --allow-host NAME.",
            )
        origin = headers.get("origin")
        if origin is not None and not self._is_own(origin, host):
            raise Refused(
                403,
                "foreign_origin",
                f"Pages of {origin[:100]} may not use this server.",
                "Allow them: parecido serve --allow-origin ORIGIN.",
            )

    async def _check_token(self, scope: Scope, path: str) -> None:
        """Raise where the token or a session is needed and is not there."""
        headers = Headers(scope=scope)
        is_open = path in _OPEN or path.startswith(_OPEN_BELOW)
        # browsers ask without a token whether they may send one
        is_preflight = (
            scope["method"] == "OPTIONS" and headers.get("origin") in self._settings.origins
        )
        if self._settings.token is None or is_open or is_preflight:
            return
        await self._callers.check(scope, self._settings.token)

    def _check_length(self, scope: Scope) -> None:
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdecimal() and (len(length) > 18 or int(length) > self._settings.upload_bytes):
            raise self._too_large()

    def _is_own(self, origin: str, host: str) -> bool:
        # either scheme: a proxy that ends TLS calls on with http
        own = (f"http://{host.lower()}", f"https://{host.lower()}")
        return origin.lower() in own or origin in self._settings.origins

    def _too_large(self) -> Refused:
        limit = self._settings.upload_bytes
        return Refused(
            413,
            "too_large",
            f"The request is larger than the limit of {limit / 1e6:.0f} MB.",
            "Send a smaller picture, or raise --max-upload-megabytes.",
            {"Connection": "close"},
        )

    async def _run_within_limits(
        self, scope: Scope, receive: Receive, send: Send
    ) -> Refused | None:
        """Run the application, with limits on the time, on the bytes that come, and on the places.

        What is asked whether the server lives takes no place.  Gives why there is no answer, if
        there is none: raised, that would keep the body, by its own trace, until the garbage goes.
        """
        headers = Headers(scope=scope)
        has_body = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"

        async def receive_counting() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                size, more = len(message.get("body", b"")), message.get("more_body", False)
                if turn.came + size > self._settings.upload_bytes:  # it had told no length
                    turn.refusal = self._too_large()
                turn.note_body(size, more)
            return message

        async def send_in_time(message: Message) -> None:
            if not turn.is_begun and turn.refusal is not None:
                return  # whatever the framework makes of it
            if not turn.is_begun:  # a large file over a slow line takes its time
                now = asyncio.get_running_loop().time()
                limit.reschedule(now + _ANSWERING * self._settings.seconds)
            body = message.get("body", b"")
            turn.note_answer(len(body) if len(body) > _PIECE else 0)
            for piece in _pieces(message):
                await send(piece)

        try:
            async with asyncio.timeout(self._settings.seconds) as limit:
                turn = Turn(self._callers.turns, limit, peer_of_scope(scope))
                if _path(scope) not in _ALWAYS:
                    turn.begin(has_body)
                scope[TURN] = turn
                try:
                    await self._app(scope, receive_counting, send_in_time)
                finally:
                    turn.leave()
        except TimeoutError:
            return turn.refusal or _late(turn.is_whole)
        except Refused:
            if turn.refusal is None:
                raise
        return None if turn.is_begun else turn.refusal


def _pieces(message: Message) -> Iterator[Message]:
    """A message of an answer, in parts that are not held for a reader who takes none."""
    body = message.get("body", b"")
    if len(body) <= _PIECE:
        yield message
        return
    for start in range(0, len(body), _PIECE):
        end = start + _PIECE
        more = message.get("more_body", False) or end < len(body)
        yield {**message, "body": body[start:end], "more_body": more}


def _late(is_whole: bool) -> Refused:
    message = "The request took longer than the server allows."
    if is_whole:
        return Refused(503, "timeout", message, "Ask for less, or try again.", _RETRY)
    close = {"Connection": "close"}
    return Refused(408, "body_timeout", message, "Send the body faster.", close)


def token_matches(given: str, token: str) -> bool:
    """Whether they are equal, in a time that tells nothing of where they differ."""
    digests = (hashlib.sha256(text.encode("utf-8", "replace")).digest() for text in (given, token))
    return hmac.compare_digest(*digests)


def _path(scope: Scope) -> str:
    """The path below where the application is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")) or "/"


def peer_of_scope(scope: Scope) -> str:
    """Whose request it is, as far as the connection tells."""
    client = scope.get("client")
    return peer_of(client[0]) if client else ""


def _read_token(headers: Headers) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return None
    return token.strip().encode("latin-1").decode("utf-8", "replace")


def read_session(headers: Headers) -> str | None:
    """The session that a browser sends along."""
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return None
    return cookies[COOKIE].value if COOKIE in cookies else None


def _is_known_host(host: str, known: tuple[str, ...]) -> bool:
    if "*" in known:
        return True
    found = _HOST.fullmatch(host.lower())
    if found is None:
        return False
    name = found[1].strip("[]")
    if "ip" in known:
        try:
            ipaddress.ip_address(name)
            return True  # an address cannot be made to lead elsewhere
        except ValueError:
            pass
    return name in known


def _with_headers(send: Send, path: str) -> Send:
    """Tell browsers what they may do with an answer."""

    async def send_headers(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "no-referrer"
            headers["Cross-Origin-Resource-Policy"] = "same-origin"
            headers["Cross-Origin-Opener-Policy"] = "same-origin"
            headers.setdefault("Content-Security-Policy", _POLICIES.get(path, _POLICY))
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return send_headers
