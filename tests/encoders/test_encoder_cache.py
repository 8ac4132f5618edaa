"""The cache of built encoders: filled once, whole or not at all, rebuilt when it is damaged."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from parecido import Library
from parecido.indexer.encoders.machine import cache
from parecido.indexer.encoders.machine.cache import cached_folder
from parecido.indexer.encoders.machine.imports import keras_environment, keras_home
from parecido.indexer.errors import EncoderUnavailable, LibraryNotFound, NoSpace
from parecido.indexer.library.layout import library_path
from parecido.indexer.system import own_files as ownfiles
from tests.support.harness import CHILDREN, check_sound, in_child, snapshot
from tests.support.waiting import until

KEY = "0123456789abcdef"
XML, BIN = b"<net/>" * 500, bytes(range(256)) * 400
NOBODY = 65534


class Fill:
    """Writes a model as the exporter does, and a line into a file for each time it is asked."""

    def __init__(self, calls: Path, waits_for: int = 0) -> None:
        self._calls = calls
        self._waits_for = waits_for
        """How many have asked before it goes on."""

    def note_asking(self) -> None:
        self._calls.with_name(f"{self._calls.name}.{os.getpid()}").touch()

    def _asking(self) -> int:
        return len(list(self._calls.parent.glob(f"{self._calls.name}.*")))

    def __call__(self, folder: Path) -> None:
        assert list(folder.iterdir()) == []
        with self._calls.open("a") as file:
            file.write("filled\n")
        (folder / "model.xml").write_bytes(XML)
        until(lambda: self._asking() >= self._waits_for)
        (folder / "model.bin").write_bytes(BIN)

    @property
    def times(self) -> int:
        return len(self._calls.read_text().splitlines()) if self._calls.exists() else 0


@pytest.fixture
def fill(tmp_path: Path) -> Fill:
    return Fill(tmp_path / "calls")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of this test."""
    monkeypatch.setenv("PARECIDO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary folder, of this test."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def no_temporaries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forgets the temporary folders that this test made."""
    monkeypatch.setattr(cache, "_TEMPORARY", {})
    yield
    for holder in cache._TEMPORARY.values():
        holder.cleanup()


def check_whole(folder: Path) -> None:
    """Assert that a folder holds the model and its manifest, and nothing else."""
    assert (folder / "model.xml").read_bytes() == XML
    assert (folder / "model.bin").read_bytes() == BIN
    assert sorted(path.name for path in folder.iterdir()) == [
        "manifest.json",
        "model.bin",
        "model.xml",
    ]


def test_an_encoder_is_built_once(home: Path, fill: Fill) -> None:
    folder = cached_folder(KEY, fill)
    assert folder == home / KEY
    check_whole(folder)
    before = snapshot(home)
    assert cached_folder(KEY, fill) == folder
    assert fill.times == 1
    assert snapshot(home) == before


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _gone(path: Path) -> None:
    path.unlink()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [_cut, _flip, _empty, _gone, _folder])
@pytest.mark.parametrize("name", ["model.bin", "model.xml", "manifest.json"])
def test_a_damaged_encoder_is_built_again(
    name: str, damage: Callable[[Path], None], home: Path, fill: Fill
) -> None:
    damage(cached_folder(KEY, fill) / name)
    check_whole(cached_folder(KEY, fill))
    assert fill.times == 2
    assert sorted(path.name for path in home.iterdir()) == [KEY, f"{KEY}.lock"]


@pytest.mark.parametrize("manifest", ["{}", "[]", "17", '"model"', '{"model.bin": 17}', "null"])
def test_a_manifest_of_another_form_does_not_vouch_for_an_encoder(
    manifest: str, home: Path, fill: Fill
) -> None:
    (cached_folder(KEY, fill) / "manifest.json").write_text(manifest)
    check_whole(cached_folder(KEY, fill))
    assert fill.times == 2


@pytest.mark.usefixtures("no_temporaries", "temporary")
def test_a_file_in_the_place_of_an_encoder_makes_way(home: Path, fill: Fill) -> None:
    home.mkdir()
    (home / KEY).write_bytes(b"what is this")
    check_whole(cached_folder(KEY, fill))


def _ask(fill: Fill) -> str:
    fill.note_asking()
    folder = cached_folder(KEY, fill)
    check_whole(folder)
    return str(folder)


def test_processes_that_want_one_encoder_at_once_build_it_once(home: Path, fill: Fill) -> None:
    slow = Fill(fill._calls, waits_for=4)
    with ProcessPoolExecutor(4, mp_context=CHILDREN, initializer=_use, initargs=(home,)) as pool:
        asked = [pool.submit(_ask, slow) for _ in range(4)]
        assert {answer.result() for answer in asked} == {str(home / KEY)}
    assert fill.times == 1


def _use(home: Path) -> None:
    os.environ["PARECIDO_CACHE"] = str(home)


def _build_and_die(home: Path, fill: Fill, when: str) -> None:
    _use(home)
    if when == "while it is filled":
        cached_folder(KEY, lambda folder: (fill(folder), os.kill(os.getpid(), signal.SIGKILL))[0])
    ownfiles.sync_tree = lambda _: os.kill(os.getpid(), signal.SIGKILL)
    cached_folder(KEY, fill)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("when", ["while it is filled", "before it is renamed"])
def test_a_killed_build_leaves_nothing_that_is_taken_for_an_encoder(
    when: str, home: Path, fill: Fill
) -> None:
    with pytest.raises(BrokenProcessPool):
        in_child(_build_and_die, home, fill, when)
    assert not (home / KEY).exists()
    assert len(list(home.glob(f"{KEY}.*"))) == 2  # the lock, and the folder that was being filled
    check_whole(cached_folder(KEY, fill))
    assert sorted(path.name for path in home.iterdir()) == [KEY, f"{KEY}.lock"]


def test_a_build_that_fails_leaves_nothing_behind(home: Path, fill: Fill) -> None:
    def failing(folder: Path) -> None:
        fill(folder)
        raise EncoderUnavailable("Keras is not there.")

    with pytest.raises(EncoderUnavailable):
        cached_folder(KEY, failing)
    assert [path.name for path in home.iterdir()] == [f"{KEY}.lock"]
    check_whole(cached_folder(KEY, fill))


def test_a_full_disk_is_told_and_leaves_nothing_behind(home: Path, fill: Fill) -> None:
    def full(folder: Path) -> None:
        fill(folder)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(NoSpace, match="no space left for the encoder in") as caught:
        cached_folder(KEY, full)
    assert "PARECIDO_CACHE" in caught.value.remedy
    assert [path.name for path in home.iterdir()] == [f"{KEY}.lock"]


@pytest.mark.usefixtures("no_temporaries")
def test_a_cache_on_a_read_only_disk_gives_way_to_a_temporary_folder(
    tmp_path: Path, temporary: Path, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(disk)],
            check=True,
            capture_output=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"mounting a tmpfs is not allowed here ({error})")
    try:
        for place in (disk, disk / "cache"):
            monkeypatch.setenv("PARECIDO_CACHE", str(place))
            folder = cached_folder(KEY, fill)
            assert folder.parent.parent == temporary
            assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
            check_whole(folder)
            assert cached_folder(KEY, fill) == folder
        assert fill.times == 1
        (folder / "model.bin").unlink()  # as who tidies up temporary files does
        check_whole(cached_folder(KEY, fill))
        assert fill.times == 2
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _as_nobody(home: Path, fill: Fill) -> tuple[str, int]:
    _use(home)
    tempfile.tempdir = str(home.parent / "tmp")
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    folder = cached_folder(KEY, fill)
    check_whole(folder)
    assert cached_folder(KEY, fill) == folder
    return str(folder), stat.S_IMODE(folder.parent.stat().st_mode)


@pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can become another user"
)
@pytest.mark.parametrize("sealed", ["the cache", "its parent"])
def test_a_cache_that_belongs_to_another_user_gives_way_to_a_temporary_folder(sealed: str) -> None:
    # outside pytest's folders, which nobody else may enter
    with tempfile.TemporaryDirectory(prefix="parecido-test-") as open_to_all:
        place = Path(open_to_all)
        place.chmod(0o755)
        (place / "calls").touch()
        (place / "calls").chmod(0o666)
        (place / "tmp").mkdir()
        (place / "tmp").chmod(0o1777)
        if sealed == "the cache":
            (place / "cache").mkdir(mode=0o755)
        before = sorted(place.iterdir())
        folder, mode = in_child(_as_nobody, place / "cache", Fill(place / "calls"))
        assert folder == str(place / "tmp" / f"parecido-cache-{NOBODY}" / KEY)
        assert mode == 0o700
        # the next process finds it
        assert in_child(_as_nobody, place / "cache", Fill(place / "calls")) == (folder, mode)
        assert Fill(place / "calls").times == 1
        assert sorted(place.iterdir()) == before


@pytest.mark.usefixtures("no_temporaries", "temporary")
def test_a_file_in_the_place_of_the_cache_gives_way_to_a_temporary_folder(
    home: Path, fill: Fill
) -> None:
    home.write_bytes(b"not a folder")
    check_whole(cached_folder(KEY, fill))
    assert home.read_bytes() == b"not a folder"


def test_a_removed_cache_is_built_again(home: Path, fill: Fill) -> None:
    cached_folder(KEY, fill)
    shutil.rmtree(home)
    check_whole(cached_folder(KEY, fill))
    assert fill.times == 2


# -- where the user's cache cannot be written ------------------------------------------------------


@pytest.fixture
def sealed(tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that nobody can write, root neither; temporary folders are this test's."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("PARECIDO_CACHE", str(tmp_path / "file" / "cache"))
    return temporary


def test_a_library_keeps_what_the_users_cache_cannot_and_the_next_process_finds_it(
    sealed: Path, library: Library, fill: Fill, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "parecido")
    folder = cached_folder(KEY, fill, library.folder)
    assert folder == library.folder / "cache" / KEY
    check_whole(folder)
    (told,) = (record.getMessage() for record in caplog.records)
    assert told == (
        f"The cache {os.environ['PARECIDO_CACHE']} cannot be written; {library.folder}/cache is "
        "used instead. Set PARECIDO_CACHE or XDG_CACHE_HOME to a folder that lasts."
    )
    assert in_child(_find, library.folder, fill, os.environ["PARECIDO_CACHE"]) == str(folder)
    assert fill.times == 1
    assert len(caplog.records) == 1
    check_sound(library.folder)


def _find(library: Path, fill: Fill, home: str) -> str:
    _use(Path(home))
    return str(cached_folder(KEY, fill, library))


def test_a_lost_catalogue_is_replaced_where_only_a_librarys_cache_is_left(
    sealed: Path, tmp_path: Path, fill: Fill
) -> None:
    library = tmp_path / "library"
    library.mkdir()
    cached_folder("0" * 32, fill, library)
    cached_folder(f"{'a' * 32}-maps", fill, library)
    Library.create(library).close()


@pytest.mark.parametrize("what", ["link", "file"])
def test_what_has_the_place_of_a_librarys_cache_stays_as_it_is(
    what: str, sealed: Path, library: Library, fill: Fill, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    if what == "link":
        (library.folder / "cache").symlink_to(tmp_path / "other")
    else:
        (library.folder / "cache").write_bytes(b"mine")
    folder = cached_folder(KEY, fill, library.folder)
    assert folder.parent.parent == sealed
    assert list((tmp_path / "other").iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows gives each user temporary folders")
@pytest.mark.usefixtures("no_temporaries")
@pytest.mark.parametrize("trick", ["link", "file", "open to others", "unsticky", "of another user"])
def test_a_temporary_folder_that_others_could_write_is_not_used(
    trick: str, sealed: Path, fill: Fill, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = sealed / f"parecido-cache-{os.geteuid()}"
    (tmp_path / "other").mkdir(mode=0o700)
    match trick:
        case "link":
            place.symlink_to(tmp_path / "other")
        case "file":
            place.touch()
        case "open to others":
            place.mkdir()
            place.chmod(0o770)
        case "unsticky":
            sealed.chmod(0o777)
        case _:
            if os.geteuid() != 0:
                pytest.skip("only root can give a folder to another user")
            place.mkdir(mode=0o700)
            os.chown(place, NOBODY, NOBODY)
    folder = cached_folder(KEY, fill)
    check_whole(folder)
    assert folder.parent == sealed
    assert folder.name.startswith("parecido-encoder-")
    assert list((tmp_path / "other").iterdir()) == []
    assert not place.is_dir() or list(place.iterdir()) == []
    assert "what is built now goes with this process" in caplog.text


@pytest.mark.usefixtures("no_temporaries")
def test_a_machine_where_nothing_can_be_written_is_told(
    sealed: Path, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", refuse)
    with pytest.raises(EncoderUnavailable, match="There is no place for the encoder") as caught:
        cached_folder(KEY, fill)
    assert caught.value.remedy == "Set PARECIDO_CACHE and TMPDIR to folders that can be."


def _without_a_home(folder: Path, fill: Fill) -> list[str]:
    os.chdir(folder)
    tempfile.tempdir = str(folder / "tmp")
    for name in ("HOME", "PARECIDO_CACHE", "XDG_CACHE_HOME", "XDG_DATA_HOME", "PARECIDO_LIBRARY"):
        os.environ.pop(name, None)
    os.setgid(12345)
    os.setuid(12345)
    try:
        library_path(None)
    except LibraryNotFound as error:
        told = str(error)
    return [
        str(cached_folder(KEY, fill)),
        str(keras_home()),
        keras_environment()["KERAS_HOME"],
        told,
    ]


@pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can become another user"
)
def test_a_user_whom_the_system_does_not_know_needs_no_home() -> None:
    with tempfile.TemporaryDirectory(prefix="parecido-test-") as open_to_all:
        place = Path(open_to_all)
        place.chmod(0o777)
        (place / "tmp").mkdir()
        (place / "tmp").chmod(0o1777)
        *found, told = in_child(_without_a_home, place, Fill(place / "calls"))
        own = place / "tmp" / "parecido-cache-12345"
        assert found == [str(own / KEY), str(own / "keras"), str(own / "keras")]
        assert told.startswith("This user has no home folder")
        assert not (place / "~").exists()
