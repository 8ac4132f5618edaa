"""A library before an indexing run, the pictures as they are now, and what the run has to give."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from parecido import IndexOptions, Library, index
from tests.support.fakes import fake_encoder, save_picture, save_pictures
from tests.support.harness import Row, check_sound

__all__ = [
    "SCENES",
    "Scene",
    "check_complete",
    "check_nothing_lost",
    "check_told",
    "scene_changed",
    "scene_new",
]


@dataclass
class Scene:
    """A library (or none yet), the pictures as they are now, and what an undisturbed run gives."""

    pictures: Path
    before: Path | None
    rows_before: dict[bytes, tuple[int, Row]]
    rows_after: dict[bytes, tuple[int, Row]]
    mount: str = ""
    """A file system that the library is taken to lie on; none for the one that it lies on."""


def scene_new(folder: Path) -> Scene:
    save_pictures(folder / "pictures", 6)
    shutil.copy(folder / "pictures" / "0003.png", folder / "pictures" / "twin.png")
    return _scene(folder, None)


def scene_changed(folder: Path) -> Scene:
    pictures = folder / "pictures"
    save_pictures(pictures, 14)
    with Library.create(folder / "before") as library:
        index(library, [pictures], encoder=fake_encoder())
    for number in (0, 1):
        save_picture(pictures / f"{number:04d}.png", 100 + number, size=(40, 48))
    for number in (2, 3, 4):
        (pictures / f"{number:04d}.png").rename(pictures / f"moved{number}.png")
    for number in (5, 6):
        (pictures / f"{number:04d}.png").unlink()
    (pictures / "0007.png").write_bytes(b"\x89PNG no more")
    shutil.copy(pictures / "0008.png", pictures / "copy.png")
    save_pictures(pictures, 4, first=200)
    return _scene(folder, folder / "before")


def scene_grown(folder: Path) -> Scene:
    """A library with everything that is derived, which comes to learn a space of its own."""
    pictures = folder / "pictures"
    save_pictures(pictures, 62)
    with Library.create(folder / "before") as library:
        options = IndexOptions(within=True, think_twice=True)
        index(library, [pictures], options, encoder=fake_encoder())
    (pictures / "0001.png").unlink()
    (pictures / "0002.png").rename(pictures / "moved2.png")
    save_pictures(pictures, 6, first=200)
    return _scene(folder, folder / "before")


def scene_shared(folder: Path) -> Scene:
    """As after changes of every kind, moved to a network's file system, where there is no WAL."""
    return replace(scene_changed(folder), mount="nfs4")


SCENES = {
    "new": scene_new,
    "changed": scene_changed,
    "grown": scene_grown,
    "shared": scene_shared,
}
"""All of them, by name."""


def _scene(folder: Path, before: Path | None) -> Scene:
    undisturbed = folder / "undisturbed"
    if before is not None:
        shutil.copytree(before, undisturbed)
    with Library.create(undisturbed) as library:
        index(library, [folder / "pictures"], encoder=fake_encoder())
    rows_before = check_sound(before) if before is not None else {}
    return Scene(folder / "pictures", before, rows_before, check_sound(undisturbed))


def check_nothing_lost(
    scene: Scene, found: dict[bytes, tuple[int, Row]], told: list[bytes]
) -> None:
    """Every row is as before or as after, never between; what was reported committed is there."""
    for path, (_, row) in found.items():
        ways = [rows[path][1] for rows in (scene.rows_before, scene.rows_after) if path in rows]
        assert row in ways
    for path in filter(None, told):
        assert found[path][1] == scene.rows_after[path][1]
    for path, (picture_id, _) in scene.rows_before.items():
        if path in scene.rows_after:
            assert found[path][0] == picture_id


def check_complete(
    scene: Scene,
    committed: dict[bytes, tuple[int, Row]],
    completed: dict[bytes, tuple[int, Row]],
) -> None:
    assert {p: row for p, (_, row) in completed.items()} == {
        p: row for p, (_, row) in scene.rows_after.items()
    }
    moved = {p: i for p, (i, _) in scene.rows_after.items() if b"/moved" in p}
    assert {p: completed[p][0] for p in moved} == moved
    for path, (picture_id, _) in committed.items():
        if path in completed:
            assert completed[path][0] == picture_id


def check_told(
    scene: Scene, found: dict[bytes, tuple[int, Row]], told: list[dict[str, Any]]
) -> None:
    """What was told as committed is there, but for what a later commit changed."""
    if not told:
        return
    for name, (picture_id, content) in told[-1]["pictures"].items():
        path = os.fsencode(name)
        if path not in scene.rows_after:
            continue
        assert found[path][0] == picture_id
        if content == scene.rows_after[path][1].content_hash.hex():
            assert found[path][1] == scene.rows_after[path][1]
