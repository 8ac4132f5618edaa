"""A library in one file, and a library made of it: the same answers under the same ids."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sqlite3
import threading
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from parecido import Engine, Library, backup, index, restore, verify
from parecido.indexer.catalogue.changes import Own, Withdraw
from parecido.indexer.catalogue.sqlite.reading.uploads import KEPT, LEAVING, WAITING
from parecido.indexer.errors import (
    EncoderUnavailable,
    InvalidRequest,
    LibraryDamaged,
    LibraryTooNew,
    NoSpace,
    PathNotFound,
)
from parecido.indexer.library.backup.manifest import MANIFEST, Manifest
from parecido.indexer.library.backup.snapshot import copy_catalogue
from parecido.indexer.library.layout import CATALOGUE
from parecido.indexer.records.backups import Backup
from parecido.indexer.system.files import content_hash
from tests.support.fakes import fake_encoder, fake_spec, save_picture, save_pictures
from tests.support.harness import assert_one_line, check_sound, holdings, put, run_parecido
from tests.support.waiting import until


def answers(folder: Path) -> dict[int, list[tuple[int, float]]]:
    """For each picture of a library its hits, by id."""
    with Library.open(folder) as library, Engine(library, encoder=fake_encoder()) as engine:
        ids, vectors = library.catalogue.descriptors.of(
            library.catalogue.descriptors.ids().tolist()
        )
        return {
            int(own): [(hit.id, hit.score) for hit in engine.search_vector(vector, k=5)]
            for own, vector in zip(ids, vectors, strict=True)
        }


def add_uploads(library: Library, count: int, folder: Path | None = None) -> list[Path]:
    """Pictures as a server's uploads: in their places, owned, and indexed."""
    folder = folder or library.folder / "uploads"
    paths = []
    for number in range(count):
        made = save_picture(folder / "made.png", 900 + number)
        digest = content_hash(made.read_bytes())
        path = folder / digest.hex()[:2] / f"own-{digest.hex()[:16]}.png"
        path.parent.mkdir(exist_ok=True)
        made.rename(path)
        paths.append(path)
    with library.writer() as writing:
        hashes = [content_hash(path.read_bytes()) for path in paths]
        owned = zip(paths, hashes, strict=True)
        writing.catalogue.write([Own(os.fsencode(path), digest) for path, digest in owned])
    index(library, [folder], encoder=fake_encoder())
    return paths


# -- round trips -----------------------------------------------------------------------------------


def test_what_is_restored_gives_the_same_answers_under_the_same_ids(
    indexed: Library, tmp_path: Path
) -> None:
    made = backup(indexed, tmp_path / "backup.zip")
    told = restore(tmp_path / "backup.zip", tmp_path / "new")
    assert made == Backup(
        str(tmp_path / "backup.zip"),
        told.schema,
        indexed.catalogue.generation(),
        fake_spec().fingerprint,
        20,
        0,
        0,
        (),
        (tmp_path / "backup.zip").stat().st_size,
        made.seconds,
    )
    assert told == replace(made, path=str(tmp_path / "new"), seconds=told.seconds)
    assert check_sound(tmp_path / "new") == holdings(indexed)
    assert answers(tmp_path / "new") == answers(indexed.folder)
    assert len(list((tmp_path / "new" / "vectors").iterdir())) == 1  # what is derived is made
    with Library.open(tmp_path / "new") as library:
        again = index(library, [tmp_path / "pictures"], encoder=fake_encoder())
        assert (again.unchanged, again.encoded) == (20, 0)
    assert sorted(os.listdir(tmp_path)) == ["backup.zip", "library", "new", "pictures"]


def test_an_empty_library_is_backed_up_too(library: Library, tmp_path: Path) -> None:
    assert backup(library, tmp_path / "backup.zip").encoder is None
    assert restore(tmp_path / "backup.zip", tmp_path / "new").pictures == 0
    assert check_sound(tmp_path / "new") == {}


