"""Indexing: what is added, changed, moved, gone; and what is left alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from parecido import IndexOptions, IndexReport, Library, Limits, index, remove, verify
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.errors import EncoderMismatch, InvalidRequest, PathNotFound, PictureUnreadable
from parecido.indexer.indexing.prepare import Prepared
from parecido.indexer.indexing.workers import Flow
from parecido.indexer.pictures import read
from tests.support.fakes import fake_encoder, quadrants, save_picture, save_pictures


def paths_of(library: Library) -> dict[str, int]:
    """Path and id of every picture."""
    return {os.fsdecode(path): i for i, path in library.catalogue.under(b"/")}


def encoded(encoder: Encoder) -> int:
    """How many pictures went through the fake network so far."""
    return encoder._runtime.pictures  # type: ignore[attr-defined, no-any-return]


def check(library: Library) -> None:
    """The invariants that hold after every run."""
    assert verify(library) == []
    pictures, _ = library.catalogue.counts()
    assert pictures == len(library.catalogue.descriptors.ids())
    if library.encoder:
        assert library.vectors().count == pictures


def test_every_picture_gets_the_descriptor_of_its_own_pixels(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    files = save_pictures(tmp_path / "p", 9)
    report = index(library, [tmp_path / "p"], encoder=encoder)
    assert (report.added, report.encoded, report.skipped) == (9, 9, [])
    from parecido.indexer.pictures.decode import Limits
    from parecido.indexer.pictures.read import decode_file

    for path, picture_id in paths_of(library).items():
        pixels = decode_file(Path(path), encoder.spec, Limits()).pixels
        stored = library.catalogue.descriptors.of([picture_id])[1][0]
        assert stored == pytest.approx(quadrants(pixels[None])[0], abs=1e-3)
    assert set(paths_of(library)) == set(map(str, files))
    check(library)


def test_a_second_run_encodes_nothing_and_writes_nothing(
    library: Library, tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_pictures(tmp_path / "p", 5)
    (tmp_path / "p" / "notes.txt").write_text("no picture")
    index(library, [tmp_path / "p"], encoder=encoder)
    before = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in library.folder.rglob("*.*")}

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("an unchanged file was read")

    monkeypatch.setattr("parecido.indexer.indexing.workers.prepare", forbidden)
    second = index(library, [tmp_path / "p"], encoder=encoder)
    assert (second.added, second.unchanged, second.encoded, len(second.skipped)) == (0, 5, 0, 1)
    after = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in library.folder.rglob("*.*")}
    # SQLite touches its shared-memory file when a reader comes; nothing else may change
    for path, was in before.items():
        if not path.name.endswith(("-shm", "-wal")):
            assert after[path] == was


def test_a_changed_picture_keeps_its_id_and_gets_a_new_descriptor(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    first, *_ = save_pictures(tmp_path / "p", 3)
    index(library, [tmp_path / "p"], encoder=encoder)
    before = paths_of(library)
    old = library.catalogue.descriptors.of([before[str(first)]])[1][0]
    save_picture(first, seed=99)
    report = index(library, [tmp_path / "p"], encoder=encoder)
    assert (report.updated, report.unchanged, report.added) == (1, 2, 0)
    assert paths_of(library) == before
    new = library.catalogue.descriptors.of([before[str(first)]])[1][0]
    assert not np.allclose(old, new, atol=1e-3)
    check(library)


def test_a_touched_file_is_not_encoded_again(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    first, *_ = save_pictures(tmp_path / "p", 3)
    index(library, [tmp_path / "p"], encoder=encoder)
    os.utime(first, ns=(1, 1))
    report = index(library, [tmp_path / "p"], encoder=encoder)
    assert (report.unchanged, report.updated, encoded(encoder)) == (3, 0, 3)
    again = index(library, [tmp_path / "p"], encoder=encoder)
    assert again.unchanged == 3
    check(library)


def test_a_moved_file_keeps_its_id_and_is_not_encoded_again(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    first, *_ = save_pictures(tmp_path / "p", 3)
    index(library, [tmp_path / "p"], encoder=encoder)
    before = paths_of(library)
    target = tmp_path / "p" / "below" / "renamed.png"
    target.parent.mkdir()
    first.rename(target)
    report = index(library, [tmp_path / "p"], encoder=encoder)
    assert (report.moved, report.added, report.removed, encoded(encoder)) == (1, 0, 0, 3)
    assert paths_of(library)[str(target)] == before[str(first)]
    assert str(first) not in paths_of(library)
    check(library)


def test_a_whole_folder_renamed_keeps_every_id(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    save_pictures(tmp_path / "p" / "old", 12)
    index(library, [tmp_path / "p"], encoder=encoder)
    before = {Path(p).name: i for p, i in paths_of(library).items()}
    (tmp_path / "p" / "old").rename(tmp_path / "p" / "new")
    report = index(library, [tmp_path / "p"], encoder=encoder)
    assert (report.moved, report.added, report.removed, encoded(encoder)) == (12, 0, 0, 12)
    assert {Path(p).name: i for p, i in paths_of(library).items()} == before
    check(library)


@pytest.mark.parametrize("later", [False, True])
def test_identical_bytes_are_two_pictures_encoded_once(
    later: bool, library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    first = save_picture(tmp_path / "p" / "a.png", 1)
    if later:
        index(library, [tmp_path / "p"], encoder=encoder)
    for name in ("b.png", "c.png"):
        shutil.copyfile(first, tmp_path / "p" / name)
    index(library, [tmp_path / "p"], encoder=encoder)
    assert len(paths_of(library)) == 3
    assert encoded(encoder) == 1
    check(library)


def test_a_copy_that_becomes_different_does_not_change_its_twin(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    first = save_picture(tmp_path / "p" / "a.png", 1)
    twin = tmp_path / "p" / "b.png"
    shutil.copyfile(first, twin)
    index(library, [tmp_path / "p"], encoder=encoder)
    ids = paths_of(library)
    kept = library.catalogue.descriptors.of([ids[str(first)]])[1][0]
    save_picture(twin, 2)
    index(library, [tmp_path / "p"], encoder=encoder)
    assert np.array_equal(library.catalogue.descriptors.of([ids[str(first)]])[1][0], kept)
    assert not np.allclose(
        library.catalogue.descriptors.of([ids[str(twin)]])[1][0], kept, atol=1e-3
    )


def test_two_files_that_swap_names_keep_their_own_descriptors(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    a, b = save_picture(tmp_path / "p" / "a.png", 1), save_picture(tmp_path / "p" / "b.png", 2)
    index(library, [tmp_path / "p"], encoder=encoder)
    ids = paths_of(library)
    before = {p: library.catalogue.descriptors.of([i])[1][0] for p, i in ids.items()}
    a.rename(tmp_path / "x")
    b.rename(a)
    (tmp_path / "x").rename(b)
    os.utime(a, ns=(5, 5))
    os.utime(b, ns=(6, 6))
    index(library, [tmp_path / "p"], encoder=encoder)
    after = {p: library.catalogue.descriptors.of([i])[1][0] for p, i in paths_of(library).items()}
    assert np.allclose(after[str(a)], before[str(b)], atol=1e-3)
    assert np.allclose(after[str(b)], before[str(a)], atol=1e-3)
    check(library)


def test_pictures_that_are_gone_leave_the_library(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    first, *_ = save_pictures(tmp_path / "p", 4)
    index(library, [tmp_path / "p"], encoder=encoder)
    first.unlink()
    report = index(library, [tmp_path / "p"], encoder=encoder)
    assert (report.removed, report.unchanged) == (1, 3)
    assert str(first) not in paths_of(library)
    check(library)


def test_a_run_over_one_folder_removes_nothing_of_another(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    save_pictures(tmp_path / "one", 2)
    (gone, *_) = save_pictures(tmp_path / "one-more", 2, first=10)
    index(library, [tmp_path / "one", tmp_path / "one-more"], encoder=encoder)
    gone.unlink()
    assert index(library, [tmp_path / "one"], encoder=encoder).removed == 0
    assert index(library, [tmp_path / "one-more"], encoder=encoder).removed == 1


def test_a_missing_root_removes_nothing_and_is_told(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    save_pictures(tmp_path / "disk", 3)
    save_pictures(tmp_path / "here", 2, first=10)
    roots = [tmp_path / "disk", tmp_path / "here"]
    index(library, roots, encoder=encoder)
    (tmp_path / "disk").rename(tmp_path / "unplugged")
    report = index(library, roots, encoder=encoder)
    assert report.missing_roots == [str(tmp_path / "disk")]
    assert (report.removed, report.unchanged) == (0, 2)
    assert len(paths_of(library)) == 5


def test_an_empty_mount_point_removes_nothing_and_an_emptied_folder_everything(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    files = save_pictures(tmp_path / "disk", 3)
    index(library, [tmp_path / "disk"], encoder=encoder)
    (tmp_path / "disk").rename(tmp_path / "unplugged")
    (tmp_path / "disk").mkdir()  # another folder by the same name, as below a mount
    report = index(library, [tmp_path / "disk"], encoder=encoder)
    assert (report.removed, report.missing_roots) == (0, [str(tmp_path / "disk")])

    (tmp_path / "disk").rmdir()
    (tmp_path / "unplugged").rename(tmp_path / "disk")
    for file in files:
        file.unlink()
    assert index(library, [tmp_path / "disk"], encoder=encoder).removed == 3
    check(library)


def test_a_copy_on_another_disk_does_not_steal_the_record_of_an_unplugged_one(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    (original, *_) = save_pictures(tmp_path / "disk", 1)
    index(library, [tmp_path / "disk"], encoder=encoder)
    save_pictures(tmp_path / "copy", 1)
    (tmp_path / "disk").rename(tmp_path / "unplugged")
    report = index(library, [tmp_path / "copy"], encoder=encoder)
    assert (report.added, report.moved) == (1, 0)
    assert str(original) in paths_of(library)


def test_a_folder_that_cannot_be_listed_keeps_its_pictures(
    library: Library, tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_pictures(tmp_path / "p" / "locked", 2)
    save_pictures(tmp_path / "p", 1, first=9)
    index(library, [tmp_path / "p"], encoder=encoder)
    scandir = os.scandir

    def refuse(path: str | bytes | os.PathLike[str]) -> object:
        if os.fsencode(path).endswith(b"locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("parecido.indexer.pictures.walking.walk.os.scandir", refuse)
    report = index(library, [tmp_path / "p"], encoder=encoder)
    assert report.removed == 0
    assert [skip.kind for skip in report.skipped] == ["unreadable"]
    assert len(paths_of(library)) == 3


def test_one_bad_file_is_told_and_changes_nothing_for_its_neighbours(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    first, second, third = save_pictures(tmp_path / "p", 3)
    second.write_bytes(second.read_bytes()[:60])
    report = index(library, [tmp_path / "p"], encoder=encoder)
    assert report.added == 2
    assert [(skip.path, skip.kind) for skip in report.skipped] == [(str(second), "damaged")]
    assert set(paths_of(library)) == {str(first), str(third)}


def test_a_skipped_file_is_tried_again_only_when_it_changes(
    library: Library, tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = tmp_path / "p" / "bad.png"
    save_picture(tmp_path / "p" / "good.png", 1)
    bad.write_bytes(b"\x89PNG nonsense")
    index(library, [tmp_path / "p"], encoder=encoder)
    tried = []
    from parecido.indexer.indexing.prepare import prepare

    def watched(entry, *rest):  # type: ignore[no-untyped-def]
        tried.append(entry.path)
        return prepare(entry, *rest)

    monkeypatch.setattr("parecido.indexer.indexing.workers.prepare", watched)
    report = index(library, [tmp_path / "p"], encoder=encoder)
    assert tried == []
    assert [skip.path for skip in report.skipped] == [str(bad)]
    save_picture(bad, 2)
    report = index(library, [tmp_path / "p"], encoder=encoder)
    assert tried == [os.fsencode(bad)]
    assert (report.added, report.skipped) == (1, [])
    assert library.catalogue.counts() == (2, 0)


def test_a_picture_above_the_limit_is_taken_when_the_limit_is_raised(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    save_picture(tmp_path / "p" / "large.png", 1, size=(300, 200))
    small = IndexOptions(limits=Limits(pixels=50_000))
    for _ in range(2):
        report = index(library, [tmp_path / "p"], small, encoder=encoder)
        assert [skip.kind for skip in report.skipped] == ["too-large"]
    assert library.catalogue.counts() == (0, 1)
    assert index(library, [tmp_path / "p"], encoder=encoder).added == 1
    assert library.catalogue.counts() == (1, 0)


def test_a_file_without_permission_is_tried_again_and_writes_nothing_meanwhile(
    library: Library, tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = save_pictures(tmp_path / "p", 2)
    probe = read.probe

    def refuse(path: Path, limits: Limits, inside: Sequence[str]) -> bytes:
        if path == second:
            raise PictureUnreadable("the file cannot be read (Permission denied)", "unreadable")
        return probe(path, limits, inside)

    monkeypatch.setattr("parecido.indexer.pictures.decoding.decoder.probe", refuse)
    here = IndexOptions(isolate=False)
    index(library, [tmp_path / "p"], here, encoder=encoder)
    written = (library.folder / "catalogue.sqlite").stat().st_mtime_ns
    assert len(index(library, [tmp_path / "p"], here, encoder=encoder).skipped) == 1
    assert (library.folder / "catalogue.sqlite").stat().st_mtime_ns == written
    monkeypatch.undo()
    assert index(library, [tmp_path / "p"], encoder=encoder).added == 1
    assert set(paths_of(library)) == {str(first), str(second)}


def test_a_picture_that_becomes_unreadable_leaves_the_library_and_comes_back(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    first, _ = save_pictures(tmp_path / "p", 2)
    index(library, [tmp_path / "p"], encoder=encoder)
    good = first.read_bytes()
    first.write_bytes(b"")
    report = index(library, [tmp_path / "p"], encoder=encoder)
    assert [skip.kind for skip in report.skipped] == ["empty"]
    assert library.catalogue.counts() == (1, 1)
    check(library)
    first.write_bytes(good)
    assert index(library, [tmp_path / "p"], encoder=encoder).added == 1
    assert library.catalogue.counts() == (2, 0)
    check(library)


def test_what_is_excluded_is_not_in_the_library(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    save_pictures(tmp_path / "p" / "raw", 2)
    kept = save_picture(tmp_path / "p" / "kept.png", 9)
    index(library, [tmp_path / "p"], encoder=encoder)
    options = IndexOptions(exclude=("raw/",))
    assert index(library, [tmp_path / "p"], options, encoder=encoder).removed == 2
    assert set(paths_of(library)) == {str(kept)}


def test_a_file_given_beside_its_own_folder_is_one_picture(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    first, _ = save_pictures(tmp_path / "p", 2)
    report = index(library, [first, tmp_path / "p", first], encoder=encoder)
    assert (report.added, len(paths_of(library))) == (2, 2)


def test_names_that_are_no_text_are_indexed_and_found_again(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    folder = os.fsencode(tmp_path / "p")
    names = [b"\xff\xfe.png", "🐈 e\u0301.png".encode(), b"new\nline.png", b"-rf *.png", b"'\".png"]
    for seed, name in enumerate(names):
        file = save_picture(tmp_path / "p" / "x.png", seed)
        os.rename(file, folder + b"/" + name)
    assert index(library, [tmp_path / "p"], encoder=encoder).added == len(names)
    assert {os.path.basename(os.fsencode(p)) for p in paths_of(library)} == set(names)
    assert index(library, [tmp_path / "p"], encoder=encoder).unchanged == len(names)
    assert remove(library, [folder + b"/" + names[0]]) == 1  # type: ignore[list-item]


def test_an_indexed_library_inside_a_root_is_left_out(tmp_path: Path, encoder: Encoder) -> None:
    save_pictures(tmp_path / "p", 2)
    with Library.create(tmp_path / "p" / "library") as library:
        save_picture(library.folder / "planted.png", 7)
        assert index(library, [tmp_path / "p"], encoder=encoder).added == 2


def test_no_picture_is_ever_written_to(library: Library, tmp_path: Path, encoder: Encoder) -> None:
    files = save_pictures(tmp_path / "p", 6)
    before = [(f.read_bytes(), f.stat().st_mtime_ns, f.stat().st_ino) for f in files]
    index(library, [tmp_path / "p"], encoder=encoder)
    remove(library, [tmp_path / "p"])
    assert [(f.read_bytes(), f.stat().st_mtime_ns, f.stat().st_ino) for f in files] == before


def test_another_encoder_is_refused_by_name_and_mixes_nothing(
    indexed: Library, tmp_path: Path
) -> None:
    other = fake_encoder(pooling="max")
    save_picture(tmp_path / "pictures" / "new.png", 77)
    with pytest.raises(EncoderMismatch, match=r"fake · avg.*fake · max"):
        index(indexed, [tmp_path / "pictures"], encoder=other)
    with pytest.raises(EncoderMismatch, match=r"fake · avg.*resnet50"):
        index(indexed, [tmp_path / "pictures"], IndexOptions(model="resnet50"))
    assert indexed.catalogue.counts()[0] == 20


def test_a_library_without_pictures_takes_any_encoder(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    save_pictures(tmp_path / "p", 2)
    index(library, [tmp_path / "p"], encoder=encoder)
    remove(library, [tmp_path / "p"])
    other = fake_encoder(pooling="max")
    assert index(library, [tmp_path / "p"], encoder=other).added == 2
    assert library.encoder == other.spec


def test_a_path_that_is_not_there_changes_nothing(
    indexed: Library, tmp_path: Path, encoder: Encoder
) -> None:
    with pytest.raises(PathNotFound, match="nowhere"):
        index(indexed, [tmp_path / "pictures", tmp_path / "nowhere"], encoder=encoder)
    with pytest.raises(PathNotFound, match="nowhere"):
        remove(indexed, [tmp_path / "nowhere"])
    with pytest.raises(InvalidRequest, match="No path"):
        index(indexed, [], encoder=encoder)
    assert indexed.catalogue.counts()[0] == 20


def test_one_path_needs_no_list_and_an_empty_one_is_refused(
    library: Library, tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_pictures(tmp_path / "p", 3)
    (tmp_path / "p" / "x.gif").write_bytes(b"GIF89a")
    options = IndexOptions(exclude="*.gif")
    report = index(library, str(tmp_path / "p"), options, encoder=encoder)
    assert (report.added, report.skipped) == (3, [])
    monkeypatch.chdir(tmp_path)
    for bad in ("", "a\0b"):
        with pytest.raises(InvalidRequest, match="empty or holds a NUL"):
            index(library, [bad], encoder=encoder)
        with pytest.raises(InvalidRequest, match="empty or holds a NUL"):
            remove(library, [bad])
    assert remove(library, tmp_path / "p" / "0000.png") == 1


def test_copies_that_wait_for_their_twin_hold_no_pixels(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = save_picture(tmp_path / "p" / "0.png", 1)
    for number in range(1, 30):
        shutil.copyfile(first, tmp_path / "p" / f"{number}.png")
    monkeypatch.setattr("parecido.indexer.indexing.run.COMMIT_SECONDS", 1e9)
    held = []
    encode = Flow._encode

    def watched(flow: Flow, batch: list[Prepared]) -> list[Prepared]:
        held.extend(copy.decoded for copy in flow._claims[batch[0].content_hash].copies)
        return encode(flow, batch)

    monkeypatch.setattr(Flow, "_encode", watched)
    encoder = fake_encoder(batch_size=100)
    assert index(library, [tmp_path / "p"], encoder=encoder).added == 30
    assert held == [None] * 29
    assert encoded(encoder) == 1


def test_an_empty_folder_is_told(library: Library, tmp_path: Path, encoder: Encoder) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PathNotFound, match="no files"):
        index(library, [tmp_path / "empty"], encoder=encoder)


def test_a_stopped_run_keeps_what_was_ready_and_the_next_completes_it(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    files = save_pictures(tmp_path / "p", 150)
    seen = 0

    def count(report: IndexReport) -> None:
        nonlocal seen
        seen = report.added

    report = index(
        library, [tmp_path / "p"], encoder=encoder, progress=count, stop=lambda: seen >= 12
    )
    assert report.interrupted
    assert 12 <= report.added < 150
    assert len(paths_of(library)) == report.added
    check(library)
    rest = index(library, [tmp_path / "p"], encoder=encoder)
    assert rest.added + report.added == 150
    assert encoded(encoder) == 150
    assert set(paths_of(library)) == set(map(str, files))


def test_every_file_of_a_run_is_counted_in_exactly_one_group(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    files = save_pictures(tmp_path / "p", 8)
    index(library, [tmp_path / "p"], encoder=encoder)
    files[0].unlink()
    files[1].rename(tmp_path / "p" / "moved.png")
    save_picture(files[2], 50)
    os.utime(files[3], ns=(1, 1))
    files[4].write_bytes(b"junk")
    save_pictures(tmp_path / "p", 2, first=60)
    report = index(library, [tmp_path / "p"], encoder=encoder)
    groups = (report.added, report.updated, report.moved, report.unchanged, len(report.skipped))
    assert groups == (2, 1, 1, 4, 1)
    assert sum(groups) == len(list((tmp_path / "p").iterdir()))
    assert report.removed == 1
    check(library)


def test_removed_pictures_come_back_only_when_indexed_again(
    indexed: Library, tmp_path: Path, encoder: Encoder
) -> None:
    folder = tmp_path / "pictures"
    assert remove(indexed, [folder / "0003.png", folder / "0004.png"]) == 2
    assert indexed.catalogue.counts()[0] == 18
    check(indexed)
    assert index(indexed, [folder], encoder=encoder).added == 2
    assert remove(indexed, [folder]) == 20
    assert indexed.catalogue.roots() == []
    check(indexed)


def test_ids_are_never_given_twice(indexed: Library, tmp_path: Path, encoder: Encoder) -> None:
    folder = tmp_path / "pictures"
    largest = max(paths_of(indexed).values())
    remove(indexed, [folder])
    index(indexed, [folder], encoder=encoder)
    assert min(paths_of(indexed).values()) > largest
