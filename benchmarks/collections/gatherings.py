"""Collections out of the shared photographs: uneven groups, tiny libraries, and many distractors.

The photographs are those of ``caltech101-mini`` (101 classes of 12) and ``ukbench-mini`` (100
objects, four views each), each a folder with a ``groups.csv``.  What is a class there may not be
one for a person: ``KIN`` names classes that show the same thing, and the two lists of lookalikes
what must not become a distractor.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.collections.alterations import chance, cut, jpeg, light, on_white, package_file
from benchmarks.collections.drawings import OPENCLIPART, usable

__all__ = ["KIN", "Item", "large", "small", "uneven"]

KIN: Mapping[str, tuple[str, ...]] = {
    "grazing-mammals": ("elephant", "rhino", "okapi", "gerenuk", "llama"),
    "wild-cats": ("Leopards", "cougar_body", "cougar_face", "wild_cat"),
    "insects": ("ant", "butterfly", "dragonfly", "mayfly"),
    "crustaceans": ("crab", "crayfish", "lobster"),
    "wading-birds": ("flamingo", "flamingo_head", "ibis"),
    "flowers": ("lotus", "sunflower", "water_lilly"),
    "faces": ("Faces", "Faces_easy"),
    "crocodiles": ("crocodile", "crocodile_head"),
    "sailing-ships": ("ketch", "schooner"),
    "chairs": ("chair", "windsor_chair"),
    "dinosaurs": ("brontosaurus", "stegosaurus"),
    "plucked-strings": ("electric_guitar", "mandolin"),
    "lamps": ("lamp", "chandelier"),
    "towers": ("minaret", "pagoda"),
}
"""Groups of 24 to 60 that a person would call one: a name → classes of caltech101-mini."""

_ALTERED = {"accordion": 18, "dollar_bill": 30, "stop_sign": 42, "panda": 60}
"""Classes that grow to so many pictures, by light alterations of their own twelve."""

_OBJECTS = "011 020 021 022 032 042 043 045 052 055 066 067 069 070 071 074 076 089 095"
_LOOKALIKE_OBJECTS = frozenset(_OBJECTS.split())
"""Objects of ukbench-mini that show what a class of caltech101-mini shows: chairs, guitars …"""

_CLASSES = """
American_alligator flamingo limpkin hermit_crab fiddler_crab ant jaguar Egyptian_cat damselfly
sulphur_butterfly mantis llama Indian_elephant ibex laptop schooner soccer_ball rocking_chair
pitcher coffeepot espresso_maker hand-held_computer iPod moped motor_scooter warplane airship
banjo beer_bottle CD_player daisy electric_fan digital_clock harvestman consomme container_ship
lifeboat mud_turtle microphone passenger_car quail robin water_ouzel volcano magnetic_compass
sundial tricycle trombone
tiger_beetle dung_beetle black_widow tench
"""
_LOOKALIKE_CLASSES = frozenset(_CLASSES.split())
"""Classes of imagenet-mini, as its file names give them, that are too near to one of Caltech's."""

_CLIPART = (
    *("geography", "shapes", "special", "computer/icons", "buildings/homes", "people/stickmen"),
    *(
        "people/smilies",
        "signs_and_symbols/flags",
        "signs_and_symbols/led",
        "recreation/games/cards",
    ),
)
_LOOKALIKE_WORDS = (
    *("air", "anchor", "ant", "boat", "cam", "cell", "cup", "deer", "dolphin", "elephant", "face"),
    *("guitar", "lamp", "laptop", "mobile", "phone", "plane", "ship", "stop", "umbrella", "watch"),
    *("wheelchair", "wrench", "yin"),
)
_SURFACES = (
    *(("skimage", "data", f"{name}.png") for name in ("moon", "brick", "grass", "gravel", "ihc")),
    *(("skimage", "data", f"{name}.png") for name in ("coins", "page", "text", "cell")),
    *(("skimage", "data", f"{name}.jpg") for name in ("hubble_deep_field", "retina", "rocket")),
)
_DISTRACTOR = 300  # pixels of its longer side
_MOST_CLIPART = 1600
_SHARE = (0.2, 0.6)  # of the area that a cut keeps
_QUALITY = 88


@dataclass(frozen=True)
class Item:
    """A picture to be written."""

    group: str
    """Empty for a distractor."""
    content: Callable[[], bytes]
    suffix: str = ".jpg"


def _kept(path: Path, group: str) -> Item:
    return Item(group, path.read_bytes, path.suffix)


