"""Nothing is removed or overwritten that the program did not make, and no link is followed."""

from __future__ import annotations

import ast
import errno
import hashlib
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from parecido.indexer.errors import InvalidRequest
from parecido.indexer.library.library import Library
from parecido.indexer.pictures.walking.walk import Walk
from parecido.indexer.system.kinds import INDEXES, any_content
from parecido.indexer.system.own_files import (
    NotOurs,
    create_file,
    make_folder,
    move_new,
    move_over,
    own_files,
    remove_folder,
    remove_own,
    replacing,
    set_aside,
)
from parecido.search.web.settings import Settings
from tests.support.fakes import save_pictures
from tests.support.harness import assert_one_line, run_parecido
from tests.support.places import REPOSITORY
from tests.support.serving import picture_bytes, serving

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
    assert_one_line(run_parecido(*arguments), "is no library", "--library")
    assert hashes(tmp_path / "art") == before


def test_what_a_lost_catalogue_left_is_no_hindrance(tmp_path: Path, pictures: Path) -> None:
    arguments = ("index", pictures, "--think-twice", "--within", "--library", tmp_path / "library")
    assert run_parecido(*arguments).returncode == 0
    (tmp_path / "library" / "catalogue.sqlite").unlink()
    assert run_parecido(*arguments).returncode == 0


def test_the_sessions_that_a_server_ended_are_no_hindrance_and_a_namesake_is(
    tmp_path: Path, pictures: Path
) -> None:
    arguments = ("index", pictures, "--library", tmp_path / "library")
    write(tmp_path / "library" / "sessions.json", '{"before": 0.0, "ended": {}}')
    assert run_parecido(*arguments).returncode == 0
    write(tmp_path / "other" / "sessions.json", "of the conference")
    done = run_parecido("index", pictures, "--library", tmp_path / "other")
    assert_one_line(done, "is no library", "--library")


@pytest.mark.parametrize("name", ["vectors", "neighbours", "regions"])
def test_a_folder_of_the_library_that_is_a_link_is_left_alone(
    tmp_path: Path, pictures: Path, name: str
) -> None:
    library, documents = tmp_path / "library", tmp_path / "Documents"
    options = ("--think-twice", "--within", "--library", library)
    assert run_parecido("index", pictures, *options).returncode == 0
    shutil.move(library / name, documents)
    write(documents / "letter.txt")
    write(documents / INDEX)
    (library / name).symlink_to(documents, target_is_directory=True)
    before = hashes(documents)
    picture = pictures / "0001.png"
    assert run_parecido("search", picture, "--library", library).returncode == 0
    picture.unlink()
    for command in (("index", pictures, *options), ("verify", "--repair", "--library", library)):
        assert run_parecido(*command).returncode == 0
    assert hashes(documents) == before


@pytest.mark.parametrize("name", ["lock", "writer.json.tmp", "catalogue.sqlite.new", "writer.json"])
def test_a_file_of_the_library_that_is_a_link_is_refused(
    tmp_path: Path, pictures: Path, name: str
) -> None:
    library, letter = tmp_path / "library", write(tmp_path / "letter.txt")
    library.mkdir()
    (library / name).symlink_to(letter)
    done = run_parecido("index", pictures, "--library", library)
    assert_one_line(done, name, "links inside a library are not followed")
    assert letter.read_text() == "mine"
    assert os.listdir(library) == [name]


def test_a_lock_that_holds_something_is_not_emptied(library: Library) -> None:
    (library.folder / "lock").write_text("mine")
    with pytest.raises(InvalidRequest, match="holds something"), library.writer():
        pass
    assert (library.folder / "lock").read_text() == "mine"


def test_a_lock_of_a_system_without_locks_is_known(library: Library) -> None:
    (library.folder / "lock").write_text(f"{os.getpid()}\nhost.example\n123456\n")
    Library.open(library.folder).close()


