"""Adding, replacing and deleting pictures over HTTP; only the server's own files ever change."""

from __future__ import annotations

import errno
import io
import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from parecido.indexer.catalogue.changes import Withdraw
from parecido.indexer.checkup.repair import repair
from parecido.indexer.checkup.salvage import salvage
from parecido.indexer.errors import ParecidoError
from parecido.indexer.indexing.pipeline import index, remove
from parecido.indexer.library.layout import THUMBNAILS, UPLOADS
from parecido.indexer.library.library import Library
from parecido.indexer.system.files import content_hash
from parecido.search.web.uploads import Uploads
from parecido.web import Settings
from tests.support.fakes import fake_encoder, save_pictures
from tests.support.harness import check_sound, make_outdated, snapshot
from tests.support.serving import Client, picture_bytes, refused, serving, use_fakes


@pytest.fixture
def client(indexed: Library, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A server of 20 pictures."""
    use_fakes(monkeypatch)
    with serving(indexed.folder) as client:
        yield client
    check_sound(indexed.folder)


def _add(client: Client, seed: int, name: str = "new.png") -> dict[str, Any]:
    response = client.send("/v1/pictures", picture_bytes(seed), name=name)
    assert response.status_code == 201, response.text
    told: dict[str, Any] = response.json()
    assert response.headers["location"] == f"/v1/pictures/{told['id']}"
    return told


def _best(client: Client, data: bytes) -> Any:
    return client.send("/v1/search", data, k=1).json()["hits"][0]


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


# -- adding ----------------------------------------------------------------------------------------


def test_an_added_picture_is_kept_and_found_at_once(client: Client, indexed: Library) -> None:
    data = picture_bytes(100)
    told = _add(client, 100)
    assert client.read(f"/v1/pictures/{told['id']}") == told
    assert (told["format"], told["width"], told["height"], told["owned"]) == ("PNG", 48, 40, True)
    path = Path(told["path"])
    assert path.is_relative_to(indexed.folder / UPLOADS)
    assert path.read_bytes() == data
    assert client.get(f"/v1/pictures/{told['id']}/original").content == data
    best = _best(client, data)
    assert (best["id"], best["score"]) == (told["id"], 1.0)
    (job,) = client.read("/v1/jobs")["jobs"]
    assert (job["kind"], job["state"], job["picture"]) == ("add", "done", told["id"])


def test_a_picture_comes_in_a_form_with_its_name(client: Client) -> None:
    files = {"image": ("Ünïcode pictüre.JPG", picture_bytes(101, "JPEG"), "image/jpeg")}
    told = client.ask("POST", "/v1/pictures", files=files).json()
    assert re.fullmatch(r"Ünïcode-pictüre-[0-9a-f]{16}\.jpg", told["name"])
    told = client.ask("POST", "/v1/pictures?name=other.jpg", files=files).json()
    assert re.fullmatch(r"other-[0-9a-f]{16}\.jpg", told["name"])


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        *(("../../../etc/passwd", "passwd"), ("..\\..\\boot.ini", "boot"), ("/abs/x.jpg", "x")),
        *((".hidden.png", "hidden"), ("a\0b.png", "a-b"), ("....", "picture"), ("/", "picture")),
        *(("<img src=x onerror=alert(1)>.jpg", "img-src-x-onerror-alert-1"), ("-rf", "rf")),
        *(("x" * 200, "x" * 120), ("日" * 60 + ".png", "日" * 40), (" a\r\nb .png", "a-b")),
        *(
            ("a.verylongsuffix", "a.verylongsuffix"),
            ("~root", "root"),
            ("%2e%2e%2fx.png", "2e-2e-2fx"),
        ),
        *(("a.png.html", "a.png"), ("a.png/..", "picture"), ("%00", "00"), ("$(id)`.png", "id")),
    ],
)
def test_names_are_made_safe(
    client: Client, indexed: Library, tmp_path: Path, name: str, safe: str
) -> None:
    before = {path for path in _files(tmp_path) if UPLOADS not in path.parts}
    told = _add(client, 102, name)
    path = Path(told["path"])
    assert path.parent.parent == indexed.folder / UPLOADS
    assert re.fullmatch(re.escape(safe) + r"-[0-9a-f]{16}(\.\w{1,8})?", path.name)
    assert path.read_bytes() == picture_bytes(102)
    served = client.get(f"/v1/pictures/{told['id']}/original")
    assert served.headers["content-type"] == "image/png"
    left = {path for path in _files(tmp_path) if UPLOADS not in path.parts} - before
    assert {path.parent for path in left} <= {indexed.folder, indexed.folder / "vectors"}


@pytest.mark.parametrize("name", ["", "x" * 201])
def test_names_that_are_too_short_or_long_are_refused(client: Client, name: str) -> None:
    refused(client.send("/v1/pictures", picture_bytes(1), name=name), 400, "invalid_request")


def test_the_same_picture_twice_is_one_file(client: Client, indexed: Library) -> None:
    first, second = _add(client, 103), _add(client, 103)
    assert first == second
    assert len(_files(indexed.folder / UPLOADS)) == 1
    assert client.read("/v1/pictures")["total"] == 21


def test_a_copy_of_an_indexed_picture_leaves_that_as_it_is(client: Client, tmp_path: Path) -> None:
    old = tmp_path / "pictures" / "0003.png"
    files = {"image": old.read_bytes()}
    told = client.ask("POST", "/v1/pictures", files=files).json()
    assert told["path"] != str(old)
    assert client.read("/v1/pictures", path=str(old))["total"] == 1
    assert client.read("/v1/pictures")["total"] == 21


def test_what_is_no_picture_leaves_nothing_behind(
    client: Client, indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(client.send("/v1/pictures", b"no picture"), 422, "picture_unreadable")
    refused(client.send("/v1/pictures", picture_bytes(1)[:40]), 422, "picture_unreadable")
    refused(client.send("/v1/pictures", b""), 400, "no_picture")

    def full(_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("parecido.search.web.uploads.create_file", full)
    refused(client.send("/v1/pictures", picture_bytes(1)), 507, "no_space")
    assert _files(indexed.folder / UPLOADS) == []
    assert client.read("/v1/pictures")["total"] == 20


def test_an_empty_library_takes_its_first_picture(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_fakes(monkeypatch)
    with serving(library.folder) as client:
        refused(client.send("/v1/pictures", b"no picture"), 422, "picture_unreadable")
        told = _add(client, 104)
        assert told["labels"]
        assert _best(client, picture_bytes(104))["id"] == told["id"]
        assert client.read("/v1/info")["pictures"] == 1
        assert client.ask("DELETE", f"/v1/pictures/{told['id']}").status_code == 204
        assert _add(client, 105)["owned"]


def test_many_pictures_at_once_all_come_in(client: Client) -> None:
    def add(seed: int) -> tuple[int, dict[str, Any]]:
        return seed, _add(client, seed, f"{seed}.png")

    with ThreadPoolExecutor(8) as pool:
        told = dict(pool.map(add, range(200, 224)))
    assert len({picture["id"] for picture in told.values()}) == 24
    for seed, picture in told.items():
        assert _best(client, picture_bytes(seed))["id"] == picture["id"]


def test_indexing_elsewhere_leaves_uploads_alone(
    client: Client, indexed: Library, tmp_path: Path
) -> None:
    told = _add(client, 105)
    save_pictures(tmp_path / "pictures", 2, first=50)
    for root in ("pictures", "."):  # above the library, too
        index(indexed, [tmp_path / root], encoder=fake_encoder())
        assert client.read(f"/v1/pictures/{told['id']}") == told
        assert client.read("/v1/pictures")["total"] == 23


def test_uploads_go_into_the_folder_that_the_operator_chose(
    indexed: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_fakes(monkeypatch)
    with serving(indexed.folder, Settings(uploads=tmp_path / "own")) as client:
        told = _add(client, 106)
        assert Path(told["path"]).is_relative_to(tmp_path / "own")
        assert not (indexed.folder / UPLOADS).exists()
        assert client.ask("DELETE", f"/v1/pictures/{told['id']}").status_code == 204
        assert _files(tmp_path / "own") == []


def test_what_takes_longer_becomes_a_job(
    client: Client, indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = _add(client, 107)
    monkeypatch.setattr("parecido.search.web.routes.pictures._PATIENCE", 0.01)
    with indexed.writer():  # somebody else's indexing run
        added = client.send("/v1/pictures", picture_bytes(108))
        replaced = client.send(f"/v1/pictures/{own['id']}", picture_bytes(109), method="PUT")
        deleted = client.ask("DELETE", "/v1/pictures/3")
        for response in (added, replaced, deleted):
            assert response.status_code == 202
            assert response.headers["location"] == f"/v1/jobs/{response.json()['id']}"
            assert response.json()["state"] in ("waiting", "running")
        assert client.read("/v1/pictures/3")
    jobs = [client.ended(response.json()) for response in (added, replaced, deleted)]
    assert [job["kind"] for job in jobs] == ["add", "replace", "delete"]
    assert [job["state"] for job in jobs] == ["done"] * 3
    assert _best(client, picture_bytes(108))["id"] == jobs[0]["picture"]
    assert _best(client, picture_bytes(109))["id"] == own["id"]
    refused(client.get("/v1/pictures/3"), 404)


# -- replacing -------------------------------------------------------------------------------------


def test_a_replaced_picture_keeps_its_id(client: Client, indexed: Library) -> None:
    told = _add(client, 110)
    address = f"/v1/pictures/{told['id']}"
    tag = client.get(f"{address}/thumbnail").headers["etag"]
    response = client.send(address, picture_bytes(111, size=(60, 50)), method="PUT")
    assert response.status_code == 200
    new = response.json()
    assert (new["id"], new["path"], new["width"]) == (told["id"], told["path"], 60)
    assert new["content_hash"] != told["content_hash"]
    assert Path(new["path"]).read_bytes() == picture_bytes(111, size=(60, 50))
    assert client.get(f"{address}/thumbnail").headers["etag"] != tag
    assert client.get(f"{address}/original").content == picture_bytes(111, size=(60, 50))
    assert _best(client, picture_bytes(111))["id"] == told["id"]
    assert _best(client, picture_bytes(110))["id"] != told["id"]
    assert len(_files(indexed.folder / UPLOADS)) == 1
    same = client.send(address, picture_bytes(111, size=(60, 50)), method="PUT")
    assert (same.status_code, same.json()["content_hash"]) == (200, new["content_hash"])


def test_what_was_replaced_can_be_added_again(client: Client) -> None:
    first = _add(client, 112)
    client.send(f"/v1/pictures/{first['id']}", picture_bytes(113), method="PUT")
    again = _add(client, 112)
    assert again["id"] != first["id"]
    assert _best(client, picture_bytes(112))["id"] == again["id"]
    assert _best(client, picture_bytes(113))["id"] == first["id"]
    assert _add(client, 112) == again


def test_only_uploaded_pictures_can_be_replaced_and_only_by_pictures(
    client: Client, tmp_path: Path
) -> None:
    before = snapshot(tmp_path / "pictures")
    data = picture_bytes(114)
    refused(client.send("/v1/pictures/3", data, method="PUT"), 403, "not_owned")
    refused(client.send("/v1/pictures/999", data, method="PUT"), 404, "picture_not_found")
    assert snapshot(tmp_path / "pictures") == before
    told = _add(client, 115)
    address = f"/v1/pictures/{told['id']}"
    refused(client.send(address, b"no picture", method="PUT"), 422, "picture_unreadable")
    refused(client.send(address, b"", method="PUT"), 400, "no_picture")
    words = {"Content-Type": "text/html"}
    refused(client.ask("PUT", address, content=data, headers=words), 415)
    assert client.read(address) == told
    assert Path(told["path"]).read_bytes() == picture_bytes(115)


# -- deleting --------------------------------------------------------------------------------------


def test_a_deleted_upload_is_gone_with_its_file(client: Client, indexed: Library) -> None:
    told, other = _add(client, 116), _add(client, 117)
    address = f"/v1/pictures/{told['id']}"
    response = client.ask("DELETE", address)
    assert (response.status_code, response.content) == (204, b"")
    assert _files(indexed.folder / UPLOADS) == [Path(other["path"])]
    for path in ("", "/thumbnail", "/original", "/similar"):
        refused(client.get(address + path), 404, "picture_not_found")
    refused(client.ask("DELETE", address), 404, "picture_not_found")
    assert _best(client, picture_bytes(116))["score"] < 1
    assert _add(client, 116)["id"] != told["id"]


def test_no_file_is_deleted_that_is_not_the_servers_own(
    client: Client, indexed: Library, tmp_path: Path
) -> None:
    before = snapshot(tmp_path / "pictures")
    told = client.read("/v1/pictures", path=str(tmp_path / "pictures" / "0004.png"))["pictures"][0]
    assert client.ask("DELETE", f"/v1/pictures/{told['id']}").status_code == 204
    refused(client.get(f"/v1/pictures/{told['id']}"), 404)
    assert snapshot(tmp_path / "pictures") == before


def test_links_into_and_out_of_the_uploads_are_not_the_servers_own(
    client: Client, indexed: Library, tmp_path: Path
) -> None:
    told = _add(client, 118)
    uploads = indexed.folder / UPLOADS
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "file.png").symlink_to(told["path"])
    (tmp_path / "outside.png").write_bytes(picture_bytes(119))
    (uploads / "link.png").symlink_to(tmp_path / "outside.png")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inside.png").write_bytes(picture_bytes(120))
    (uploads / "folder").symlink_to(tmp_path / "folder")
    paths = [tmp_path / "links" / "file.png", uploads / "link.png", uploads / "folder/inside.png"]
    for path in paths:
        index(indexed, [path], encoder=fake_encoder())
        (picture,) = client.read("/v1/pictures", path=str(path))["pictures"]
        assert picture["owned"] is False
        address = f"/v1/pictures/{picture['id']}"
        refused(client.send(address, picture_bytes(121), method="PUT"), 403, "not_owned")
        assert client.ask("DELETE", address).status_code == 204
        assert path.exists()
    assert client.read(f"/v1/pictures/{told['id']}") == told
    with Image.open(io.BytesIO(Path(told["path"]).read_bytes())) as image:
        assert image.size == (48, 40)


def test_a_deleted_picture_whose_file_went_before_is_no_failure(client: Client) -> None:
    told = _add(client, 122)
    os.unlink(told["path"])
    assert client.ask("DELETE", f"/v1/pictures/{told['id']}").status_code == 204


def test_no_thumbnail_stays_of_a_deleted_picture_unless_another_has_the_same_bytes(
    client: Client, indexed: Library
) -> None:
    def kept() -> int:
        return len(_files(indexed.folder / THUMBNAILS))

    told, copy = _add(client, 123), _add(client, 123, "copy.png")
    client.get(f"/v1/pictures/{told['id']}/thumbnail")
    assert told["id"] != copy["id"]
    assert kept() == 1
    client.ask("DELETE", f"/v1/pictures/{told['id']}")
    assert kept() == 1
    client.ask("DELETE", f"/v1/pictures/{copy['id']}")
    assert kept() == 0


# -- what a server that was killed leaves --------------------------------------------------------


def _kill(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """From now on a step fails for good, as if the server had been killed before it."""

    def fail(*_: object, **__: object) -> None:
        raise ParecidoError("killed")

    monkeypatch.setattr(what, fail)
    monkeypatch.setattr("parecido.search.web.jobs.Jobs._discard", lambda *_: None)


@pytest.mark.parametrize(
    "before",
    [
        "parecido.search.web.uploads.Uploads.settle",
        "parecido.search.web.uploads.move_new",
        "parecido.search.web.jobs.index_into",
    ],
)
def test_an_upload_that_was_on_its_way_when_a_server_ended_is_taken_up_again(
    indexed: Library, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    use_fakes(monkeypatch)
    with monkeypatch.context() as patch, serving(indexed.folder) as client:
        _kill(patch, before)
        assert client.send("/v1/pictures", picture_bytes(124), name="a.png").status_code == 500
    with serving(indexed.folder) as client:
        (job,) = client.read("/v1/jobs")["jobs"]
        assert client.ended(job)["added"] == 1
        best = _best(client, picture_bytes(124))
        assert best["score"] == pytest.approx(1, abs=2e-7)
        assert client.read(f"/v1/pictures/{best['id']}")["owned"]
        assert [str(path) for path in _files(indexed.folder / UPLOADS)] == [best["path"]]


@pytest.mark.parametrize(
    "before",
    [
        "parecido.search.web.uploads.Uploads.settle",
        "parecido.search.web.uploads.move_over",
        "parecido.search.web.jobs.index_into",
    ],
)
def test_other_bytes_that_were_on_their_way_when_a_server_ended_come_to_their_place(
    indexed: Library, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    use_fakes(monkeypatch)
    with serving(indexed.folder) as client:
        told = _add(client, 125)
    address = f"/v1/pictures/{told['id']}"
    with monkeypatch.context() as patch, serving(indexed.folder) as client:
        client.ended(client.read("/v1/jobs")["jobs"][0])
        _kill(patch, before)
        assert client.send(address, picture_bytes(126), method="PUT").status_code == 500
    with serving(indexed.folder) as client:
        client.ended(client.read("/v1/jobs")["jobs"][0])
        assert _best(client, picture_bytes(126))["id"] == told["id"]
        assert client.read(address)["owned"]
        assert [str(path) for path in _files(indexed.folder / UPLOADS)] == [told["path"]]


@pytest.mark.parametrize(
    "before", ["parecido.search.web.uploads.Uploads.remove", "parecido.search.web.jobs.Jobs._clear"]
)
def test_a_removal_that_had_begun_when_a_server_ended_is_ended(
    indexed: Library, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    use_fakes(monkeypatch)
    with serving(indexed.folder) as client:
        told = _add(client, 127)
    with monkeypatch.context() as patch, serving(indexed.folder) as client:
        client.ended(client.read("/v1/jobs")["jobs"][0])
        _kill(patch, before)
        assert client.ask("DELETE", f"/v1/pictures/{told['id']}").status_code == 500
        assert Path(told["path"]).exists()
    with serving(indexed.folder) as client:
        client.ended(client.read("/v1/jobs")["jobs"][0])
        refused(client.get(f"/v1/pictures/{told['id']}"), 404)
        assert _files(indexed.folder / UPLOADS) == []
    assert indexed.catalogue.uploads.at(os.fsencode(told["path"])) is None


def test_pieces_of_an_upload_go_when_nobody_can_be_writing_them(
    indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_fakes(monkeypatch)
    with serving(indexed.folder) as client:
        told = _add(client, 128)
    piece = Path(told["path"]).with_name(f".a-0.png.{'0' * 32}.new-{'1' * 24}.99-01234567.tmp")
    piece.write_bytes(b"half a picture")
    for age in (0, 4000):
        os.utime(piece, (time.time() - age,) * 2)
        with serving(indexed.folder) as client:
            client.ended(client.read("/v1/jobs")["jobs"][0])
        assert piece.exists() == (age == 0)
    assert Path(told["path"]).exists()


def test_of_other_bytes_that_came_one_after_the_other_the_last_stay(
    indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_fakes(monkeypatch)
    with serving(indexed.folder) as client:
        told = _add(client, 144)
    path = Path(told["path"])
    uploads = Uploads(indexed.folder / UPLOADS)
    for seed in range(145, 150):
        uploads.take_other(path, picture_bytes(seed))
    with serving(indexed.folder) as client:
        client.ended(client.read("/v1/jobs")["jobs"][0])
        assert path.read_bytes() == picture_bytes(149)
        assert _best(client, picture_bytes(149))["id"] == told["id"]
        assert client.read(f"/v1/pictures/{told['id']}")["owned"]
    assert _files(indexed.folder / UPLOADS) == [path]


def test_what_was_overtaken_does_not_come_back(
    indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_fakes(monkeypatch)
    with serving(indexed.folder) as client:
        told = _add(client, 150)
        path, address = Path(told["path"]), f"/v1/pictures/{told['id']}"
        early = Uploads(indexed.folder / UPLOADS).take_other(path, picture_bytes(151))
        assert client.send(address, picture_bytes(152), method="PUT").status_code == 200
        # killed between the row and the move; then other bytes come
        with monkeypatch.context() as patch:
            _kill(patch, "parecido.search.web.uploads.move_over")
            assert client.send(address, picture_bytes(153), method="PUT").status_code == 500
        assert client.send(address, picture_bytes(154), method="PUT").status_code == 200
        assert path.read_bytes() == picture_bytes(154)
    assert early.path.exists()
    with serving(indexed.folder) as client:
        client.ended(client.read("/v1/jobs")["jobs"][0])
        assert client.read(address)["owned"]
    assert path.read_bytes() == picture_bytes(154)
    assert _files(indexed.folder / UPLOADS) == [path]


def test_what_came_with_a_job_that_was_stopped_or_failed_is_not_taken_up(
    client: Client, indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parecido.search.web.routes.pictures._PATIENCE", 0.01)
    with indexed.writer():
        jobs = [client.send("/v1/pictures", picture_bytes(seed)).json() for seed in (155, 156)]
        for job in jobs:
            client.ask("DELETE", f"/v1/jobs/{job['id']}")
        monkeypatch.setattr("parecido.search.web.jobs._WAITING", 0)
        refused(client.send("/v1/pictures", picture_bytes(157)), 503, "busy")
    assert [client.ended(job)["state"] for job in jobs] == ["stopped"] * 2
    assert _files(indexed.folder / UPLOADS) == []


def test_a_folder_of_uploads_that_takes_nothing_is_told(client: Client, indexed: Library) -> None:
    told = _add(client, 158)
    shelf = Path(told["path"]).parent
    shelf.rename(shelf.with_name("away"))
    address = f"/v1/pictures/{told['id']}"
    refused(client.send(address, picture_bytes(159), method="PUT"), 409, "no_place")
    shelf.symlink_to(shelf.with_name("away"))
    refused(client.send("/v1/pictures", picture_bytes(158)), 409, "no_place")
    assert len(_files(shelf.with_name("away"))) == 1


def test_an_upload_in_a_former_folder_stays_the_servers(
    indexed: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_fakes(monkeypatch)
    with serving(indexed.folder, Settings(uploads=tmp_path / "one")) as client:
        told, other = _add(client, 160), _add(client, 161)
    path, address = Path(told["path"]), f"/v1/pictures/{told['id']}"
    Uploads(tmp_path / "two").take_other(Path(other["path"]), picture_bytes(162))
    (tmp_path / "two" / "00").mkdir(parents=True)
    with serving(indexed.folder, Settings(uploads=tmp_path / "two")) as client:
        client.ended(client.read("/v1/jobs")["jobs"][0])
        assert Path(other["path"]).read_bytes() == picture_bytes(162)
        assert client.send(address, picture_bytes(163), method="PUT").status_code == 200
        assert path.read_bytes() == picture_bytes(163)
        assert client.ask("DELETE", address).status_code == 204
    assert _files(tmp_path / "one") == [Path(other["path"])]
    assert _files(tmp_path / "two") == []


def test_uploads_of_a_library_that_was_moved_stay_the_servers(
    indexed: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_fakes(monkeypatch)
    with serving(indexed.folder) as client:
        told = _add(client, 164)
    indexed.close()
    library = indexed.folder.rename(tmp_path / "moved")
    with serving(library) as client:
        client.ended(client.read("/v1/jobs")["jobs"][0])
        listed = client.read("/v1/pictures", limit=100)["pictures"]
        (moved,) = [one for one in listed if Path(one["path"]).is_relative_to(library)]
        assert (moved["name"], moved["owned"]) == (told["name"], True)
        assert client.ask("DELETE", f"/v1/pictures/{moved['id']}").status_code == 204
    assert _files(library / UPLOADS) == []


def test_a_repaired_catalogue_knows_its_uploads(
    indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_fakes(monkeypatch)
    with serving(indexed.folder) as client:
        kept, leaving = _add(client, 165), _add(client, 166)
    with indexed.writer() as writing:
        writing.catalogue.write([Withdraw(os.fsencode(leaving["path"]))])
        before = writing.catalogue.uploads.list_uploads()
    salvage(indexed.folder / "catalogue.sqlite")
    with Library.open(indexed.folder) as library:
        assert library.catalogue.uploads.list_uploads() == before
        assert library.catalogue.settings.uploads_taken_over() is None
    _make_old(indexed)
    salvage(indexed.folder / "catalogue.sqlite")
    monkeypatch.setattr("parecido.indexer.checkup.salvage.is_structure_sound", lambda _: False)
    _make_old(indexed)
    repair(indexed.folder)
    with Library.open(indexed.folder) as library:
        owned = library.catalogue.uploads.list_uploads()
        assert [os.fsdecode(upload.path) for upload in owned] == sorted(
            [kept["path"], leaving["path"]]
        )
        assert library.catalogue.settings.uploads_taken_over() == [str(indexed.folder / UPLOADS)]


# -- what is the user's --------------------------------------------------------------------------


def test_the_start_indexes_nothing_but_uploads(
    indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_fakes(monkeypatch)
    shelf = indexed.folder / UPLOADS / "ab"
    shelf.mkdir(parents=True)
    digest = content_hash(picture_bytes(130)).hex()
    kept = {
        shelf / "left-ab0123456789cdef.png": picture_bytes(129),
        shelf / f"copied-{digest[:16]}.png": picture_bytes(130),
        shelf / f".a.png.{digest}.new-{'1' * 24}": picture_bytes(131),  # not what its name tells
        shelf / "holiday.png": picture_bytes(132),
    }
    for path, data in kept.items():
        path.write_bytes(data)
    with serving(indexed.folder) as client:
        client.ended(client.read("/v1/jobs")["jobs"][0])
        assert client.read("/v1/pictures")["total"] == 20
    assert {path: path.read_bytes() for path in kept} == kept


def test_what_somebody_put_in_the_place_of_an_upload_stays(client: Client) -> None:
    told = _add(client, 133)
    path, address = Path(told["path"]), f"/v1/pictures/{told['id']}"
    path.write_bytes(picture_bytes(134))
    response = client.send(address, picture_bytes(135), method="PUT")
    refused(response, 409, "file_changed")
    assert path.read_bytes() == picture_bytes(134)
    assert client.ask("DELETE", address).status_code == 204
    assert path.read_bytes() == picture_bytes(134)
    assert _add(client, 133)["path"] != told["path"]  # the file keeps its place
    assert sorted(path.parent.iterdir())[0].name[0] != "."


def test_what_somebody_put_there_and_indexed_is_not_the_servers(
    client: Client, indexed: Library
) -> None:
    told = _add(client, 136)
    path, address = Path(told["path"]), f"/v1/pictures/{told['id']}"
    path.write_bytes(picture_bytes(137))
    index(indexed, [path], encoder=fake_encoder())
    assert client.read(address)["owned"] is False
    refused(client.send(address, picture_bytes(138), method="PUT"), 403, "not_owned")
    assert client.ask("DELETE", address).status_code == 204
    assert path.read_bytes() == picture_bytes(137)


def test_a_picture_taken_out_of_the_library_keeps_its_file_and_is_not_taken_up_again(
    indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_fakes(monkeypatch)
    with serving(indexed.folder) as client:
        told = _add(client, 139)
    assert remove(indexed, [told["path"]]) == 1
    with serving(indexed.folder) as client:
        client.ended(client.read("/v1/jobs")["jobs"][0])
        assert client.read("/v1/pictures")["total"] == 20
        assert Path(told["path"]).read_bytes() == picture_bytes(139)
        assert _add(client, 139)["path"] == told["path"]


# -- libraries of before uploads had rows ----------------------------------------------------------


def _make_old(library: Library) -> None:
    library.close()
    make_outdated(library.folder)


@pytest.mark.parametrize("where", ["in the library", "elsewhere"])
def test_uploads_of_an_older_version_are_taken_over(
    indexed: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    use_fakes(monkeypatch)
    folder = tmp_path / "own" if where == "elsewhere" else None
    settings = Settings(uploads=folder)
    with serving(indexed.folder, settings) as client:
        told, gone, half = (_add(client, seed) for seed in (140, 141, 142))
    # a removal and an upload that were under way
    deleted = Path(gone["path"])
    deleted = deleted.rename(deleted.with_name(f".{deleted.name}.deleted"))
    remove(indexed, [half["path"]])
    shelf = Path(told["path"]).parent
    copy = tmp_path / "copy" / shelf.name / Path(told["path"]).name
    mine = [shelf / "mine.png", shelf / f"mine-{shelf.name}0123456789abcd.png", copy]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture_bytes(143))
    index(indexed, [mine[0], tmp_path / "copy"], encoder=fake_encoder())
    _make_old(indexed)
    with serving(indexed.folder, settings) as client:
        client.ended(client.read("/v1/jobs")["jobs"][0])
        owned = {p["path"] for p in client.read("/v1/pictures")["pictures"] if p["owned"]}
        assert owned == {told["path"], half["path"]}
        assert not deleted.exists()
        assert client.ask("DELETE", f"/v1/pictures/{told['id']}").status_code == 204
        assert not Path(told["path"]).exists()
    assert all(path.read_bytes() == picture_bytes(143) for path in mine)
    # once: what is put in an upload's place later is not taken over with another start
    place = Path(half["path"])
    place.write_bytes(picture_bytes(167))
    index(indexed, [place], encoder=fake_encoder())
    for other in (Settings(uploads=tmp_path / "new"), settings):
        (tmp_path / "new" / "00").mkdir(parents=True, exist_ok=True)
        with serving(indexed.folder, other) as client:
            client.ended(client.read("/v1/jobs")["jobs"][0])
            found = [p for p in client.read("/v1/pictures")["pictures"] if p["owned"]]
            assert found == []


def test_a_file_that_cannot_be_read_does_not_hinder_the_taking_over(
    indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_fakes(monkeypatch)
    with serving(indexed.folder) as client:
        told = _add(client, 168)
    shelf = Path(told["path"]).parent
    (shelf / f"x-{shelf.name}0123456789abcd.png").write_bytes(b"whatever")
    _make_old(indexed)

    def refuse(_: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with Library.open(indexed.folder) as library:
        assert len(library.catalogue.uploads.list_uploads()) == 1


# -- how much --------------------------------------------------------------------------------------


def test_uploads_take_no_more_than_they_may(
    indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_fakes(monkeypatch)
    size = len(picture_bytes(100))
    settings = Settings(uploads_bytes=4 * size)
    with serving(indexed.folder, settings) as client:
        added = [_add(client, 100 + n) for n in range(3)]
        assert client.send("/v1/pictures", picture_bytes(103)).status_code in (201, 507)
        full = client.send("/v1/pictures", picture_bytes(104))
        refused(full, 507, "uploads_full")
        other = client.send(f"/v1/pictures/{added[0]['id']}", picture_bytes(105), method="PUT")
        refused(other, 507, "uploads_full")
        assert not [path for path in _files(indexed.folder / UPLOADS) if path.name[0] == "."]
        for one in added:
            assert client.ask("DELETE", f"/v1/pictures/{one['id']}").status_code == 204
        _add(client, 106)
    check_sound(indexed.folder)
    with serving(indexed.folder, Settings(uploads_bytes=size // 2)) as client:
        refused(client.send("/v1/pictures", picture_bytes(107)), 507, "uploads_full")
    with serving(indexed.folder, Settings(uploads_bytes=0)) as client:
        _add(client, 108)


def test_uploads_that_wait_and_that_left_the_library_count(
    indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_fakes(monkeypatch)
    size = len(picture_bytes(100))
    with serving(indexed.folder, Settings(uploads_bytes=round(2.5 * size), seconds=2)) as client:
        kept = _add(client, 100)
        remove(indexed, [kept["path"]])
        monkeypatch.setattr("parecido.search.web.routes.pictures._PATIENCE", 0.01)
        with indexed.writer():
            assert client.send("/v1/pictures", picture_bytes(101)).status_code == 202
            refused(client.send("/v1/pictures", picture_bytes(102)), 507, "uploads_full")
