"""The pictures of a library over HTTP: records, lists, thumbnails, files."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from parecido import repair, verify
from parecido.indexer.indexing.pipeline import index
from parecido.indexer.library.layout import THUMBNAILS
from parecido.indexer.library.library import Library
from parecido.indexer.system.sealed import unseal
from parecido.web import Settings
from tests.support.fakes import fake_encoder, quadrants, save_picture
from tests.support.serving import (
    COUNT,
    Client,
    make_gallery,
    picture_bytes,
    refused,
    serving,
    use_fakes,
)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """What the tests here leave as it is."""
    with pytest.MonkeyPatch.context() as patch:
        use_fakes(patch)
        with serving(make_gallery(tmp_path_factory.mktemp("gallery"))) as client:
            yield client


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return tmp_path / "pictures"


@pytest.fixture
def client(library: Library, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A server of three pictures of 600 × 300 whose ids are 1 to 3."""
    use_fakes(monkeypatch)
    for n in range(3):
        save_picture(pictures / f"{n}.png", n, (600, 300))
        _follow(library, pictures)
    with serving(library.folder) as client:
        yield client


def _follow(library: Library, pictures: Path) -> None:
    index(library, [pictures], encoder=fake_encoder())


# -- records and lists -----------------------------------------------------------------------------


def test_a_record_tells_what_the_catalogue_and_the_file_do(gallery: Client) -> None:
    everything = gallery.service.library.catalogue.pictures(range(1, COUNT + 1))
    picture = next(picture for picture in everything if picture.taken_at and picture.camera)
    status = os.stat(picture.path)
    told = gallery.read(f"/v1/pictures/{picture.id}")
    modified = datetime.fromisoformat(told.pop("modified_at"))
    assert modified == datetime.fromtimestamp(int(status.st_mtime), UTC)
    added = datetime.fromisoformat(told.pop("added_at"))
    assert added == datetime(2024, 2, 29, 12).astimezone() + timedelta(days=picture.id)
    with Image.open(picture.path) as image:
        size, form = image.size, image.format
    assert told == {
        "id": picture.id,
        "path": picture.path,
        "name": Path(picture.path).name,
        "width": size[0],
        "height": size[1],
        "format": form,
        "file_size": status.st_size,
        "taken_at": picture.taken_at,
        "taken_from": "exif",
        "taken_is_utc": False,
        "camera": picture.camera,
        "rating": None,
        "latitude": None,
        "longitude": None,
        "keywords": [],
        "labels": [[label.name, round(label.probability, 4)] for label in picture.labels],
        "content_hash": picture.content_hash.hex(),
        "owned": False,
    }


@pytest.mark.parametrize("order", ["added", "path"])
@pytest.mark.parametrize("limit", [7, COUNT, 200])
def test_lists_come_in_order_and_in_pages(gallery: Client, order: str, limit: int) -> None:
    listed: list[dict[str, object]] = []
    more = True
    while more:
        page = gallery.read("/v1/pictures", order=order, limit=limit, offset=len(listed))
        assert page["total"] == COUNT
        assert len(page["pictures"]) <= limit
        listed += page["pictures"]
        more = page["more"]
    assert len({str(picture["id"]) for picture in listed}) == COUNT
    if order == "added":  # ids were given in the order of time
        assert [picture["id"] for picture in listed] == list(range(COUNT, 0, -1))
    else:
        assert listed == sorted(listed, key=lambda picture: os.fsencode(str(picture["path"])))
    beyond = gallery.read("/v1/pictures", order=order, offset=COUNT)
    assert beyond == {"pictures": [], "total": COUNT, "more": False}


