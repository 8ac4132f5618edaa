"""Foreign files and links everywhere in a library: whatever runs, none of them is changed or gone.

Each round puts one thing in the place of a library's file or folder, and two more into or below its
folders, under random names or names like the program's own.  Then every command runs, and a server
with every kind of job.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import random
import shutil
import socket
import sqlite3
import stat
import string
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from parecido.indexer.encoders.building.quantised_model import _MARK
from parecido.indexer.errors import ParecidoError
from parecido.indexer.library.layout import UPLOADS
from parecido.search.cli import cli
from parecido.search.web.settings import Settings
from tests.support.fakes import save_pictures
from tests.support.serving import Client, picture_bytes, serving, use_fakes

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links and pipes")

PICTURES = 70
ROUNDS = 120
PARTS = 12
FOREIGN = 300  # files and links, at least


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``pictures`` and a ``library`` that holds everything that one can hold."""
    folder = tmp_path_factory.mktemp("made")
    save_pictures(folder / "pictures", PICTURES)
    with pytest.MonkeyPatch.context() as patch:
        use_fakes(patch)
        library = folder / "library"
        _run("index", folder / "pictures", "--think-twice", "--within", "--library", library)
        with serving(library) as client:
            for seed in (1, 2):
                assert client.send("/v1/pictures", picture_bytes(seed)).status_code == 201
            for size in (128, 256):
                assert client.get("/v1/pictures/1/thumbnail", size=size).status_code == 200
    (library / "encoder").mkdir()
    (library / "encoder" / "model.bin").write_bytes(b"weights")
    mark = _MARK.format(hashlib.sha256(b"weights").hexdigest())
    (library / "encoder" / "model.xml").write_text(f"<net/>{mark}")
    (library / "lock").touch()
    return folder


def _run(*words: str | Path) -> None:
    """One command; where it fails, it says why in one line, and that is no defect."""
    done = CliRunner().invoke(cli, [str(word) for word in words], prog_name="parecido")
    if done.exit_code:
        assert done.exit_code == 1, (words, done.exit_code, done.stderr)
        told = done.stderr.splitlines() or done.stdout.splitlines()  # of verify: problems
        assert told, words
        assert done.stdout or told[-1].startswith("parecido: "), (words, done.stderr)
        assert "Unexpected" not in done.stderr, (words, done.stderr)


# -- foreign things --------------------------------------------------------------------------------


