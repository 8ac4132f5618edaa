"""The walk: what it finds, in which order, and what it says of the rest."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parecido.indexer.errors import InvalidRequest, PathNotFound
from parecido.indexer.pictures.walking.walk import Walk
from parecido.indexer.records.pictures import FileEntry
from parecido.indexer.system.paths import absolute

linux = pytest.mark.skipif(sys.platform != "linux", reason="names are any bytes only on Linux")


def make(folder: Path, *names: str) -> Path:
    """Files with these relative names; their contents are their names."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def found(*roots: Path, **options: Any) -> list[str]:
    """What a walk yields, relative to the first root, in its order."""
    walk = Walk([str(root) for root in roots], **options)
    base = os.fsencode(roots[0])
    return [os.fsdecode(os.path.relpath(entry.path, base)) for entry in walk]


def below(folder: Path, paths: Iterable[bytes]) -> list[str]:
    """Paths relative to a folder."""
    return [os.fsdecode(os.path.relpath(path, os.fsencode(folder))) for path in paths]


# -- order and contents ------------------------------------------------------------------------


def test_files_come_in_byte_order_of_their_paths(tmp_path: Path) -> None:
    make(tmp_path, "b.png", "a/z.png", "a/b/c.png", "a.png", "B.png", "é.png", "10.png", "9.png")
    assert found(tmp_path) == [
        *("10.png", "9.png", "B.png"),
        *("a.png", "a/b/c.png", "a/z.png"),
        *("b.png", "é.png"),
    ]


def test_the_order_does_not_depend_on_the_order_of_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a.png", "b/a.png", "b/b.png", "c.png")
    straight = found(tmp_path)
    with reversed_listings(monkeypatch):
        assert found(tmp_path) == straight


@contextmanager
def reversed_listings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    scandir = os.scandir

    @contextmanager
    def backwards(path: str) -> Iterator[list[os.DirEntry[str]]]:
        with scandir(path) as listing:
            yield sorted(listing, key=lambda entry: entry.name, reverse=True)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", backwards)
        yield


def test_an_entry_tells_the_absolute_path_the_size_and_the_times(tmp_path: Path) -> None:
    make(tmp_path, "a.png")
    os.utime(tmp_path / "a.png", ns=(1, 1_234_567_890_123_456_789))
    path, changed = os.fsencode(tmp_path / "a.png"), (tmp_path / "a.png").stat().st_ctime_ns
    assert list(Walk([str(tmp_path)])) == [
        FileEntry(path, len("a.png"), 1_234_567_890_123_456_789, changed)
    ]


def test_an_empty_folder_yields_nothing_and_is_no_fault(tmp_path: Path) -> None:
    walk = Walk([str(tmp_path)])
    assert (list(walk), walk.unreadable, walk.broken) == ([], [], [])


def test_absolute_resolves_home_and_dots_and_keeps_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "real", "a.png")
    (tmp_path / "link").symlink_to("real")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert absolute("~/x") == str(tmp_path / "x")
    assert absolute("real/../link/./a.png") == str(tmp_path / "link" / "a.png")


# -- hidden and excluded -----------------------------------------------------------------------


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    make(tmp_path, ".a.png", ".git/b.png", "c/.d/e.png", "c/f.png")
    assert found(tmp_path) == ["c/f.png"]


def test_hidden_files_and_folders_come_when_asked_for(tmp_path: Path) -> None:
    make(tmp_path, ".a.png", ".git/b.png", "c/.d/e.png", "c/f.png")
    assert found(tmp_path, hidden=True) == [".a.png", ".git/b.png", "c/.d/e.png", "c/f.png"]


def test_a_hidden_root_is_walked_because_it_was_named(tmp_path: Path) -> None:
    make(tmp_path, ".photos/a.png", ".photos/.b.png")
    assert found(tmp_path / ".photos") == ["a.png"]


def test_a_hidden_file_as_a_root_comes_because_it_was_named(tmp_path: Path) -> None:
    make(tmp_path, ".a.png")
    assert found(tmp_path / ".a.png") == ["."]


