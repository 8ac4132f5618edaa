"""What cannot be seen is not gone: unplugged disks, folders without permission, broken links."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from parecido import IndexReport, Library, index
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.records.pictures import FileEntry
from parecido.indexer.system.paths import signed64
from tests.support.fakes import save_picture, save_pictures


def held(library: Library) -> dict[str, int]:
    """Path and id of every picture."""
    return {os.fsdecode(path): i for i, path in library.catalogue.under(b"/")}


def test_a_missing_root_below_another_keeps_its_pictures(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    save_pictures(tmp_path / "p", 2)
    save_pictures(tmp_path / "p" / "usb", 3, first=10)
    roots = [tmp_path / "p", tmp_path / "p" / "usb"]
    index(library, roots, encoder=encoder)
    (tmp_path / "p" / "usb").rename(tmp_path / "unplugged")
    for paths in (roots, roots[:1]):
        report = index(library, paths, encoder=encoder)
        assert (report.removed, report.missing_roots) == (0, [str(roots[1])])
        assert len(held(library)) == 5


def test_an_empty_mount_point_keeps_its_pictures_also_after_a_stopped_first_run(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    save_pictures(tmp_path / "disk", 40)
    seen: list[int] = []

    def count(report: IndexReport) -> None:
        seen.append(report.added)

    first = index(
        library,
        [tmp_path / "disk"],
        encoder=encoder,
        progress=count,
        stop=lambda: seen[-1:] > [5],
    )
    assert first.interrupted
    assert first.added
    (tmp_path / "disk").rename(tmp_path / "unplugged")
    (tmp_path / "disk").mkdir()
    report = index(library, [tmp_path / "disk"], encoder=encoder)
    assert (report.removed, report.missing_roots) == (0, [str(tmp_path / "disk")])
    assert len(held(library)) == first.added


def test_copies_of_an_unplugged_disks_pictures_do_not_take_their_ids(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    save_pictures(tmp_path / "disk", 4)
    index(library, [tmp_path / "disk"], encoder=encoder)
    before = held(library)
    shutil.copytree(tmp_path / "disk", tmp_path / "copy")
    (tmp_path / "disk").rename(tmp_path / "unplugged")
    (tmp_path / "disk").mkdir()
    report = index(library, [tmp_path / "copy", tmp_path / "disk"], encoder=encoder)
    assert (report.moved, report.added) == (0, 4)
    assert {path: held(library)[path] for path in before} == before


def test_files_without_permission_to_look_at_are_kept(
    library: Library, tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_pictures(tmp_path / "p" / "closed", 3)
    save_pictures(tmp_path / "p", 1, first=10)
    index(library, [tmp_path / "p"], encoder=encoder)

    class Closed:
        """A directory entry that may be listed and not looked at."""

        def __init__(self, entry: os.DirEntry[bytes]) -> None:
            self.name, self.path = entry.name, entry.path

        def is_dir(self, follow_symlinks: bool = True) -> bool:
            raise PermissionError(13, "Permission denied", self.path)

    scandir = os.scandir

    class Listing:
        def __init__(self, path: str | bytes | os.PathLike[str]) -> None:
            with scandir(path) as listing:
                closed = os.fsencode(path).endswith(b"closed")
                self.entries = [Closed(entry) if closed else entry for entry in listing]

        def __enter__(self) -> object:
            return iter(self.entries)

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr("parecido.indexer.pictures.walking.walk.os.scandir", Listing)
    report = index(library, [tmp_path / "p"], encoder=encoder)
    assert (report.removed, len(held(library))) == (0, 4)
    assert {skip.kind for skip in report.skipped} == {"unreadable"}


def test_pictures_behind_a_link_that_leads_nowhere_are_kept(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    save_pictures(tmp_path / "disk", 3)
    save_pictures(tmp_path / "p", 1, first=10)
    (tmp_path / "p" / "link").symlink_to(tmp_path / "disk")
    index(library, [tmp_path / "p"], encoder=encoder)
    assert len(held(library)) == 4
    (tmp_path / "disk").rename(tmp_path / "unplugged")
    report = index(library, [tmp_path / "p"], encoder=encoder)
    assert (report.removed, len(held(library))) == (0, 4)
    assert [skip.reason for skip in report.skipped] == ["the link leads nowhere"]
    (tmp_path / "p" / "link").unlink()
    assert index(library, [tmp_path / "p"], encoder=encoder).removed == 3


def test_a_single_picture_given_as_a_root_is_gone_when_its_folder_says_so(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    first, _ = save_pictures(tmp_path / "p", 2)
    index(library, [first], encoder=encoder)
    first.unlink()
    report = index(library, [tmp_path / "p"], encoder=encoder)
    assert (report.added, report.removed, report.missing_roots) == (1, 1, [])


def test_a_hidden_folder_indexed_by_name_stays_when_its_parent_is_indexed(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    save_pictures(tmp_path / "p" / ".private", 3)
    save_pictures(tmp_path / "p", 1, first=10)
    index(library, [tmp_path / "p" / ".private"], encoder=encoder)
    report = index(library, [tmp_path / "p"], encoder=encoder)
    assert (report.added, report.removed, len(held(library))) == (1, 0, 4)


def test_a_root_that_another_one_links_to_keeps_its_ids(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    save_pictures(tmp_path / "b", 4)
    index(library, [tmp_path / "b"], encoder=encoder)
    before = held(library)
    save_pictures(tmp_path / "a", 1, first=10)
    (tmp_path / "a" / "link").symlink_to(tmp_path / "b")
    report = index(library, [tmp_path / "a", tmp_path / "b"], encoder=encoder)
    assert (report.added, report.removed, report.unchanged) == (1, 0, 4)
    assert {path: held(library)[path] for path in before} == before


@pytest.mark.parametrize("when", [2**63 + 5, -(2**62), 2**64 - 1])
def test_a_time_outside_sqlites_range_is_a_time_like_any_other(
    when: int, library: Library, tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = save_picture(tmp_path / "p" / "odd.png", 1)
    save_picture(tmp_path / "p" / "plain.png", 2)
    from parecido.indexer.pictures.walking import walk as discover

    entry = discover._entry

    def dated(path: bytes, status: os.stat_result) -> FileEntry:
        found = entry(path, status)
        if path != os.fsencode(odd):
            return found
        return FileEntry(found.path, found.file_size, signed64(when))

    monkeypatch.setattr(discover, "_entry", dated)
    assert index(library, [tmp_path / "p"], encoder=encoder).added == 2
    assert index(library, [tmp_path / "p"], encoder=encoder).unchanged == 2


# -- what lies in the library's own folder --------------------------------------------------------


def test_a_picture_below_a_known_folder_is_no_root_of_its_own(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    files = save_pictures(tmp_path / "p", 3)
    index(library, [tmp_path / "p"], encoder=encoder)
    late = save_picture(tmp_path / "p" / "late.png", 77)
    hidden = save_picture(tmp_path / "p" / ".hidden" / "h.png", 78)
    assert index(library, [late, files[0], hidden], encoder=encoder).added == 2
    roots = [os.fsdecode(root.path) for root in library.catalogue.roots()]
    # the walk of the folder does not come into a hidden one
    assert roots == [str(tmp_path / "p"), str(hidden)]
    late.unlink()
    assert index(library, [tmp_path / "p"], encoder=encoder).removed == 1


def test_pictures_in_the_librarys_own_folder_stay_when_the_folder_around_it_is_indexed(
    tmp_path: Path, encoder: Encoder
) -> None:
    save_pictures(tmp_path / "p", 3)
    with Library.create(tmp_path / "p" / "library") as library:
        own = library.folder / "uploads"
        kept, gone = save_pictures(own, 2, first=50)
        index(library, [own], encoder=encoder)
        for _ in range(2):
            report = index(library, [tmp_path / "p"], encoder=encoder)
            assert (report.removed, report.missing_roots) == (0, [])
        assert library.catalogue.counts()[0] == 5
        gone.unlink()
        assert index(library, [own], encoder=encoder).removed == 1
        assert library.catalogue.picture_at(str(kept)) is not None
