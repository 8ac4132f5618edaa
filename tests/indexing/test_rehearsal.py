"""A year with three drives in a minute: after every step the library is what the files are.

The drives are real file systems in files.  They are pulled, plugged in where they were, elsewhere
or in each other's place; folders are moved between them, and pictures edited, also with their time
put back, added and deleted.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from parecido import Library, index, verify
from parecido.indexer.system.files import content_hash
from tests.support.fakes import fake_encoder, save_picture

STEPS = int(os.environ.get("PARECIDO_FOLDER_STEPS", "24"))
PICTURES = int(os.environ.get("PARECIDO_FOLDER_PICTURES", "80"))
_LEAST = 12  # pictures that a drive keeps, so that it can be told from another


@dataclass
class Item:
    """A picture with what happened to it; two of them never hold the same bytes."""

    drive: int
    """-1 for the folder that is always there."""
    path: str
    """Relative to the drive."""
    digest: bytes
    id: int | None = None


@dataclass
class Year:
    """The drives, what lies on them, and where the library knows them to be."""

    base: Path
    rng: random.Random
    items: list[Item] = field(default_factory=list)
    mounted: dict[int, Path] = field(default_factory=dict)
    known: dict[int, Path] = field(default_factory=dict)
    seeds: Iterator[int] = field(default_factory=count)
    places: Iterator[int] = field(default_factory=count)
    steps: list[str] = field(default_factory=list)

    @property
    def homes(self) -> list[Path]:
        """The first lies below a root, the others are roots."""
        return [self.base / "photos" / "usb", self.base / "m1", self.base / "m2"]

    @property
    def roots(self) -> list[Path]:
        """What is given to be indexed."""
        elsewhere = [path for path in self.mounted.values() if path.name.startswith("x")]
        return [self.base / "photos", *self.homes[1:], *elsewhere]

    def folder(self, drive: int) -> Path | None:
        """Where it is now, where it can be reached."""
        return self.base / "photos" / "local" if drive < 0 else self.mounted.get(drive)

    # -- steps -----------------------------------------------------------------------------------

    def plug(self, drive: int, place: Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        image = self.base / f"{drive}.ext4"
        command = ["mount", "-o", "loop", image, place]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
        self.mounted[drive] = place

    def pull(self, drive: int) -> None:
        subprocess.run(["umount", self.mounted.pop(drive)], check=True, capture_output=True)

    def step(self) -> None:
        """Something happens."""
        does = [self._pull, self._plug, self._plug_elsewhere, self._swap, self._move_folder]
        does += [self._edit, self._edit_secretly, self._add, self._delete]
        does += [self._rename, self._plug, self._edit_secretly]
        self.rng.choice(does)()

    def _tell(self, what: str) -> None:
        self.steps.append(what)

    def _pull(self) -> None:
        if self.mounted:
            drive = self.rng.choice(sorted(self.mounted))
            self._tell(f"pull {drive} from {self.mounted[drive]}")
            self.pull(drive)

    def _plug(self) -> None:
        if away := sorted({0, 1, 2} - self.mounted.keys()):
            drive = self.rng.choice(away)
            home = self.homes[drive]
            if home not in self.mounted.values():
                self._tell(f"plug {drive} in at home")
                self.plug(drive, home)

    def _plug_elsewhere(self) -> None:
        self._pull()
        if away := sorted({0, 1, 2} - self.mounted.keys()):
            drive, place = self.rng.choice(away), self.base / f"x{next(self.places)}"
            self._tell(f"plug {drive} in at {place}")
            self.plug(drive, place)

    def _swap(self) -> None:
        """One in another's place."""
        away = sorted({0, 1, 2} - self.mounted.keys())
        free = [home for home in self.homes if home not in self.mounted.values()]
        if away and free:
            drive, place = self.rng.choice(away), self.rng.choice(free)
            self._tell(f"plug {drive} in at {place}")
            self.plug(drive, place)

    def _reachable(self, least: int = 0) -> list[Item]:
        """Pictures whose drives are there, of drives with so many at least."""
        full = {
            drive
            for drive in (-1, 0, 1, 2)
            if sum(item.drive == drive for item in self.items) > least
        }
        return [item for item in self.items if self._can_see(item.drive) and item.drive in full]

    def _can_see(self, drive: int) -> bool:
        """Whether the library can know what becomes of it: it is where nobody else is expected."""
        place = self.folder(drive)
        others = [self.known.get(other) for other in (0, 1, 2) if other != drive]
        return place is not None and place not in others

    def _move_folder(self) -> None:
        if items := self._reachable(_LEAST):
            one = self.rng.choice(items)
            name = os.path.dirname(one.path)
            own = [i for i in self.items if i.drive == one.drive and i.path.startswith(name + "/")]
            left = sum(item.drive == one.drive for item in self.items) - len(own)
            target = self.rng.choice([d for d in (-1, 0, 1, 2) if self._can_see(d)])
            old, new = self.folder(one.drive), self.folder(target)
            if target == one.drive or left < _LEAST or old is None or new is None:
                return
            moved = f"moved {next(self.seeds)}"
            self._tell(f"move {len(own)} from {one.drive}/{name} to {target}/{moved}")
            shutil.move(old / name, new / moved)
            for item in own:
                item.drive, item.path = target, moved + item.path.removeprefix(name)

    def _edit(self) -> None:
        self._write(keep_time=False)

    def _edit_secretly(self) -> None:
        self._write(keep_time=True)

    def _write(self, *, keep_time: bool) -> None:
        for item in self.rng.sample(items := self._reachable(), min(3, len(items))):
            path = self._path(item)
            before = path.stat()
            data = self._draw()
            with path.open("r+b") as file:
                file.write(data)
            if keep_time:
                os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            self._tell(f"edit {item.drive}/{item.path}, time kept: {keep_time}")
            item.digest = content_hash(data)

    def _rename(self) -> None:
        if items := self._reachable():
            item = self.rng.choice(items)
            old = self._path(item)
            item.path = os.path.join(os.path.dirname(item.path), f"n{next(self.seeds)}.bmp")
            self._tell(f"rename {old} to {item.path}")
            old.rename(self._path(item))

    def _add(self) -> None:
        drive = self.rng.choice([d for d in (-1, 0, 1, 2) if self._can_see(d)])
        self.add(drive, 3)

    def add(self, drive: int, pictures: int) -> None:
        """New pictures in some of its folders."""
        folder = self.folder(drive)
        assert folder is not None
        self._tell(f"add {pictures} to {drive}")
        for _ in range(pictures):
            path = f"{self.rng.randrange(4)}/{next(self.seeds)}.bmp"
            data = self._draw()
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
            self.items.append(Item(drive, path, content_hash(data)))

    def _delete(self) -> None:
        if items := self._reachable(_LEAST + 1):
            item = self.rng.choice(items)
            path = self._path(item)
            self._tell(f"delete {path}")
            path.unlink()
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
            self.items.remove(item)

    def _path(self, item: Item) -> Path:
        folder = self.folder(item.drive)
        assert folder is not None
        return folder / item.path

    def _draw(self) -> bytes:
        path = save_picture(self.base / "drawn.bmp", next(self.seeds))
        return path.read_bytes()

    # -- what must be ----------------------------------------------------------------------------

    def look(self) -> None:
        """Where the library finds the drives in the next run."""
        there = dict(self.mounted)
        while there:
            free = [
                drive
                for drive, place in there.items()
                if all(self.known.get(other) != place for other in (0, 1, 2) if other != drive)
            ]
            if not free:
                break
            for drive in free:
                self.known[drive] = there.pop(drive)

    def check(self, library: Library) -> None:
        """Compare the library with what it must hold."""
        rows = {i: path for path, i in ((p, i) for i, p in library.catalogue.under(b"/"))}
        assert len(rows) == len(self.items), "\n".join(self.steps)
        for item in self.items:
            place = self.folder(item.drive)
            if item.drive >= 0 and self.known.get(item.drive) != place:
                # away: it keeps its id
                assert item.id in rows, self.steps[-8:]
                continue
            picture = library.catalogue.picture_at(os.fspath(self._path(item)))
            assert picture is not None, (item, self.steps[-8:])
            assert item.id in (None, picture.id), (item, picture, self.steps[-8:])
            assert picture.content_hash == item.digest, (item, self.steps[-8:])
            item.id = picture.id


