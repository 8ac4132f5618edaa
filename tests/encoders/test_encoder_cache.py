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

from parecido.indexer.encoders.machine import cache
from parecido.indexer.encoders.machine.cache import cached_folder
from parecido.indexer.errors import EncoderUnavailable, NoSpace
from parecido.indexer.system import own_files as ownfiles
from tests.support.harness import CHILDREN, in_child, snapshot
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
    tmp_path: Path, fill: Fill, monkeypatch: pytest.MonkeyPatch
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
            assert folder.parent == Path(tempfile.gettempdir())
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
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    folder = cached_folder(KEY, fill)
    check_whole(folder)
    assert cached_folder(KEY, fill) == folder
    return str(folder), stat.S_IMODE(folder.stat().st_mode)


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
        if sealed == "the cache":
            (place / "cache").mkdir(mode=0o755)
        before = sorted(place.iterdir())
        folder, mode = in_child(_as_nobody, place / "cache", Fill(place / "calls"))
        assert folder.startswith(tempfile.gettempdir())
        assert not folder.startswith(open_to_all)
        assert mode == 0o700
        assert Fill(place / "calls").times == 1
        assert sorted(place.iterdir()) == before
        shutil.rmtree(folder)  # a process of the ordinary kind removes it at its end


@pytest.mark.usefixtures("no_temporaries")
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
