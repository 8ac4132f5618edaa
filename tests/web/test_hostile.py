"""A real ``parecido serve`` and clients that mean it no good.

After each, the server still answers, and nothing outside the library was told.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import struct
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from parecido.indexer.indexing.pipeline import index
from parecido.indexer.library.library import Library
from tests.support.fakes import fake_encoder, save_picture, save_pictures
from tests.support.harness import check_sound
from tests.support.live import Answer, Connection, Server, request, started
from tests.support.serving import picture_bytes
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")

SCRIPT = "<img src=x onerror=alert(1)>.jpg"
REQUESTS = 10_000


def make_library(folder: Path) -> Path:
    save_pictures(folder / "pictures", 8)
    save_picture(folder / "pictures" / SCRIPT, 8)
    (folder / "pictures" / "etc").symlink_to("/etc")
    with Library.create(folder / "library") as library:
        index(library, [folder / "pictures"], encoder=fake_encoder())
    return folder


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = make_library(tmp_path_factory.mktemp("hostile"))
    limits = ["--max-upload-megabytes", "2", "--max-megapixels", "2"]
    with started(folder, *limits, "--allow-index", str(folder / "pictures")) as server:
        yield server


@pytest.fixture
def server(shared: Server) -> Iterator[Server]:
    """The server, which is well after each test."""
    yield shared
    shared.assert_well()


# -- bodies ----------------------------------------------------------------------------------------


def _png(width: int, height: int, data: bytes, *more: tuple[bytes, bytes]) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), *more, (b"IDAT", data), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _bombs() -> dict[str, bytes]:
    zeros = zlib.compress(bytes(1 << 28), 1)
    gif = b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0) + bytes(6)
    gif += b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02\x4c\x01\x00;"
    return {
        "large": _png(50_000, 50_000, zeros),
        "larger than it says": _png(100, 100, zeros),
        "profile": _png(100, 100, zlib.compress(bytes(30_100)), (b"iCCP", b"x\0\0" + zeros)),
        "text": _png(100, 100, zlib.compress(bytes(30_100)), (b"zTXt", b"x\0\0" + zeros)),
        "gif": gif,
        "ppm": b"P6 99999 99999 255\n" + bytes(1000),
        "most": _png(2**31 - 1, 2**31 - 1, b""),
    }


def test_decompression_bombs_do_no_harm(server: Server) -> None:
    before = server.peak_bytes()
    for name, bomb in _bombs().items():
        for path in ("/v1/search", "/v1/labels", "/v1/pictures", "/v1/search?region=0,0,1,1"):
            answer = server.ask("POST", path, bomb)
            if name in ("large", "gif", "ppm", "most"):
                assert answer.status in (413, 422), (name, answer)
            else:  # what can be read of them may be taken for a picture
                assert answer.status in (200, 201, 202, 413, 422), (name, answer)
    packed = request("POST", "/v1/search", zlib.compress(bytes(1 << 28), 1))
    gzipped = server.try_raw(packed.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n", 1))
    assert gzipped is not None
    assert gzipped.status == 422
    assert server.peak_bytes() - before < 300e6


@pytest.mark.parametrize("kind", ["image/png", "multipart/form-data; boundary=x"])
@pytest.mark.parametrize("path", ["/v1/search", "/v1/pictures", "/v1/search/batch", "/session"])
def test_bodies_that_end_too_soon_are_left(server: Server, path: str, kind: str) -> None:
    before = sorted((server.folder / "library").glob("uploads/*/*"))
    whole = request("POST", path, picture_bytes(5), kind)
    for most in (len(whole) - 1, len(whole) - 60, len(whole) - len(picture_bytes(5))):
        answer = server.try_raw(whole[:most])
        assert answer is None or 400 <= answer.status < 500
    assert sorted((server.folder / "library").glob("uploads/*/*")) == before


def test_bodies_that_do_not_come_are_not_waited_for(tmp_path: Path) -> None:
    whole = request("POST", "/v1/search", picture_bytes(5))
    limit = ("--timeout", "1")
    with started(make_library(tmp_path), *limit) as server, ThreadPoolExecutor(8) as pool:

        def slowly(cut: int) -> Answer | None:
            with Connection(server.port) as connection:
                connection.send(whole[:-cut])
                answer = connection.answer()
                assert connection.answer() is None  # it is closed
                return answer

        for answer in pool.map(slowly, range(1, 9)):
            assert answer is not None
            assert answer.status == 408
            assert json.loads(answer.body)["error"]["code"] == "body_timeout"
        # it goes on, as fast as the machine lets it
        until(lambda: server.ask("POST", "/v1/search", picture_bytes(3)).status == 200)
        assert server.process.poll() is None
        assert "Traceback" not in server.log.read_text()


def test_idle_connections_keep_nobody_out(server: Server) -> None:
    idle = [Connection(server.port) for _ in range(200)]
    for number, connection in enumerate(idle):
        connection.send(b"GET /v1/info HTTP/1.1\r\nHost: localhost\r\nX: "[: number % 50])
    server.assert_well()
    for connection in idle:
        connection.close()


@pytest.mark.parametrize(
    "chunks",
    [
        *(b"5\r\nhello\r\n0\r\n\r\n", b"xyz\r\nhello\r\n", b"-5\r\nhello\r\n0\r\n\r\n"),
        *(b"FFFFFFFFFFFFFFFFFF\r\nx", b"5;" + b"x" * 70_000 + b"\r\nhello\r\n0\r\n\r\n"),
        b"10000\r\n" + b"x" * 0x10000 + b"\r\n0\r\n\r\n",
    ],
)
def test_chunked_bodies_of_any_kind_are_survived(server: Server, chunks: bytes) -> None:
    head = b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    answer = server.try_raw(head + b"Content-Type: image/png\r\n\r\n" + chunks)
    assert answer is None or 400 <= answer.status < 500
    too_much = b"".join(b"10000\r\n" + b"x" * 0x10000 + b"\r\n" for _ in range(64))
    answer = server.try_raw(head + b"\r\n" + too_much)
    assert answer is None or answer.status == 413


# -- paths -----------------------------------------------------------------------------------------

_PREFIXES = (
    *("/", "/static/", "/v1/pictures/", "/v1/pictures/1/original/", "/v1/jobs/", "/docs/"),
    *("//", "/v1/", "POST /v1/index"),
)
_DOTS = (
    *("../", "..%2f", "%2e%2e/", "%2e%2e%2f", "%252e%252e%252f", "..%5c", "....//", "..;/", "etc/"),
    *("%c0%ae%c0%ae/", "..%00/", "%uff0e%uff0e/", "%ef%bc%8e%ef%bc%8e/", "%ff%fe/", "/", "./../"),
)
_TARGETS = (
    *("etc/passwd", "etc/passwd%00.jpg", "%2fetc%2fpasswd", "proc/self/environ", "guard.py"),
    *("etc%5cpasswd", "library/catalogue.sqlite", "etc/passwd/", "%00", "x" * 5000),
)


def _paths() -> Iterator[bytes]:
    """Requests for what lies elsewhere, ten thousand of them."""
    everything = itertools.product(range(1, 9), _PREFIXES, _DOTS, _TARGETS)
    for depth, prefix, dots, target in itertools.islice(everything, REQUESTS):
        path = dots * depth + target
        if prefix.startswith("POST"):
            inside = "ROOT/" if depth % 2 else "/"
            body = json.dumps({"path": inside + path.replace("%2f", "/").replace("%00", "\0")})
            yield body.encode()
        else:
            yield f"GET {prefix}{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def test_ten_thousand_paths_lead_nowhere(server: Server) -> None:
    root = str(server.folder / "pictures").encode()
    everything = [
        data
        if data.startswith(b"GET")
        else request("POST", "/v1/index", data.replace(b"ROOT", root), "application/json")
        for data in _paths()
    ]
    assert len(everything) == REQUESTS

    def ask(part: list[bytes]) -> list[tuple[bytes, Answer | None]]:
        told = []
        with Connection(server.port) as connection:
            for start in range(0, len(part), 20):
                pack = part[start : start + 20]
                connection.send(b"".join(pack))
                told += [(data, connection.answer()) for data in pack]
        return told

    with ThreadPoolExecutor(4) as pool:
        for told in pool.map(ask, [everything[n::4] for n in range(4)]):
            for data, answer in told:
                assert answer is not None, data
                assert answer.status in (400, 403, 404), (data, answer)
                assert answer.headers["content-type"] == "application/json"
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert json.loads(answer.body)["error"]["code"]
    jobs = json.loads(server.ask("GET", "/v1/jobs").body)["jobs"]
    assert [job for job in jobs if job["kind"] == "index"] == []


@pytest.mark.parametrize(
    "path",
    [
        *(b"/\xff\xfe", b"/static/\xc0\xae\xc0\xae/x", b"http://evil.example/v1/info", b"*"),
        *(b"/" + b"x" * 200_000, b"/v1/pictures?path=" + b"%00" * 10_000, b"/\t", b"\\etc\\passwd"),
        *(b"/v1/pictures?" + b"k=1&" * 20_000, b"/v1/info#../../etc/passwd", b"/?a=b\0c", b""),
    ],
)
def test_odd_targets_are_survived(server: Server, path: bytes) -> None:
    answer = server.try_raw(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer is None or answer.status in (200, 400, 404, 414, 431)


@pytest.mark.parametrize(
    "data",
    [
        *(b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: localhost\r\n\r\n"),
        *(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", b"GET /\r\n"),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        *(
            b"GET / HTTP/1.1\r\nHost: local\0host\r\n\r\n",
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        ),
        *(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
            b"\0" * 99,
        ),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n folded: yes\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n"
        b"Content-Length: 2\r\n\r\nxx",
        b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        b"GET /v1/info HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b'GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://[\r\nCookie: \xff"\\777;=\r\n\r\n',
        b"GET /v1/pictures/1/original HTTP/1.1\r\nHost: localhost\r\nRange: bytes="
        + b"0-," * 5000
        + b"0-\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    ],
)
def test_odd_heads_are_survived(server: Server, data: bytes) -> None:
    answer = server.try_raw(data)
    assert answer is None or answer.status < 500


# -- names -----------------------------------------------------------------------------------------


def test_a_script_in_a_name_is_only_a_name(server: Server) -> None:
    listed = server.ask("GET", "/v1/pictures?limit=200")
    assert listed.headers["content-type"] == "application/json"
    (told,) = [p for p in json.loads(listed.body)["pictures"] if p["name"] == SCRIPT]
    for query in ("", "?download=1"):
        original = server.ask("GET", f"/v1/pictures/{told['id']}/original{query}")
        assert original.headers["content-type"] == "image/jpeg"
        assert original.headers["x-content-type-options"] == "nosniff"
        assert "<" not in original.headers["content-disposition"]
    form = (
        (b'--x\r\nContent-Disposition: form-data; name="image"; filename="' + SCRIPT.encode())
        + b'"\r\nContent-Type: text/html\r\n\r\n'
        + picture_bytes(1)
        + b"\r\n--x--\r\n"
    )
    found = server.ask("POST", "/v1/search", form, "multipart/form-data; boundary=x")
    assert found.headers["content-type"] == "application/json"
    assert json.loads(found.body)["query"] == SCRIPT
    missing = server.ask("GET", "/<script>alert(1)</script>")
    assert (missing.status, missing.headers["content-type"]) == (404, "application/json")


# -- the end ---------------------------------------------------------------------------------------


def _wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)]
)
def test_a_signal_lets_what_runs_finish(tmp_path: Path, number: int, code: int) -> None:
    folder, gate = make_library(tmp_path), tmp_path / "gate"
    reached = Path(f"{gate}.reached")
    gate.touch()
    with started(folder, gate=gate) as server:
        gate.unlink()
        reached.unlink()
        with Connection(server.port) as connection:
            connection.send(request("POST", "/v1/search?k=3", picture_bytes(5)))
            _wait_for(reached)
            server.process.send_signal(number)
            while server.listens():  # nobody new is let in
                time.sleep(0.01)
            assert server.process.poll() is None
            gate.touch()
            answer = connection.answer()
        assert answer is not None
        assert (answer.status, len(json.loads(answer.body)["hits"])) == (200, 3)
        assert server.process.wait(PATIENCE) == code
        assert "Traceback" not in server.log.read_text()
    assert len(check_sound(folder / "library")) == 9


def test_a_killed_server_starts_again_with_all_it_had(tmp_path: Path) -> None:
    folder = make_library(tmp_path)
    with started(folder) as server:
        added = json.loads(server.ask("POST", "/v1/pictures?name=a.png", picture_bytes(50)).body)
        thumbnail = server.ask("GET", "/v1/pictures/1/thumbnail").body
        with Connection(server.port) as connection:
            connection.send(request("POST", "/v1/pictures", picture_bytes(51))[:-10])
            server.process.kill()
            assert server.process.wait(PATIENCE) == -signal.SIGKILL
    assert len(check_sound(folder / "library")) == 10
    with started(folder) as server:
        server.assert_well()
        told = json.loads(server.ask("GET", f"/v1/pictures/{added['id']}").body)
        assert told == added
        assert server.ask("GET", "/v1/pictures/1/thumbnail").body == thumbnail
        assert json.loads(server.ask("GET", "/v1/info").body)["pictures"] == 10