@pytest.fixture
def year(tmp_path: Path) -> Iterator[Year]:
    seed = int(os.environ.get("PARECIDO_FOLDER_SEED", "7"))
    found = Year(tmp_path, random.Random(seed))
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("there is no mkfs.ext4 here")
    (tmp_path / "photos" / "local").mkdir(parents=True)
    try:
        for drive in (0, 1, 2):
            image = tmp_path / f"{drive}.ext4"
            image.touch()
            os.truncate(image, (16 << 20) + PICTURES * 16384)
            made = ["mkfs.ext4", "-q", "-F", "-N", str(PICTURES * 4 + 512), image]
            subprocess.run(made, check=True, capture_output=True)
            found.plug(drive, found.homes[drive])
        yield found
    finally:
        for place in list(found.mounted.values()):
            with suppress(subprocess.CalledProcessError):
                subprocess.run(["umount", "-l", place], check=True, capture_output=True)


def test_whatever_becomes_of_drives_and_folders_pictures_keep_their_ids_and_none_is_lost(
    year: Year, library: Library
) -> None:
    encoder = fake_encoder()
    for drive in (-1, 0, 1, 2):
        year.add(drive, PICTURES // 4)
    made: set[bytes] = set()
    for _ in range(STEPS):
        year.look()
        report = index(library, year.roots, encoder=encoder)
        year.check(library)
        made |= {item.digest for item in year.items if item.id is not None}
        runtime = encoder._runtime
        # nothing that was known is encoded
        assert runtime.pictures == len(made), year.steps[-8:]  # type: ignore[attr-defined]
        assert not [skip for skip in report.skipped if skip.kind != "not-a-picture"]
        year.step()
    assert verify(library) == []
