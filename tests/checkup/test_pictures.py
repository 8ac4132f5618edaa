"""``verify --pictures``: the files themselves are what was indexed, read a share at a time."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from click.testing import CliRunner

from parecido import IndexOptions, Library, PictureCheck, index, verify, verify_pictures
from parecido.indexer.catalogue.known import FileRow
from parecido.indexer.checkup import pictures as scrub
from parecido.indexer.checkup.scrub_place import Place, ScrubPlace
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.errors import InvalidRequest
from parecido.indexer.library.layout import SCRUB
from parecido.search.cli import cli
from tests.support.fakes import fake_encoder, save_picture, save_pictures
from tests.support.harness import CHILDREN


def flip_bit(path: Path) -> None:
    """Damage a file as a disk does: one bit, and nobody wrote."""
    before = os.stat(path)
    with path.open("r+b") as file:
        file.seek(before.st_size // 2)
        byte = file.read(1)[0]
        file.seek(before.st_size // 2)
        file.write(bytes([byte ^ 4]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture(autouse=True, scope="module")
def as_a_disk_does() -> Iterator[None]:
    """Damage here is written, which changes the change time; that of a disk does not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("parecido.indexer.pictures.walking.walk._KEEPS_CHANGE_TIME", False)
        yield


class Looks:
    """Which pictures' files were read, in order of the ids of each run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ids: list[int] = []
        real = scrub._look

        def look(row: FileRow, stop: Callable[[], bool]) -> Any:
            self.ids.append(row.id)
            return real(row, stop)

        monkeypatch.setattr(scrub, "_look", look)

    def take(self) -> list[int]:
        """Those since the last question, ascending: threads may begin in any order."""
        taken, self.ids = sorted(self.ids), []
        return taken


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    return Looks(monkeypatch)


@pytest.fixture
def kept_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """The place is written after each file."""
    monkeypatch.setattr(scrub, "KEEP_SECONDS", 0.0)


def place_of(library: Library) -> Place | None:
    return ScrubPlace(library.folder).read()


def names_in(folder: Path) -> list[str]:
    """What lies in a library, but for what SQLite makes of its own."""
    return sorted(name for name in os.listdir(folder) if not name.endswith(("-shm", "-wal")))


def counts(check: PictureCheck) -> tuple[int, int, int, int, int, int]:
    others = (check.changed, check.outdated, check.gone, check.unreadable)
    return (check.read, *(len(one) for one in others), check.away)  # type: ignore[return-value]


def ask(*arguments: str | Path) -> Any:
    return CliRunner().invoke(cli, [str(one) for one in arguments])


# -- what is found ---------------------------------------------------------------------------------


def test_a_flipped_bit_is_found_although_size_and_time_are_as_they_were(
    indexed: Library, tmp_path: Path
) -> None:
    damaged = tmp_path / "pictures" / "0007.png"
    assert counts(verify_pictures(indexed)) == (20, 0, 0, 0, 0, 0)
    flip_bit(damaged)
    assert verify(indexed) == []  # which reads no picture
    check = verify_pictures(indexed)
    assert (check.changed, check.is_sound, check.read) == ([str(damaged)], False, 20)
    assert (check.complete, check.interrupted, check.looked) == (True, False, 20)
    flip_bit(damaged)
    assert verify_pictures(indexed).is_sound


def test_every_bit_counts_also_at_both_ends_and_in_files_of_several_pieces(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    path = save_picture(tmp_path / "p" / "large.bmp", 3, (900, 900))
    index(library, [tmp_path / "p"], encoder=encoder)
    good, before = path.read_bytes(), os.stat(path)
    assert len(good) > 2 << 20
    assert verify_pictures(library).bytes == len(good)
    for place in (0, 1 << 20, (2 << 20) - 1, len(good) - 1):
        damaged = bytearray(good)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert verify_pictures(library).changed == [str(path)]


def test_a_changed_file_is_seen_again_after_a_rehash(
    indexed: Library, tmp_path: Path, encoder: Encoder
) -> None:
    pictures = save_pictures(tmp_path / "pictures", 2, suffix=".bmp", first=50)
    index(indexed, [tmp_path / "pictures"], encoder=encoder)
    before = os.stat(pictures[0])
    shutil.copyfile(pictures[1], pictures[0])
    os.utime(pictures[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert verify_pictures(indexed).changed == [str(pictures[0])]
    report = index(indexed, [pictures[0]], IndexOptions(rehash=True), encoder=encoder)
    assert (report.updated, report.unchanged) == (1, 0)
    assert verify_pictures(indexed).is_sound


def test_what_size_or_time_tell_is_no_damage_but_told(indexed: Library, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    os.utime(folder / "0001.png", ns=(9, 9))
    with (folder / "0002.png").open("ab") as file:
        file.write(b"more")
    (folder / "0003.png").unlink()
    (folder / "0004.png").unlink()
    (folder / "0004.png").mkdir()
    check = verify_pictures(indexed)
    assert check.is_sound
    # ids are given as pictures are ready, in no order of their names
    assert sorted(check.outdated) == [str(folder / "0001.png"), str(folder / "0002.png")]
    assert check.gone == [str(folder / "0003.png")]
    # a folder has taken a picture's place
    assert [one.path for one in check.unreadable] == [str(folder / "0004.png")]
    assert counts(check) == (16, 0, 2, 1, 1, 0)


@pytest.mark.parametrize(
    ("number", "is_sound"),
    [(errno.EACCES, True), (errno.EIO, False), (errno.ENOTCONN, True), (errno.EBADMSG, False)],
    ids=["no permission", "a failing disk", "a lost network", "a digest of the file system's"],
)
def test_a_file_that_cannot_be_read_is_told_and_is_damage_where_the_disk_fails(
    number: int, is_sound: bool, indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = scrub.open_file

    def refuse(path: str) -> BinaryIO:
        if path.endswith("0005.png"):
            raise OSError(number, os.strerror(number), path)
        return real(path)

    monkeypatch.setattr(scrub, "open_file", refuse)
    check = verify_pictures(indexed)
    assert counts(check) == (19, 0, 0, 0, 1, 0)
    assert os.strerror(number) in check.unreadable[0].reason
    assert check.is_sound is is_sound


@pytest.mark.parametrize("remains", [True, False], ids=["an empty mount point", "nothing"])
def test_pictures_of_an_unplugged_disk_are_away_and_not_damaged(
    remains: bool, indexed: Library, tmp_path: Path, encoder: Encoder, looks: Looks
) -> None:
    save_pictures(tmp_path / "disk", 5, first=70)
    index(indexed, [tmp_path / "disk"], encoder=encoder)
    (tmp_path / "disk").rename(tmp_path / "unplugged")
    if remains:
        (tmp_path / "disk").mkdir()
    check = verify_pictures(indexed)
    assert counts(check) == (20, 0, 0, 0, 0, 5)
    assert (check.is_sound, check.complete, check.looked) == (True, True, 25)
    assert len(looks.take()) == 20


def test_a_disk_that_is_unplugged_meanwhile_is_away_too(
    indexed: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, opened = scrub.open_file, []

    def unplug(path: str) -> BinaryIO:
        opened.append(path)
        if len(opened) == 8:
            (tmp_path / "pictures").rename(tmp_path / "unplugged")
        return real(path)

    monkeypatch.setattr(scrub, "open_file", unplug)
    check = verify_pictures(indexed)
    assert check.read + check.away == 20
    assert check.away >= 12
    assert check.is_sound


def test_a_file_that_is_written_while_it_is_read_is_no_damage(
    indexed: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = scrub.read_from_disk
    busy = tmp_path / "pictures" / "0009.png"

    def write_meanwhile(file: BinaryIO) -> Iterator[bytes]:
        if file.name == str(busy):
            busy.write_bytes(b"other".ljust(busy.stat().st_size))
        yield from real(file)

    monkeypatch.setattr(scrub, "read_from_disk", write_meanwhile)
    check = verify_pictures(indexed)
    assert (check.changed, check.outdated) == ([], [str(busy)])


def test_what_a_writer_commits_meanwhile_is_what_files_are_compared_with(
    indexed: Library, tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pictures"
    rows = Library.open(indexed.folder)
    real, asked = rows.catalogue.files_after, []

    def write_after(last_id: int, limit: int) -> list[FileRow]:
        found = real(last_id, limit)
        if not asked:
            asked.append(last_id)
            save_picture(folder / "0004.png", 400)
            (folder / "0005.png").rename(folder / "moved.png")
            (folder / "0006.png").unlink()
            index(indexed, [folder], encoder=encoder)
        return found

    monkeypatch.setattr(rows.catalogue, "files_after", write_after)
    with rows:
        check = verify_pictures(rows)
    assert counts(check) == (19, 0, 0, 0, 0, 0)
    assert (check.looked, check.complete) == (20, True)


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system takes no such wishes")
@pytest.mark.parametrize("takes_it", [True, False])
def test_the_disk_is_asked_and_not_the_memory_of_it_where_that_can_be_wished(
    takes_it: bool, indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, wishes = os.posix_fadvise, []

    def wish(descriptor: int, start: int, length: int, advice: int) -> None:
        wishes.append((start, length, advice))
        if not takes_it:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        real(descriptor, start, length, advice)

    monkeypatch.setattr(os, "posix_fadvise", wish)
    assert counts(verify_pictures(indexed)) == (20, 0, 0, 0, 0, 0)
    # before each file is read and behind
    assert wishes == [(0, 0, os.POSIX_FADV_DONTNEED)] * 40


def test_no_picture_is_ever_written_to(indexed: Library, tmp_path: Path) -> None:
    def states() -> dict[str, tuple[bytes, int, int]]:
        files = sorted((tmp_path / "pictures").iterdir())
        stats = [path.stat() for path in files]
        return {
            path.name: (path.read_bytes(), status.st_mtime_ns, status.st_ctime_ns)
            for path, status in zip(files, stats, strict=True)
        }

    before, files = states(), names_in(indexed.folder)
    verify_pictures(indexed, 30)
    verify_pictures(indexed)
    assert states() == before
    assert names_in(indexed.folder) == files


# -- shares ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "sizes"),
    [
        (10, [2] * 10),
        (30, [6, 6, 6, 2]),
        (12.5, [3, 3, 3, 3, 3, 3, 2]),
        (0.001, [1] * 20),
        (100, [20]),
    ],
)
def test_shares_together_read_every_picture_once_and_then_begin_anew(
    share: float, sizes: list[int], indexed: Library, looks: Looks
) -> None:
    for _ in range(2):
        seen: list[int] = []
        for number, size in enumerate(sizes, 1):
            check = verify_pictures(indexed, share)
            ids = looks.take()
            assert (len(ids), check.wanted, check.read) == (size, size, size)
            assert (check.first_id, check.last_id) == (ids[0], ids[-1])
            assert check.complete is (number == len(sizes))
            assert check.resumed is (number > 1)
            seen += ids
        assert seen == indexed.catalogue.descriptors.ids().tolist()
        assert place_of(indexed) is None


def test_ten_shares_read_all_that_were_there_although_others_come_and_go(
    indexed: Library, tmp_path: Path, encoder: Encoder, looks: Looks
) -> None:
    there = set(indexed.catalogue.descriptors.ids().tolist())
    seen: set[int] = set()
    for number in range(10):
        verify_pictures(indexed, 10)
        seen |= set(looks.take())
        if number == 3:  # half of what was read leaves
            for one in indexed.catalogue.pictures([1, 2, 3, 4]):
                Path(one.path).unlink()
        if number == 5:
            save_pictures(tmp_path / "pictures", 7, first=200)
        index(indexed, [tmp_path / "pictures"], encoder=encoder)
    assert seen >= there


def test_a_check_of_everything_reads_everything_whatever_shares_were_read(
    indexed: Library, looks: Looks
) -> None:
    verify_pictures(indexed, 35)
    looks.take()
    check = verify_pictures(indexed)
    assert (len(looks.take()), check.resumed, check.complete) == (20, False, True)
    assert verify_pictures(indexed, 35).first_id == 1


@pytest.mark.parametrize("share", [0, -1, 100.5, float("nan"), float("inf")])
def test_a_share_that_is_none_is_refused(share: float, indexed: Library) -> None:
    with pytest.raises(InvalidRequest, match="share above 0"):
        verify_pictures(indexed, share)


def test_an_empty_library_has_nothing_to_read(library: Library) -> None:
    check = verify_pictures(library, 10)
    assert (check.total, check.read, check.complete, check.is_sound) == (0, 0, True, True)
    assert not (library.folder / SCRUB).exists()


# -- interruptions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [100, 50])
def test_a_check_that_is_interrupted_is_gone_on_with(
    share: float, indexed: Library, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrub, "_AHEAD", 1)
    shown: list[int] = []
    first = verify_pictures(
        indexed,
        share,
        progress=lambda check: shown.append(check.looked),
        stop=lambda: shown[-1:] == [6],
    )
    assert (first.interrupted, first.complete, first.looked) == (True, False, 6)
    looks.take()
    second = verify_pictures(indexed, share)
    assert (second.first_id, second.resumed) == (7, True)
    assert second.last_id == (20 if share == 100 else 16)
    assert second.complete is (share == 100)


def test_a_share_goes_on_where_a_check_of_everything_was_interrupted(
    indexed: Library, looks: Looks
) -> None:
    ScrubPlace(indexed.folder).keep(Place(11, 100.0, 20))
    assert (verify_pictures(indexed, 25).first_id, looks.take()) == (12, [12, 13, 14, 15, 16])
    assert place_of(indexed) == Place(16, 25, 20)


def test_a_large_file_is_not_read_to_its_end_when_a_check_is_to_stop(
    library: Library, tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_picture(tmp_path / "p" / "large.bmp", 3, (1500, 1500))
    index(library, [tmp_path / "p"], encoder=encoder)
    pieces: list[int] = []
    real = scrub.read_from_disk

    def count(file: BinaryIO) -> Iterator[bytes]:
        for piece in real(file):
            pieces.append(len(piece))
            yield piece

    monkeypatch.setattr(scrub, "read_from_disk", count)
    check = verify_pictures(library, stop=lambda: len(pieces) == 2)
    assert (check.interrupted, check.read, check.complete) == (True, 0, False)
    assert len(pieces) == 2


def scrub_until_killed(library: Path, after: int, share: float) -> None:
    """Keep each place, and die with so many kept."""
    scrub.KEEP_SECONDS = 0.0
    real = ScrubPlace.keep
    kept: list[Place] = []

    def keep(place: ScrubPlace, where: Place) -> None:
        real(place, where)
        kept.append(where)
        if len(kept) == after:
            os.kill(os.getpid(), signal.SIGKILL)

    ScrubPlace.keep = keep  # type: ignore[method-assign]
    with Library.open(library) as opened:
        verify_pictures(opened, share)


def die_while_keeping(library: Path, call: str, strike: int) -> None:
    """Die before the n-th call with which a place is written."""
    scrub.KEEP_SECONDS = 0.0
    real, calls = getattr(os, call), []

    def fatal(*given: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == strike:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*given, **named)

    setattr(os, call, fatal)
    with Library.open(library) as opened:
        verify_pictures(opened)


def run_child(work: Callable[..., None], *given: object) -> int | None:
    child = CHILDREN.Process(target=work, args=given)
    child.start()
    child.join()
    return child.exitcode


needs_sigkill = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")


@needs_sigkill
@pytest.mark.parametrize("share", [100.0, 60.0])
def test_a_check_that_is_killed_is_gone_on_with_where_it_was(
    share: float, indexed: Library, looks: Looks
) -> None:
    assert run_child(scrub_until_killed, indexed.folder, 5, share) == -signal.SIGKILL
    assert place_of(indexed) == Place(5, share, 20)
    assert run_child(scrub_until_killed, indexed.folder, 4, share) == -signal.SIGKILL
    assert place_of(indexed) == Place(9, share, 20)
    check = verify_pictures(indexed, share)
    assert looks.take() == list(range(10, 21))
    assert (check.complete, check.is_sound) == (True, True)


@needs_sigkill
@pytest.mark.parametrize("call", ["open", "fsync", "replace", "unlink"])
def test_a_kill_while_the_place_is_written_leaves_this_place_or_the_last(
    call: str, indexed: Library, looks: Looks
) -> None:
    files = names_in(indexed.folder)
    # of os.open the first calls are others'
    strike = 60 if call == "open" else 7
    assert run_child(die_while_keeping, indexed.folder, call, strike) == -signal.SIGKILL
    place = place_of(indexed)
    last = place.last_id if place is not None else 0
    assert last < 20
    verify_pictures(indexed)
    assert looks.take() == list(range(last + 1, 21))
    assert names_in(indexed.folder) == files  # nothing half written stays


# -- where the place cannot be kept ----------------------------------------------------------------


@pytest.fixture
def mounted(indexed: Library, tmp_path: Path) -> Iterator[Path]:
    """The library where it cannot be written."""
    verify_pictures(indexed, 10)
    place = tmp_path / "mounted"
    place.mkdir()
    words = (["--bind", str(indexed.folder), str(place)], ["-o", "remount,ro,bind", str(place)])
    try:
        for one in words:
            subprocess.run(["mount", *one], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"mounting is not allowed here ({error})")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_library_that_cannot_be_written_is_checked_from_the_beginning_each_time(
    mounted: Path, looks: Looks
) -> None:
    before = sorted(os.listdir(mounted))
    assert SCRUB in before
    with Library.open(mounted) as library:
        for _ in range(2):
            check = verify_pictures(library, 10)
            assert (looks.take(), check.is_sound, check.complete) == ([1, 2], True, False)
            assert "cannot be written" in check.not_kept
        assert verify_pictures(library).not_kept == ""  # everything was read: nothing is missed
    done = ask("verify", "--pictures", "--share", "10%", "--library", mounted)
    assert done.exit_code == 0
    assert "the next run begins with the first picture" in done.stdout
    assert sorted(os.listdir(mounted)) == before


def test_a_full_disk_ends_no_check(indexed: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    check = verify_pictures(indexed, 50)
    assert (check.read, check.is_sound) == (10, True)
    assert "is full" in check.not_kept
    assert not (indexed.folder / SCRUB).exists()


@pytest.mark.parametrize("content", ["of the kitchen floor", '{"last_id": '])
def test_a_place_that_is_not_what_was_written_is_no_place(content: str, indexed: Library) -> None:
    (indexed.folder / SCRUB).write_text(content)
    check = verify_pictures(indexed, 10)
    assert (check.first_id, check.resumed, check.read) == (1, False, 2)
    is_ours = content.startswith("{")
    assert bool(check.not_kept) is not is_ours
    if not is_ours:
        verify_pictures(indexed)
        assert (indexed.folder / SCRUB).read_text() == content


def test_a_place_with_another_number_in_it_is_no_place(indexed: Library) -> None:
    verify_pictures(indexed, 10)
    path = indexed.folder / SCRUB
    path.write_text(path.read_text().replace('"last_id": 2', '"last_id": 9'))
    assert verify_pictures(indexed, 10).first_id == 1


def test_a_place_behind_all_pictures_is_of_another_library(indexed: Library) -> None:
    ScrubPlace(indexed.folder).keep(Place(5000, 10.0, 9000))
    check = verify_pictures(indexed, 10)
    assert (check.first_id, check.wanted, check.resumed) == (1, 2, False)


def test_a_link_in_the_places_place_is_not_followed(indexed: Library, tmp_path: Path) -> None:
    target = tmp_path / "precious.json"
    target.write_text('{"last_id": 3}')
    (indexed.folder / SCRUB).symlink_to(target)
    assert verify_pictures(indexed, 10).not_kept
    verify_pictures(indexed)
    assert target.read_text() == '{"last_id": 3}'
    assert (indexed.folder / SCRUB).is_symlink()


def test_a_place_that_was_left_is_no_hindrance_to_a_new_library(tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    ScrubPlace(tmp_path / "library").keep(Place(3, 10.0, 20))
    Library.create(tmp_path / "library").close()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / SCRUB).write_text("of the kitchen floor")
    with pytest.raises(InvalidRequest, match="is no library"):
        Library.create(tmp_path / "other")


# -- many, and from the shell ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of a thousand tiny pictures."""
    folder = tmp_path_factory.mktemp("thousand")
    save_pictures(folder / "p", 1000)
    with Library.create(folder / "library") as library:
        index(library, [folder / "p"], IndexOptions(isolate=False), encoder=fake_encoder(64))
    return folder


