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
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from parecido.indexer.errors import ParecidoError
from parecido.search.web.errors import Refused, error_response, report_defect
from parecido.search.web.settings import Settings

__all__ = ["COOKIE", "Guard", "session_of", "token_matches"]

COOKIE = "parecido_session"

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::[0-9]*)?")
_RETRY = {"Retry-After": "1"}
_ANSWERING = 10  # times the limit is what a client may take to read an answer
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


class Guard:
    """ASGI middleware that refuses what must not reach the routes."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._busy = 0

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
            self._check(scope, path)
            if self._busy >= self._settings.concurrent and path not in _ALWAYS:
                raise Refused(503, "busy", "Too many requests at once.", "Try again.", _RETRY)
            self._busy += 1
            try:
                await self._run_within_limits(scope, receive, note_begin)
            finally:
                self._busy -= 1
        except Exception as error:
            if is_begun:
                raise
            await self._refusal(scope, error)(scope, receive, send_headers)

    def _refusal(self, scope: Scope, error: Exception) -> Response:
        if not isinstance(error, ParecidoError):
            error = report_defect(error, f"{scope['method']} {scope['path']}")
        response = error_response(error)
        origin = Headers(scope=scope).get("origin")
        if origin in self._settings.origins:  # their pages are to know why
            response.headers["Access-Control-Allow-Origin"] = origin or ""
            response.headers["Vary"] = "Origin"
        return response

    def _check(self, scope: Scope, path: str) -> None:
        """Raise for a request that must not be answered."""
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
        is_open = path in _OPEN or path.startswith(_OPEN_BELOW)
        # browsers ask without a token whether they may send one
        is_preflight = scope["method"] == "OPTIONS" and origin in self._settings.origins
        if self._settings.token is not None and not is_open and not is_preflight:
            given, expected = _read_token(headers), self._settings.token
            if given is None:
                given, expected = _read_session(headers), session_of(expected)
            if given is None or not token_matches(given, expected):
                raise Refused(
                    401,
                    "token_missing" if given is None else "token_wrong",
                    "This server answers only with its token.",
                    "Send it: Authorization: Bearer TOKEN.",
                    {"WWW-Authenticate": "Bearer"},
                )
        length = headers.get("content-length", "0")
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

    async def _run_within_limits(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application, with limits on the time and on the bytes that come."""
        came, is_whole, is_begun, is_too_large = 0, False, False, False

        async def receive_counting() -> Message:
            nonlocal came, is_whole, is_too_large
            message = await receive()
            if message["type"] == "http.request":
                came += len(message.get("body", b""))
                is_whole = not message.get("more_body", False)
                if came > self._settings.upload_bytes:  # it had told no length
                    is_too_large = True
                    raise self._too_large()
            return message

        async def send_in_time(message: Message) -> None:
            nonlocal is_begun
            if not is_begun and is_too_large:
                return  # whatever the framework makes of it
            if not is_begun:  # a large file over a slow line takes its time
                now = asyncio.get_running_loop().time()
                limit.reschedule(now + _ANSWERING * self._settings.seconds)
            is_begun = True
            await send(message)

        try:
            async with asyncio.timeout(self._settings.seconds) as limit:
                await self._app(scope, receive_counting, send_in_time)
        except TimeoutError:
            raise _late(is_whole) from None
        if is_too_large and not is_begun:
            raise self._too_large()


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


def session_of(token: str) -> str:
    """What a browser keeps in the token's place; whoever finds it cannot tell the token."""
    return hashlib.sha256(b"parecido session: " + token.encode("utf-8", "replace")).hexdigest()


def _read_token(headers: Headers) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return None
    return token.strip().encode("latin-1").decode("utf-8", "replace")


def _read_session(headers: Headers) -> str | None:
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