def test_a_random_handful_is_another_one_each_time_and_keeps_to_the_filters(
    gallery: Client,
) -> None:
    handfuls = set()
    for _ in range(10):
        page = gallery.read("/v1/pictures", order="random", limit=6, format="PNG")
        ids = [picture["id"] for picture in page["pictures"]]
        assert len(set(ids)) == 6
        assert {picture["format"] for picture in page["pictures"]} == {"PNG"}
        assert (page["total"], page["more"]) == (COUNT // 3, True)
        handfuls.add(tuple(ids))
    assert len(handfuls) > 1
    everything = gallery.read("/v1/pictures", order="random", limit=200)
    assert len({picture["id"] for picture in everything["pictures"]}) == COUNT


@pytest.mark.parametrize(
    "params", [{"limit": 0}, {"limit": 201}, {"order": "size"}, {"offset": -1}, {"k": 3}]
)
def test_lists_that_cannot_be_made_are_refused(gallery: Client, params: dict[str, object]) -> None:
    refused(gallery.get("/v1/pictures", **params), 400, "invalid_request")


# -- thumbnails ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [128, 256, 512, 1024])
def test_a_thumbnail_fits_its_size_and_is_never_larger_than_the_picture(
    client: Client, size: int
) -> None:
    response = client.get("/v1/pictures/1/thumbnail", size=size)
    assert response.headers["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(response.content)) as image:
        assert image.format == "JPEG"
        assert image.size == (min(size, 600), min(size, 600) // 2)
        shown = quadrants(np.asarray(image)[None])
    with Image.open(client.read("/v1/pictures/1")["path"]) as image:
        assert float((shown @ quadrants(np.asarray(image)[None]).T)[0, 0]) > 0.999


def test_thumbnails_have_four_sizes(client: Client) -> None:
    assert client.get("/v1/pictures/1/thumbnail").content == (
        client.get("/v1/pictures/1/thumbnail", size=256).content
    )
    for size in ("0", "64", "2048", "256.0", "large", "-128"):
        refused(client.get("/v1/pictures/1/thumbnail", size=size), 400, "invalid_request")


def test_a_thumbnail_that_a_browser_has_is_not_sent_again(client: Client, pictures: Path) -> None:
    def ask(tag: str, size: int = 128) -> int:
        response = client.ask(
            "GET", f"/v1/pictures/1/thumbnail?size={size}", headers={"If-None-Match": tag}
        )
        assert response.headers["cache-control"].startswith("private, max-age=")
        assert (response.status_code == 304) is (response.content == b"")
        return response.status_code

    tag = client.get("/v1/pictures/1/thumbnail", size=128).headers["etag"]
    assert ask(tag) == 304
    assert ask(f'W/"other", {tag}') == 304
    assert ask('"other"') == 200
    assert ask(tag, 256) == 200
    save_picture(pictures / "0.png", 99, (600, 300))
    _follow(client.service.library, pictures)
    assert ask(tag) == 200


@pytest.mark.parametrize("orientation", range(1, 9))
def test_thumbnails_stand_upright(client: Client, pictures: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = pictures / "turned.jpg"
    with Image.open(io.BytesIO(picture_bytes(9, size=(400, 200)))) as image:
        image.save(path, exif=exif, quality=95)
    _follow(client.service.library, pictures)
    told = client.read("/v1/pictures", limit=1)["pictures"][0]
    response = client.get(f"/v1/pictures/{told['id']}/thumbnail", size=128)
    with Image.open(io.BytesIO(response.content)) as image:
        assert image.size == ((128, 64) if orientation < 5 else (64, 128))
        assert image.size[0] / image.size[1] == told["width"] / told["height"]
        ids, rows = client.service.library.catalogue.descriptors.of([told["id"]])
        assert ids.tolist() == [told["id"]]
        assert float((quadrants(np.asarray(image)[None]) @ rows.T)[0, 0]) > 0.999


@pytest.mark.parametrize("left", [b"", bytes(1000)], ids=["nothing", "zeros"])
def test_a_thumbnail_that_a_power_cut_left_empty_is_made_again(
    client: Client, library: Library, left: bytes
) -> None:
    whole = client.get("/v1/pictures/1/thumbnail").content
    (path,) = (library.folder / THUMBNAILS).rglob("*.jpg")
    path.write_bytes(left)
    assert client.get("/v1/pictures/1/thumbnail").content == whole == unseal(path.read_bytes())


def test_what_lies_in_a_thumbnails_place_stays_and_is_not_shown(
    client: Client, library: Library
) -> None:
    whole = client.get("/v1/pictures/1/thumbnail").content
    (path,) = (library.folder / THUMBNAILS).rglob("*.jpg")
    mine = picture_bytes(9, "JPEG")
    path.write_bytes(mine)
    assert client.get("/v1/pictures/1/thumbnail").content == whole
    assert path.read_bytes() == mine


def test_a_thumbnail_of_before_they_had_a_seal_is_made_again(
    client: Client, library: Library
) -> None:
    whole = client.get("/v1/pictures/1/thumbnail").content
    (path,) = (library.folder / THUMBNAILS).rglob("*.jpg")
    sealed = path.read_bytes()
    for keeps_mark in (True, False):
        with Image.open(io.BytesIO(whole)) as image:
            if not keeps_mark:
                image.info.pop("comment")
            image.save(path, "JPEG", quality=82, optimize=True, progressive=True)
        assert (b"parecido" in path.read_bytes()) == keeps_mark
        assert client.get("/v1/pictures/1/thumbnail").content == whole
        assert path.read_bytes() == sealed


def test_a_damaged_thumbnail_is_never_shown_and_is_found_by_a_check(
    client: Client, library: Library
) -> None:
    whole = client.get("/v1/pictures/1/thumbnail").content
    (path,) = (library.folder / THUMBNAILS).rglob("*.jpg")
    sealed = path.read_bytes()
    assert sealed.startswith(whole)
    middle = len(whole) // 2
    damaged = sealed[:middle] + bytes([sealed[middle] ^ 1]) + sealed[middle + 1 :]
    path.write_bytes(damaged)
    assert [problem.what for problem in verify(library)] == ["1 thumbnail is not what was written"]
    assert client.get("/v1/pictures/1/thumbnail").content == whole
    assert path.read_bytes() == sealed
    assert verify(library) == []
    path.write_bytes(damaged)
    assert repair(library.folder) == ["removed 1 damaged thumbnail"]
    assert not path.exists()
    assert verify(library) == []


def test_thumbnails_are_kept_and_those_not_asked_for_longest_go_first(
    library: Library, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_fakes(monkeypatch)
    for n in range(12):
        save_picture(pictures / f"{n:02d}.png", n, (600, 300))
        _follow(library, pictures)
    folder = library.folder / THUMBNAILS

    def kept() -> dict[Path, int]:
        return {path: path.stat().st_size for path in folder.rglob("*.jpg")}

    with serving(library.folder) as client:
        client.get("/v1/pictures/1/thumbnail")
        ((first, size),) = kept().items()
    shutil.rmtree(folder)
    bound = size * 6
    with serving(library.folder, Settings(thumbnail_bytes=bound)) as client:
        for n in range(1, 6):
            client.get(f"/v1/pictures/{n}/thumbnail")
            for path in kept():  # asked for a day ago, those before two days ago and so on
                os.utime(path, ns=(0, path.stat().st_mtime_ns - 86_400 * 10**9))
        assert first in kept()
        client.get("/v1/pictures/1/thumbnail")  # the oldest is asked for again
        for n in range(6, 9):
            client.get(f"/v1/pictures/{n}/thumbnail")
            assert sum(kept().values()) <= bound
        assert first in kept()
        hashes = {
            picture.id: picture.content_hash.hex()
            for picture in library.catalogue.pictures(list(range(1, 13)))
        }
        names = {path.stem for path in kept()}
        assert hashes[8] in names
        assert hashes[2] not in names
        for n in range(1, 13):  # those that went are made again
            assert client.get(f"/v1/pictures/{n}/thumbnail", size=512).status_code == 200
            assert sum(kept().values()) <= bound
    (path, _) = kept().popitem()
    path.write_bytes(b"")  # a power cut
    with serving(library.folder, Settings(thumbnail_bytes=bound)) as client:
        for n in range(1, 13):
            assert client.get(f"/v1/pictures/{n}/thumbnail", size=512).content[:2] == b"\xff\xd8"


def test_thumbnails_are_made_where_they_cannot_be_kept(client: Client) -> None:
    (client.service.library.folder / THUMBNAILS).write_bytes(b"no folder")
    for _ in range(2):
        assert client.get("/v1/pictures/1/thumbnail").status_code == 200


def test_thumbnails_of_files_that_changed_are_never_taken_for_the_indexed_ones(
    client: Client, pictures: Path
) -> None:
    shutil.copy(pictures / "0.png", pictures / "twin.png")
    _follow(client.service.library, pictures)
    (pictures / "0.png").write_bytes((pictures / "1.png").read_bytes())
    refused(client.get("/v1/pictures/1/thumbnail"), 404, "picture_changed")
    twin = client.read("/v1/pictures", path=str(pictures / "twin.png"))["pictures"][0]
    shown = client.get(f"/v1/pictures/{twin['id']}/thumbnail").content
    with Image.open(io.BytesIO(shown)) as image, Image.open(pictures / "twin.png") as original:
        cosine = quadrants(np.asarray(image)[None]) @ quadrants(np.asarray(original)[None]).T
    assert float(cosine[0, 0]) > 0.999


def test_a_file_that_is_gone_has_no_thumbnail_unless_it_was_made_before(
    client: Client, pictures: Path
) -> None:
    client.get("/v1/pictures/1/thumbnail")
    shutil.rmtree(pictures)
    assert client.get("/v1/pictures/1/thumbnail").status_code == 200
    refused(client.get("/v1/pictures/2/thumbnail"), 404, "file_not_found")


# -- originals -------------------------------------------------------------------------------------


def test_the_original_is_the_file(client: Client, pictures: Path) -> None:
    data = (pictures / "0.png").read_bytes()
    response = client.get("/v1/pictures/1/original")
    assert (response.status_code, response.content) == (200, data)
    assert response.headers["content-type"] == "image/png"
    assert response.headers["content-disposition"] == 'inline; filename="0.png"'
    assert response.headers["accept-ranges"] == "bytes"
    saved = client.get("/v1/pictures/1/original", download=1)
    assert saved.headers["content-disposition"] == 'attachment; filename="0.png"'
    tag = {"If-None-Match": response.headers["etag"]}
    again = client.ask("GET", "/v1/pictures/1/original", headers=tag)
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        *(("bytes=0-9", 206), ("bytes=10-", 206), ("bytes=-7", 206), ("bytes=0-0", 206)),
        *(("bytes=0-99999999", 206), ("bytes=0-3,10-13", 206), ("bytes=99999999-", 416)),
        # ranges that cannot be understood, or of other units, are as if there were none
        *(("bytes=9-3", 200), ("bytes=", 200), ("lines=1-2", 200), ("bytes=x-y", 200), ("x", 200)),
    ],
)
def test_parts_of_the_original_can_be_asked_for(
    client: Client, pictures: Path, asked: str, status: int
) -> None:
    data = (pictures / "0.png").read_bytes()
    response = client.ask("GET", "/v1/pictures/1/original", headers={"Range": asked})
    if status == 416:
        refused(response, 416, "range_not_satisfiable")
        assert response.headers["content-range"] == f"bytes */{len(data)}"
        return
    assert response.status_code == status
    first = asked.partition("=")[2]
    if status == 200:
        assert response.content == data
    elif "," in first:
        assert response.headers["content-type"].startswith("multipart/byteranges")
        assert data[:4] in response.content
        assert data[10:14] in response.content
    else:
        start, _, end = first.partition("-")
        expected = data[int(start) : int(end or len(data)) + 1] if start else data[-int(end) :]
        assert response.content == expected


@pytest.mark.parametrize(
    ("form", "suffix", "media"),
    [
        *(("JPEG", ".jpg", "image/jpeg"), ("PNG", ".html", "image/png")),
        *(("GIF", ".gif", "image/gif"), ("WEBP", ".webp", "image/webp")),
        *(("BMP", ".bmp", "image/bmp"), ("AVIF", ".avif", "image/avif")),
        *(("TIFF", ".tif", None), ("TGA", ".tga", None), ("PPM", ".jpg", None)),
        ("JPEG2000", ".jp2", None),
    ],
)
def test_what_browsers_do_not_show_is_only_saved(
    client: Client, pictures: Path, form: str, suffix: str, media: str | None
) -> None:
    path = pictures / f"a{suffix}"
    path.write_bytes(picture_bytes(5, form))
    _follow(client.service.library, pictures)
    (told,) = client.read("/v1/pictures", path=str(path))["pictures"]
    response = client.get(f"/v1/pictures/{told['id']}/original")
    assert response.content == path.read_bytes()
    assert response.headers["content-type"] == (media or "application/octet-stream")
    kind = "inline" if media else "attachment"
    assert response.headers["content-disposition"] == f'{kind}; filename="a{suffix}"'


@pytest.mark.parametrize(
    "name",
    [
        *("<img src=x onerror=alert(1)>.png", 'a"; filename="b.html.png', "a\r\nSet-Cookie: x.png"),
        *("été 日本.png", "a;b'c%0d%0a.png", os.fsdecode(b"\xff\xfe.png")),
    ],
)
def test_no_name_breaks_out_of_its_header(client: Client, pictures: Path, name: str) -> None:
    save_picture(pictures / "new.png", 77)
    os.rename(pictures / "new.png", pictures / name)
    _follow(client.service.library, pictures)
    told = client.read("/v1/pictures", limit=1)["pictures"][0]
    assert told["path"] == str(pictures / name)
    response = client.get(f"/v1/pictures/{told['id']}/original")
    assert response.content == (pictures / name).read_bytes()
    assert "set-cookie" not in response.headers
    kind, _, encoded = response.headers["content-disposition"].partition("; filename*=utf-8''")
    assert kind == "inline"
    assert not set(encoded) & set("<>\"'; \r\n")
    assert unquote(encoded) == os.fsencode(name).decode("utf-8", "replace")
    assert client.get(f"/v1/pictures/{told['id']}/thumbnail").status_code == 200
    similar = client.get(f"/v1/pictures/{told['id']}/similar")
    assert similar.headers["content-type"] == "application/json"
    assert similar.json()["query"] == str(pictures / name)


def test_a_file_that_changed_or_went_is_not_found(client: Client, pictures: Path) -> None:
    secret = pictures.parent / "secret.txt"
    secret.write_bytes(b"x" * (pictures / "0.png").stat().st_size)
    (pictures / "0.png").unlink()
    (pictures / "0.png").symlink_to(secret)
    refused(client.get("/v1/pictures/1/original"), 404, "picture_changed")
    (pictures / "1.png").write_bytes(b"shorter")
    refused(client.get("/v1/pictures/2/original"), 404, "picture_changed")
    (pictures / "2.png").unlink()
    refused(client.get("/v1/pictures/3/original"), 404, "file_not_found")
    (pictures / "2.png").mkdir()
    refused(client.get("/v1/pictures/3/original"), 404, "picture_changed")
    # all still have their records, and can be searched for by what is stored
    assert len(client.read("/v1/pictures/3/similar")["hits"]) == 2
    region = client.get("/v1/pictures/3/similar", region="0,0,10,10")
    refused(region, 404, "file_not_found")


def test_bytes_that_were_not_indexed_are_not_sent_whatever_their_size_and_time(
    client: Client, pictures: Path
) -> None:
    path, secret = pictures / "0.png", pictures.parent / "secret.txt"
    status = path.stat()
    secret.write_bytes(b"x" * status.st_size)
    os.utime(secret, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert client.get("/v1/pictures/1/original").status_code == 200
    path.unlink()
    path.symlink_to(secret)
    refused(client.get("/v1/pictures/1/original"), 404, "picture_changed")
    path.unlink()
    os.link(secret, path)
    refused(client.get("/v1/pictures/1/original"), 404, "picture_changed")
    path.unlink()
    os.mkfifo(path)
    refused(client.get("/v1/pictures/1/original"), 404, "picture_changed")


def test_a_file_that_is_replaced_while_it_is_sent_is_sent_as_it_was(
    client: Client, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from parecido.search.web.routes.originals import OpenFile

    path, whole = pictures / "1.png", (pictures / "1.png").read_bytes()
    begin = OpenFile.__call__

    async def replace_first(self: OpenFile, scope: Any, receive: Any, send: Any) -> None:
        other = pictures / "other"
        other.write_bytes(b"y" * len(whole))
        other.replace(path)
        await begin(self, scope, receive, send)

    monkeypatch.setattr(OpenFile, "__call__", replace_first)
    assert client.get("/v1/pictures/2/original").content == whole
    assert not [fd for fd in Path("/proc/self/fd").iterdir() if "1.png" in str(fd.resolve())]
