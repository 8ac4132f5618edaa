"""Thumbnails by which copies are known: kept with pictures, and added to those of before."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from parecido import IndexOptions, Library, index
from parecido.indexer.pictures.limits import Limits
from parecido.indexer.pictures.looks.drawing import draw_look
from parecido.indexer.pictures.read import decode_file
from parecido.indexer.records.pictures import Look
from tests.support.fakes import fake_encoder, fake_spec, save_picture, save_pictures


def looks(library: Library) -> dict[str, Look]:
    rows = library.catalogue.under(b"/")
    paths = {picture_id: path.decode() for picture_id, path in rows}
    return {paths[i]: look for i, look in library.catalogue.looks.of(list(paths)).items()}


def drawn(path: Path) -> Look:
    return draw_look(np.asarray(decode_file(path, fake_spec(), Limits()).pixels))


def forget_looks(library: Path) -> None:
    """As a library that was indexed before there were thumbnails."""
    with (
        Library.open(library) as opened,
        opened.writer() as writing,
        writing.catalogue._transaction() as connection,
    ):
        connection.exec_driver_sql("DELETE FROM looks")


def test_each_picture_is_kept_with_its_thumbnail_and_copies_share_it(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    save_pictures(pictures, 5)
    shutil.copy(pictures / "0002.png", pictures / "copy.png")
    with Library.create(tmp_path / "library") as library:
        index(library, [pictures], encoder=fake_encoder())
        shutil.copy(pictures / "0003.png", pictures / "later.png")
        index(library, [pictures], encoder=fake_encoder())
        found = looks(library)
    assert found == {str(path): drawn(path) for path in sorted(pictures.iterdir())}
    assert len(found) == 7


def test_new_content_has_a_new_thumbnail(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    save_pictures(pictures, 2)
    with Library.create(tmp_path / "library") as library:
        index(library, [pictures], encoder=fake_encoder())
        before = looks(library)
        save_picture(pictures / "0001.png", 77, size=(50, 40))
        index(library, [pictures], encoder=fake_encoder())
        after = looks(library)
    changed = str(pictures / "0001.png")
    assert after[changed] == drawn(pictures / "0001.png") != before[changed]


def test_pictures_of_before_get_theirs_without_being_encoded(tmp_path: Path) -> None:
    pictures, other = tmp_path / "pictures", tmp_path / "other"
    save_pictures(pictures, 5)
    save_pictures(other, 2, first=50)
    with Library.create(tmp_path / "library") as library:
        index(library, [pictures, other], encoder=fake_encoder())
        whole = looks(library)
    forget_looks(tmp_path / "library")
    with Library.open(tmp_path / "library") as library:
        assert looks(library) == {}
        report = index(library, [pictures], encoder=fake_encoder())
        assert (report.looks, report.encoded, report.unchanged) == (5, 0, 5)
        assert looks(library) == {
            p: one for p, one in whole.items() if p.startswith(f"{pictures}/")
        }
        assert index(library, [pictures], encoder=fake_encoder()).looks == 0
        assert index(library, [other], encoder=fake_encoder()).looks == 2
        assert looks(library) == whole


def test_a_run_that_is_stopped_goes_on_with_the_next(tmp_path: Path) -> None:
    save_pictures(tmp_path / "pictures", 5)
    with Library.create(tmp_path / "library") as library:
        index(library, [tmp_path / "pictures"], encoder=fake_encoder())
    forget_looks(tmp_path / "library")
    with Library.open(tmp_path / "library") as library:
        options = IndexOptions()
        stopped = iter([False] * 8)
        report = index(
            library,
            [tmp_path / "pictures"],
            options,
            encoder=fake_encoder(),
            stop=lambda: next(stopped, True),
        )
        assert report.interrupted
        rest = index(library, [tmp_path / "pictures"], encoder=fake_encoder())
        assert report.looks + rest.looks == 5
        assert len(looks(library)) == 5


def test_a_file_that_is_not_what_was_indexed_gets_none(tmp_path: Path) -> None:
    save_pictures(tmp_path / "pictures", 3)
    with Library.create(tmp_path / "library") as library:
        index(library, [tmp_path / "pictures"], encoder=fake_encoder())
    forget_looks(tmp_path / "library")
    (tmp_path / "pictures" / "0001.png").rename(tmp_path / "away.png")
    with Library.open(tmp_path / "library") as library:
        report = index(library, [tmp_path / "pictures"], encoder=fake_encoder())
        assert (report.removed, report.looks) == (1, 2)