class Foreign:
    """What somebody puts into a library, and how it was."""

    def __init__(self, seed: int, outside: Path) -> None:
        self.random = random.Random(seed)
        self._outside = outside
        self._made: dict[Path, str] = {}
        self._number = 0
        outside.mkdir()

    def content(self) -> bytes:
        """Bytes of a file of some kind."""
        image = io.BytesIO()
        Image.new("RGB", (30, 20), (self.random.randrange(256), 9, 9)).save(image, "JPEG")
        noise = self.random.randbytes(self.random.choice([1, 40, 5000]))
        return self.random.choice(
            [
                *(noise, b"Dear diary\n", b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'}\n" + noise),
                *(image.getvalue(), b"<?xml version='1.0'?><svg/>", b'{"name": "mine"}'),
                *(b"SQLite format 3\0" + noise + b"CREATE TABLE stamps", b"\0\0\0\0ftyp" + noise),
            ]
        )

    def put(self, path: Path) -> None:
        """Something of any kind at a path where nothing is."""
        kind = self.random.choice(
            [self._file, self._folder, self._link, self._hard_link, self._dangling, self._pipe]
        )
        kind(path)

    def _new(self) -> Path:
        self._number += 1
        return self._outside / f"{self._number}.jpg"

    def _file(self, path: Path) -> None:
        path.write_bytes(self.content())
        self._note(path)

    def _folder(self, path: Path) -> None:
        path.mkdir()
        for name in self.random.sample(["letter.txt", "model.bin", "000000000007.faiss"], 2):
            self._file(path / name)

    def _link(self, path: Path) -> None:
        target = self._new()
        self.random.choice([self._file, self._folder])(target)
        path.symlink_to(target)
        self._note(path)

    def _hard_link(self, path: Path) -> None:
        target = self._new()
        self._file(target)
        os.link(target, path)
        self._note(path)

    def _dangling(self, path: Path) -> None:
        path.symlink_to(self._new())
        self._note(path)

    def _pipe(self, path: Path) -> None:
        if self.random.random() < 0.5 or len(os.fsencode(path)) > 100:
            os.mkfifo(path)
        else:
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(os.fspath(path))
        self._note(path)

    def _note(self, path: Path) -> None:
        self._made[path] = _seen(path)

    def __len__(self) -> int:
        return len(self._made)

    def check(self, after: object) -> None:
        """Assert that everything is as it was."""
        changed = {path: _seen(path) for path, was in self._made.items() if _seen(path) != was}
        assert changed == {}, after
        # nothing appeared behind a link
        there = {path for path in self._outside.rglob("*") if not path.is_dir()}
        assert there <= set(self._made), after


def _seen(path: Path) -> str:
    """What lies at a path: its kind, and its bytes' hash or its target."""
    try:
        mode = os.lstat(path).st_mode
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    if stat.S_ISLNK(mode):
        return f"link {os.readlink(path)}"
    if stat.S_ISREG(mode):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return str(stat.S_IFMT(mode))


def _name(source: random.Random) -> str:
    """A name for something new: any, or one as the program gives."""
    digits = "".join(source.choices(string.hexdigits.lower(), k=32))
    number = f"{source.randrange(10**6):012d}"
    return source.choice(
        [
            *("holiday.jpg", "logo.svg", "notes.txt", ".hidden", "a b.png", "catalogue.sqlite.bak"),
            *(f"{number}.faiss", f"{number}-{digits[:16]}.faiss", f"{number}.npy"),
            *(f"{number}.faiss.77.tmp", f"{number}.npy.77-{digits[:8]}.tmp", f"{digits}.jpg"),
            *("model.bin", "model.xml", "lock.bak", "writer.json.77-01234567.tmp"),
            *(f"a-{digits[:16]}.png", f".a.png.{digits}.new-{digits[:8]}", digits[:2], "256"),
            *("catalogue.sqlite.new", "catalogue.sqlite-journal", "writer.json", "uploads"),
            *("encoder.new-01234567", f"encoder.new-{digits[:8]}", "made-by-parecido"),
            *(f"catalogue.sqlite.damaged-20260101-010101-{number[-3:]}", "manifest.json"),
        ]
    )


def _places(library: Path) -> list[Path]:
    """Every file and folder of a library, and files that it has at times."""
    found = sorted(path for path in library.rglob("*") if path.name != "catalogue.sqlite-shm")
    at_times = (
        *("catalogue.sqlite-wal", "catalogue.sqlite-shm", "catalogue.sqlite-journal"),
        *("catalogue.sqlite.new", "catalogue.sqlite.new-wal", "writer.json", "lock"),
    )
    return [*found, *(library / name for name in at_times if not (library / name).exists())]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


# -- everything that the program does --------------------------------------------------------------


def _commands(folder: Path) -> Iterator[list[str | Path]]:
    pictures, library = folder / "pictures", folder / "library"
    picture, other = pictures / "0001.png", pictures / "0002.png"
    at: tuple[str, Path] = ("--library", library)
    yield ["search", picture, *at]
    yield ["info", *at]
    yield ["verify", *at]
    (pictures / "0003.png").unlink()
    save_pictures(pictures, 3, first=200)
    yield ["index", pictures, "--think-twice", "--within", *at]
    yield ["search", picture, "--within", *at]
    yield ["search", picture, "--exact", "--sheet", folder / "sheet.png", *at]
    yield ["labels", picture, *at]
    yield ["compare", picture, other, *at]
    yield ["explain", picture, other, "-o", folder / "why.png", *at]
    yield ["remove", pictures / "0005.png", *at]
    yield ["verify", "--repair", *at]
    yield ["index", pictures, "--no-think-twice", "--no-within", *at]
    yield ["remove", pictures, *at]
    yield ["index", pictures, *at]


def _serve(client: Client, pictures: Path) -> None:
    """Every kind of job, and what writes besides."""
    told = client.read("/v1/jobs")["jobs"]
    for job in told:
        client.ended(job)
    (pictures / "0007.png").unlink()
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/v1/pictures?name=new.png", {"content": picture_bytes(3)}),
        ("POST", "/v1/pictures?name=new.png", {"content": picture_bytes(1)}),
        ("POST", "/v1/index", {"json": {"path": str(pictures)}}),
    ]
    listed = client.get("/v1/pictures", limit=200)
    found = listed.json()["pictures"] if listed.status_code == 200 else []
    for picture in found:
        address = f"/v1/pictures/{picture['id']}"
        client.get(f"{address}/thumbnail", size=128)
        if picture["owned"] or f"/{UPLOADS}/" in picture["path"]:
            asked.append(("PUT", address, {"content": picture_bytes(4)}))
            asked.append(("DELETE", address, {}))
    for method, address, body in asked:
        headers = {"Content-Type": "image/png"} if "content" in body else {}
        answer = client.ask(method, address, headers=headers, **body)
        if answer.status_code == 202:
            client.ended(answer.json())
        elif answer.status_code >= 400:
            assert answer.json()["error"]["code"] != "error", (method, address, answer.text)
    client.service.thumbnails._limit = 1
    for picture in found[:2]:
        client.get(f"/v1/pictures/{picture['id']}/thumbnail", size=256)


