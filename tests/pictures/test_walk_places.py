"""A folder is entered once, also where inode numbers repeat, and every loop ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from parecido.indexer.pictures.walking import places
from parecido.indexer.pictures.walking.places import Places
from parecido.indexer.pictures.walking.walk import Walk
from tests.pictures.test_walk import below, found, make


def numbered(status: os.stat_result, inode: int) -> os.stat_result:
    """A status with another inode number."""
    fields = {name: getattr(status, name) for name in dir(status) if name.startswith("st_")}
    return os.stat_result((status[0], inode, *status[2:]), fields)


@contextmanager
def repeating_inodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every folder and file has the inode number 7, as some union file systems give numbers."""
    scandir, stat = os.scandir, os.stat

    class Entry:
        def __init__(self, entry: os.DirEntry[bytes]) -> None:
            self._entry = entry
            self.name, self.path = entry.name, entry.path

        def inode(self) -> int:
            return 7

        def stat(self, **given: bool) -> os.stat_result:
            return numbered(self._entry.stat(**given), 7)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._entry, name)

    @contextmanager
    def listing(path: Any) -> Iterator[Any]:
        with scandir(path) as entries:
            yield [Entry(entry) for entry in entries]

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", listing)
        patch.setattr(os, "stat", lambda path, **given: numbered(stat(path, **given), 7))
        yield


def test_folders_with_the_same_inode_number_are_all_entered_and_it_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{a}/{b}/c.jpg" for a in "abc" for b in "abc"]
    make(tmp_path / "p", "c.jpg", *names)
    (tmp_path / "p" / "link").symlink_to("a")
    with repeating_inodes(monkeypatch):
        walk = Walk([str(tmp_path / "p"), str(tmp_path / "p" / "b")], avoid=tmp_path / "library")
        paths = below(tmp_path / "p", (entry.path for entry in walk))
    assert sorted(paths) == sorted(["c.jpg", *names])
    (note,) = walk.list_notes()
    assert "one inode number to several folders" in note


def test_the_library_and_its_catalogue_are_avoided_and_nothing_else_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a.jpg", "b/c.jpg", "library/catalogue.sqlite", "library/d.jpg")
    with repeating_inodes(monkeypatch):
        assert found(tmp_path, avoid=tmp_path / "library") == ["a.jpg", "b/c.jpg"]


def test_nothing_is_told_where_no_number_repeats(tmp_path: Path) -> None:
    make(tmp_path, "a/b.jpg", "c/d.jpg")
    (tmp_path / "c" / "link").symlink_to("../a")
    walk = Walk([str(tmp_path)])
    assert len(list(walk)) == 2
    assert walk.list_notes() == []


def test_a_folder_that_a_mount_shows_again_is_entered_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "real/in/a.jpg", "again/b.jpg")
    lines = [
        b"20 1 8:1 / / rw - ext4 /dev/sda rw",
        # a bind mount, with a blank in its name
        b"30 20 8:1 %s/real %s rw - ext4 /dev/sda rw"
        % (os.fsencode(tmp_path), os.fsencode(tmp_path) + rb"/bind\040mount"),
    ]
    (tmp_path / "mountinfo").write_bytes(b"\n".join(lines))
    monkeypatch.setattr(places, "_MOUNTS", str(tmp_path / "mountinfo"))
    seen, status = Places(), os.stat(tmp_path / "real" / "in")
    real = os.fsencode(tmp_path)
    assert seen.enter(real + b"/real/in", status)
    assert not seen.enter(real + b"/bind mount/in", status)
    assert seen.repeated is None
    # the same number elsewhere is another folder
    assert seen.enter(real + b"/again", numbered(os.stat(tmp_path / "again"), status.st_ino))
    assert seen.repeated == (real + b"/real/in", real + b"/again")


def test_a_folder_that_lies_in_itself_is_not_entered_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "_MOUNTS", str(tmp_path / "none"))
    make(tmp_path / "a", "b/c.jpg")
    real = os.fsencode(tmp_path)
    stat, scandir = os.stat, os.scandir

    def straight(path: Any) -> Any:
        """The path, where ``a/b`` is the folder ``a`` again, as a file system of its own shows."""
        while b"/a/b" in os.fsencode(path):
            path = os.fsencode(path).replace(b"/a/b", b"/a")
        return path

    monkeypatch.setattr(os, "stat", lambda path, **given: stat(straight(path), **given))
    monkeypatch.setattr(os, "scandir", lambda path: scandir(straight(path)))
    seen = Places()
    assert seen.enter(real + b"/a", os.stat(real + b"/a"))
    assert not seen.enter(real + b"/a/b", os.stat(real + b"/a/b"))


def test_a_root_in_another_spelling_is_entered_once_where_a_file_system_knows_no_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "Photos", "a.jpg")
    (tmp_path / "photos").symlink_to("Photos")  # which no name of the path gives away
    monkeypatch.setattr(os.path, "realpath", lambda path: path)
    assert found(tmp_path / "Photos", tmp_path / "photos") == ["a.jpg"]
