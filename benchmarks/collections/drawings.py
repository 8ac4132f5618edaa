"""Drawings: groups of one subject or one hand from Debian's openclipart-png, on white paper.

A group is a set of file patterns, chosen by looking at the pictures: the folders hold what authors
filed there, and many are mixed.  A file counts for the first group that names it, and a file name
that the package holds in several folders counts once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from benchmarks.collections.alterations import chance, jpeg, on_white

__all__ = ["GROUPS", "OPENCLIPART", "choose", "drawings", "usable"]

OPENCLIPART = Path("/usr/share/openclipart/png")
_LONGEST = 512  # pixels
_MOST = 40  # pictures in a group
_PIXELS = 16_000_000  # a few files are renderings of up to 620 million pixels, and seconds each
_NOT_MEANT = frozenset(  # a message in place of the drawing, and things that only share a name
    (
        "tux_didier_fabert_01.png",
        "volleball_net_angelo_gel_01.png",
        "cat_scrathing_post_benji_01.png",
    )
)

GROUPS: Mapping[str, tuple[str, ...]] = {
    "ants-and-bees": ("animals/bugs/*abeille*", "animals/bugs/*bee*", "animals/bugs/*wasp*"),
    "butterflies": ("animals/bugs/*butterfl*", "animals/bugs/*farfall*"),
    "ladybirds": ("animals/bugs/cocc*", "animals/bugs/ladybug*"),
    "dinosaurs": ("animals/dinosaurs/*",),
    "bears": ("animals/mammals/bears/*",),
    "big-cats": ("animals/mammals/big_cats/*",),
    "dogs": ("animals/mammals/dogs/*", "animals/mammals/dog_*"),
    "horses": ("animals/mammals/horses/*",),
    "housecats": ("animals/mammals/housecats/*", "animals/mammals/cartoon_cat*"),
    "dolphins-and-whales": ("animals/*/dolphin*", "animals/*/orca*", "animals/*/bluewhale*"),
    "elephants": ("animals/mammals/ele*", "animals/mammals/contour_elephant*"),
    "penguins": ("animals/birds/penguin/*", "animals/birds/*penguin*", "animals/birds/*tux*"),
    "swans": ("animals/birds/cign*",),
    "houses": ("buildings/homes/ho*", "buildings/homes/*_house_*", "buildings/homes/casa*"),
    "tables": ("buildings/furniture/*_table_*", "buildings/furniture/tavolo*"),
    "apples": ("food/fruit/apple.png", "food/fruit/apple_[!j]*", "food/fruit/*_apple_*_01.png"),
    "lemons-and-limes": ("food/fruit/lemon*", "food/fruit/lime*"),
    "pears": ("food/fruit/*pear*", "food/fruit/pera*"),
    "grapes": ("food/fruit/grape*",),
    "oranges": ("food/fruit/orange*", "food/fruit/rondelle*"),
    "strawberries": ("food/fruit/strawberry*",),
    "ice-creams": ("food/desserts/cone*", "food/desserts/glace*", "food/desserts/ice_cream*"),
    "sweets": ("food/desserts/candy*", "food/desserts/lollipop*"),
    "cakes": ("food/desserts/*cake*", "food/desserts/gateau*", "food/desserts/torta*"),
    "hot-drinks": ("food/beverages/*coffe*", "food/beverages/*mug*", "food/beverages/*cup*"),
    "burgers": ("food/meats_and_eggs/*burger*",),
    "eggs": ("food/meats_and_eggs/fried_egg*", "food/meats_and_eggs/*egg_[!m]*"),
    "wine-and-cocktails": ("food/*/alcohol/wine_g*", "food/*/alcohol/*martini*"),
    "telephones": ("office/telephone/*phone*",),
    "hats": ("people/clothing/hats/*",),
    "mouths": ("people/bodypart/mouth*", "people/bodypart/lips*"),
    "smileys": ("people/smilies/smiley*",),
    "blue-men": ("people/stickmen/blueman*",),
    "stick-men": ("people/stickmen/sm_*",),
    "flowers": (
        "plants/flowers/*flower_*",
        "plants/flowers/*[dt][auo][filps]*",
    ),
    "fir-trees": ("recreation/holiday/christmas/*tree*", "recreation/holiday/christmas/*evergr*"),
    "balloons": ("recreation/party/balloon*", "recreation/party/baloon*"),
    "harps": ("recreation/music/harp*",),
    "trumpets": ("recreation/music/trumpet_[bp]*", "recreation/music/trumpet_herald*"),
    "violins-and-cellos": ("recreation/music/violin*", "recreation/music/cello*"),
    "drums": ("recreation/music/*drum*", "recreation/music/derbouk*", "recreation/music/djamb*"),
    "records": ("recreation/music/45_rpm*", "recreation/music/vinyl*"),
    "playing-cards": ("recreation/games/cards/simple/*",),
    "ornamental-cards": ("recreation/games/cards/ornamental/*",),
    "card-backs": ("recreation/games/cards/cardbacks/*",),
    "chess-pieces": ("recreation/games/chess/chesspieces*",),
    "teddy-bears": ("recreation/toys/*teddy*",),
    "balls": ("recreation/sports/[89]*ball*", "recreation/sports/*ball_[!bcghp]*"),
    "speech-bubbles": ("shapes/callouts/*",),
    "flowchart-boxes": ("shapes/flowchart/*",),
    "jigsaw-pieces": ("shapes/jigsaw/jigsaw*",),
    "arrows": ("shapes/arrows/arrow-*",),
    "stars": ("shapes/stars/star_*",),
    "buttons": ("shapes/*button*",),
    "clocks": ("signs_and_symbols/clocks/*clock*",),
    "round-lamps": ("signs_and_symbols/led/led_circle*",),
    "boxed-lamps": ("signs_and_symbols/led/led_rectangular*",),
    "african-flags": ("signs_and_symbols/flags/africa/*",),
    "semaphore": ("signs_and_symbols/flags/semaphore/*",),
    "hummers-and-jeeps": ("transportation/vehicles/hummer*", "transportation/*land_cruiser*"),
    "buses": ("transportation/vehicles/bus[12]_*",),
    "aircraft": ("transportation/vehicles/*aircraft*", "transportation/vehicles/*plane*"),
    "knots": ("transportation/boating/knot_*",),
    "sailing": ("transportation/boating/sailing_*",),
    "road-signs": ("transportation/roadsigns/*",),
    "travel-signs": ("transportation/aiga-symbols/*",),
    "bullet-holes": ("tools/weapons/bullet_hole*",),
    "magnifiers": ("tools/mag[1-4n]*",),
    "folders": ("computer/folders/*",),
    "moons": ("geography/astronomy/0*", "geography/astronomy/moon*"),
    "tiled-patterns": ("special/patterns/pattern-*",),
    "etiquette-icons": ("computer/icons/etiquette-theme/*",),
    "lemon-icons": ("computer/icons/lemon-theme/mimetypes/*",),
}


def drawings(seed: int, home: Path = OPENCLIPART) -> Iterator[tuple[str, list[bytes]]]:
    """Every group with the JPEG files of its members, 2 to 40.

    Raises ``FileNotFoundError`` where openclipart-png is not installed.
    """
    for group, paths in choose(seed, home).items():
        yield group, [jpeg(on_white(path, _LONGEST)) for path in paths]


def choose(seed: int, home: Path = OPENCLIPART) -> dict[str, list[Path]]:
    """The files of every group of at least two, in order; chance picks from those with over 40.

    Raises ``FileNotFoundError`` where there is no drawing below the folder.
    """
    every = sorted(path.relative_to(home).as_posix() for path in home.rglob("*.png"))
    if not every:
        raise FileNotFoundError(f"There is no drawing below {home}: install openclipart-png.")
    taken: set[str] = set()
    groups = {}
    for group, patterns in GROUPS.items():
        found: dict[str, str] = {}
        for path in every:
            name = path.rpartition("/")[2]
            if (
                name in taken
                or name in _NOT_MEANT
                or not any(fnmatchcase(path, pattern) for pattern in patterns)
            ):
                continue
            if usable(home / path):
                found.setdefault(name, path)
        taken.update(found)
        members = list(found.values())
        if len(members) > _MOST:
            kept = chance(seed, "drawings", group).choice(len(members), _MOST, replace=False)
            members = [members[i] for i in sorted(kept)]
        if len(members) >= 2:
            groups[group] = [home / path for path in members]
    return groups


def usable(path: Path) -> bool:
    """Whether a PNG's header names at most 16 million pixels; Pillow would refuse the largest."""
    with path.open("rb") as file:
        header = file.read(24)
    width, height = (int.from_bytes(header[i : i + 4], "big") for i in (16, 20))
    return 0 < width * height <= _PIXELS
