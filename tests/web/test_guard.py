"""Who may call a server, how much at once and for how long, and what browsers are told."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from parecido.indexer.library.library import Library
from parecido.search.web import app as web_app
from parecido.search.web.guard import COOKIE
from parecido.web import Settings, create_app
from tests.support.harness import run_parecido
from tests.support.serving import PNG, Client, picture_bytes, refused, running, serving, use_fakes

TOKEN = "open sesame; ключ"
BEARER = {"Authorization": f"Bearer {TOKEN}".encode()}
FRIEND = "https://photos.example"
OPEN = ("/", "/static/style.css", "/healthz", "/docs", "/openapi.json", "/static/swagger-ui.css")
POLICY = {
    *("default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' blob: data:"),
    *("connect-src 'self'", "manifest-src 'self'", "base-uri 'none'", "form-action 'none'"),
    "frame-ancestors 'none'",
}


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fakes(monkeypatch)


@pytest.fixture
def client(indexed: Library) -> Iterator[Client]:
    with serving(indexed.folder) as client:
        yield client


@pytest.fixture
def locked(indexed: Library) -> Iterator[Client]:
    """A server with a token, whose API pages of a friend may use."""
    with serving(indexed.folder, Settings(token=TOKEN, origins=(FRIEND,))) as client:
        yield client


def _get(client: Client, path: str, **headers: str | bytes) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.ask("GET", path, headers=named)


# -- names and origins -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:8000", "[::1]:80"],
)
def test_a_server_answers_to_its_own_names(client: Client, host: str) -> None:
    assert _get(client, "/v1/info", host=host).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8000", "localhost.evil.example", "evil.example#localhost"),
        *("", ":8000", "127.0.0.1.evil.example", "[", "[::1", "0.0.0.0", "192.168.0.1", "::1"),
        *("localhost,evil.example", "localhost/../evil.example", "evil\\@localhost:x", "\xe9"),
    ],
)
def test_other_names_are_refused_even_for_the_open_paths(client: Client, host: str) -> None:
    for path in ("/v1/info", "/", "/healthz"):
        response = client.ask("GET", path, headers={"Host": host.encode("latin-1")})
        refused(response, 421, "wrong_host")


def test_names_that_the_operator_allows_are_answered(indexed: Library) -> None:
    with serving(indexed.folder, Settings(hosts=("photos.example",))) as client:
        assert _get(client, "/v1/info", host="Photos.example:443").status_code == 200
        refused(_get(client, "/v1/info", host="localhost"), 421)
    with serving(indexed.folder, Settings(hosts=("ip",))) as client:
        for host in ("192.168.0.1:8000", "[fe80::1]"):
            assert _get(client, "/v1/info", host=host).status_code == 200
        refused(_get(client, "/v1/info", host="evil.example"), 421)
    with serving(indexed.folder, Settings(hosts=("*",))) as client:
        assert _get(client, "/v1/info", host="anything").status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        *("https://evil.example", "null", "", "http://localhost:9999", "http://localhost"),
        *("http://[", "http://[::1", "//localhost:8000", "http://localhost:8000.evil.example"),
        *("file://", "http://localhost:8000@evil.example", FRIEND),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_pages_of_other_sites_are_refused(client: Client, origin: str, method: str) -> None:
    response = client.ask(method, "/v1/pictures/1", headers={"Origin": origin})
    refused(response, 403, "foreign_origin")
    assert "access-control-allow-origin" not in response.headers
    assert client.read("/v1/info")["pictures"] == 20


@pytest.mark.parametrize("origin", ["http://localhost:8000", "https://localhost:8000"])
def test_the_servers_own_page_is_answered(client: Client, origin: str) -> None:
    response = client.ask("DELETE", "/v1/pictures/1", headers={"Origin": origin})
    assert response.status_code == 204


def test_pages_of_an_allowed_site_may_use_the_api(locked: Client) -> None:
    asked = {
        "Origin": FRIEND,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    preflight = locked.ask("OPTIONS", "/v1/search", headers=asked)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == FRIEND
    assert "POST" in preflight.headers["access-control-allow-methods"]
    allowed = preflight.headers["access-control-allow-headers"].lower()
    assert {"authorization", "content-type"} <= set(re.split(", *", allowed))
    headers = {"Origin": FRIEND, **BEARER, **PNG}
    found = locked.ask("POST", "/v1/search", content=picture_bytes(1), headers=headers)
    assert found.status_code == 200
    assert found.headers["access-control-allow-origin"] == FRIEND
    # the page can read why it is refused
    response = locked.ask("GET", "/v1/info", headers={"Origin": FRIEND})
    refused(response, 401, "token_missing")
    assert response.headers["access-control-allow-origin"] == FRIEND
    stranger = {**asked, "Origin": "https://evil.example"}
    response = locked.ask("OPTIONS", "/v1/search", headers=stranger)
    assert response.status_code in (400, 403)
    assert "access-control-allow-origin" not in response.headers


# -- the token -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "code"),
    [
        *(("", "token_missing"), ("Bearer", "token_missing"), ("Bearer ", "token_missing")),
        *((f"Basic {TOKEN}", "token_missing"), (TOKEN, "token_missing")),
        *(("Bearer wrong", "token_wrong"), (f"Bearer {TOKEN}x", "token_wrong")),
        *((f"Bearer {TOKEN.upper()}", "token_wrong"), ("Bearer \xff", "token_wrong")),
    ],
)
def test_without_the_token_nothing_of_the_library_is_told(
    locked: Client, given: str, code: str
) -> None:
    for method, path in (
        *(("GET", "/v1/info"), ("GET", "/v1/pictures/1/original"), ("GET", "/metrics")),
        *(("POST", "/v1/search"), ("DELETE", "/v1/pictures/1"), ("GET", "/v1/nothing")),
        *(("GET", "//v1/info"), ("GET", "/static/../v1/info"), ("OPTIONS", "/v1/info")),
    ):
        response = locked.ask(method, path, headers={"Authorization": given.encode()})
        if "static" not in path:  # which is below the open ones, and leads nowhere
            refused(response, 401, code)
            assert response.headers["www-authenticate"] == "Bearer"
        assert "pictures" not in response.text
    assert locked.ask("GET", "/v1/info", headers=BEARER).json()["pictures"] == 20
    lower = {"Authorization": f"bearer  {TOKEN} ".encode()}
    assert locked.ask("GET", "/v1/info", headers=lower).status_code == 200


@pytest.mark.parametrize("path", OPEN)
def test_what_shows_nothing_of_the_library_needs_no_token(locked: Client, path: str) -> None:
    assert locked.get(path).status_code == 200


def test_a_browser_is_let_in_and_out_by_a_cookie(locked: Client) -> None:
    wrong = locked.ask("POST", "/session", json={"token": "wrong"})
    refused(wrong, 401, "token_wrong")
    assert "set-cookie" not in wrong.headers
    for body in ({}, {"token": ""}, {"token": 3}, {"token": TOKEN, "name": "x"}):
        refused(locked.ask("POST", "/session", json=body), 400, "invalid_request")
    response = locked.ask("POST", "/session", json={"token": TOKEN})
    assert (response.status_code, response.content) == (204, b"")
    cookie = response.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= parts
    assert "sesame" not in cookie  # what lies on the browser's disk is not the token itself
    assert locked.get("/v1/info").status_code == 200
    assert locked.ask("DELETE", "/session").status_code == 204
    refused(locked.get("/v1/info"), 401, "token_missing")


@pytest.mark.parametrize(
    "cookie", [f"{COOKIE}=wrong", f"{COOKIE}=", f"{COOKIE}", "other=1", '"', f'{COOKIE}="\\777"']
)
def test_other_cookies_open_nothing(locked: Client, cookie: str) -> None:
    refused(_get(locked, "/v1/info", cookie=cookie), 401)


@pytest.mark.parametrize("token", ["any", "ключ", "a;b\r\nSet-Cookie: x=1", "\0", "é" * 1000])
def test_without_a_token_any_session_will_do(client: Client, token: str) -> None:
    response = client.ask("POST", "/session", json={"token": token})
    assert response.status_code == 204
    assert client.get("/v1/info").status_code == 200


# -- what browsers are told ------------------------------------------------------------------------


def test_every_answer_has_the_headers_that_keep_browsers_safe(
    indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("a secret")

    app = create_app(indexed.folder, Settings(upload_bytes=2000, origins=(FRIEND,)))
    app.add_api_route("/fail", fail)
    with running(app, raises=False) as client:
        asked = {"Origin": FRIEND, "Access-Control-Request-Method": "GET"}
        answers = [
            *(client.get(path) for path in (*OPEN, "/readyz", "/metrics", "/v1/info", "/v1/none")),
            *(client.get(f"/v1/pictures/1{path}") for path in ("/thumbnail", "/original")),
            *(client.get("/v1/pictures/x"), client.ask("PATCH", "/v1/info"), client.get("/fail")),
            client.send("/v1/search", b"x" * 2001),
            client.send("/v1/search", picture_bytes(1)),
            client.ask("GET", "/v1/info", headers={"Host": "evil.example"}),
            client.ask("GET", "/v1/info", headers={"Origin": "https://evil.example"}),
            client.ask("OPTIONS", "/v1/info", headers=asked),
            client.ask("GET", "/v1/pictures/1/original", headers={"Range": "bytes=0-3"}),
            client.ask("POST", "/session", json={"token": "any"}),
            client.ask("GET", "/v1/info/"),
        ]
        statuses = {answer.status_code for answer in answers}
        assert {200, 204, 206, 400, 403, 404, 405, 413, 421, 500} <= statuses
        for answer in answers:
            told = f"{answer.request.method} {answer.request.url} {answer.status_code}"
            assert answer.headers["x-content-type-options"] == "nosniff", told
            assert answer.headers["referrer-policy"] == "no-referrer", told
            assert answer.headers["cross-origin-resource-policy"] == "same-origin", told
            assert answer.headers["cache-control"], told
            policy = set(answer.headers["content-security-policy"].split("; "))
            if answer.request.url.path == "/docs":  # Swagger UI writes its own styles
                assert policy - POLICY == {"style-src 'self' 'unsafe-inline'"}
            elif "img-src 'self'" in policy:  # the browser's own picture viewer writes some, too
                assert answer.headers["content-type"].startswith("image/"), told
                assert policy - POLICY == {"img-src 'self'", "style-src 'unsafe-inline'"}
                assert "frame-ancestors 'none'" in policy
            else:
                assert policy == POLICY, told
            if answer.status_code >= 400:
                refused(answer, answer.status_code)
                assert "secret" not in answer.text
        assert client.get("/v1/info").headers["cache-control"] == "no-store"
        assert client.get("/").headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    "name",
    ["..%2findex.html", "../app.py", "%2e%2e/app.py", "", ".", "app.py", "index.html%00", "x"],
)
def test_only_the_pages_files_are_static(client: Client, name: str) -> None:
    response = client.get(f"/static/{name}")
    refused(response, 404)


def test_mounted_below_a_prefix_everything_stays_there(indexed: Library) -> None:
    inner = create_app(indexed.folder, Settings(token=TOKEN))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with web_app.running(inner):
            yield

    outer = FastAPI(lifespan=lifespan)
    outer.mount("/gallery", inner)
    with running(outer) as client:
        for path in OPEN:
            assert client.get(f"/gallery{path}").status_code == 200
        refused(client.get("/gallery/v1/info"), 401)
        session = client.ask("POST", "/gallery/session", json={"token": TOKEN})
        assert "Path=/gallery" in session.headers["set-cookie"]
        assert client.get("/gallery/v1/info").status_code == 200
        added = client.send("/gallery/v1/pictures", picture_bytes(50))
        assert added.headers["location"] == f"/gallery/v1/pictures/{added.json()['id']}"
        assert client.read(added.headers["location"]) == added.json()


# -- the command -----------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.org", ""])
def test_other_addresses_than_loopback_need_a_token(tmp_path: Path, host: str) -> None:
    done = run_parecido("serve", "--host", host, "--port", 0, "--library", tmp_path / "library")
    assert done.returncode == 2
    assert "PARECIDO_TOKEN" in done.stderr
    assert not (tmp_path / "library").exists()


def test_an_address_that_cannot_be_listened_on_is_told(tmp_path: Path) -> None:
    library = tmp_path / "library"
    done = run_parecido("serve", "--host", "192.0.2.1", "--insecure", "--library", library)
    assert done.returncode == 1
    assert "Cannot listen on 192.0.2.1" in done.stderr