@pytest.mark.parametrize("end", ["", ".1234.tmp", ".1234-0123abcd.tmp"])
@pytest.mark.parametrize("kind", ["new", "other"])
def test_uploads_on_their_way_are_taken_up_by_no_walk(tmp_path: Path, kind: str, end: str) -> None:
    name = f".cat-0123456789abcdef.png.{'ab' * 16}.{kind}-{'0' * 24}{end}"
    make(tmp_path, f"uploads/ab/{name}", "uploads/ab/cat.png", ".a.png")
    assert found(tmp_path, hidden=True) == [".a.png", "uploads/ab/cat.png"]
    assert found(tmp_path / "uploads" / "ab" / name, hidden=True) == []


TREE = ("a.png", "cache/x.png", "sub/a.png", "sub/b.jpg", "sub/thumbs/y.png", "thumbs")


@pytest.mark.parametrize(
    ("patterns", "left_out"),
    [
        (["cache"], {"cache/x.png"}),
        (["thumbs"], {"sub/thumbs/y.png", "thumbs"}),
        (["thumbs/"], {"sub/thumbs/y.png"}),  # folders only
        (["*.png"], {"a.png", "cache/x.png", "sub/a.png", "sub/thumbs/y.png"}),
        (["*.PNG"], set()),
        (["/a.png"], {"a.png"}),
        (["sub/**"], {"sub/a.png", "sub/b.jpg", "sub/thumbs/y.png"}),
        (["**/a.png"], {"a.png", "sub/a.png"}),
        (["s?b/[ab].*"], {"sub/a.png", "sub/b.jpg"}),
        (["*.png", "!a.png"], {"cache/x.png", "sub/thumbs/y.png"}),
        # what lies below an excluded folder cannot be taken in again
        (["sub/", "!sub/a.png"], {"sub/a.png", "sub/b.jpg", "sub/thumbs/y.png"}),
        (["sub/*", "!sub/a.png"], {"sub/b.jpg", "sub/thumbs/y.png"}),
        (["# a.png", ""], set()),
    ],
)
def test_patterns_exclude_as_in_a_gitignore(
    tmp_path: Path, patterns: list[str], left_out: set[str]
) -> None:
    make(tmp_path, *TREE)
    assert set(TREE) - set(found(tmp_path, exclude=patterns)) == left_out


def test_patterns_are_relative_to_each_root(tmp_path: Path) -> None:
    make(tmp_path, "one/x/a.png", "two/x/b.png", "two/y/x/c.png")
    assert found(tmp_path / "one", tmp_path / "two", exclude=["/x"]) == ["../two/y/x/c.png"]


@linux
def test_patterns_hold_for_names_with_line_ends(tmp_path: Path) -> None:
    make(tmp_path, "a.png", "new\nline/b.png", "c.png\n")
    assert found(tmp_path, exclude=["*.png"]) == ["c.png\n"]


