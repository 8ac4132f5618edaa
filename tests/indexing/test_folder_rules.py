"""What rules leave out leaves the library, roots keep their patterns, and what is told of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from parecido import IndexOptions, InvalidRequest, Library, PathNotFound, index, remove
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.library.summary import report_dict, summarise
from tests.support.fakes import save_picture, save_pictures
from tests.support.harness import run_parecido


def held(library: Library, below: Path) -> list[str]:
    """Paths of the pictures, relative to a folder."""
    found = library.catalogue.under(b"/")
    return [os.path.relpath(os.fsdecode(path), below) for _, path in found]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One picture at the top, and one in each of three folders."""
    top = tmp_path / "p"
    for number, name in enumerate(("a.png", "private/b.png", "app/c.png", "in/app/d.png")):
        save_picture(top / name, number)
    return top


# -- what leaves -------------------------------------------------------------------------------


def test_what_a_rule_leaves_out_leaves_the_library_and_comes_back_without_it(
    library: Library, folder: Path, encoder: Encoder
) -> None:
    assert index(library, [folder], encoder=encoder).added == 4
    (folder / "private" / ".nomedia").touch()
    (folder / ".parecidoignore").write_text("/app/\n")
    report = index(library, [folder], encoder=encoder)
    assert (report.removed, report.removed_by_rules, report.unchanged) == (2, 2, 2)
    assert held(library, folder) == ["a.png", "in/app/d.png"]
    told = report_dict(report)
    assert told["left_out"] == [
        {"reason": "marked", "folders": 1, "files": 0, "examples": [str(folder / "private")]},
        {"reason": "ignore-file", "folders": 1, "files": 0, "examples": [str(folder / "app")]},
    ]
    assert told["removed_by_rules"] == 2
    (folder / "private" / ".nomedia").unlink()
    (folder / ".parecidoignore").unlink()
    assert index(library, [folder], encoder=encoder).added == 2


def test_a_picture_that_is_gone_is_not_counted_as_left_out(
    library: Library, folder: Path, encoder: Encoder
) -> None:
    save_picture(folder / "e.png", 9)
    index(library, [folder], encoder=encoder)
    (folder / "a.png").unlink()
    report = index(library, [folder], IndexOptions(exclude=["e.png"]), encoder=encoder)
    assert (report.removed, report.removed_by_rules) == (2, 1)


def test_what_was_named_stays_when_a_rule_leaves_it_out_from_above(
    library: Library, folder: Path, encoder: Encoder
) -> None:
    save_picture(folder / "#recycle" / "e.png", 9)
    (folder / "private" / ".nomedia").touch()
    (folder / ".parecidoignore").write_text("app/c.png\n")
    named = [folder / "#recycle", folder / "private", folder / "app" / "c.png"]
    assert index(library, named, encoder=encoder).added == 3
    report = index(library, [folder], encoder=encoder)
    assert (report.added, report.removed) == (2, 0)
    assert index(library, [folder], encoder=encoder).removed == 0
    assert len(held(library, folder)) == 5


def test_a_folder_whose_rule_cannot_be_read_keeps_its_pictures(
    library: Library, folder: Path, encoder: Encoder
) -> None:
    index(library, [folder], encoder=encoder)
    (folder / "app" / ".parecidoignore").write_bytes(b"c.png\n" * 100_000)
    report = index(library, [folder], encoder=encoder)
    assert (report.removed, [skip.path for skip in report.skipped]) == (0, [str(folder / "app")])
    assert len(held(library, folder)) == 4


