"""The filters of a search as options of a command, and what they mean."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from parecido.indexer.records.choices import FORMATS

if TYPE_CHECKING:
    from parecido.indexer.records.filters import Filter

__all__ = ["CHANCE", "SAME", "filter_of", "filter_options"]

_F = TypeVar("_F", bound=Callable[..., Any])

# Expected numbers of pictures that score so by chance.  Of four views of each of 100 things 87 % of
# the others are below 0.3, and 92 % of what is below is right; of twelve pictures of each of 101
# kinds 53 % are below 3, and 76 % right.
_CHANCES = {"thing": 0.3, "kind": 3.0}
SAME = "picture"
"""What no number stands for: the pixels decide."""


class _Chance(click.ParamType["float | str"]):
    """A number above 0, or a word."""

    name = "chance"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | str:
        if value == SAME:
            return SAME
        if value in _CHANCES:
            return _CHANCES[value]
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if not number > 0:
            self.fail(
                f"{value!r} is neither {SAME}, {', '.join(_CHANCES)} nor a number above 0.", param
            )
        return number


CHANCE = _Chance()
"""The type of ``--max-chance``."""

_SIDE = click.IntRange(min=1)
_OPTIONS = (
    click.option(
        "--label",
        metavar="WORD",
        help="Only what shows this: tiger, dog, musical instrument.",
    ),
    click.option(
        "--path",
        metavar="GLOB",
        type=click.Path(),
        help="Only this folder or file, or paths that match a pattern.",
    ),
    click.option(
        "--taken-from",
        metavar="DATE",
        help="Only what was taken then or later: 2024, 2024-05 or 2024-05-01.",
    ),
    click.option("--taken-to", metavar="DATE", help="Only what was taken then or before."),
    click.option(
        "--added-since", metavar="DATE", help="Only what came into the library since: 2024-05-01."
    ),
    click.option(
        "--near",
        metavar="LAT,LON,KM",
        help="Only what was taken at most so far from there: 48.858,2.294,5.",
    ),
    click.option("--keyword", metavar="WORD", help="Only what has this keyword."),
    click.option(
        "--min-rating",
        type=click.IntRange(-1, 5),
        metavar="N",
        help="Only what has at least so many stars.",
    ),
    click.option("--camera", metavar="TEXT", help="Only by cameras with this in their name."),
    click.option("--format", metavar="NAME", help="Only this file format: JPEG, PNG, HEIC."),
    click.option("--min-width", type=_SIDE, metavar="N", help="Only at least so many pixels wide."),
    click.option("--max-width", type=_SIDE, metavar="N", help="Only at most so many pixels wide."),
    click.option("--min-height", type=_SIDE, metavar="N", help="Only at least so many high."),
    click.option("--max-height", type=_SIDE, metavar="N", help="Only at most so many high."),
)
_NAMES = (
    *("label", "path", "taken_from", "taken_to", "added_since", "near", "keyword"),
    *("min_rating", "camera", "format"),
    *("min_width", "max_width", "min_height", "max_height"),
)
_MAGIC = frozenset("*?[")
# what people and other programs call them
_ALSO = {
    **{"JPG": "JPEG", "JPE": "JPEG", "TIF": "TIFF", "HEIC": "HEIF"},
    **{"JP2": "JPEG2000", "J2K": "JPEG2000", "JPEG 2000": "JPEG2000"},
    **{"PGM": "PPM", "PBM": "PPM", "PNM": "PPM", "AVIFS": "AVIF", "HEIFS": "HEIF"},
}


def filter_options(command: _F) -> _F:
    """The options by which a command narrows the pictures that it looks at; :func:`filter_of` reads
    what they give.
    """
    for option in reversed(_OPTIONS):  # click lists them from the innermost
        command = option(command)
    return command


def filter_of(given: dict[str, Any]) -> Filter:
    """The filter that the options of :func:`filter_options` ask for; they are taken out of it.

    ``given`` are a command's arguments by name; an option that is None or absent asks for nothing.
    Raises :class:`~parecido.InvalidRequest` for what cannot be meant: an empty text, a word
    that no class has, a date or a place that is none, a format that is not read, bounds that
    exclude each other.
    """
    from parecido.indexer.errors import InvalidRequest
    from parecido.indexer.records.filters import Filter, parse_near

    asked = {name: given.pop(name, None) for name in _NAMES}
    for name, value in asked.items():
        if isinstance(value, str) and not value.strip():
            raise InvalidRequest(
                f"--{name.replace('_', '-')} is empty.", "Give it a value, or leave it out."
            )
    label, path, form = asked.pop("label"), asked["path"], asked["format"]
    if path is not None:
        asked["path"] = _absolute(path)
    if form is not None:
        asked["format"] = _format(form)
    if asked["near"] is not None:
        asked["near"] = parse_near(asked["near"])
    wanted = Filter(**asked)
    if label is not None:
        from parecido.search.asking.words import label_filter

        wanted = label_filter(wanted, label)
    return wanted


def _absolute(path: str) -> str:
    """A path or pattern as the catalogue's paths are: from the root.

    What is there is meant as it is, brackets and all.
    """
    from parecido.indexer.system.paths import absolute

    whole = absolute(path)
    if not _MAGIC & set(path) or os.path.lexists(whole):
        if not _MAGIC & set(whole):
            return whole
        # a filter takes brackets for a pattern's; what is gone is taken for a folder
        is_file = os.path.lexists(whole) and not os.path.isdir(whole)
        return glob.escape(whole) if is_file else f"{glob.escape(whole)}/*"
    if path.startswith("*"):
        return path
    path = os.path.expanduser(path)
    if not os.path.isabs(path):  # only the folder is meant as it is
        path = os.path.join(glob.escape(os.getcwd()), path)
    return os.path.normpath(path)


def _format(name: str) -> str:
    """Pillow's name of a format, from one that people use.  ``.jpg`` is ``JPEG``."""
    from parecido.indexer.errors import InvalidRequest

    upper = name.strip().removeprefix(".").upper()
    upper = _ALSO.get(upper, upper)
    if upper not in FORMATS:
        raise InvalidRequest(
            f"{name!r} is no file format that is read.", f"Expected one of {', '.join(FORMATS)}."
        )
    return upper