@pytest.mark.parametrize("pattern", ["!", "[z-a]"])
def test_a_pattern_that_cannot_be_read_is_refused_by_name(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Walk([str(tmp_path)], ["*.png", pattern])
    assert repr(pattern) in str(caught.value)
    assert ".gitignore" in caught.value.remedy


def test_an_excluded_folder_is_not_even_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a.png", "skip/b.png")
    refuse_listing(monkeypatch, tmp_path / "skip")
    walk = Walk([str(tmp_path)], ["skip/"])
    assert below(tmp_path, (entry.path for entry in walk)) == ["a.png"]
    assert walk.unreadable == []


# -- the library itself ------------------------------------------------------------------------


def test_the_library_inside_a_root_is_left_out(tmp_path: Path) -> None:
    make(tmp_path, "a.png", "library/catalogue.sqlite", "library/deep/b.png")
    assert found(tmp_path, avoid=tmp_path / "library") == ["a.png"]


def test_the_library_is_left_out_when_a_link_leads_to_it(tmp_path: Path) -> None:
    make(tmp_path / "library", "catalogue.sqlite")
    make(tmp_path / "photos", "a.png")
    (tmp_path / "photos" / "link").symlink_to(tmp_path / "library")
    assert found(tmp_path / "photos", avoid=tmp_path / "library") == ["a.png"]


def test_the_library_is_left_out_when_it_is_given_through_a_link(tmp_path: Path) -> None:
    make(tmp_path, "photos/a.png", "photos/library/catalogue.sqlite")
    (tmp_path / "link").symlink_to(tmp_path / "photos" / "library")
    assert found(tmp_path / "photos", avoid=tmp_path / "link") == ["a.png"]


def test_a_library_that_is_not_there_yet_avoids_nothing(tmp_path: Path) -> None:
    make(tmp_path, "a.png")
    assert found(tmp_path, avoid=tmp_path / "later") == ["a.png"]


# -- symbolic links ----------------------------------------------------------------------------


def test_links_that_lead_round_in_circles_end(tmp_path: Path) -> None:
    make(tmp_path, "a/b/c.png")
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to(".")
    assert found(tmp_path) == ["a/b/c.png"]


def test_a_linked_folder_inside_a_root_is_entered_once_by_its_own_place(tmp_path: Path) -> None:
    make(tmp_path, "real/a.png")
    (tmp_path / "0-before").symlink_to("real")  # sorts before the folder that it points at
    (tmp_path / "z-after").symlink_to("real")
    assert found(tmp_path) == ["real/a.png"]


def test_a_linked_folder_outside_the_roots_is_walked_once_under_the_first_link(
    tmp_path: Path,
) -> None:
    make(tmp_path, "outside/a.png", "photos/b.png")
    (tmp_path / "photos" / "one").symlink_to(tmp_path / "outside")
    (tmp_path / "photos" / "two").symlink_to(tmp_path / "outside")
    assert found(tmp_path / "photos") == ["b.png", "one/a.png"]


def test_links_inside_a_linked_folder_are_followed_too(tmp_path: Path) -> None:
    make(tmp_path, "second/a.png", "photos/c.png", "first/b.png")
    (tmp_path / "first" / "link").symlink_to(tmp_path / "second")
    (tmp_path / "photos" / "link").symlink_to(tmp_path / "first")
    assert found(tmp_path / "photos") == ["c.png", "link/b.png", "link/link/a.png"]


def test_a_linked_file_is_a_file_of_its_own_with_the_size_of_its_target(tmp_path: Path) -> None:
    make(tmp_path, "outside/long name.png", "photos/a.png")
    (tmp_path / "photos" / "link.png").symlink_to(tmp_path / "outside" / "long name.png")
    entries = list(Walk([str(tmp_path / "photos")]))
    assert [(os.path.basename(e.path), e.file_size) for e in entries] == [
        (b"a.png", len("photos/a.png")),
        (b"link.png", len("outside/long name.png")),
    ]


def test_links_that_lead_out_of_what_is_allowed_are_told_and_not_followed(tmp_path: Path) -> None:
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    make(inner, "a.png", "sub/b.png")
    make(outer, "secret.png", "sub/secret.png")
    (inner / "folder").symlink_to(outer / "sub")
    (inner / "file.png").symlink_to(outer / "secret.png")
    (inner / "near").symlink_to(outer / ".." / "inner" / "sub")
    (inner / "near.png").symlink_to("a.png")
    (inner / "far").symlink_to(inner / "folder")
    inside = [os.fsencode(inner.resolve())]
    walk = Walk([str(inner)], inside=inside)
    assert below(inner, (entry.path for entry in walk)) == ["a.png", "near.png", "sub/b.png"]
    assert sorted(below(inner, walk.outside)) == ["far", "file.png", "folder"]
    assert list(Walk([str(inner / "folder")], inside=inside)) == []
    assert len(found(inner, inside=[*inside, os.fsencode(outer.resolve())])) == 5
    assert len(found(inner)) == 5


def test_patterns_and_hidden_names_hold_for_links(tmp_path: Path) -> None:
    make(tmp_path, "outside/a.png", "photos/b.png")
    (tmp_path / "photos" / "skipped").symlink_to(tmp_path / "outside")
    (tmp_path / "photos" / ".hidden").symlink_to(tmp_path / "outside")
    assert found(tmp_path / "photos", exclude=["skipped/"]) == ["b.png"]


def test_links_without_a_target_are_told_as_broken_and_the_rest_is_walked(tmp_path: Path) -> None:
    make(tmp_path, "a.png", "z.png")
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "me").symlink_to("me")
    walk = Walk([str(tmp_path)])
    assert below(tmp_path, (entry.path for entry in walk)) == ["a.png", "z.png"]
    assert below(tmp_path, walk.broken) == ["gone.png", "me"]


