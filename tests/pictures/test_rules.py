"""What the walk leaves out: names of programs, marks, ignore files, and what counts it."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from parecido.indexer.pictures.walking import names
from parecido.indexer.pictures.walking.walk import Walk
from parecido.indexer.records.left_out import LeftOut
from tests.pictures.test_walk import below, found, make

linux = pytest.mark.skipif(sys.platform != "linux", reason="names are any bytes only on Linux")


def left_out(folder: Path, **options: Any) -> dict[str, tuple[int, int]]:
    """Folders and files by the reason why they were left out."""
    walk = Walk([str(folder)], **options)
    list(walk)
    return {one.reason: (one.folders, one.files) for one in walk.left_out.list_all()}


# -- names of programs -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("@eaDir", "#recycle", "#snapshot", "@Recycle", "@Recently-Snapshot", ".@__thumb"),
        *("$RECYCLE.BIN", "$Recycle.Bin", "RECYCLER", "System Volume Information", "lost+found"),
        *(".Trash-1000", ".Trashes", ".fseventsd", ".Spotlight-V100", ".thumbnails", "__MACOSX"),
        *("node_modules", "__pycache__", ".snapshot", ".zfs", "~snapshot", "LOST.DIR", ".dtrash"),
        *("Catalog Previews.lrdata", "appdata_oc1a2b3c", "Film.trickplay", "@GMT-2024.01.01-0.0"),
        *("A.photoslibrary/resources", "A.photoslibrary/scopes", "CaptureOne/Cache"),
        *("Bilder.photolibrary/Thumbnails", "FOUND.000", ".wdmc", "Recycle Bin"),
    ],
)
def test_what_storage_and_programs_keep_is_left_out_also_where_hidden_is_wanted(
    tmp_path: Path, name: str
) -> None:
    make(tmp_path, "a.jpg", f"{name}/b.jpg", f"{name}/deep/c.jpg", f"trip/{name}/d.jpg")
    assert found(tmp_path) == found(tmp_path, hidden=True) == ["a.jpg"]
    assert left_out(tmp_path, hidden=True) == {"known-name": (2, 0)}


@pytest.mark.parametrize("name", ["@eaDir", "#recycle", "lost+found", "$RECYCLE.BIN", ".Trashes"])
def test_it_is_walked_where_somebody_names_it(tmp_path: Path, name: str) -> None:
    make(tmp_path / name, "a.jpg", "@eaDir/b.jpg")
    assert found(tmp_path / name) == ["a.jpg"]
    # also where it is named beside what lies around it
    walk = Walk([str(tmp_path), str(tmp_path / name)])
    assert below(tmp_path, (entry.path for entry in walk)) == [f"{name}/a.jpg"]
    (one,) = walk.left_out.list_all()
    assert one.examples == [str(tmp_path / name / "@eaDir")]


@pytest.mark.parametrize("name", ["Thumbs.db", "._IMG_1.jpg", ".DS_Store", ".trashed-17-a.jpg"])
def test_files_of_systems_are_left_out(tmp_path: Path, name: str) -> None:
    make(tmp_path, "IMG_1.jpg", name)
    assert found(tmp_path, hidden=True) == ["IMG_1.jpg"]
    assert left_out(tmp_path) == {"known-name": (0, 1)}


@pytest.mark.parametrize(
    "name",
    [
        *("recycle", "eaDir", "snapshots", "Trash", "thumbs", "profile", "resources", "Previews"),
        *("@home", "#1", "cache/Cache", "found.jpg", "lrdata", "Photos.photoslibrary/originals"),
    ],
)
def test_names_that_people_give_are_no_programs(tmp_path: Path, name: str) -> None:
    make(tmp_path, f"{name}/a.jpg")
    assert found(tmp_path) == [f"{name}/a.jpg"]


def test_what_a_glance_passes_as_a_plain_file_is_nobodys() -> None:
    for row in names._ROWS:
        for name in row.files:
            example = name.replace("*", "x").lower().encode()
            assert names.is_kept_by_program(example, False)
            assert not names.is_plain_file(example)
    assert names.is_plain_file(b"IMG_1.JPG")


def test_a_file_with_the_name_of_such_a_folder_is_a_file(tmp_path: Path) -> None:
    make(tmp_path, "@eaDir", "#recycle")
    assert found(tmp_path) == ["#recycle", "@eaDir"]


def test_folders_of_immich_are_known_by_the_file_in_them(tmp_path: Path) -> None:
    make(tmp_path, "thumbs/.immich", "thumbs/a.webp", "library/.immich", "library/b.jpg")
    assert found(tmp_path) == ["library/b.jpg"]
    assert left_out(tmp_path) == {"known-name": (1, 0), "hidden": (0, 1)}


def test_what_lies_in_a_repository_of_git_is_left_out(tmp_path: Path) -> None:
    make(tmp_path, ".git/HEAD", ".git/objects/a", "b.png")
    assert found(tmp_path, hidden=True) == ["b.png"]


# -- marks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [".nomedia", ".NOMEDIA", ".noimage"])
@pytest.mark.parametrize("hidden", [False, True])
def test_a_marked_folder_is_left_out_with_all_that_lies_below(
    tmp_path: Path, mark: str, hidden: bool
) -> None:
    make(tmp_path, "a.jpg", f"private/{mark}", "private/b.jpg", "private/deep/c.jpg", "z/d.jpg")
    (tmp_path / "private" / mark).write_bytes(b"")
    assert found(tmp_path, hidden=hidden) == ["a.jpg", "z/d.jpg"]
    assert left_out(tmp_path, hidden=hidden) == {"marked": (1, 0)}


def test_a_marked_folder_is_left_out_behind_a_link_too(tmp_path: Path) -> None:
    make(tmp_path, "out/private/.nomedia", "out/private/a.jpg", "p/b.jpg")
    (tmp_path / "p" / "link").symlink_to(tmp_path / "out" / "private")
    assert found(tmp_path / "p") == ["b.jpg"]


def test_a_marked_folder_is_walked_where_somebody_names_it(tmp_path: Path) -> None:
    make(tmp_path, "private/.nomedia", "private/b.jpg", "private/in/.nomedia", "private/in/c.jpg")
    assert found(tmp_path / "private") == ["b.jpg"]
    assert found(tmp_path, tmp_path / "private") == ["private/b.jpg"]


# -- ignore files ------------------------------------------------------------------------------


def ignore(folder: Path, *lines: str) -> None:
    (folder / ".parecidoignore").write_text("".join(line + "\n" for line in lines), "utf-8")


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        (["app/"], ["a.jpg", "b/app.jpg", "b/c.png"]),
        (["*.jpg", "!b/app.jpg"], ["b/app.jpg", "b/c.png"]),
        (["/a.jpg"], ["app/d.jpg", "b/app.jpg", "b/app/e.jpg", "b/c.png"]),
        (["b/**", "!b/c.png"], ["a.jpg", "app/d.jpg", "b/c.png"]),
        (["# a.jpg", "", "  "], ["a.jpg", "app/d.jpg", "b/app.jpg", "b/app/e.jpg", "b/c.png"]),
        (["*", "!*/", "!*.png"], ["b/c.png"]),
    ],
)
def test_an_ignore_file_speaks_the_language_of_a_gitignore(
    tmp_path: Path, lines: list[str], left: list[str]
) -> None:
    make(tmp_path, "a.jpg", "app/d.jpg", "b/app.jpg", "b/app/e.jpg", "b/c.png")
    ignore(tmp_path, *lines)
    assert found(tmp_path) == found(tmp_path, hidden=True) == left


def test_patterns_are_relative_to_the_folder_of_the_file_and_inner_ones_decide(
    tmp_path: Path,
) -> None:
    make(tmp_path, "x.jpg", "in/x.jpg", "in/y.jpg", "in/deep/x.jpg", "other/y.jpg")
    ignore(tmp_path, "x.jpg")
    ignore(tmp_path / "in", "/y.jpg", "!/deep/x.jpg")
    assert found(tmp_path) == ["in/deep/x.jpg", "other/y.jpg"]
    assert left_out(tmp_path) == {"ignore-file": (0, 3)}


def test_an_ignore_file_holds_below_links_and_for_roots_that_lie_below_a_known_one(
    tmp_path: Path,
) -> None:
    from parecido.indexer.records.rules import RootRules

    make(tmp_path, "p/in/app/a.jpg", "p/in/b.jpg", "out/app/c.jpg")
    ignore(tmp_path / "p", "app/")
    (tmp_path / "p" / "link").symlink_to(tmp_path / "out")
    assert found(tmp_path / "p") == ["in/b.jpg"]
    known = {os.fsencode(tmp_path / "p"): RootRules()}
    assert found(tmp_path / "p" / "in", kept=known) == ["b.jpg"]
    assert found(tmp_path / "p" / "in") == ["app/a.jpg", "b.jpg"]


@pytest.mark.parametrize(
    "data",
    [
        "\ufeffé/\r\nb.jpg\r\n".encode(),
        "e\N{COMBINING ACUTE ACCENT}/\nb.jpg".encode(),
        "é/\r\nb.jpg\r\n".encode("utf-16"),
    ],
)
def test_an_ignore_file_may_come_from_any_editor(tmp_path: Path, data: bytes) -> None:
    make(tmp_path, "é/a.jpg", "b.jpg", "c.jpg")
    (tmp_path / ".parecidoignore").write_bytes(data)
    assert found(tmp_path) == ["c.jpg"]


def test_odd_lines_are_told_and_the_others_hold(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "b.jpg")
    ignore(tmp_path, "[z-a]", "b.jpg", "a\0b", "*" * 3000, "!")
    walk = Walk([str(tmp_path)])
    assert below(tmp_path, (entry.path for entry in walk)) == ["a.jpg"]
    (note,) = walk.list_notes()
    assert note.startswith(f"4 lines of {tmp_path / '.parecidoignore'} cannot be read: line 1: ")


def test_a_name_that_nearly_matches_many_wildcards_costs_no_time(tmp_path: Path) -> None:
    make(tmp_path, "a" * 200)
    ignore(tmp_path, "*a" * 99 + "*b", "**/" * 99 + "b")
    assert found(tmp_path) == ["a" * 200]


@linux
def test_an_ignore_file_matches_names_of_any_bytes(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.jpg")).touch()
    (tmp_path / ".parecidoignore").write_bytes(b"\xff*.jpg\n")
    assert found(tmp_path) == ["a.jpg"]


def test_what_cannot_be_read_as_a_rule_leaves_its_folder_unknown(tmp_path: Path) -> None:
    make(tmp_path, "in/a.jpg", "b.jpg")
    (tmp_path / "in" / ".parecidoignore").write_bytes(b"x\n" * 200_000)
    walk = Walk([str(tmp_path)])
    assert below(tmp_path, (entry.path for entry in walk)) == ["b.jpg"]
    assert below(tmp_path, walk.unreadable) == ["in"]
    (note,) = walk.list_notes()
    assert "cannot be read (it is longer than 256 kB" in note


@linux
@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_only_a_regular_file_is_an_ignore_file(tmp_path: Path, kind: str) -> None:
    make(tmp_path / "p", "a.jpg")
    make(tmp_path, "rules")
    (tmp_path / "rules").write_text("a.jpg")
    place = tmp_path / "p" / ".parecidoignore"
    if kind == "link":
        place.symlink_to(tmp_path / "rules")
    elif kind == "folder":
        place.mkdir()
    else:
        os.mkfifo(place)
    walk = Walk([str(tmp_path / "p")])
    assert below(tmp_path / "p", (entry.path for entry in walk)) == ["a.jpg"]
    assert "no regular file" in walk.list_notes()[0]


ALPHABET = ["a", "b", "ab", "a.b", "*", "**", "?", "[ab]", "[!a]", "a*", "*b", "\\*", "a?b"]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is what it is compared with")
@pytest.mark.parametrize("seed", range(4))
def test_patterns_match_what_git_says_that_they_match(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    parts = ["a", "b", "ab", "a.b", "axb", "c", "*"]
    files = set()
    for _ in range(60):
        path = tmp_path.joinpath(*(rng.choice(parts) for _ in range(rng.randint(1, 4))))
        if not path.exists() and not any(parent.is_file() for parent in path.parents):
            make(tmp_path, str(path.relative_to(tmp_path)))
            files.add(str(path.relative_to(tmp_path)))
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    for _ in range(40):
        lines = []
        for _ in range(rng.randint(1, 4)):
            line = "/".join(rng.choice(ALPHABET) for _ in range(rng.randint(1, 3)))
            lines.append(rng.choice(("", "", "!")) + rng.choice(("", "/")) + line)
            lines[-1] += rng.choice(("", "/"))
        ignore(tmp_path, *lines)
        (tmp_path / ".git" / "info" / "exclude").write_text("\n".join(lines) + "\n")
        command = ["git", "-C", tmp_path, "ls-files", "-zo", "--exclude-standard"]
        out = subprocess.run(command, capture_output=True, check=True).stdout.decode()
        wanted = set(out.split("\0")) - {"", ".parecidoignore"}
        assert set(found(tmp_path)) == wanted, lines


# -- taken in ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("include", "left"),
    [
        (["@eaDir/"], ["@eaDir/a.jpg", "z.jpg"]),
        (["private"], ["private/b.jpg", "private/in/c.jpg", "z.jpg"]),
        (["private/in/"], ["private/in/c.jpg", "z.jpg"]),
        (["/private/in/c.jpg"], ["private/in/c.jpg", "z.jpg"]),
        ([".hidden/deep/*.png"], [".hidden/deep/e.png", "z.jpg"]),
        (["app/"], ["app/d.jpg", "z.jpg"]),
        (["sub/"], ["z.jpg"]),
    ],
)
def test_a_pattern_takes_in_what_any_rule_leaves_out(
    tmp_path: Path, include: list[str], left: list[str]
) -> None:
    make(tmp_path, "@eaDir/a.jpg", "private/b.jpg", "private/in/c.jpg", "private/.nomedia")
    make(tmp_path, ".hidden/deep/e.png", ".hidden/deep/e.jpg", "app/d.jpg", "z.jpg", "no/f.jpg")
    ignore(tmp_path, "app/")
    assert found(tmp_path, include=include, exclude=["no/"]) == left


def test_of_an_exclusion_and_an_inclusion_the_later_decides() -> None:
    from parecido.indexer.records.rules import RootRules

    rules = RootRules().merge(["private/", "*.tmp"], [])
    lifted = rules.merge([], ["private"])
    assert (lifted.exclude, lifted.include) == (("*.tmp",), ("private",))
    again = lifted.merge(["private/"], [])
    assert (again.exclude, again.include) == (("*.tmp", "private/"), ())
    assert RootRules.from_json(again.to_json()) == again
    assert RootRules.from_json("") == RootRules.from_json(None) == RootRules()
    with pytest.raises(ValueError):
        RootRules.from_json('[["other", "x"]]')


# -- what is told ------------------------------------------------------------------------------


def test_what_is_left_out_is_counted_by_reason_with_a_few_paths(tmp_path: Path) -> None:
    make(tmp_path, "@eaDir/a.jpg", "x/.nomedia", ".h.jpg", "y/z.tmp", "a.jpg")
    make(tmp_path, *(f"many/{number}.tmp" for number in range(9)))
    walk = Walk([str(tmp_path)], exclude=["*.tmp"])
    assert below(tmp_path, (entry.path for entry in walk)) == ["a.jpg"]
    assert walk.left_out.list_all() == [
        LeftOut("known-name", 1, 0, [str(tmp_path / "@eaDir")]),
        LeftOut("marked", 1, 0, [str(tmp_path / "x")]),
        LeftOut("excluded", 0, 10, [str(tmp_path / "many" / f"{n}.tmp") for n in range(5)]),
        LeftOut("hidden", 0, 1, [str(tmp_path / ".h.jpg")]),
    ]
