"""A flipped bit anywhere in a library: found, or without any effect; after a repair nothing wrong.

``PARECIDO_BIT_FLIPS`` is how many there are, 150 by default; ``PARECIDO_FLIPS_SEED`` which.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parecido import Engine, Library, LibraryDamaged, ParecidoError, repair, verify
from parecido.indexer.library.layout import CATALOGUE, THUMBNAILS
from parecido.indexer.pictures.decoding.decoder import DecoderHere
from parecido.indexer.pictures.limits import Limits
from parecido.search.web.thumbnails import Thumbnails
from tests.support.fakes import fake_encoder, save_picture
from tests.support.records import Records, find_wrong, make_rich_library, read_records

FLIPS = int(os.environ.get("PARECIDO_BIT_FLIPS", "150"))
SEED = int(os.environ.get("PARECIDO_FLIPS_SEED", "1"))
SHARES = 3
"""So many tests have a share of them, to run side by side."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that is damaged over and over, and its pictures."""
    made = tmp_path_factory.mktemp("rich")
    make_rich_library(made)
    save_picture(made / "query.png", 99)
    see_thumbnails(made / "library")
    return made


def see_thumbnails(library: Path) -> list[bytes]:
    """Thumbnails of some pictures of a library, which are kept in it."""
    thumbnails = Thumbnails(library / THUMBNAILS, 1 << 20, Limits(), DecoderHere())
    with Library.open(library) as opened:
        pictures = opened.catalogue.pictures([1, 5, 9])
        return [thumbnails.get(picture, 128) for picture in pictures]


def ask(folder: Path, library: Path) -> list[Any]:
    """What a library answers to questions of all kinds."""
    found = []
    with Library.open(library) as opened, Engine(opened, encoder=fake_encoder()) as engine:
        for name in ("query.png", "pictures/0011.png"):
            for how in ({}, {"expand": True, "rerank": True}, {"within": True}, {"exact": True}):
                hits = engine.search(folder / name, k=12, **how).hits  # type: ignore[arg-type]
                found.append([asdict(hit) for hit in hits])
    return [*found, see_thumbnails(library)]


def files_of(library: Path) -> list[Path]:
    """The files with something in them that a library reads."""
    names = ("vectors", "regions", "neighbours", "thumbnails")
    caches = [path for name in names for path in sorted((library / name).rglob("*.*"))]
    return [library / CATALOGUE, *caches]


def flip(path: Path, bit: int) -> None:
    """Flip one bit of a file."""
    with path.open("r+b") as file:
        file.seek(bit // 8)
        (byte,) = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def judge(folder: Path, copy: Path, right: Records, answers: list[Any]) -> str:
    """What became of a damaged library: found, or harmless; all the rest is asserted."""
    try:
        with Library.open(copy) as opened:
            is_found = verify(opened) != []
    except ParecidoError:
        is_found = True
    if not is_found:
        assert read_records(copy) == right
        assert ask(folder, copy) == answers
        return "harmless"
    try:
        repair(copy, encoder=fake_encoder())
    except LibraryDamaged as error:
        told = error.message
        assert "Nothing usable" in told
        return "beyond repair"
    with Library.open(copy) as opened:
        assert verify(opened) == []
    assert find_wrong(right, read_records(copy)) == []
    return "found"


@pytest.mark.parametrize("share", range(SHARES))
def test_no_flipped_bit_that_changes_an_answer_or_a_record_passes(
    share: int,
    folder: Path,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    random = np.random.default_rng((SEED, share))
    library = folder / "library"
    right, answers = read_records(library), ask(folder, library)
    files = files_of(library)
    told: Counter[tuple[str, str]] = Counter()
    for number in range(share, FLIPS, SHARES):
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(library, copy)
        # half of them in the catalogue, the other half in the caches
        which = 0 if number % 2 else int(random.integers(len(files)))
        path = copy / files[which].relative_to(library)
        # zeros are mostly what no table uses
        used = np.flatnonzero(np.frombuffer(path.read_bytes(), np.uint8))
        byte = random.choice(used) if number % 8 else random.integers(path.stat().st_size)
        bit = 8 * int(byte) + int(random.integers(8))
        lost = number % 4 == 1
        if lost:  # nothing to compare descriptors with
            shutil.rmtree(copy / "vectors")
        flip(path, bit)
        try:
            became = judge(folder, copy, right, answers)
        except BaseException:
            print(f"bit {bit} of {path.relative_to(copy)}, index lost: {lost}")
            raise
        told[path.relative_to(copy).parts[0], became] += 1
    ends = ", ".join(f"{count} of {where} {end}" for (where, end), count in sorted(told.items()))
    record_property("counts", f"{told.total()} flipped bits: {ends}")