def test_a_thousand_pictures_are_read_in_shares_and_the_damaged_ones_are_named(
    thousand: Path, kept_always: None
) -> None:
    damaged = [thousand / "p" / f"{number:04d}.png" for number in (0, 499, 500, 999)]
    for path in damaged:
        flip_bit(path)
    found: list[str] = []
    with Library.open(thousand / "library") as library:
        for number in range(10):
            check = verify_pictures(library, 10)
            assert (check.read, check.complete) == (100, number == 9)
            found += check.changed
    assert sorted(found) == [str(path) for path in damaged]
    done = ask("verify", "--pictures", "--library", thousand / "library")
    assert done.exit_code == 1
    assert "1,000 of 1,000 pictures read" in done.stdout
    # more files than a remedy names: the folder that holds them
    assert f"parecido index --rehash {thousand / 'p'}\n" in done.stderr
    for path in damaged:
        flip_bit(path)


def test_the_shell_is_told_what_changed_and_how_it_is_taken_in(
    indexed: Library, tmp_path: Path
) -> None:
    library = ("--library", indexed.folder)
    done = ask("verify", "--pictures", *library)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("The library is sound.\n20 of 20 pictures read: ")
    sizes = [one.file_size for one in indexed.catalogue.pictures([1, 2])]
    assert json.loads(ask("verify", "--pictures", "--share", "10", "--json", *library).stdout) == {
        "ok": True,
        "problems": [],
        "repaired": [],
        "pictures": {
            "total": 20,
            "read": 2,
            "bytes": sum(sizes),
            "changed": [],
            "outdated": [],
            "gone": [],
            "unreadable": [],
            "away": 0,
            "share": 10.0,
            "from": 1,
            "to": 2,
            "resumed": False,
            "complete": False,
            "interrupted": False,
            "place_kept": True,
        },
    }
    damaged = tmp_path / "pictures" / "0007.png"
    flip_bit(damaged)
    done = ask("verify", "--pictures", *library)
    assert done.exit_code == 1
    assert f"  {damaged}\n" in done.stdout
    assert f"parecido index --rehash {damaged}\n" in done.stderr
    told = json.loads(ask("verify", "--pictures", "--json", *library).stdout)
    assert (told["ok"], told["pictures"]["changed"]) == (False, [str(damaged)])