def test_a_linked_folder_that_vanishes_during_the_walk_is_told_as_broken(tmp_path: Path) -> None:
    make(tmp_path, "outside/a.png", "photos/b.png", "photos/c.png")
    (tmp_path / "photos" / "link").symlink_to(tmp_path / "outside")
    walk = Walk([str(tmp_path / "photos")])
    paths = []
    for entry in walk:  # links come last, so the folder is gone before the walk gets there
        paths.append(entry.path)
        if (tmp_path / "outside").exists():
            (tmp_path / "outside").rename(tmp_path / "elsewhere")
    assert below(tmp_path, paths) == ["photos/b.png", "photos/c.png"]
    assert below(tmp_path, walk.broken) == ["photos/link"]


# -- what cannot be read -----------------------------------------------------------------------


def refuse_listing(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make a folder unreadable; permissions would not do, for tests may run as root."""
    scandir = os.scandir

    def refusing(path: bytes) -> Any:
        if path == os.fsencode(folder):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)


def test_a_folder_that_cannot_be_listed_is_told_and_its_neighbours_are_walked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a/1.png", "b/secret/2.png", "b/3.png", "c/4.png")
    refuse_listing(monkeypatch, tmp_path / "b" / "secret")
    walk = Walk([str(tmp_path)])
    assert below(tmp_path, (entry.path for entry in walk)) == ["a/1.png", "b/3.png", "c/4.png"]
    assert below(tmp_path, walk.unreadable) == ["b/secret"]
    assert walk.broken == []


def test_a_root_that_cannot_be_listed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a.png")
    refuse_listing(monkeypatch, tmp_path)
    walk = Walk([str(tmp_path)])
    assert list(walk) == []
    assert walk.unreadable == [os.fsencode(tmp_path)]


def test_pipes_and_sockets_are_passed_over_without_a_word(tmp_path: Path) -> None:
    make(tmp_path, "a.png", "z.png")
    os.mkfifo(tmp_path / "pipe.png")
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as server:
        # bound under a short name: a socket's path has about 100 bytes
        server.bind(f"{short}/s")
        os.rename(f"{short}/s", tmp_path / "socket.png")
    walk = Walk([str(tmp_path)])
    assert below(tmp_path, (entry.path for entry in walk)) == ["a.png", "z.png"]
    assert (walk.broken, walk.unreadable) == ([], [])


def test_a_missing_root_is_refused_before_anything_is_yielded(tmp_path: Path) -> None:
    make(tmp_path, "a.png")
    walk = iter(Walk([str(tmp_path), str(tmp_path / "gone")]))
    with pytest.raises(PathNotFound, match="gone is not there"):
        next(walk)


# -- several roots -----------------------------------------------------------------------------


def test_several_roots_come_in_the_order_in_which_they_were_given(tmp_path: Path) -> None:
    make(tmp_path, "b/1.png", "a/2.png")
    assert found(tmp_path / "b", tmp_path / "a") == ["1.png", "../a/2.png"]


@pytest.mark.parametrize("inner_first", [False, True])
def test_overlapping_roots_yield_each_file_once(tmp_path: Path, inner_first: bool) -> None:
    make(tmp_path, "a.png", "in/b.png")
    roots = [tmp_path, tmp_path / "in"]
    walk = Walk([str(root) for root in (reversed(roots) if inner_first else roots)])
    assert sorted(below(tmp_path, (entry.path for entry in walk))) == ["a.png", "in/b.png"]


def test_a_root_given_twice_is_walked_once(tmp_path: Path) -> None:
    make(tmp_path, "a.png")
    assert found(tmp_path, tmp_path, tmp_path / "a.png", tmp_path / "a.png") == ["a.png"]


def test_a_file_given_with_its_folder_is_yielded_once_and_first(tmp_path: Path) -> None:
    make(tmp_path, "a.png", "b.png", "c.png")
    assert found(tmp_path, tmp_path / "b.png") == ["b.png", "a.png", "c.png"]


def test_a_root_that_is_a_link_is_walked_under_the_name_that_was_given(tmp_path: Path) -> None:
    make(tmp_path, "real/a.png")
    (tmp_path / "link").symlink_to("real")
    assert [e.path for e in Walk([str(tmp_path / "link")])] == [
        os.fsencode(tmp_path / "link" / "a.png")
    ]


# -- names and depths --------------------------------------------------------------------------


@linux
@pytest.mark.parametrize(
    "name",
    [
        b"\xff\xfe.jpg",
        b"two\nlines.jpg",
        b"tab\tand\x1b[31m.jpg",
        b" .jpg ",
        b"-rf",
        b"*?[a].jpg",
        b"back\\slash.jpg",
        b"x" * 255,
        "\N{GRINNING FACE}\N{ZERO WIDTH JOINER}.png".encode(),
        "e\N{COMBINING ACUTE ACCENT}.png".encode(),
        "\N{LATIN SMALL LETTER E WITH ACUTE}.png".encode(),
        "\N{RIGHT-TO-LEFT OVERRIDE}gnp.png".encode(),
    ],
)
def test_any_name_comes_back_byte_for_byte(tmp_path: Path, name: bytes) -> None:
    folder = os.path.join(os.fsencode(tmp_path), name)
    os.mkdir(folder)
    path = os.path.join(folder, name)
    with open(path, "wb"):
        pass
    assert [e.path for e in Walk([str(tmp_path)])] == [path]
    # and with patterns, which see the names as text
    assert [e.path for e in Walk([str(tmp_path)], ["*.tiff"])] == [path]


@linux
def test_names_that_look_alike_are_different_files(tmp_path: Path) -> None:
    make(tmp_path, "e\N{COMBINING ACUTE ACCENT}.png", "\N{LATIN SMALL LETTER E WITH ACUTE}.png")
    assert len(found(tmp_path)) == 2


@contextmanager
def deep_folder(top: Path, levels: int) -> Iterator[None]:
    """A folder in a folder in a folder …; taken away step by step, as rmtree would recurse."""
    here = os.getcwd()
    os.chdir(top)
    try:
        for _ in range(levels):
            os.mkdir("d")
            os.chdir("d")
        Path("deepest.png").touch()
        yield
    finally:
        Path("deepest.png").unlink()
        for _ in range(levels):
            os.chdir("..")
            os.rmdir("d")
        os.chdir(here)


@linux
def test_folders_lie_deeper_than_python_recurses(tmp_path: Path) -> None:
    levels = 1500
    assert levels > sys.getrecursionlimit()
    with deep_folder(tmp_path, levels):
        assert found(tmp_path) == ["d/" * levels + "deepest.png"]
        assert found(tmp_path, exclude=["*.jpg"]) == ["d/" * levels + "deepest.png"]


@linux
def test_a_folder_below_the_longest_path_is_told_as_unreadable(tmp_path: Path) -> None:
    levels = 2100  # paths end at 4096 bytes
    walk = Walk([str(tmp_path)])
    with deep_folder(tmp_path, levels):
        assert list(walk) == []
    faults = walk.unreadable + walk.broken
    assert len(faults) == 1
    assert faults[0].startswith(os.fsencode(tmp_path / "d" / "d"))


# -- any tree ----------------------------------------------------------------------------------

NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=6
).filter(lambda name: name not in (".", "..") and not name.startswith("._"))  # macOS writes those
TREES = st.recursive(
    st.none(), lambda below: st.dictionaries(NAMES, below, max_size=4), max_leaves=12
).filter(lambda tree: tree is not None)


def plant(folder: str, tree: dict[str, Any]) -> None:
    for name, below in tree.items():
        path = os.path.join(folder, name)
        if os.path.lexists(path):
            continue  # the file system folds names together
        if below is None:
            with open(path, "wb"):
                pass
        else:
            os.mkdir(path)
            plant(path, below)


def walked(top: str, keep: Callable[[str], bool]) -> set[bytes]:
    paths = set()
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if keep(name)]
        paths |= {os.fsencode(os.path.join(folder, name)) for name in files if keep(name)}
    return paths


@linux
@settings(max_examples=60)
@given(tree=TREES, hidden=st.booleans())
def test_any_tree_gives_exactly_the_files_that_os_walk_gives(
    tree: dict[str, Any], hidden: bool
) -> None:
    with tempfile.TemporaryDirectory() as top:
        plant(top, tree)
        walk = Walk([top], hidden=hidden)
        paths = [entry.path for entry in walk]
        assert len(paths) == len(set(paths))
        assert set(paths) == walked(top, lambda name: hidden or not name.startswith("."))
        assert (walk.broken, walk.unreadable) == ([], [])
