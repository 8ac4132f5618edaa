"""Nothing is removed or overwritten that the program did not make, and no link is followed."""

from __future__ import annotations

import ast
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from indexer.durable import replacing
from indexer.errors import InvalidRequest
from indexer.library import Library
from indexer.ownfiles import INDEXES, make_folder, own_files, remove_own, remove_own_folder
from search.web.settings import Settings
from tests.fakes import save_pictures
from tests.harness import REPOSITORY, assert_one_line, parecido
from tests.serving import picture_bytes, serving

INDEX = f"{7:012d}-0123456789abcdef.faiss"
OTHER = f"{8:012d}.faiss"


def hashes(folder: Path) -> dict[str, str]:
    """Every file below a folder that is one itself, by its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def write(path: Path, text: str = "mine") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    save_pictures(tmp_path / "pictures", 70)
    return tmp_path / "pictures"


@pytest.mark.parametrize(
    "name",
    [
        "vectors/logo.svg",
        "neighbours/party.txt",
        "regions/map.gpx",
        "encoder/model.onnx",
        "encoder.new-abcdefgh/notes.txt",
        "thumbnails/256/me.jpg",
        "my catalogue.sqlite of stamps",
        "writer.json.old",
    ],
)
def test_a_folder_with_anything_else_in_it_becomes_no_library(
    tmp_path: Path, pictures: Path, name: str
) -> None:
    write(tmp_path / "art" / name)
    before = hashes(tmp_path / "art")
    arguments = ("index", pictures, "--think-twice", "--within", "--library", tmp_path / "art")
    assert_one_line(parecido(*arguments), "is no library", "--library")
    assert hashes(tmp_path / "art") == before


def test_what_a_lost_catalogue_left_is_no_hindrance(tmp_path: Path, pictures: Path) -> None:
    arguments = ("index", pictures, "--think-twice", "--within", "--library", tmp_path / "library")
    assert parecido(*arguments).returncode == 0
    (tmp_path / "library" / "catalogue.sqlite").unlink()
    assert parecido(*arguments).returncode == 0


@pytest.mark.parametrize("name", ["vectors", "neighbours", "regions"])
def test_a_folder_of_the_library_that_is_a_link_is_left_alone(
    tmp_path: Path, pictures: Path, name: str
) -> None:
    library, documents = tmp_path / "library", tmp_path / "Documents"
    options = ("--think-twice", "--within", "--library", library)
    assert parecido("index", pictures, *options).returncode == 0
    shutil.move(library / name, documents)
    write(documents / "letter.txt")
    write(documents / INDEX)
    (library / name).symlink_to(documents, target_is_directory=True)
    before = hashes(documents)
    picture = pictures / "0001.png"
    assert parecido("search", picture, "--library", library).returncode == 0
    picture.unlink()
    for command in (("index", pictures, *options), ("verify", "--repair", "--library", library)):
        assert parecido(*command).returncode == 0
    assert hashes(documents) == before


@pytest.mark.parametrize("name", ["lock", "writer.json.tmp", "catalogue.sqlite.new", "writer.json"])
def test_a_file_of_the_library_that_is_a_link_is_refused(
    tmp_path: Path, pictures: Path, name: str
) -> None:
    library, letter = tmp_path / "library", write(tmp_path / "letter.txt")
    library.mkdir()
    (library / name).symlink_to(letter)
    done = parecido("index", pictures, "--library", library)
    assert_one_line(done, name, "links inside a library are not followed")
    assert letter.read_text() == "mine"
    assert os.listdir(library) == [name]


def test_a_lock_that_holds_something_is_not_emptied(library: Library) -> None:
    (library.folder / "lock").write_text("mine")
    with pytest.raises(InvalidRequest, match="holds something"), library.writer():
        pass
    assert (library.folder / "lock").read_text() == "mine"


def test_what_lies_where_a_journal_belongs_is_not_emptied(library: Library) -> None:
    journal = library.folder / "catalogue.sqlite-wal"
    library.close()
    journal.write_text("mine")
    with pytest.raises(InvalidRequest, match="no journal"):
        Library.open(library.folder)
    assert journal.read_text() == "mine"


def test_a_users_picture_among_the_uploads_is_never_removed_nor_taken_in(
    tmp_path: Path, fakes: None
) -> None:
    save_pictures(tmp_path / "pictures", 3)
    uploads = tmp_path / "mine"
    own = uploads / "ab" / "holiday.png"
    own.parent.mkdir(parents=True)
    own.write_bytes(picture_bytes(4))
    library = tmp_path / "library"
    assert parecido("index", tmp_path / "pictures", uploads, "--library", library).returncode == 0
    with serving(library, Settings(uploads=uploads)) as client:
        listed = client.get("/v1/pictures").json()["pictures"]
        (picture,) = [one for one in listed if one["path"] == str(own)]
        assert picture["owned"] is False
        client.ask("DELETE", f"/v1/pictures/{picture['id']}")
    assert own.read_bytes() == picture_bytes(4)


def test_only_files_of_the_programs_names_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "vectors"
    for name in (INDEX, OTHER, f"{INDEX}.123.tmp", f"{INDEX}.123-0a1b2c3d.tmp"):
        write(folder / name)
    kept = ["7.faiss", f"a{OTHER}", f"{INDEX}.bak", f"{OTHER}.tmp", "logo.svg"]
    for name in kept:
        write(folder / name)
    (folder / f"{1:012d}.faiss").symlink_to(write(tmp_path / "letter.txt"))
    (folder / f"{2:012d}.faiss").mkdir()
    remove_own(folder, INDEXES, keep={OTHER})
    assert sorted(os.listdir(folder)) == sorted(
        [*kept, OTHER, f"{1:012d}.faiss", f"{2:012d}.faiss"]
    )
    assert own_files(folder, INDEXES) == [folder / OTHER]


def test_a_folder_goes_only_with_nothing_foreign_in_it(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name / INDEX)
    write(tmp_path / "two" / "logo.svg")
    (tmp_path / "three").symlink_to(tmp_path / "two")
    for name in ("three", "one", "two"):
        remove_own_folder(tmp_path / name, INDEXES)
    assert not (tmp_path / "one").exists()
    assert os.listdir(tmp_path / "two") == ["logo.svg"]
    assert (tmp_path / "three").is_symlink()


def test_a_link_is_neither_made_into_a_folder_nor_written_through(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "vectors").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotADirectoryError):
        make_folder(tmp_path / "vectors")
    letter = write(tmp_path / "letter.txt")
    (tmp_path / "file").symlink_to(letter)
    with pytest.raises(OSError, match="no regular file"), replacing(tmp_path / "file"):
        pass
    assert letter.read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "file", "letter.txt", "vectors"]


def test_files_are_removed_in_one_place() -> None:
    """Outside it, only what lies in a folder of the process's own."""
    calls = {"unlink", "rmtree", "rmdir", "removedirs"}
    found = set()
    for package in ("indexer", "search"):
        for path in (REPOSITORY / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                is_call = isinstance(node, ast.Attribute) and node.attr in calls
                if is_call or (
                    isinstance(node, ast.Attribute) and ast.unparse(node) == "os.remove"
                ):
                    found.add(str(path.relative_to(REPOSITORY)))
    assert found == {
        "indexer/ownfiles.py",
        "indexer/durable.py",  # a temporary file that it has just made
        "indexer/encoders/build.py",  # an export on its way, in a new folder
    }
