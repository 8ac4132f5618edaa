"""Drives and folders that are away, come back, have another path, or gave way to others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from parecido import InvalidRequest, Library, PathNotFound, index, relocate, verify
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.indexing.options import IndexOptions
from parecido.indexer.library.summary import report_dict
from parecido.search.cli import cli
from tests.support.fakes import save_picture, save_pictures


def held(library: Library) -> dict[str, int]:
    """Path and id of every picture."""
    return {os.fsdecode(path): i for i, path in library.catalogue.under(b"/")}


def below(ids: dict[str, int], folder: Path) -> dict[str, int]:
    """Those below a folder, by relative path."""
    return {
        os.path.relpath(path, folder): i
        for path, i in ids.items()
        if Path(path).is_relative_to(folder)
    }


class Mounts:
    """Real file systems in memory, which are mounted and unmounted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mounted: list[Path] = []

    def make(self, name: str, target: Path) -> Path:
        """A new file system, mounted at its own place and at a target."""
        place = self._folder / f"drive {name}"
        place.mkdir(parents=True)
        self._run("mount", "-t", "tmpfs", "-o", "size=4m", "none", place)
        self.plug(place, target)
        return place

    def plug(self, place: Path, target: Path) -> None:
        """Let a file system appear at a target."""
        target.mkdir(parents=True, exist_ok=True)
        self._run("mount", "--bind", place, target)

    def unplug(self, target: Path) -> None:
        """Let it go from there."""
        subprocess.run(["umount", "-l", target], check=True, capture_output=True)
        self._mounted.remove(target)

    def end(self) -> None:
        """Unmount all."""
        for target in reversed(self._mounted):
            with suppress(subprocess.CalledProcessError):
                subprocess.run(["umount", "-l", target], check=True, capture_output=True)

    def _run(self, *command: str | Path) -> None:
        done = subprocess.run([*command], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
        self._mounted.append(Path(command[-1]))


@pytest.fixture
def mounts(tmp_path: Path) -> Iterator[Mounts]:
    if sys.platform != "linux":
        pytest.skip("mounts as Linux does")
    found = Mounts(tmp_path / "drives")
    try:
        yield found
    finally:
        found.end()


# -- away ------------------------------------------------------------------------------------------


def test_a_folder_below_a_root_that_is_empty_now_keeps_its_pictures_and_is_told(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    usb = tmp_path / "p" / "usb"
    save_pictures(tmp_path / "p", 2)
    save_pictures(usb / "2024", 3, first=10)
    index(library, [tmp_path / "p"], encoder=encoder)
    before = held(library)
    usb.rename(tmp_path / "drive")
    usb.mkdir()
    for _ in range(2):
        report = index(library, [tmp_path / "p"], encoder=encoder)
        assert (report.removed, report.missing_roots) == (0, [str(usb)])
        assert held(library) == before
    usb.rmdir()
    (tmp_path / "drive").rename(usb)
    report = index(library, [tmp_path / "p"], encoder=encoder)
    assert (report.unchanged, report.encoded, report.missing_roots) == (5, 0, [])


def test_a_folder_that_is_deleted_with_its_pictures_leaves(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    save_pictures(tmp_path / "p", 2)
    save_pictures(tmp_path / "p" / "old", 3, first=10)
    index(library, [tmp_path / "p"], encoder=encoder)
    shutil.rmtree(tmp_path / "p" / "old")
    report = index(library, [tmp_path / "p"], encoder=encoder)
    assert (report.removed, report.missing_roots) == (3, [])


def test_what_was_moved_out_of_a_folder_that_is_empty_now_keeps_its_ids(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    files = save_pictures(tmp_path / "p" / "inbox", 3)
    index(library, [tmp_path / "p"], encoder=encoder)
    before = held(library)
    (tmp_path / "p" / "2024").mkdir()
    for path in files:
        path.rename(tmp_path / "p" / "2024" / path.name)
    report = index(library, [tmp_path / "p"], encoder=encoder)
    assert (report.moved, report.removed, report.missing_roots) == (3, 0, [])
    assert sorted(held(library).values()) == sorted(before.values())


@pytest.mark.parametrize("left_behind", [False, True])
def test_a_drive_below_a_root_that_is_unplugged_keeps_its_pictures_and_ids(
    left_behind: bool, library: Library, tmp_path: Path, encoder: Encoder, mounts: Mounts
) -> None:
    usb = tmp_path / "p" / "usb"
    if left_behind:  # in the mount point itself, hidden while something is mounted
        usb.mkdir(parents=True)
        (usb / "plug it in.txt").write_text("here")
    drive = mounts.make("a", usb)
    save_pictures(drive, 3)
    save_pictures(tmp_path / "p", 1, first=10)
    index(library, [tmp_path / "p"], encoder=encoder)
    before = held(library)
    shutil.copytree(usb, tmp_path / "p" / "backup")
    mounts.unplug(usb)
    report = index(library, [tmp_path / "p"], encoder=encoder)
    # the same bytes elsewhere are a backup, which does not take the ids
    assert (report.added, report.moved, report.removed, report.encoded) == (3, 0, 0, 0)
    assert report.missing_roots == [str(usb)]
    assert before.items() <= held(library).items()
    mounts.plug(drive, usb)
    report = index(library, [tmp_path / "p"], encoder=encoder)
    assert (report.unchanged, report.encoded, report.missing_roots) == (7, 0, [])
    assert verify(library) == []


def test_a_drive_that_was_copied_into_its_mount_point_is_no_drive_any_more(
    library: Library, tmp_path: Path, encoder: Encoder, mounts: Mounts
) -> None:
    usb = tmp_path / "p" / "usb"
    drive = mounts.make("a", usb)
    save_pictures(drive, 3)
    index(library, [tmp_path / "p"], encoder=encoder)
    before = held(library)
    mounts.unplug(usb)
    shutil.copytree(drive, usb, dirs_exist_ok=True)
    report = index(library, [tmp_path / "p"], encoder=encoder)
    assert (report.unchanged, report.encoded, report.missing_roots) == (3, 0, [])
    assert held(library) == before
    assert library.catalogue.mounts() == []


# -- another drive ---------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["root", "below a root"])
def test_another_drive_in_the_place_of_one_is_left_out_and_told(
    place: str, library: Library, tmp_path: Path, encoder: Encoder, mounts: Mounts
) -> None:
    usb = tmp_path / "p" / "usb"
    root = usb if place == "root" else tmp_path / "p"
    first = mounts.make("a", usb)
    save_pictures(first / "DCIM", 9)
    save_picture(tmp_path / "p" / "own.png", 90)
    index(library, [root], encoder=encoder)
    before = held(library)
    mounts.unplug(usb)
    second = mounts.make("b", usb)
    # a camera gives the same names again
    for number in range(9):
        save_picture(second / "DCIM" / f"{number:04d}.png", 20 + number, (64, 40))
    report = index(library, [root], encoder=encoder)
    assert (report.replaced_roots, report.missing_roots) == ([str(usb)], [])
    assert (report.added, report.updated, report.removed) == (0, 0, 0)
    assert held(library) == before
    # mounted elsewhere it is a drive like any other
    mounts.unplug(usb)
    mounts.plug(second, tmp_path / "other")
    mounts.plug(first, usb)
    report = index(library, [root, tmp_path / "other"], encoder=encoder)
    assert (report.added, report.unchanged, report.replaced_roots) == (9, len(before), [])


# -- elsewhere -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mount_point", ["gone", "empty"])
def test_a_drive_that_comes_up_under_another_path_is_recognised_by_what_lies_in_it(
    mount_point: str, library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    old, new = tmp_path / "one" / "photos", tmp_path / "two" / "photos"
    save_pictures(old / "2024", 4)
    (old / "notes.png").write_bytes(b"no picture")
    index(library, [old], encoder=encoder)
    before = below(held(library), old)
    old.parent.rename(new.parent)
    if mount_point == "empty":
        old.mkdir(parents=True)
    report = index(library, [new], encoder=encoder)
    assert report.relocated == [(str(old), str(new))]
    assert (report.added, report.unchanged, report.encoded) == (0, 4, 0)
    assert below(held(library), new) == before
    assert [root.path for root in library.catalogue.roots()] == [os.fsencode(new)]
    assert verify(library) == []
    assert report_dict(report)["relocated"] == [{"from": str(old), "to": str(new)}]


def test_it_is_recognised_in_a_folder_of_the_drive_when_the_drive_is_given(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    old = tmp_path / "one" / "photos"
    save_pictures(old, 4)
    index(library, [old], encoder=encoder)
    (tmp_path / "one").rename(tmp_path / "two")
    save_picture(tmp_path / "two" / "more.png", 50)
    report = index(library, [tmp_path / "two"], encoder=encoder)
    assert report.relocated == [(str(old), str(tmp_path / "two" / "photos"))]
    assert (report.added, report.unchanged) == (1, 4)


def test_copies_of_a_drive_that_is_away_are_copies_and_the_remedy_is_told(
    library: Library, tmp_path: Path, encoder: Encoder, mounts: Mounts
) -> None:
    usb, backup = tmp_path / "usb", tmp_path / "backup"
    drive = mounts.make("a", usb)
    save_pictures(drive, 4)
    index(library, [usb], encoder=encoder)
    before = held(library)
    shutil.copytree(usb, backup)
    mounts.unplug(usb)
    report = index(library, [backup], encoder=encoder)
    assert (report.added, report.moved, report.relocated) == (4, 0, [])
    assert report.copied == [(str(usb), str(backup))]
    assert before.items() <= held(library).items()
    # the owner knows better
    assert relocate(library, usb, backup) == 4
    assert below(held(library), backup) == below(before, usb)
    assert library.catalogue.counts()[0] == 4
    assert verify(library) == []
    report = index(library, [backup], encoder=encoder)
    assert (report.unchanged, report.encoded) == (4, 0)


def test_a_root_that_was_moved_to_another_file_system_is_told_with_the_remedy(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    save_pictures(old, 4)
    index(library, [old], encoder=encoder)
    before = below(held(library), old)
    shutil.copytree(old, new)
    shutil.rmtree(old)
    report = index(library, [new], encoder=encoder)
    # it may as well be a backup of a drive that is away
    assert (report.added, report.encoded, report.copied) == (4, 0, [(str(old), str(new))])
    assert relocate(library, old, new) == 4
    assert held(library).keys() == {str(new / name) for name in before}
    assert below(held(library), new) == before


def test_a_client_moves_no_roots(library: Library, tmp_path: Path, encoder: Encoder) -> None:
    old, new = tmp_path / "one", tmp_path / "two"
    save_pictures(old, 4)
    index(library, [old], encoder=encoder)
    old.rename(new)
    old.mkdir()
    report = index(library, [new], IndexOptions(inside=[tmp_path]), encoder=encoder)
    assert (report.relocated, report.added) == ([], 4)


# -- as its owner says -----------------------------------------------------------------------------


def test_relocating_says_what_does_not_fit(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    files = save_pictures(tmp_path / "p", 4)
    index(library, [tmp_path / "p"], encoder=encoder)
    (tmp_path / "other").mkdir()
    with pytest.raises(InvalidRequest, match=r"Of 4 pictures .* 0 lie in"):
        relocate(library, tmp_path / "p", tmp_path / "other")
    with pytest.raises(PathNotFound, match="holds nothing below"):
        relocate(library, tmp_path / "nowhere", tmp_path / "p")
    with pytest.raises(PathNotFound, match="There is no folder"):
        relocate(library, tmp_path / "p", tmp_path / "nowhere")
    with pytest.raises(InvalidRequest, match="lies in the other"):
        relocate(library, tmp_path / "p", tmp_path / "p" / "below")
    assert set(held(library)) == set(map(str, files))
    assert relocate(library, tmp_path / "p", tmp_path / "other", force=True) == 4
    assert below(held(library), tmp_path / "other").keys() == {path.name for path in files}


def test_the_shell_tells_what_lies_where_now(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    save_pictures(tmp_path / "p", 4)
    index(library, [tmp_path / "p"], encoder=encoder)
    (tmp_path / "p").rename(tmp_path / "q")
    command = ["relocate", str(tmp_path / "p"), str(tmp_path / "q")]
    done = CliRunner().invoke(cli, [*command, "--library", str(library.folder)])
    assert done.exit_code == 0
    folder = os.fspath(tmp_path)
    assert done.output == (
        f"4 pictures of {folder}/p are known in {folder}/q now; no file was touched.\n"
    )
