"""The library that a commit before all moves of modules made, and what is asked of it.

``tests/contract/library_before`` holds it as ``library.zip``, beside the answers that the program
gave at that commit.  Both were made by this file, run with a checkout of that commit (df1e877,
whose packages were called ``indexer`` and ``search``)::

    PYTHONPATH=CHECKOUT python -P tests/support/library_before.py tests/contract/library_before

Its pictures are not kept: their colours are digests, and they are written as plain pixels, so that
no release of a library that draws or packs pictures changes a byte of them.  What :func:`main` and
the functions after it import belongs to that commit.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from hashlib import shake_128
from pathlib import Path
from typing import Any

__all__ = [
    "PREFIX",
    "UPLOADED",
    "ask_everything",
    "list_pictures",
    "list_skips",
    "part",
    "picture",
    "relocate",
    "set_time",
    "tell_facts",
    "write_files",
]

PREFIX = "/parecido-fixture"
"""What stands in the catalogue for the folder that holds the library and the pictures."""
UPLOADED = 96
"""The seed of the picture that was sent to a server; those below it lie in folders."""
_REMOVED = 200
_START_NS = 1_700_000_000_000_000_000
# each is what the encoder's size policy gives for it, so that no pixel is resampled
_SIZES = ((32, 32), (40, 24), (24, 40))


def _colours(seed: int) -> list[list[int]]:
    """The colours of four quadrants; six seeds in a row have nearly the same."""
    base = shake_128(f"group {seed // 6}".encode()).digest(12)
    own = shake_128(f"picture {seed}".encode()).digest(12)
    mixed = [max(0, min(255, b + o // 6 - 21)) for b, o in zip(base, own, strict=True)]
    return [mixed[i : i + 3] for i in range(0, 12, 3)]


def picture(seed: int) -> bytes:
    """A file in the format PPM with four coloured quadrants, different for each seed."""
    width, height = _SIZES[seed % len(_SIZES)]
    upper_left, upper_right, lower_left, lower_right = map(bytes, _colours(seed))
    upper = upper_left * (width // 2) + upper_right * (width // 2)
    lower = lower_left * (width // 2) + lower_right * (width // 2)
    head = f"P6 {width} {height} 255\n".encode()
    return head + upper * (height // 2) + lower * (height // 2)


def part(seed: int) -> bytes:
    """The upper left quadrant of such a picture, as a file of its own."""
    return b"P6 16 16 255\n" + bytes(_colours(seed)[0]) * 256


def _names() -> Iterator[tuple[str, bytes]]:
    """Every file below the folder of pictures."""
    for seed in range(UPLOADED):
        yield f"group {seed % 2}/{seed:03d}.ppm", picture(seed)
    yield "empty.png", b""
    yield "notes.jpg", b"no picture at all\n"
    yield "short.ppm", picture(0)[:100]


def write_files(folder: Path) -> None:
    """Write the pictures, and files that are none, below ``folder / "pictures"``.

    With the times that they had: a second apart.
    """
    for number, (name, data) in enumerate(_names()):
        path = folder / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        set_time(path, number)


def set_time(path: Path, number: int) -> None:
    """Give a file the time that the catalogue remembers of it."""
    moment = _START_NS + number * 1_000_000_000
    os.utime(path, ns=(moment, moment))


def ask_everything(
    engine: Any, ask: Callable[..., Any], wanted: Callable[..., Any], folder: Path
) -> dict[str, list[dict[str, Any]]]:
    """What the library answers to all kinds of questions: hits as plain values, by question.

    ``ask`` and ``wanted`` make an Ask and a Filter; names are seen from ``folder``.
    """
    pictures = folder / "pictures"

    def path(seed: int) -> Path:
        return pictures / f"group {seed % 2}" / f"{seed:03d}.ppm"

    plain = {"expand": False, "rerank": False}
    (stored,) = engine.descriptors([path(31)])
    several = ask((path(5), path(6)), unlike=(path(50),))
    either = ask((path(5), path(60)), together="any")
    found = {
        **{f"path {seed}": engine.search(path(seed)).hits for seed in (3, 20, 57, 95)},
        "itself": engine.search(path(8), k=3, include_self=True).hits,
        "page": engine.search(path(8), k=5, offset=5).hits,
        "plain": engine.search(path(8), **plain).hits,
        "exact": engine.search(path(8), exact=True, **plain).hits,
        "expanded": engine.search(path(8), expand=True, rerank=False).hits,
        "again": engine.search(path(8), expand=False, rerank=True).hits,
        "unseen": engine.search_bytes(picture(300)).hits,
        "unseen, plain": engine.search_bytes(picture(300), **plain).hits,
        "any orientation": engine.search(path(15), any_orientation=True).hits,
        "vector": engine.search_vector(stored, k=20),
        "score": engine.search(path(8), min_score=0.5, **plain).hits,
        "chance": engine.search(path(8), max_chance=1.0).hits,
        "folder": engine.search(path(8), wanted=wanted(path=str(pictures / "group 1"))).hits,
        "with and without": engine.ask(several).hits,
        "either": engine.ask(either).hits,
        "part": engine.search_bytes(part(40), within=True).hits,
        "part of an indexed one": engine.search(path(70), within=True, k=4).hits,
    }
    return {
        question: [_plain(asdict(hit), folder) for hit in hits] for question, hits in found.items()
    }


def _plain(hit: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A hit as JSON brings it: seven digits, names without the folder."""
    chance, second, box = hit["chance"], hit["second"], hit["box"]
    return {
        "id": hit["id"],
        "rank": hit["rank"],
        "name": os.path.relpath(hit["path"], folder),
        "score": round(hit["score"], 7),
        "chance": None if chance is None else float(f"{chance:.5g}"),
        "second": None if second is None else round(second, 7),
        "box": None if box is None else [round(side, 6) for side in box],
    }