def test_a_command_that_is_interrupted_ends_with_130_and_says_where_it_goes_on(
    indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    from parecido.indexer.commands import progress

    asked: list[int] = []

    @contextmanager
    def stop_at_once() -> Iterator[Callable[[], bool]]:
        yield lambda: len(asked) >= 3

    real = scrub._Scrub._take

    def take(self: Any, row: FileRow, future: Any) -> None:
        real(self, row, future)
        asked.append(row.id)

    monkeypatch.setattr(scrub, "_AHEAD", 1)
    monkeypatch.setattr(scrub._Scrub, "_take", take)
    monkeypatch.setattr(progress, "stop_on_signal", stop_at_once)
    done = ask("verify", "--pictures", "--library", indexed.folder)
    assert done.exit_code == 130
    assert done.stdout.endswith("Interrupted; the next run goes on from here.\n")
    assert place_of(indexed) == Place(3, 100.0, 20)
    asked.clear()
    monkeypatch.setattr(scrub._Scrub, "_take", real)
    done = ask("verify", "--pictures", "--library", indexed.folder)
    assert done.exit_code == 0
    assert "17 of 20 pictures read, behind those of earlier runs: " in done.stdout


def test_an_unplugged_disk_is_no_failure_of_the_command(indexed: Library, tmp_path: Path) -> None:
    (tmp_path / "pictures").rename(tmp_path / "unplugged")
    done = ask("verify", "--pictures", "--library", indexed.folder)
    assert done.exit_code == 0
    assert "20 pictures could not be read, on disks or in folders that are not there" in done.stdout


@pytest.mark.parametrize("share", ["0", "0%", "100.1%", "-5%", "nan", "ten", "%", ""])
def test_a_share_that_is_none_is_wrong_usage(share: str, indexed: Library) -> None:
    done = ask("verify", "--pictures", f"--share={share}", "--library", indexed.folder)
    assert done.exit_code == 2
    assert "is no share above 0% and at most 100%" in done.stderr


def test_a_share_of_no_pictures_is_wrong_usage(indexed: Library) -> None:
    done = ask("verify", "--share", "10%", "--library", indexed.folder)
    assert done.exit_code == 2
    assert "--pictures" in done.stderr


def test_where_the_catalogue_is_damaged_no_file_is_called_damaged(indexed: Library) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(indexed.folder / "catalogue.sqlite")) as connection, connection:
        connection.execute("UPDATE pictures SET content_hash = zeroblob(16) WHERE id = 4")
    done = ask("verify", "--pictures", "--json", "--library", indexed.folder)
    told = json.loads(done.stdout)
    assert (done.exit_code, told["ok"], told["pictures"]) == (1, False, None)
    assert "were not read" in ask("verify", "--pictures", "--library", indexed.folder).stdout


def test_a_damaged_cache_is_no_reason_to_read_no_picture(indexed: Library) -> None:
    (indexed.folder / "neighbours").mkdir()
    file = indexed.folder / "neighbours" / f"{1:012d}.npy"
    file.write_bytes(b"\x93NUMPY 'id' 'near' 'cosine'")
    told = json.loads(ask("verify", "--pictures", "--json", "--library", indexed.folder).stdout)
    assert (told["ok"], told["pictures"]["read"]) == (False, 20)
    assert told["problems"]