def test_a_library_is_opened_through_a_link_while_it_is_written_and_after_a_kill(
    library: Library, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(library.folder)
    with library.writer() as writing:
        writing.catalogue.rerank_by_default(True)
        assert (library.folder / "catalogue.sqlite-shm").exists()
        with Library.open(link) as opened:
            assert opened.catalogue.settings.reranks_by_default()
        for name in ("catalogue.sqlite", "catalogue.sqlite-wal", "catalogue.sqlite-shm"):
            (tmp_path / "killed").mkdir(exist_ok=True)
            shutil.copy(library.folder / name, tmp_path / "killed" / name)
    killed = tmp_path / "killed link"
    killed.symlink_to(tmp_path / "killed")
    with Library.open(killed) as opened, opened.writer():
        assert (tmp_path / "killed" / "writer.json").exists()
    assert not (tmp_path / "killed" / "writer.json").exists()


def test_one_that_signs_leaves_what_it_cannot_read(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    for asks in ("lock", "library"):
        monkeypatch.setattr(f"parecido.indexer.library.{asks}.check_own", lambda _: None)
    (library.folder / "writer.json").write_text("mine")
    with library.writer():
        pass
    assert (library.folder / "writer.json").read_text() == "mine"


def test_the_catalogue_is_not_even_read_as_a_picture(
    library: Library, pictures: Path, tmp_path: Path
) -> None:
    """Closing a file gives up all locks that a process holds on it."""
    (pictures / "link.jpg").symlink_to(library.folder / "catalogue.sqlite")
    os.link(library.folder / "catalogue.sqlite", pictures / "hard.png")
    with library.writer():
        (pictures / "shm.jpg").symlink_to(library.folder / "catalogue.sqlite-shm")
        roots = [str(pictures), str(library.folder / "catalogue.sqlite")]
        walked = [entry.path for entry in Walk(roots, avoid=library.folder)]
    assert len(walked) == 70
    assert not {os.path.basename(path) for path in walked} & {b"link.jpg", b"hard.png", b"shm.jpg"}


@pytest.mark.parametrize("content", [b"mine", bytes(4) + b"ftypqt  " + bytes(40)])
@pytest.mark.parametrize("end", ["wal", "shm", "journal"])
def test_what_lies_where_a_journal_belongs_is_not_emptied(
    library: Library, end: str, content: bytes
) -> None:
    journal = library.folder / f"catalogue.sqlite-{end}"
    library.close()
    journal.write_bytes(content)
    with pytest.raises(InvalidRequest, match="no journal"):
        Library.open(library.folder)
    assert journal.read_bytes() == content


@pytest.mark.parametrize("name", ["catalogue.sqlite", "catalogue.sqlite.new"])
def test_a_rollback_journal_whose_writer_was_killed_before_its_first_sync_is_known_as_one(
    library: Library, name: str
) -> None:
    library.close()
    # until then SQLite leaves out the mark and the number of pages
    head = bytes(12) + bytes.fromhex("0badcafe 00000001 00000200 00004000")
    (library.folder / f"{name}-journal").write_bytes(head.ljust(512, b"\0"))
    with Library.create(library.folder) as opened:
        assert opened.catalogue.counts()[0] == 0


def test_a_users_picture_among_the_uploads_is_never_removed_nor_taken_in(
    tmp_path: Path, fakes: None
) -> None:
    save_pictures(tmp_path / "pictures", 3)
    uploads = tmp_path / "mine"
    own = uploads / "ab" / "holiday.png"
    own.parent.mkdir(parents=True)
    own.write_bytes(picture_bytes(4))
    library = tmp_path / "library"
    assert (
        run_parecido("index", tmp_path / "pictures", uploads, "--library", library).returncode == 0
    )
    with serving(library, Settings(uploads=uploads)) as client:
        listed = client.get("/v1/pictures").json()["pictures"]
        (picture,) = [one for one in listed if one["path"] == str(own)]
        assert picture["owned"] is False
        client.ask("DELETE", f"/v1/pictures/{picture['id']}")
    assert own.read_bytes() == picture_bytes(4)


def test_only_files_of_the_programs_names_that_hold_what_it_writes_are_removed(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "vectors"
    for name in (INDEX, OTHER, f"{INDEX}.123.tmp", f"{INDEX}.123-0a1b2c3d.tmp"):
        write(folder / name, "IxM2 and what follows")
    write(folder / f"{3:012d}.faiss", "whatever it is, at its end lies parecido")
    (folder / f"{4:012d}.faiss").write_bytes(bytes(100))  # of a power cut
    kept = ["7.faiss", f"a{OTHER}", f"{INDEX}.bak", f"{OTHER}.tmp", "logo.svg"]
    for name in kept:
        write(folder / name, "IxM2 and what follows")
    kept += [f"{5:012d}.faiss", f"{5:012d}.faiss.123.tmp"]
    for name in kept[-2:]:
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
        write(tmp_path / name / INDEX, "IxPT")
    write(tmp_path / "two" / "logo.svg")
    (tmp_path / "three").symlink_to(tmp_path / "two")
    for name in ("three", "one", "two"):
        remove_folder(tmp_path / name, INDEXES)
    assert not (tmp_path / "one").exists()
    assert os.listdir(tmp_path / "two") == ["logo.svg"]
    assert (tmp_path / "three").is_symlink()


def test_a_link_is_neither_made_into_a_folder_nor_written_through(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "vectors").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotOurs):
        make_folder(tmp_path / "vectors")
    for path in (tmp_path / "vectors" / "file", tmp_path / "missing" / "file"):
        with pytest.raises(OSError, match=path.parent.name), create_file(path):
            pass
    letter = write(tmp_path / "letter.txt")
    (tmp_path / "file").symlink_to(letter)
    os.mkfifo(tmp_path / "pipe")
    for name in ("file", "pipe"):
        with (
            pytest.raises(OSError, match="did not make it"),
            replacing(tmp_path / name, any_content),
        ):
            pass
    with pytest.raises(OSError, match="did not make it"), replacing(letter, INDEXES.is_made):
        pass
    with pytest.raises(OSError, match="did not make it"), create_file(letter):
        pass
    assert letter.read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "file", "letter.txt", "pipe", "vectors"]


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / INDEX
    for text in (b"IxM2 first", b"IxM2 second"):
        with replacing(path, INDEXES.is_made) as file:
            file.write(text)
            assert not path.exists() or path.read_bytes() == b"IxM2 first"
        assert path.read_bytes() == text
    other = tmp_path / OTHER
    with pytest.raises(NotOurs), replacing(other, INDEXES.is_made):
        write(other)  # somebody was quicker
    assert other.read_text() == "mine"
    other.unlink()
    with suppress(ZeroDivisionError), replacing(path, INDEXES.is_made) as file:
        file.write(b"IxM2 half")
        raise ZeroDivisionError
    assert path.read_bytes() == b"IxM2 second"
    assert os.listdir(tmp_path) == [INDEX]


def test_a_move_takes_no_other_files_place(tmp_path: Path) -> None:
    new, letter = write(tmp_path / "new", "IxM2"), write(tmp_path / "letter.txt")
    with pytest.raises(FileExistsError):
        move_new(new, letter)
    with pytest.raises(FileExistsError):
        move_over(new, letter, INDEXES.is_made)
    with pytest.raises(FileExistsError):
        set_aside(new, letter.name)
    assert (new.read_text(), letter.read_text()) == ("IxM2", "mine")
    move_new(new, tmp_path / "first")
    move_over(tmp_path / "first", tmp_path / "second", INDEXES.is_made)
    move_over(write(tmp_path / "third", "IxPT"), tmp_path / "second", INDEXES.is_made)
    assert (tmp_path / "second").read_text() == "IxPT"
    assert sorted(os.listdir(tmp_path)) == ["letter.txt", "second"]


@pytest.mark.parametrize("without", ["hard links", "descriptors of folders"])
def test_the_rules_hold_on_lesser_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without: str
) -> None:
    if without == "hard links":

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr("os.link", refuse)
    else:
        monkeypatch.setattr("parecido.indexer.system.own_files._NO_LINKS", 0)
    for number, test in enumerate(
        (
            test_only_files_of_the_programs_names_that_hold_what_it_writes_are_removed,
            test_a_folder_goes_only_with_nothing_foreign_in_it,
            test_a_link_is_neither_made_into_a_folder_nor_written_through,
            test_a_file_appears_whole_or_not_at_all,
            test_a_move_takes_no_other_files_place,
        )
    ):
        (tmp_path / str(number)).mkdir()
        test(tmp_path / str(number))


