"""Collections with known groups: folders, CSVs, and what is wrong with them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parecido.indexer.errors import InvalidRequest, ParecidoError, PathNotFound
from parecido.search.evaluating.labelled_pictures import few, load_collection


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write_csv(folder: Path, text: str | bytes) -> Path:
    path = folder / "groups.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def four(folder: Path) -> None:
    touch(*(folder / name for name in ("a.png", "b.png", "c.png", "d.png")))


def refused(path: Path, kind: type[ParecidoError] = InvalidRequest) -> str:
    with pytest.raises(kind) as caught:
        load_collection(path)
    assert type(caught.value) is kind
    assert caught.value.remedy
    return str(caught.value)


def test_a_folder_has_a_group_for_each_subfolder(tmp_path: Path) -> None:
    touch(
        tmp_path / "cats" / "1.png",
        tmp_path / "cats" / "kittens" / "deep" / "2.png",
        tmp_path / "dogs" / "1.png",
        tmp_path / "dogs" / "2.png",
        # neither in a class nor to be seen
        tmp_path / "readme.txt",
        tmp_path / "cats" / ".hidden.png",
        tmp_path / ".git" / "config",
        tmp_path / "@eaDir" / "1.png",
        tmp_path / "dogs" / "@eaDir" / "1.png",
    )
    (tmp_path / "empty").mkdir()
    collection = load_collection(tmp_path)
    assert dict(collection.groups) == {
        str(tmp_path / "cats" / "1.png"): "cats",
        str(tmp_path / "cats" / "kittens" / "deep" / "2.png"): "cats",
        str(tmp_path / "dogs" / "1.png"): "dogs",
        str(tmp_path / "dogs" / "2.png"): "dogs",
    }
    assert dict(collection.sizes) == {"cats": 2, "dogs": 2}
    assert collection.source == str(tmp_path)


def test_a_csv_names_paths_from_its_own_folder(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "d.png"
    touch(tmp_path / "x" / "a.png", tmp_path / "b.png", tmp_path / "o, dear.png", elsewhere)
    path = write_csv(
        tmp_path,
        f'path,group\nx/a.png,one\n./b.png, one \n"o, dear.png",two\n\n{elsewhere},two\n',
    )
    assert dict(load_collection(path).groups) == {
        str(tmp_path / "x" / "a.png"): "one",
        str(tmp_path / "b.png"): "one",
        str(tmp_path / "o, dear.png"): "two",
        str(elsewhere): "two",
    }


def test_columns_may_stand_in_any_order_among_others_and_after_a_byte_order_mark(
    tmp_path: Path,
) -> None:
    four(tmp_path)
    text = "group,note,path\r\n1,,a.png\r\n1,x,b.png\r\n2,,c.png\r\n2,,d.png\r\n"
    path = write_csv(tmp_path, b"\xef\xbb\xbf" + text.encode())
    assert list(load_collection(path).groups.values()) == ["1", "1", "2", "2"]


@pytest.mark.skipif(os.name == "nt", reason="file names are Unicode there")
def test_names_that_are_no_utf_8_are_read_too(tmp_path: Path) -> None:
    four(tmp_path)
    odd = os.fsencode(tmp_path) + b"/\xff.png"
    with open(odd, "wb"):
        pass
    path = write_csv(tmp_path, b"path,group\n\xff.png,1\nb.png,1\nc.png,2\nd.png,2\n")
    assert os.fsdecode(odd) in load_collection(path).groups


# a line with a quotation mark, a comma or a line's end needs quoting; csv does it
@settings(max_examples=50)
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(str.strip),
        min_size=2,
        max_size=6,
        unique_by=str.strip,
    )
)
def test_a_written_csv_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, groups: list[str]
) -> None:
    import csv

    folder = tmp_path_factory.mktemp("written")
    expected = {}
    with (folder / "groups.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "group"))
        for number, group in enumerate(groups * 2):
            touch(folder / f"{number}.png")
            writer.writerow((f"{number}.png", group))
            expected[str(folder / f"{number}.png")] = group.strip()
    assert dict(load_collection(folder / "groups.csv").groups) == expected


def test_a_line_with_an_empty_group_is_a_distractor_and_no_groups_size_counts_it(
    tmp_path: Path,
) -> None:
    touch(*(tmp_path / f"{name}.png" for name in "abcdefg"))
    text = "path,group\na.png,1\nb.png,1\nc.png,2\nd.png,2\ne.png,2\nf.png,\ng.png,  \n"
    collection = load_collection(write_csv(tmp_path, text))
    assert list(collection.groups.values()) == ["1", "1", "2", "2", "2", "", ""]
    assert dict(collection.sizes) == {"1": 2, "2": 3}


def test_distractors_make_no_group(tmp_path: Path) -> None:
    four(tmp_path)
    path = write_csv(tmp_path, "path,group\na.png,1\nb.png,1\nc.png,\nd.png,\n")
    assert f"{path} has only one group (1); at least two are needed." in refused(path)
    path = write_csv(tmp_path, "path,group\na.png,\nb.png,\nc.png,\nd.png,\n")
    assert f"{path} has no groups; at least two are needed." in refused(path)
    # one distractor alone is no group of a single picture
    touch(tmp_path / "e.png")
    text = "path,group\na.png,1\nb.png,1\nc.png,2\nd.png,2\ne.png,\n"
    assert dict(load_collection(write_csv(tmp_path, text)).sizes) == {"1": 2, "2": 2}


def test_a_distractor_is_there_and_named_once_like_any_other(tmp_path: Path) -> None:
    four(tmp_path)
    lines = "path,group\na.png,1\nb.png,1\nc.png,2\nd.png,2\n"
    assert "is not there: gone.png." in refused(
        write_csv(tmp_path, f"{lines}gone.png,\n"), PathNotFound
    )
    path = write_csv(tmp_path, f"{lines}a.png,\n")
    assert f"{path} names a.png twice, in lines 2 and 6." in refused(path)


def test_a_collection_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert f"{tmp_path}/none.csv is not there" in refused(tmp_path / "none.csv", PathNotFound)


def test_missing_pictures_are_counted_and_the_first_named(tmp_path: Path) -> None:
    four(tmp_path)
    (tmp_path / "folder").mkdir()
    lines = "".join(f"gone{i}.png,2\n" for i in range(7))
    said = refused(
        write_csv(tmp_path, f"path,group\na.png,1\nb.png,1\nfolder,1\n{lines}"), PathNotFound
    )
    assert "8 of the 10 pictures that" in said
    assert "are not there: folder, gone0.png, gone1.png, gone2.png, gone3.png and 3 more." in said
    one = write_csv(tmp_path, "path,group\na.png,1\nb.png,1\nc.png,2\ne.png,2\n")
    assert "1 of the 4 pictures" in refused(one, PathNotFound)
    assert "is not there: e.png." in refused(one, PathNotFound)


def test_groups_of_one_are_named(tmp_path: Path) -> None:
    four(tmp_path)
    path = write_csv(tmp_path, "path,group\na.png,cats\nb.png,cats\nc.png,owl\nd.png,newt\n")
    assert f"2 groups of {path} have a single picture: owl, newt." in refused(path)
    path = write_csv(tmp_path, "path,group\na.png,cats\nb.png,cats\nc.png,owl\n")
    assert f"1 group of {path} has a single picture: owl." in refused(path)


def test_a_class_folder_of_one_is_named(tmp_path: Path) -> None:
    touch(tmp_path / "cats" / "1.png", tmp_path / "cats" / "2.png", tmp_path / "owl" / "1.png")
    assert f"1 group of {tmp_path} has a single picture: owl." in refused(tmp_path)


def test_at_least_two_groups_are_needed(tmp_path: Path) -> None:
    assert "has no groups; at least two are needed" in refused(tmp_path)
    assert "a CSV of paths and groups" in refused(tmp_path)
    touch(tmp_path / "images" / "1.png", tmp_path / "images" / "2.png")
    assert "has only one group (images)" in refused(tmp_path)
    path = write_csv(tmp_path, "path,group\nimages/1.png,x\nimages/2.png,x\n")
    assert "has only one group (x)" in refused(path)
    # a folder that holds such a CSV beside the pictures was probably meant by it
    assert f"give {path}" in refused(tmp_path)
    assert "has no groups" in refused(write_csv(tmp_path, "path,group\n"))


def test_a_picture_named_twice_is_told_with_its_lines(tmp_path: Path) -> None:
    four(tmp_path)
    path = write_csv(tmp_path, "path,group\na.png,1\nb.png,1\n\nc.png,2\n./x/../a.png,2\n")
    assert f"{path} names ./x/../a.png twice, in lines 2 and 6." in refused(path)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"", "''"),
        (b"a.png,1\nb.png,1\n", "'a.png,1'"),
        (b"path;group\na.png;1\n", "'path;group'"),
        (b"path,path,group\n", "'path,path,group'"),
        (b"\x89PNG\r\n\x1a\n", r"'\\udc89PNG'"),
        (b"x" * 500, f"'{'x' * 80}…'"),
    ],
)
def test_another_header_is_shown(tmp_path: Path, text: bytes, shown: str) -> None:
    path = write_csv(tmp_path, text)
    said = refused(path)
    assert (
        f"The first line of {path} should name the columns path and group, and is {shown}" in said
    )
    assert "Write path,group as the first line" in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a,b.png,1", "Line 3 of {path} has 3 cells, and the header 2."),
        ("a.png", "Line 3 of {path} has 1 cell, and the header 2."),
        (" ,1", "Line 3 of {path} has no path."),
        ("a\0.png,1", "Line 3 of {path} has a NUL in its path."),
        ('"a.png,1', "Line 3 of {path} is no CSV"),
    ],
)
def test_a_bad_line_is_told_by_its_number(tmp_path: Path, line: str, said: str) -> None:
    four(tmp_path)
    path = write_csv(tmp_path, f"path,group\nb.png,1\n{line}\n")
    assert said.format(path=path) in refused(path)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_told(tmp_path: Path) -> None:
    four(tmp_path)
    path = write_csv(tmp_path, "path,group\n")
    path.chmod(0)
    assert f"{path} cannot be read: Permission denied." in refused(path)


def test_a_csv_that_is_a_link_to_nowhere_is_told(tmp_path: Path) -> None:
    path = tmp_path / "groups.csv"
    path.symlink_to(tmp_path / "nowhere.csv")
    assert f"{path} cannot be read: No such file or directory." in refused(path)


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("x/1.png", "x/2.png", "y/1.png", "y/2.png")))
    (tmp_path / "y" / "3.png").symlink_to(tmp_path / "nowhere.png")
    assert f"1 link in {tmp_path} leads nowhere: {tmp_path}/y/3.png." in refused(
        tmp_path, PathNotFound
    )


def test_few_names_are_all_told() -> None:
    assert few(["a"]) == "a"
    assert few(list("abcde")) == "a, b, c, d, e"
    assert few(list("abcdefg")) == "a, b, c, d, e and 2 more"