def test_a_folder_of_which_all_is_left_out_says_so(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    save_picture(tmp_path / "p" / "@eaDir" / "a.png", 1)
    with pytest.raises(PathNotFound, match="but what is left out: kept by a system or program"):
        index(library, [tmp_path / "p"], encoder=encoder)


# -- what roots keep ---------------------------------------------------------------------------


def test_a_root_keeps_what_was_excluded_from_it(
    library: Library, folder: Path, encoder: Encoder
) -> None:
    options = IndexOptions(exclude=["/private/", "app/"])
    assert index(library, [folder], options, encoder=encoder).added == 1
    for _ in range(2):
        report = index(library, [folder], encoder=encoder)
        assert (report.added, report.removed, report.unchanged) == (0, 0, 1)
    assert report.left_out[0].folders == 3
    (told,) = summarise(library)["rules"]
    assert told == {"root": str(folder), "exclude": ["/private/", "app/"], "include": []}


def test_an_exclusion_holds_for_a_folder_below_the_root_that_is_indexed_by_itself(
    library: Library, folder: Path, encoder: Encoder
) -> None:
    index(library, [folder], IndexOptions(exclude=["app/"]), encoder=encoder)
    save_picture(folder / "in" / "e.png", 9)
    assert index(library, [folder / "in"], encoder=encoder).added == 1
    assert held(library, folder) == ["a.png", "in/e.png", "private/b.png"]
    # and what that folder keeps holds when the one around it is indexed
    assert index(library, [folder / "in"], IndexOptions(exclude=["e*"]), encoder=encoder).removed
    assert index(library, [folder], encoder=encoder).added == 0


def test_an_exclusion_is_lifted_by_an_inclusion_that_is_kept_too(
    library: Library, folder: Path, encoder: Encoder
) -> None:
    index(library, [folder], IndexOptions(exclude=["private/", "app/"]), encoder=encoder)
    (folder / "private" / ".nomedia").touch()
    options = IndexOptions(include=["private/"])
    assert index(library, [folder], options, encoder=encoder).added == 1
    assert index(library, [folder], encoder=encoder).unchanged == 2
    assert held(library, folder) == ["a.png", "private/b.png"]
    (told,) = summarise(library)["rules"]
    assert (told["exclude"], told["include"]) == (["app/"], ["private/"])
    options = IndexOptions(exclude=["private/"])
    assert index(library, [folder], options, encoder=encoder).removed_by_rules == 1


def test_what_was_removed_comes_back_and_a_root_that_was_removed_keeps_nothing(
    library: Library, folder: Path, encoder: Encoder
) -> None:
    index(library, [folder], IndexOptions(exclude=["app/"]), encoder=encoder)
    remove(library, [folder / "private"])
    assert index(library, [folder], encoder=encoder).added == 1
    remove(library, [folder])
    assert index(library, [folder], encoder=encoder).added == 4


def test_a_client_neither_changes_nor_gets_around_the_rules(
    library: Library, folder: Path, encoder: Encoder
) -> None:
    index(library, [folder], IndexOptions(exclude=["private/"]), encoder=encoder)
    (folder / "app" / ".nomedia").touch()
    client = IndexOptions(inside=[folder.parent], exclude=["a.png"], include=["private/", "app/"])
    for name in ("private", "private/b.png", "app", "app/c.png"):
        report = index(library, [folder / name], client, encoder=encoder)
        assert (report.added, report.removed, len(report.skipped)) == (0, 0, 1)
    hidden = save_picture(folder / ".hidden" / "e.png", 9)
    assert index(library, [hidden], client, encoder=encoder).added == 1
    remove(library, [hidden])
    index(library, [folder], IndexOptions(inside=[folder.parent]), encoder=encoder)
    assert held(library, folder) == ["a.png", "in/app/d.png"]
    (told,) = summarise(library)["rules"]
    assert (told["exclude"], told["include"]) == (["private/"], [])


@pytest.mark.parametrize("options", [{"exclude": ["[z-a]"]}, {"include": ["a\\"]}])
def test_a_pattern_that_cannot_be_read_changes_nothing(
    library: Library, folder: Path, encoder: Encoder, options: dict[str, list[str]]
) -> None:
    with pytest.raises(InvalidRequest, match="cannot be read"):
        index(library, [folder], IndexOptions(**options), encoder=encoder)  # type: ignore[arg-type]
    assert library.catalogue.roots() == []


# -- files that were named ---------------------------------------------------------------------


def test_a_file_that_a_glob_named_and_that_is_gone_leaves(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    files = save_pictures(tmp_path / "p", 4)
    (tmp_path / "p" / "notes.txt").write_text("no picture")
    index(library, sorted((tmp_path / "p").iterdir()), encoder=encoder)
    files[0].unlink()
    (tmp_path / "p" / "notes.txt").unlink()
    report = index(library, sorted((tmp_path / "p").iterdir()), encoder=encoder)
    assert (report.removed, report.unchanged, report.missing_roots) == (1, 3, [])
    files[1].unlink()
    report = index(library, [files[1]], encoder=encoder)  # named, and gone
    assert (report.removed, report.missing_roots) == (1, [])
    files[2].rename(tmp_path / "p" / "moved.png")
    report = index(library, sorted((tmp_path / "p").iterdir()), encoder=encoder)
    assert (report.moved, report.removed, report.missing_roots) == (1, 0, [])
    roots = [os.path.basename(root.path) for root in library.catalogue.roots()]
    assert roots == [b"0003.png", b"moved.png"]
    assert library.catalogue.list_skips() == []


def test_a_file_of_an_absent_disk_stays(library: Library, tmp_path: Path, encoder: Encoder) -> None:
    files = save_pictures(tmp_path / "disk", 2)
    other = save_picture(tmp_path / "p" / "a.png", 9)
    index(library, [*files, other], encoder=encoder)
    (tmp_path / "disk").rename(tmp_path / "unplugged")
    report = index(library, [*files, other], encoder=encoder)
    assert (report.removed, report.missing_roots) == (0, [str(path) for path in files])
    assert library.catalogue.counts()[0] == 3


# -- the command -------------------------------------------------------------------------------


def test_the_command_tells_what_was_left_out_and_info_what_is_kept(
    folder: Path, tmp_path: Path
) -> None:
    save_picture(folder / "@eaDir" / "e.png", 9)
    (folder / ".parecidoignore").write_text("[z-a]\n")
    place = ("--library", tmp_path / "library")
    done = run_parecido("index", folder, "--exclude", "private/", "--include", "x y", *place)
    assert (
        "Left out: 1 folder kept by a system or program (@eaDir); 1 folder excluded (private)"
        in (done.stdout.splitlines())
    )
    assert f"parecido: 1 line of {folder / '.parecidoignore'} cannot be read: line 1" in done.stderr
    done = run_parecido("index", folder, "--exclude", "app/", *place)
    assert "2 pictures removed because a rule leaves them out; the files stay." in done.stdout
    told = run_parecido("info", *place).stdout
    assert f"{folder} without private/ app/ and with 'x y'" in told
    facts = json.loads(run_parecido("info", "--json", *place).stdout)
    assert facts["rules"][0]["include"] == ["x y"]
