"""Who calls a server: connections and heads on real sockets, turns, guesses, sessions."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from parecido.indexer.indexing.pipeline import index
from parecido.indexer.library.library import Library
from parecido.search.web.callers.connections import Bounds
from parecido.search.web.callers.guesses import Guesses
from parecido.search.web.callers.places import Place, Places, is_local, peer_of
from parecido.search.web.callers.sessions import Sessions
from parecido.search.web.errors import Refused
from parecido.web import Settings
from tests.support.fakes import fake_encoder, save_pictures
from tests.support.live import Answer, Connection, Server, request, started
from tests.support.serving import PNG, exchange, picture_bytes, refused, serving, use_fakes
from tests.support.waiting import PATIENCE, until

live = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
TOKEN = "open sesame"
HEAD = b"GET /v1/info HTTP/1.1\r\nHost: localhost\r\n"


def _make_library(folder: Path) -> Path:
    save_pictures(folder / "pictures", 8)
    with Library.create(folder / "library") as library:
        index(library, [folder / "pictures"], encoder=fake_encoder())
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = _make_library(tmp_path_factory.mktemp("callers"))
    with started(folder, "--max-connections", "20") as server:
        yield server


def _error(answer: Answer | None, status: int) -> str:
    assert answer is not None
    assert answer.status == status, answer
    code: str = json.loads(answer.body)["error"]["code"]
    return code


# -- heads -----------------------------------------------------------------------------------------


@live
@pytest.mark.parametrize(
    "line", [b"X: y\r\n", b"X" * 1000, b"X: " + b"y" * 1000 + b"\r\n", b"\r\n X: y"]
)
def test_a_head_without_end_is_refused_while_it_comes(server: Server, line: bytes) -> None:
    before = server.peak_bytes()
    piece = line * (1 + 65536 // len(line))
    sent = 0
    with Connection(server.port) as connection:
        try:
            connection.send(HEAD)
            while sent < 200_000_000:
                connection.send(piece)
                sent += len(piece)
        except OSError:
            pass
    assert sent < 100_000_000  # it was not listened to
    assert server.peak_bytes() - before < 30e6
    server.assert_well()


@live
def test_a_head_that_is_too_long_is_told_so(server: Server) -> None:
    for more in (b"X: " + b"y" * 40_000, b"\r\n".join([b"X: y"] * 101)):
        with Connection(server.port) as connection:
            connection.send(HEAD + more + b"\r\n\r\n")
            assert _error(connection.answer(), 431) == "head_too_large"
            assert connection.answer() is None
    with Connection(server.port) as connection:
        connection.send(HEAD + b"X: " + b"y" * 20_000 + b"\r\n\r\n")
        answer = connection.answer()
    assert answer is not None
    assert answer.status == 200


@live
def test_lines_behind_a_body_count_as_its_head(server: Server) -> None:
    before = server.peak_bytes()
    head = b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with Connection(server.port) as connection:
        try:
            connection.send(head + b"5\r\nhello\r\n0\r\n")
            for _ in range(1000):
                connection.send(b"X: y\r\n" * 20_000)
        except OSError:
            pass
    assert server.peak_bytes() - before < 30e6
    server.assert_well()


@live
def test_what_is_no_request_is_told_in_the_shape_of_all_errors(server: Server) -> None:
    with Connection(server.port) as connection:
        connection.send(b"\x16\x03\x01 hello\r\n\r\n")
        answer = connection.answer()
    assert _error(answer, 400) == "invalid_request"
    assert "Invalid HTTP" not in server.log.read_text()


@live
def test_requests_far_ahead_of_their_answers_are_not_kept(server: Server) -> None:
    before = server.peak_bytes()
    with Connection(server.port) as connection:
        try:
            for _ in range(100):
                connection.send((HEAD + b"\r\n") * 5000)
        except OSError:
            pass
    assert server.peak_bytes() - before < 50e6
    server.assert_well()


# -- connections -----------------------------------------------------------------------------------


@live
def test_connections_that_ask_nothing_go_for_those_that_ask(server: Server) -> None:
    opened = [Connection(server.port) for _ in range(60)]
    for number, connection in enumerate(opened):
        try:
            connection.send(HEAD[: number % len(HEAD)])
        except OSError:
            continue
    for _ in range(5):
        server.assert_well()
    gone = 0
    for connection in opened[:40]:
        with connection:
            gone += connection.answer() is None
    assert gone == 40
    for connection in opened[40:]:
        connection.close()


@live
def test_a_connection_that_is_worked_on_keeps_its_place(tmp_path: Path) -> None:
    folder, gate = _make_library(tmp_path), tmp_path / "gate"
    reached = Path(f"{gate}.reached")
    gate.touch()
    with started(folder, "--max-connections", "4", gate=gate) as server:
        gate.unlink()
        reached.unlink()
        with Connection(server.port) as working:
            working.send(request("POST", "/v1/search?k=3", picture_bytes(5)))
            until(reached.exists)
            others = [Connection(server.port) for _ in range(30)]
            assert server.ask("GET", "/healthz").status == 200
            gate.touch()
            answer = working.answer()
        for other in others:
            other.close()
    assert answer is not None
    assert answer.status == 200


@live
def test_an_address_has_so_many_connections(tmp_path: Path) -> None:
    folder, gate = _make_library(tmp_path), tmp_path / "gate"
    reached = Path(f"{gate}.reached")
    gate.touch()
    with started(folder, "--max-connections-per-address", "2", gate=gate) as server:
        gate.unlink()
        reached.unlink()
        busy = [Connection(server.port) for _ in range(2)]
        for number, one in enumerate(busy):
            one.send(request("POST", "/v1/search?k=3", picture_bytes(number)))
        until(reached.exists)
        until(lambda: len(_refusals(server)) > 0)
        gate.touch()
        assert [one.answer().status for one in busy] == [200, 200]  # type: ignore[union-attr]
        for one in busy:
            one.close()


def _refusals(server: Server) -> list[str]:
    """Why a connection that comes now is refused, if it is."""
    with Connection(server.port) as connection:
        connection.send(HEAD.replace(b"/v1/info", b"/healthz") + b"\r\n")
        answer = connection.answer()
    return [_error(answer, 503)] if answer is not None and answer.status == 503 else []


def test_only_this_machine_has_any_number_of_connections() -> None:
    bounds = Bounds(connections=1000)
    assert (bounds.most_of("127.0.0.1"), bounds.most_of("::1")) == (1000, 1000)
    assert bounds.most_of("192.0.2.1") == 128
    assert Bounds(of_peer=5).most_of("127.0.0.1") == 5
    assert Bounds(connections=7, of_peer=0).most_of("192.0.2.1") == 7


@pytest.mark.parametrize(
    ("host", "peer", "local"),
    [
        *(("127.0.0.1", "127.0.0.1", True), ("192.0.2.7", "192.0.2.7", False)),
        *(("2001:db8::1:2:3:4", "2001:db8::/64", False), ("::1", "::/64", True)),
        *(("::ffff:192.0.2.7", "192.0.2.7", False), ("::ffff:127.0.0.1", "127.0.0.1", True)),
        *(("fe80::1%eth0", "fe80::/64", False), ("testclient", "testclient", False)),
    ],
)
def test_a_peer_is_an_address_or_a_households_network(host: str, peer: str, local: bool) -> None:
    assert (peer_of(host), is_local(host)) == (peer, local)


# -- turns -----------------------------------------------------------------------------------------


def test_whoever_has_most_gives_up_what_he_has_had_for_longest() -> None:
    gone: list[str] = []

    def place(peer: str, name: str) -> Place:
        return Place(peer, lambda: gone.append(name))

    places = Places(3, 100)
    given = [place(peer, name) for peer, name in (("b", "b1"), ("a", "a1"), ("a", "a2"))]
    for one in given:
        places.take(one)
    places.take(place("c", "c1"))
    assert gone == ["a1"]
    places.add(given[2], 60)
    places.add(given[0], 30)
    assert gone == ["a1"]
    places.add(given[0], 20)
    assert gone == ["a1", "a2"]
    places.add(given[0], 51)
    assert gone == ["a1", "a2", "b1"]  # its own
    assert len(places) == 1


def test_bytes_that_are_worked_on_count_and_are_not_taken_away() -> None:
    gone: list[str] = []
    places = Places(9, 100)
    working = Place("a", lambda: gone.append("working"))
    coming = Place("b", lambda: gone.append("coming"))
    places.take(working)
    places.add(working, 90)
    places.settle(working)
    places.take(coming)
    places.add(coming, 20)
    assert gone == ["coming"]
    places.leave(working)
    places.take(coming)
    assert gone == ["coming"]


@live
def test_bodies_that_do_not_end_keep_nobody_from_an_answer(tmp_path: Path) -> None:
    with started(_make_library(tmp_path), "--max-concurrent", "4") as server:
        slow = [Connection(server.port) for _ in range(30)]
        for connection in slow:
            connection.send(request("POST", "/v1/search", picture_bytes(5))[:-10])
        for _ in range(10):
            server.assert_well()
        for connection in slow[:26]:  # they had to go
            assert _error(connection.answer(), 503) == "busy"
        for connection in slow:
            connection.close()


@live
def test_bodies_that_are_held_back_take_little_memory(tmp_path: Path) -> None:
    with started(_make_library(tmp_path)) as server:
        server.assert_well()
        before = server.peak_bytes()
        head = request("POST", "/v1/search", bytes(31_000_000))
        for _ in range(3):
            held = [Connection(server.port) for _ in range(12)]
            for connection in held:
                try:
                    connection.send(head[:-10])
                except OSError:  # it had to go
                    continue
            server.assert_well()
            for connection in held:
                connection.close()
        assert server.peak_bytes() - before < 300e6


@live
def test_whoever_reads_nothing_keeps_nobody_from_an_answer(tmp_path: Path) -> None:
    folder = tmp_path
    save_pictures(folder / "pictures", 3)
    (folder / "pictures" / "large.ppm").write_bytes(b"P6 2000 2000 255\n" + bytes(12_000_000))
    with Library.create(folder / "library") as library:
        index(library, [folder / "pictures"], encoder=fake_encoder())
        found = library.catalogue.picture_at(str(folder / "pictures" / "large.ppm"))
    assert found is not None
    with started(folder, "--max-concurrent", "2") as server:
        deaf = [Connection(server.port) for _ in range(20)]
        for connection in deaf:
            connection.send(request("GET", f"/v1/pictures/{found.id}/original"))
            assert connection.status() == 200
        for _ in range(10):
            assert server.ask("POST", "/v1/search?k=1", picture_bytes(3)).status == 200
        for connection in deaf:
            connection.close()
        until(lambda: server.ask("GET", "/readyz").status == 200)
        assert "Traceback" not in server.log.read_text()


# -- the end ---------------------------------------------------------------------------------------


@live
def test_a_server_ends_whatever_its_clients_do(tmp_path: Path) -> None:
    folder, gate = _make_library(tmp_path), tmp_path / "gate"
    reached = Path(f"{gate}.reached")
    gate.touch()
    with started(folder, gate=gate, hurried=True) as server:
        gate.unlink()
        reached.unlink()
        stuck = Connection(server.port)
        stuck.send(request("POST", "/v1/search", picture_bytes(5)))
        until(reached.exists)
        slow, silent = Connection(server.port), Connection(server.port)
        slow.send(request("POST", "/v1/search", picture_bytes(5))[:-10])
        until(lambda: server.ask("GET", "/healthz").status == 200)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) in (-signal.SIGTERM, 128 + signal.SIGTERM)
        for connection in (stuck, slow):
            assert _error(connection.answer(), 503) == "stopping"
        assert silent.answer() is None
        for connection in (stuck, slow, silent):
            connection.close()
        assert "Traceback" not in server.log.read_text()


# -- guesses ---------------------------------------------------------------------------------------


def test_wrong_tokens_of_an_address_wait_longer_and_longer() -> None:
    now = [0.0]
    guesses = Guesses(lambda: now[0])
    for _ in range(5):
        assert guesses.book("a") == 0
        guesses.note_wrong("a")
    assert guesses.book("a") == 0  # slips of the pen are free
    waits = []
    for _ in range(8):
        guesses.note_wrong("a")
        waits.append(guesses.book("a"))
        now[0] += waits[-1]
    assert waits == sorted(waits)
    assert waits[-1] == 5
    assert guesses.book("b") == 0  # others wait for nothing


def test_asking_on_many_connections_gains_nothing() -> None:
    guesses = Guesses(lambda: 0.0)
    for _ in range(20):
        guesses.note_wrong("a")
    assert [guesses.book("a") for _ in range(2)][-1] <= 10
    with pytest.raises(Refused) as refusal:
        guesses.book("a")
    assert (refusal.value.status, refusal.value.own_code) == (429, "too_many_guesses")
    assert int(refusal.value.headers["Retry-After"]) >= 10
    assert guesses.book("b") == 0


def test_wrong_tokens_are_forgotten_and_addresses_too_where_they_are_many() -> None:
    now = [0.0]
    guesses = Guesses(lambda: now[0])
    for _ in range(20):
        guesses.note_wrong("a")
    assert guesses.book("a") > 0
    now[0] += 1000
    assert guesses.book("a") == 0
    for number in range(10_000):
        guesses.note_wrong(str(number))
    assert len(guesses._peers) < 5000


def test_a_right_token_from_elsewhere_does_not_wait_for_guesses(
    indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_fakes(monkeypatch)
    with serving(indexed.folder, Settings(token=TOKEN)) as client:
        guesses: Guesses = client.app.state.callers.guesses
        for _ in range(40):
            guesses.note_wrong("192.0.2.1")
        guesses.book("192.0.2.1")

        async def wait_for_ever(_: float) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr("parecido.search.web.callers.guesses.asyncio.sleep", wait_for_ever)
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert client.ask("GET", "/v1/info", headers=right).status_code == 200


# -- sessions --------------------------------------------------------------------------------------


def test_a_session_opens_until_it_is_ended_wherever_it_is_kept(tmp_path: Path) -> None:
    sessions = Sessions(TOKEN, tmp_path / "sessions.json")
    one, other = sessions.begin(), sessions.begin()
    assert sessions.is_valid(one)
    sessions.end(one)
    again = Sessions(TOKEN, tmp_path / "sessions.json")
    for now in (sessions, again):  # a server that starts again knows it too
        assert (now.is_valid(one), now.is_valid(other)) == (False, True)
    again.end_all()
    assert not sessions.is_valid(other)  # another server on the same library did it
    assert sessions.is_valid(sessions.begin())
    assert not Sessions("another", tmp_path / "sessions.json").is_valid(sessions.begin())


def test_a_session_grows_old(tmp_path: Path) -> None:
    now = [time.time()]
    sessions = Sessions(TOKEN, tmp_path / "sessions.json", lambda: now[0])
    session = sessions.begin()
    now[0] += 29 * 86400
    assert sessions.is_valid(session)
    now[0] += 2 * 86400
    assert not sessions.is_valid(session)


@pytest.mark.parametrize("session", ["", ".", "a.b.c", "é", "0.0.0", "." * 5000])
def test_what_is_no_session_opens_nothing(tmp_path: Path, session: str) -> None:
    assert not Sessions(TOKEN, tmp_path / "sessions.json").is_valid(session)


def test_sessions_whose_file_is_damaged_are_all_ended(tmp_path: Path) -> None:
    sessions = Sessions(TOKEN, tmp_path / "sessions.json")
    session = sessions.begin()
    sessions.end(sessions.begin())
    assert sessions.is_valid(session)
    path = tmp_path / "sessions.json"
    path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))  # one bit
    assert not sessions.is_valid(session)
    session = sessions.begin()
    sessions.end(sessions.begin())
    path.write_bytes(b'{"before": ')
    assert not sessions.is_valid(session)


def test_where_no_file_can_be_kept_sessions_end_with_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    sessions = Sessions(TOKEN, tmp_path / "sessions.json")
    session = sessions.begin()
    assert sessions.is_valid(session)
    sessions.end(session)
    assert not sessions.is_valid(session)
    assert not Sessions(TOKEN, tmp_path / "sessions.json").is_valid(sessions.begin())
    assert list(tmp_path.iterdir()) == []


def test_a_copied_cookie_opens_nothing_once_its_session_was_ended(
    indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_fakes(monkeypatch)
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    with serving(indexed.folder, Settings(token=TOKEN)) as client:
        cookies = []
        for _ in range(3):
            begun = client.ask("POST", "/session", json={"token": TOKEN})
            cookies.append({"Cookie": begun.headers["set-cookie"].partition(";")[0]})
            client.forget_cookies()

        def opens(cookie: dict[str, str]) -> bool:
            return client.ask("GET", "/v1/info", headers=cookie).status_code == 200

        assert [opens(cookie) for cookie in cookies] == [True] * 3
        assert client.ask("GET", "/v1/info", headers=cookies[0]).json()["session"]
        assert not client.ask("GET", "/v1/info", headers=bearer).json()["session"]
        assert client.ask("DELETE", "/session", headers=cookies[0]).status_code == 204
        assert [opens(cookie) for cookie in cookies] == [False, True, True]
        everywhere = "/session?everywhere=true"
        refused(client.ask("DELETE", everywhere), 401)
        assert [opens(cookie) for cookie in cookies] == [False, True, True]
        assert client.ask("DELETE", everywhere, headers=bearer).status_code == 204
        assert [opens(cookie) for cookie in cookies] == [False] * 3


# -- readiness -------------------------------------------------------------------------------------


def test_a_server_whose_encoder_could_not_be_opened_tries_again(
    indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_fakes(monkeypatch)
    from parecido.indexer.errors import NoSpace
    from tests.support.serving import labelled_encoder

    is_full = True

    def open_encoder(*given: Any, **options: Any) -> Any:
        if is_full:
            raise NoSpace("The disk is full.", "Free some space.")
        return labelled_encoder(*given, **options)

    monkeypatch.setattr("parecido.search.engine.open_encoder", open_encoder)
    monkeypatch.setattr("parecido.search.web.service._OPEN_AGAIN", 0.0)
    with serving(indexed.folder) as client:
        until(lambda: client.get("/readyz").json().get("error", {}).get("code") == NoSpace.code)
        assert client.get("/readyz").status_code == 503
        is_full = False
        until(lambda: client.get("/readyz").status_code == 200)


# -- JSON ------------------------------------------------------------------------------------------


@live
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"queries":[{"vector":[' + b"0.1," * 7_000_000 + b"1]}]}", 413),
        (b'{"queries":[' + b"{}," * 10_000_000 + b"{}]}", 400),
        (b'{"queries":[' + b'{"id":1},' * 3_000_000 + b'{"id":1}]}', 400),
        (b'{"queries":' + b"[" * 30_000_000, 400),
        (b'{"queries":[{"a":' + b"[" * 30_000_000, 400),
        (b'{"queries":[{"image":"' + b'\\"' * 15_000_000 + b'"}]}', 400),
        (b'{"queries":[{"image":"' + b"\\" * 30_000_001 + b'"}]}', 400),
        (b" " * 31_000_000, 400),
        (b'{"queries":[{' + b" " * 31_000_000, 413),
    ],
    ids=lambda value: str(value)[:30],
)
def test_long_json_is_refused_before_it_is_read(server: Server, body: bytes, status: int) -> None:
    before = server.peak_bytes()
    answer = server.ask("POST", "/v1/search/batch", body, "application/json")
    assert answer.status == status, answer
    assert server.peak_bytes() - before < 300e6
    server.assert_well()


@pytest.mark.parametrize("path", ["/session", "/v1/index", "/v1/search/vector"])
def test_json_with_a_few_words_has_no_megabytes(
    indexed: Library, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    use_fakes(monkeypatch)
    with serving(indexed.folder) as client:
        head = {"content-type": "application/json"}
        parts = [{"type": "http.request", "body": b" " * 3_000_000, "more_body": True}]
        told = client.run(exchange(client.app, "POST", path, head, parts))
        assert told[0] == 413  # before the rest has come
        assert client.ask("POST", path, content=b"{}", headers=PNG).status_code == 415


def test_a_large_batch_is_answered_as_its_queries_are_one_by_one(
    indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_fakes(monkeypatch)
    import base64

    picture = base64.b64encode(picture_bytes(3)).decode()
    queries: list[Any] = [{"id": 1}, {"image": picture}, {"image": "no base 64"}, {"id": 999}]
    with serving(indexed.folder) as client:
        small = client.ask("POST", "/v1/search/batch?k=3", json={"queries": queries})
        padding = [{"vector": [0.5] * 12_000}]
        large = client.ask("POST", "/v1/search/batch?k=3", json={"queries": queries + padding * 3})
        assert len(json.dumps(queries + padding * 3)) > 65_536
        answers = [answer.json()["results"] for answer in (small, large)]
        for told in answers:
            for one in told:
                one.pop("took_ms", None)
        assert answers[1][:4] == answers[0]
        assert [one["error"]["code"] for one in answers[1][4:]] == ["invalid_request"] * 3
        wrong = [*padding * 3, {"id": "x"}]
        response = client.ask("POST", "/v1/search/batch", json={"queries": wrong})
        assert "queries.3.id" in refused(response, 400, "invalid_request")["message"]
        many = [{"id": 1}] * 1000
        refused(
            client.ask("POST", "/v1/search/batch?k=21", json={"queries": many}), 400, "too_many"
        )


@live
def test_many_at_once_are_told_apart(server: Server) -> None:
    """Connections that come and go while others are answered."""

    def ask(number: int) -> int:
        return server.ask("POST", "/v1/search?k=1", picture_bytes(number % 8)).status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(100))) == {200}