def _classes(folder: Path) -> dict[str, list[Path]]:
    """The groups of a shared set: a name → its pictures, in the order of the CSV.

    Raises ``FileNotFoundError`` where the set is missing.
    """
    groups: dict[str, list[Path]] = {}
    with (folder / "groups.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            groups.setdefault(row["group"], []).append(folder / row["path"])
    return groups


def uneven(sets: Path, seed: int) -> Iterator[Item]:
    """Groups of 2 to 60 from caltech101-mini; no picture is in two of them.

    Classes that stand alone keep 2 to 12 pictures, log-uniformly drawn.  Larger groups are kin
    (from 13 pictures to all, the largest whole), and four classes grown by light alterations of
    their own pictures, which are easier to find: their names end with ``+altered``.
    """
    classes = _classes(sets / "caltech101-mini")
    rng = chance(seed, "uneven")
    for group, kin in KIN.items():
        pictures = [path for name in kin for path in classes.pop(name)]
        whole = len(pictures) == 60
        size = len(pictures) if whole else _log_uniform(rng, 13, len(pictures))
        yield from (_kept(path, group) for path in _some(rng, pictures, size))
    for name, size in _ALTERED.items():
        pictures, group = classes.pop(name), f"{name}+altered"
        yield from (_kept(path, group) for path in pictures)
        for number in range(size - len(pictures)):
            path = pictures[number % len(pictures)]
            yield Item(group, partial(_altered, path, seed, number))
    for group, pictures in classes.items():
        size = _log_uniform(rng, 2, len(pictures))
        yield from (_kept(path, group) for path in _some(rng, pictures, size))


def small(sets: Path, seed: int, count: int, draw: str) -> Iterator[Item]:
    """A library of so many pictures: groups of 2 to 6 from both sets, and a fifth distractors.

    The library of ten has four groups of 2 or 3, and up to two distractors.  Distractors are of
    classes and objects that have no group; of kin only the first class is used at all.
    """
    rng = chance(seed, "small", count, draw)
    classes = _classes(sets / "caltech101-mini")
    for kin in KIN.values():
        for name in kin[1:]:
            del classes[name]
    for name, pictures in _classes(sets / "ukbench-mini").items():
        if name not in _LOOKALIKE_OBJECTS:
            classes[f"object-{name}"] = pictures
    order = [list(classes)[i] for i in rng.permutation(len(classes))]
    # a fifth of ten would leave no room for four groups
    most, grouped, taken = (3, 10, 0) if count <= 10 else (6, count * 4 // 5, 0)
    groups = 0
    while grouped - taken >= 2 and (count > 10 or groups < 4):
        name = order.pop()
        size = min(int(rng.integers(2, most + 1)), len(classes[name]), grouped - taken)
        if count <= 10:  # the groups to come need two pictures each
            size = min(size, grouped - taken - 2 * (3 - groups))
        yield from (_kept(path, name) for path in _some(rng, classes[name], size))
        taken += size
        groups += 1
    for number in range(count - taken):
        pictures = classes[order[number % len(order)]]
        yield _kept(pictures[number // len(order) % len(pictures)], "")


def large(
    sets: Path, seed: int, count: int = 10_000, clipart: Path = OPENCLIPART
) -> Iterator[Item]:
    """All of caltech101-mini and cuts of other pictures, without a group, up to so many pictures.

    A cut keeps 20 to 60 % of the area, mirrored half of the time, at 300 pixels.  At most 1,600 are
    of openclipart, one of each drawing; the rest are of photographs, equally many of each.
    """
    caltech = [
        _kept(path, name)
        for name, paths in _classes(sets / "caltech101-mini").items()
        for path in paths
    ]
    yield from caltech
    rng = chance(seed, "large")
    drawn = _clipart(clipart)
    sources = _some(rng, drawn, min(len(drawn), _MOST_CLIPART, (count - len(caltech)) // 4))
    photographs = list(_photographs(sets))
    while len(sources) < count - len(caltech):
        sources.extend(photographs[i] for i in rng.permutation(len(photographs)))
    for number, path in enumerate(sources[: count - len(caltech)]):
        yield Item("", partial(_distractor, path, seed, number))


def _photographs(sets: Path) -> Iterator[Path]:
    """Photographs that show nothing of caltech101-mini's classes, as far as their labels tell."""
    for name, paths in _classes(sets / "ukbench-mini").items():
        if name not in _LOOKALIKE_OBJECTS:
            yield from paths
    for path in sorted((sets / "imagenet-mini" / "images").iterdir()):
        if path.stem.partition("_")[2] not in _LOOKALIKE_CLASSES:
            yield path
    for package, *parts in _SURFACES:
        try:
            yield package_file(package, *parts)
        except FileNotFoundError:  # the other photographs take their places
            continue


def _clipart(home: Path) -> list[Path]:
    """Drawings of other subjects; none where the package is missing.  A file name counts once."""
    found: dict[str, Path] = {}
    for folder in _CLIPART:
        for path in sorted((home / folder).rglob("*.png")):
            # 1,375 of the package's stars are the same few circles of fine lines
            if path.name.startswith("star_") or any(word in path.name for word in _LOOKALIKE_WORDS):
                continue
            if usable(path):
                found.setdefault(path.name, path)
    return list(found.values())


def _distractor(path: Path, seed: int, number: int) -> bytes:
    rng = chance(seed, "distractor", number)
    if path.suffix == ".png" and "skimage" not in path.parts:
        picture = on_white(path, 512)
        part = cut(picture, rng, _SHARE, _DISTRACTOR)
        if np.asarray(part.convert("L")).std() < 8:  # an empty corner: the whole drawing then
            part = cut(picture, rng, (1, 1), _DISTRACTOR)
    else:
        with Image.open(path) as opened:
            part = cut(opened.convert("RGB"), rng, _SHARE, _DISTRACTOR)
    return jpeg(part, _QUALITY)


def _altered(path: Path, seed: int, number: int) -> bytes:
    """The picture cut to 70 to 95 % of its area, mirrored half of the time, under other light."""
    rng = chance(seed, "altered", path.name, number)
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    changed = light(cut(picture, rng, (0.7, 0.95), max(picture.size)), rng)
    return jpeg(changed, int(rng.integers(55, 93)))


def _log_uniform(rng: np.random.Generator, low: int, high: int) -> int:
    """A whole number from low to high, small ones as much likelier as they are smaller."""
    return min(high, int(np.exp(rng.uniform(np.log(low), np.log(high + 1)))))


def _some(rng: np.random.Generator, paths: Iterable[Path], count: int) -> list[Path]:
    """So many of the paths, in their order."""
    every = list(paths)
    return [every[i] for i in sorted(rng.choice(len(every), count, replace=False))]