# what removes, replaces, cuts short or makes a file
_FUNCTIONS = {
    *("os.remove", "os.unlink", "os.rmdir", "os.removedirs", "os.replace", "os.rename"),
    *("os.renames", "os.link", "os.symlink", "os.truncate", "os.mkfifo"),
}
_MODULES = {"shutil", "tempfile"}
_METHODS = {
    *("unlink", "rmdir", "rename", "write_text", "write_bytes", "touch", "truncate", "tofile"),
    *("symlink_to", "hardlink_to", "save_model_to_file", "writestr", "extractall"),
}
_SAVERS = {"np.save", "np.savez", "np.savez_compressed", "np.savetxt", "json.dump", "pickle.dump"}


def _changes_files(call: ast.Call) -> bool:
    """Whether a call may remove, replace, cut short or make a file."""
    name = ast.unparse(call.func)
    method = name.rpartition(".")[2]
    if name in _FUNCTIONS | _SAVERS or name.partition(".")[0] in _MODULES or method in _METHODS:
        return True
    if method == "replace":  # a path's, not a text's or a date's
        return isinstance(call.func, ast.Attribute) and len(call.args) == 1 and not call.keywords
    if method != "open":
        return False
    if name == "os.open":
        return ast.unparse(call.args[0]) != "os.devnull"
    modes = [keyword.value for keyword in call.keywords if keyword.arg == "mode"]
    if name == "open":
        modes += call.args[1:2]
        if ast.unparse(call.args[0]) == "os.devnull":
            return False
    else:
        modes += [argument for argument in call.args[:1] if isinstance(argument, ast.Constant)]
    return any(not isinstance(m, ast.Constant) or set(str(m.value)) & set("wax+") for m in modes)