def list_pictures(library: Any, ids: list[int], folder: Path) -> list[dict[str, Any]]:
    """Everything that the catalogue tells of each picture, by id."""
    found = [
        {
            **asdict(one),
            "path": os.path.relpath(one.path, folder),
            "content_hash": one.content_hash.hex(),
            "labels": [[name, float(f"{p:.4g}"), index] for name, p, index in one.labels],
        }
        for one in library.catalogue.pictures(ids)
    ]
    return sorted(found, key=lambda one: one["id"])


def list_skips(library: Path, folder: Path) -> list[list[str]]:
    """Name, kind and reason of every file that was left out, by name."""
    with closing(sqlite3.connect(library / "catalogue.sqlite")) as connection:
        rows = connection.execute("SELECT path, kind, reason FROM skips ORDER BY path").fetchall()
    return [[os.path.relpath(os.fsdecode(path), folder), *told] for path, *told in rows]


def relocate(catalogue: Path, before: str, after: str) -> None:
    """Let the paths in a catalogue's file begin otherwise, and leave it without a journal."""
    with closing(sqlite3.connect(catalogue)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        for table in ("pictures", "roots", "skips", "uploads"):
            rows = connection.execute(f"SELECT path FROM {table}").fetchall()
            moved = [(after.encode() + row[0].removeprefix(before.encode()), *row) for row in rows]
            assert all(row[0].startswith(before.encode() + b"/") for row in rows)
            connection.executemany(f"UPDATE {table} SET path = ? WHERE path = ?", moved)
        connection.commit()
        connection.execute("VACUUM")


def tell_facts(facts: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What ``info`` tells, without what depends on where the library lies and on its journal."""
    placed = ("bytes", "library", "file_system", "file_system_note")
    told = {key: value for key, value in facts.items() if key not in placed}
    return {**told, "roots": [os.path.relpath(root, folder) for root in facts["roots"]]}


# -- made once, by the program of that commit ------------------------------------------------------


def main(target: Path) -> None:
    """Make the library and the answers."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(os.path.realpath(folder))
        write_files(base)
        _fill(base)
        _send(base)
        told = _ask(base)
        _keep(base / "library", target / "library.zip", str(base))
    lines = ",\n".join(f"{json.dumps(key)}: {_lines(value)}" for key, value in told.items())
    (target / "answers.json").write_text(f"{{{lines}}}\n", "utf-8")


def _lines(value: Any) -> str:
    """JSON with a line for every hit or picture."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(json.dumps(one) for one in value) + "\n]"
    if isinstance(value, dict):
        return "{\n" + ",\n".join(f"{json.dumps(k)}: {_lines(v)}" for k, v in value.items()) + "\n}"
    return json.dumps(value)


def _fill(base: Path) -> None:
    """Several runs, and a picture that comes and goes."""
    from indexer.pipeline import remove

    from indexer import IndexOptions, Library, index
    from tests.serving import labelled_encoder

    removed = base / "pictures" / "group 0" / "removed.ppm"
    removed.write_bytes(picture(_REMOVED))
    options = IndexOptions(within=True, think_twice=True, workers=1)
    with Library.create(base / "library") as library:
        for group in ("group 0", "group 1", ""):
            index(library, [base / "pictures" / group], options, encoder=labelled_encoder())
        remove(library, [removed])
        removed.unlink()
        index(library, [base / "pictures"], encoder=labelled_encoder())


def _send(base: Path) -> None:
    """Upload a picture to a server of the library."""
    import pytest

    from indexer import Library, index
    from tests.serving import labelled_encoder, serving, use_fakes

    with pytest.MonkeyPatch.context() as patch:
        use_fakes(patch)
        with serving(base / "library") as client:
            response = client.send("/v1/pictures", picture(UPLOADED), name="uploaded.ppm")
            assert response.status_code == 201, response.text
    (uploaded,) = (base / "library" / "uploads").rglob("*.ppm")
    set_time(uploaded, 1000)
    with Library.open(base / "library") as library:
        index(library, [base / "library" / "uploads"], encoder=labelled_encoder())


def _ask(base: Path) -> dict[str, Any]:
    """All that is recorded."""
    from indexer.facts import library_facts
    from indexer.filters import Filter

    from indexer import Library, verify
    from search import Engine
    from search.asking import Ask
    from tests.serving import labelled_encoder

    with (
        Library.open(base / "library") as library,
        Engine(library, encoder=labelled_encoder()) as engine,
    ):
        assert verify(library) == []
        (upload,) = library.catalogue.uploads()
        return {
            "facts": tell_facts(library_facts(library), base),
            "skips": list_skips(base / "library", base),
            "upload": os.path.relpath(os.fsdecode(upload.path), base),
            "pictures": list_pictures(library, library.catalogue.ids().tolist(), base),
            "answers": ask_everything(engine, Ask, Filter, base),
        }


def _keep(library: Path, archive: Path, base: str) -> None:
    """Pack what a library is made of, with no path and no number of this machine's."""
    shutil.rmtree(library / "uploads")
    (library / "lock").unlink()
    with closing(sqlite3.connect(library / "catalogue.sqlite")) as connection:
        connection.execute("UPDATE roots SET device = 1, inode = 1")
        connection.commit()
    relocate(library / "catalogue.sqlite", base, PREFIX)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as kept:
        for path in sorted(library.rglob("*.*")):
            kept.write(path, path.relative_to(library.parent))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