def test_an_uncompressed_archive_that_other_programs_read(indexed: Library, tmp_path: Path) -> None:
    backup(indexed, tmp_path / "backup.zip")
    with zipfile.ZipFile(tmp_path / "backup.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["catalogue.sqlite", "manifest.json"]
        assert json.loads(archive.read("manifest.json"))["pictures"] == 20
        archive.extract("catalogue.sqlite", tmp_path)
    with closing(sqlite3.connect(tmp_path / "catalogue.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM pictures").fetchone() == (20,)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_uploads_lie_in_the_restored_library_and_belong_to_it(
    indexed: Library, tmp_path: Path, *, elsewhere: bool
) -> None:
    folder = tmp_path / "apart" if elsewhere else None
    paths = add_uploads(indexed, 3, folder)
    before = holdings(indexed)
    assert backup(indexed, tmp_path / "backup.zip").uploads == 3
    shutil.rmtree(folder or indexed.folder / "uploads")
    restore(tmp_path / "backup.zip", tmp_path / "new")
    after = check_sound(tmp_path / "new")
    with Library.open(tmp_path / "new") as library:
        uploads = library.catalogue.uploads.list_uploads()
        assert len(uploads) == 3
        for path in paths:
            now = tmp_path / "new" / "uploads" / path.parent.name / path.name
            picture_id, row = before[os.fsencode(path)]
            assert after[os.fsencode(now)][0] == picture_id
            assert after[os.fsencode(now)][1] == row
            upload = library.catalogue.uploads.at(os.fsencode(now))
            assert upload is not None
            assert upload.state == KEPT
            assert upload.holds(content_hash(now.read_bytes()))
        roots = [os.fsdecode(root.path) for root in library.catalogue.roots()]
        assert roots == sorted([str(tmp_path / "new" / "uploads"), str(tmp_path / "pictures")])
        again = index(library, [tmp_path / "new" / "uploads"], encoder=fake_encoder())
        assert (again.unchanged, again.encoded, again.removed) == (3, 0, 0)
    assert answers(tmp_path / "new").keys() == {i for i, _ in before.values()}


def test_a_picture_of_ones_own_among_the_uploads_stays_where_it_is(
    indexed: Library, tmp_path: Path
) -> None:
    apart = tmp_path / "apart"
    own = save_picture(apart / "mine.png", 4321)
    add_uploads(indexed, 1, apart)
    assert backup(indexed, tmp_path / "backup.zip").uploads == 1
    restore(tmp_path / "backup.zip", tmp_path / "new")
    with Library.open(tmp_path / "new") as library:
        assert library.catalogue.picture_at(str(own)) is not None
        roots = {os.fsdecode(root.path) for root in library.catalogue.roots()}
        assert roots == {str(apart), str(tmp_path / "new" / "uploads"), str(tmp_path / "pictures")}


def test_restored_to_where_it_was_nothing_moves(indexed: Library, tmp_path: Path) -> None:
    add_uploads(indexed, 2)
    before = holdings(indexed)
    backup(indexed, tmp_path / "backup.zip")
    indexed.close()
    shutil.rmtree(indexed.folder)
    restore(tmp_path / "backup.zip", indexed.folder)
    assert check_sound(indexed.folder) == before


def test_an_upload_on_its_way_is_taken_from_where_it_lies(indexed: Library, tmp_path: Path) -> None:
    (path,) = add_uploads(indexed, 1)
    other = save_picture(tmp_path / "other.png", 5000).read_bytes()
    digest = content_hash(other)
    hidden = path.with_name(f".{path.name}.{digest.hex()}.other-{1:016x}00000000")
    hidden.write_bytes(other)
    with indexed.writer() as writing:
        before = content_hash(path.read_bytes())
        writing.catalogue.write([Own(os.fsencode(path), digest, before, 1)])
    backup(indexed, tmp_path / "backup.zip")
    restore(tmp_path / "backup.zip", tmp_path / "new")
    now = tmp_path / "new" / "uploads" / path.parent.name / path.name
    assert now.read_bytes() == other
    with Library.open(tmp_path / "new") as library:
        (upload,) = library.catalogue.uploads.list_uploads(WAITING)
        assert (upload.path, upload.content_hash) == (os.fsencode(now), digest)
        # the next server, or this, reads the bytes that were not indexed yet
        assert index(library, [now], encoder=fake_encoder()).updated == 1


def test_an_upload_that_leaves_needs_no_file(indexed: Library, tmp_path: Path) -> None:
    paths = add_uploads(indexed, 2)
    with indexed.writer() as writing:
        writing.catalogue.write([Withdraw(os.fsencode(path)) for path in paths])
    paths[0].unlink()
    made = backup(indexed, tmp_path / "backup.zip")
    assert (made.uploads, made.missing) == (1, ())
    restore(tmp_path / "backup.zip", tmp_path / "new")
    with Library.open(tmp_path / "new") as library:
        assert len(library.catalogue.uploads.list_uploads(LEAVING)) == 2
    check_sound(tmp_path / "new")


@pytest.mark.parametrize("what", ["gone", "changed"])
def test_an_upload_that_cannot_be_had_is_told_and_left_out_on_demand(
    indexed: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr("parecido.indexer.library.backup.backup._PAUSE", 0)
    gone, stays = add_uploads(indexed, 2)
    gone.unlink()
    if what == "changed":
        save_picture(gone, 777)  # somebody's own by now
    with pytest.raises(PathNotFound, match=gone.name):
        backup(indexed, tmp_path / "backup.zip")
    assert not (tmp_path / "backup.zip").exists()
    made = backup(indexed, tmp_path / "backup.zip", allow_missing=True)
    assert made.missing == (str(gone),)
    restore(tmp_path / "backup.zip", tmp_path / "new")
    check_sound(tmp_path / "new")
    assert [path.name for path in (tmp_path / "new" / "uploads").glob("*/*")] == [stays.name]


def test_an_upload_that_moves_on_is_looked_for_in_a_newer_catalogue(
    indexed: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server replaces a picture between the copy of the catalogue and that of the file."""
    (path,) = add_uploads(indexed, 1)
    other = save_picture(tmp_path / "other.png", 5000)
    copies = 0

    def copying(*given: object) -> None:
        nonlocal copies
        copy_catalogue(*given)  # type: ignore[arg-type]
        copies += 1
        if copies == 1:
            before = content_hash(path.read_bytes())
            with indexed.writer() as writing:
                digest = content_hash(other.read_bytes())
                writing.catalogue.write([Own(os.fsencode(path), digest, before, 1)])
            path.unlink()
            other.rename(path)
            index(indexed, [path], encoder=fake_encoder())

    monkeypatch.setattr("parecido.indexer.library.backup.backup.copy_catalogue", copying)
    assert backup(indexed, tmp_path / "backup.zip").missing == ()
    assert copies == 2
    restore(tmp_path / "backup.zip", tmp_path / "new")
    now = tmp_path / "new" / "uploads" / path.parent.name / path.name
    assert now.read_bytes() == path.read_bytes()
    assert answers(tmp_path / "new") == answers(indexed.folder)


def test_a_writer_that_commits_all_the_time_does_not_keep_a_backup_from_ending(
    indexed: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parecido.indexer.library.backup.snapshot._PAGES", 1)
    rows = np.random.default_rng(1).normal(size=(2, 12))
    ended, commits = threading.Event(), itertools.count()

    def write() -> None:
        with Library.open(indexed.folder) as other:
            while not ended.is_set():
                put(other, rows)
                next(commits)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        until(lambda: indexed.catalogue.counts()[0] > 200)
        generation = indexed.catalogue.generation()
        made = backup(indexed, tmp_path / "backup.zip")
    finally:
        ended.set()
        writer.join()
    assert made.generation >= generation
    assert made.pictures == 20 + 2 * (made.generation - 1)  # of that very commit
    restore(tmp_path / "backup.zip", tmp_path / "new")
    check_sound(tmp_path / "new")


# -- what is refused -------------------------------------------------------------------------------


def test_nothing_is_ever_overwritten(indexed: Library, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(InvalidRequest, match="already"):
        backup(indexed, tmp_path / "letter.txt")
    assert (tmp_path / "letter.txt").read_text() == "mine"
    with pytest.raises(InvalidRequest, match="own folder"):
        backup(indexed, indexed.folder / "backup.zip")
    with pytest.raises(PathNotFound, match="no folder"):
        backup(indexed, tmp_path / "nowhere" / "backup.zip")
    backup(indexed, tmp_path / "backup.zip")
    there = holdings(indexed)
    with pytest.raises(InvalidRequest, match="There is a library"):
        restore(tmp_path / "backup.zip", indexed.folder)
    assert holdings(indexed) == there
    with pytest.raises(InvalidRequest, match="other things lie in it"):
        restore(tmp_path / "backup.zip", tmp_path / "pictures")
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "lock").touch()
    with pytest.raises(InvalidRequest, match="not empty"):
        restore(tmp_path / "backup.zip", tmp_path / "left")
    with pytest.raises(InvalidRequest, match="not empty"):
        restore(tmp_path / "backup.zip", tmp_path / "letter.txt")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    restore(tmp_path / "backup.zip", tmp_path / "link")
    check_sound(tmp_path / "empty")


def test_a_damaged_catalogue_is_not_backed_up(indexed: Library, tmp_path: Path) -> None:
    indexed.close()
    path = indexed.folder / CATALOGUE
    with closing(sqlite3.connect(path)) as connection:
        ((size,),) = connection.execute("PRAGMA page_size")
        query = "SELECT rootpage FROM sqlite_master WHERE name IN ('pictures', 'descriptors')"
        pages = [page for (page,) in connection.execute(query)]
    data = bytearray(path.read_bytes())
    for page in pages:
        data[(page - 1) * size : (page - 1) * size + 2000] = bytes(2000)
    path.write_bytes(data)
    with Library.open(indexed.folder) as library, pytest.raises(LibraryDamaged):
        backup(library, tmp_path / "backup.zip")
    assert not (tmp_path / "backup.zip").exists()


def test_no_space_is_told_before_anything_is_written(
    indexed: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup(indexed, tmp_path / "backup.zip")
    there = sorted(os.listdir(tmp_path))
    monkeypatch.setattr("parecido.indexer.library.backup.errors.free_bytes", lambda folder: 1000)
    with pytest.raises(NoSpace, match="are needed"):
        backup(indexed, tmp_path / "other.zip")
    with pytest.raises(NoSpace, match="are needed"):
        restore(tmp_path / "backup.zip", tmp_path / "new")
    assert sorted(os.listdir(tmp_path)) == there


def test_a_quantised_network_comes_along_and_must_be_the_one(
    library: Library, tmp_path: Path
) -> None:
    from parecido.indexer.encoders.building.quantised_model import digest_of, mark_model

    model = library.folder / "encoder"
    model.mkdir()
    (model / "model.bin").write_bytes(b"weights")
    (model / "model.xml").write_text("<net/>")
    mark_model(model / "model.xml")
    rows = np.random.default_rng(1).normal(size=(5, 12))
    put(library, rows, spec=fake_spec(precision="int8", calibration=digest_of(model)))
    backup(library, tmp_path / "backup.zip")
    restore(tmp_path / "backup.zip", tmp_path / "new")
    assert (tmp_path / "new" / "encoder" / "model.bin").read_bytes() == b"weights"
    with Library.open(tmp_path / "new") as restored:
        assert verify(restored) == []
    (model / "model.bin").write_bytes(b"others")
    with pytest.raises(EncoderUnavailable):
        backup(library, tmp_path / "second.zip")
    assert not (tmp_path / "second.zip").exists()


# -- backups that are damaged, or made to do harm --------------------------------------------------


def _rewrite(path: Path, change: Callable[[dict[str, bytes]], object]) -> None:
    """Change a backup's members, and write it anew."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    path.unlink()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def _manifest(change: Callable[[dict[str, object]], object]) -> Callable[[dict[str, bytes]], None]:
    def changed(members: dict[str, bytes]) -> None:
        told = json.loads(members[MANIFEST])
        change(told)
        members[MANIFEST] = json.dumps(told).encode()

    return changed


def _named(name: str) -> Callable[[dict[str, bytes]], None]:
    """An upload that would lie somewhere else."""

    def changed(members: dict[str, bytes]) -> None:
        told = json.loads(members[MANIFEST])
        (entry,) = (one for one in told["members"] if one["name"].startswith("uploads/"))
        members[name] = members.pop(entry["name"])
        told["uploads"][0]["member"] = entry["name"] = name
        members[MANIFEST] = json.dumps(told).encode()

    return changed


HARM: dict[str, Callable[[dict[str, bytes]], object]] = {
    "another catalogue": lambda members: members.update({CATALOGUE: b"SQLite format 3\0"}),
    "no catalogue": lambda members: members.pop(CATALOGUE),
    "a file beside": lambda members: members.update({"letter.txt": b"hello"}),
    "no manifest": lambda members: members.pop(MANIFEST),
    "a manifest that is no JSON": lambda members: members.update({MANIFEST: b"{"}),
    "a manifest of something else": lambda members: members.update({MANIFEST: b"[1]"}),
    "another format": _manifest(lambda told: told.update(format="parecido backup 2")),
    "unknown words": _manifest(lambda told: told.update(more=1)),
    "another digest": _manifest(lambda told: told["members"][0].update(sha256="0" * 64)),  # type: ignore[index]
    "another size": _manifest(lambda told: told["members"][0].update(bytes=5)),  # type: ignore[index]
    "a size that is no number": _manifest(lambda told: told["members"][0].update(bytes="5")),  # type: ignore[index]
    "a path that is no text": _manifest(lambda told: told["uploads"][0].update(path=7)),  # type: ignore[index]
    "a member that is no text": _manifest(lambda told: told["uploads"][0].update(member=7)),  # type: ignore[index]
    "a missing one that is no path": _manifest(lambda told: told.update(missing=["xyz"])),
    "members that are no list": _manifest(lambda told: told.update(members=7)),
    "other counts": _manifest(lambda told: told.update(pictures=7)),
    "a path out of the folder": _named("uploads/ab/../../../../out.png"),
    "an absolute path": _named("/tmp/out.png"),
    "a hidden name": _named("uploads/ab/.profile"),
    "a name with a backslash": _named("uploads/ab/..\\out.png"),
    "a stream of Windows": _named("uploads/ab/a.png:b"),
    "the lock": _named("lock"),
    "a folder too deep": _named("uploads/ab/cd/a.png"),
    "a name of a control character": _named("uploads/ab/a\x1b.png"),
}


@pytest.fixture
def kept(indexed: Library, tmp_path: Path) -> Path:
    """A backup with an upload."""
    add_uploads(indexed, 1)
    backup(indexed, tmp_path / "backup.zip")
    return tmp_path / "backup.zip"


@pytest.mark.parametrize("name", HARM)
def test_a_backup_that_is_not_as_it_was_made_is_refused_and_leaves_nothing(
    kept: Path, tmp_path: Path, name: str
) -> None:
    _rewrite(kept, HARM[name])
    there = sorted(map(str, tmp_path.rglob("*")))
    with pytest.raises((LibraryDamaged, InvalidRequest)):
        restore(kept, tmp_path / "new")
    assert sorted(map(str, tmp_path.rglob("*"))) == there


def test_a_backup_cut_short_anywhere_is_refused(kept: Path, tmp_path: Path) -> None:
    data = kept.read_bytes()
    kept.unlink()
    for length in (0, 1, 100, len(data) // 2, len(data) - 200, len(data) - 22, len(data) - 1):
        kept.write_bytes(data[:length])
        with pytest.raises((LibraryDamaged, InvalidRequest)):
            restore(kept, tmp_path / "new")
        assert not (tmp_path / "new").exists()


def test_bits_flipped_anywhere_are_noticed_or_do_no_harm(kept: Path, tmp_path: Path) -> None:
    data = kept.read_bytes()
    whole = None
    for position in (*range(0, len(data), len(data) // 60), *range(len(data) - 600, len(data), 13)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        kept.write_bytes(flipped)
        try:
            restore(kept, tmp_path / "new")
        except (LibraryDamaged, InvalidRequest, LibraryTooNew):
            assert not (tmp_path / "new").exists()
            continue
        found = check_sound(tmp_path / "new")
        assert whole is None or found.keys() == whole.keys()
        whole = found
        shutil.rmtree(tmp_path / "new")


def test_compressed_doubled_and_overlapping_members_are_refused(kept: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(kept) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    doubled = tmp_path / "doubled.zip"
    with zipfile.ZipFile(doubled, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr(CATALOGUE, members[CATALOGUE])
    for path in (bomb, doubled):
        with pytest.raises(LibraryDamaged, match="table of contents"):
            restore(path, tmp_path / "new")


def test_a_backup_of_a_newer_program_is_told_apart(kept: Path, tmp_path: Path) -> None:
    _rewrite(kept, _manifest(lambda told: told.update(schema="9999")))
    with pytest.raises(LibraryTooNew, match="9999"):
        restore(kept, tmp_path / "new")


def test_a_file_that_is_no_backup_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "letter.zip").write_text("dear")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("letter.txt", "dear")
    for name in ("letter.zip", "other.zip"):
        with pytest.raises(InvalidRequest, match="no backup"):
            restore(tmp_path / name, tmp_path / "new")
    with pytest.raises(PathNotFound):
        restore(tmp_path / "none.zip", tmp_path / "new")
    with pytest.raises(PathNotFound):
        restore(tmp_path, tmp_path / "new")


def test_a_manifest_is_read_as_it_was_written(kept: Path) -> None:
    with zipfile.ZipFile(kept) as archive:
        text = archive.read(MANIFEST)
    assert Manifest.from_json(text).to_json() == text


# -- at the shell ----------------------------------------------------------------------------------


def test_the_commands_make_a_backup_and_a_library(tmp_path: Path) -> None:
    save_pictures(tmp_path / "pictures", 5)
    library = ("--library", tmp_path / "library")
    assert run_parecido("index", tmp_path / "pictures", *library).returncode == 0
    made = run_parecido("backup", tmp_path / "a.zip", *library)
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout.startswith(f"5 pictures and 0 uploaded files in {tmp_path / 'a.zip'}")
    assert_one_line(run_parecido("backup", tmp_path / "a.zip", *library), "already")
    told = json.loads(run_parecido("backup", tmp_path / "b.zip", *library, "--json").stdout)
    assert (told["pictures"], told["uploads"], told["missing"]) == (5, 0, [])
    assert told["bytes"] == (tmp_path / "b.zip").stat().st_size
    done = run_parecido("restore", tmp_path / "a.zip", tmp_path / "new")
    assert (done.returncode, done.stderr) == (0, "")
    done = run_parecido("restore", tmp_path / "b.zip", tmp_path / "other", "--json")
    assert json.loads(done.stdout)["pictures"] == 5
    assert_one_line(run_parecido("restore", tmp_path / "b.zip", tmp_path / "other"), "stays")
    assert answers(tmp_path / "new") == answers(tmp_path / "library")