def test_files_are_changed_in_one_place() -> None:
    found = {}
    for package in ("indexer", "search"):
        for path in (REPOSITORY / package).rglob("*.py"):
            nodes = ast.walk(ast.parse(path.read_text("utf-8")))
            calls = [node for node in nodes if isinstance(node, ast.Call) and _changes_files(node)]
            if calls:
                found[str(path.relative_to(REPOSITORY))] = {ast.unparse(c.func) for c in calls}
    found.pop("indexer/system/own_files.py")
    # what a process tells the system of itself is no file
    own = found.pop("indexer/pictures/decoding/program.py")
    assert own == {"Path('/proc/self/oom_score_adj').write_text"}
    # to sync files and folders, and to read without waiting
    assert found == {
        "indexer/system/files.py": {"os.open"},
        "indexer/pictures/read.py": {"os.open"},
        "indexer/pictures/metadata/sidecars.py": {"os.open"},
        "indexer/pictures/walking/ignore_files.py": {"os.open"},
    }
    for name in found:
        text = (REPOSITORY / name).read_text("utf-8")
        assert "O_RDONLY" in text or "O_NONBLOCK" in text
        assert not re.search(r"O_(WRONLY|CREAT|TRUNC|APPEND)", text)


@pytest.mark.parametrize(
    "line",
    [
        *("path.unlink()", "os.remove(a)", "os.replace(a, b)", "a.replace(b)", "shutil.rmtree(a)"),
        *("open(path, 'w')", "path.open('r+b')", "open(path, mode=mode)", "path.write_bytes(b'')"),
        *("tempfile.mkdtemp()", "np.save(path, rows)", "os.open(path, flags)"),
    ],
)
def test_a_call_that_changes_files_is_seen(line: str) -> None:
    (call,) = (node for node in ast.walk(ast.parse(line)) if isinstance(node, ast.Call))
    assert _changes_files(call)


@pytest.mark.parametrize("folder", ["vectors", "neighbours"])
def test_what_a_killed_writer_left_half_written_goes_with_the_next_one(
    library: Library, folder: str
) -> None:
    begun, end = (b"IxM2", "faiss") if folder == "vectors" else (b"", "npy")
    place = library.folder / folder
    place.mkdir(exist_ok=True)
    left = place / f"000000000007.{end}.77-01234567.tmp"
    left.write_bytes(begun)
    mine = place / f"000000000007.{end}.77-0123456x.tmp"
    mine.write_bytes(begun)
    with library.writer():
        pass
    assert not left.exists()
    assert mine.exists()