@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_foreign_is_changed_whatever_runs(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    use_fakes(monkeypatch)
    count = 0
    for seed in range(part, ROUNDS, PARTS):
        folder = tmp_path / str(seed)
        shutil.copytree(made, folder)
        _move(folder / "library", made, folder)
        count += _round(folder, seed)
    assert count >= FOREIGN // PARTS


def _move(library: Path, old: Path, new: Path) -> None:
    """Let the catalogue tell the paths of a copy."""
    with closing(sqlite3.connect(library / "catalogue.sqlite")) as connection, connection:
        for table in ("pictures", "roots", "uploads"):
            connection.execute(
                f"UPDATE {table} SET path = CAST(replace(CAST(path AS TEXT), ?, ?) AS BLOB)",
                (str(old), str(new)),
            )


def _round(folder: Path, seed: int) -> int:
    """One library with three foreign things in it; how many files and links they are."""
    library = folder / "library"
    foreign = Foreign(seed, folder / "outside")
    places = _places(library)
    place = places[seed % len(places)]
    _remove(place)
    foreign.put(place)
    folders = [path for path in places if path.is_dir() and not path.is_symlink()]
    folders = [path for path in folders if path != place and place not in path.parents]
    for _ in range(2):
        at = foreign.random.choice([library, *folders])
        if foreign.random.random() < 0.4:
            at = at / f"my {foreign.random.randrange(10**6)}"
            at.mkdir()
        path = at / _name(foreign.random)
        if not os.path.lexists(path):
            foreign.put(path)
    said = f"seed {seed}, in the place of {place.relative_to(library)}"
    foreign.check(said)
    pictures = folder / "pictures"
    if seed % 2:
        _all_served(folder, foreign, said)
    for words in _commands(folder):
        _run(*words)
        foreign.check((said, words))
    if not seed % 2:
        _all_served(folder, foreign, said)
    assert len(list(pictures.iterdir())) == PICTURES + 3 - 2
    return len(foreign)


def _all_served(folder: Path, foreign: Foreign, said: str) -> None:
    pictures = folder / "pictures"
    with suppress(ParecidoError):  # refused, as a command is
        with serving(folder / "library", Settings(index_roots=(pictures,))) as client:
            _serve(client, pictures)
        foreign.check((said, "served"))
    (pictures / "0007.png").unlink(missing_ok=True)
    foreign.check((said, "served"))
