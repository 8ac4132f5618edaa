"""A recipe: a name for one way to index and to search, as an evaluation compares them."""

from __future__ import annotations

import difflib
import hashlib
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from parecido.indexer.errors import InvalidRequest
from parecido.indexer.indexing.options import IndexOptions

__all__ = ["SEARCH_KEYS", "Recipe", "index_keys", "list_built_in", "parse_recipe"]

Value = str | int | float | bool

SEARCH_KEYS = ("expand", "rerank")
"""Settings of the ranking, each on or off; the others are fields of ``IndexOptions``."""

# Fields of IndexOptions that say which files or how to behave: the collection and the command
# decide them.  ``exact``: an evaluation looks at every descriptor anyway.
_NOT_OF_A_RECIPE = {"exact", "exclude", "hidden", "include", "limits", "show_output", "wait"}

# In the words of the command line.  A recipe whose settings this version does not all know is not
# offered.
_BUILT_IN = {
    "default": "",
    # What tutorials do: Keras's load_img squeezes to 224 × 224 with nearest neighbour; average
    # pooling, unit length, cosine.
    "plain": "model=efficientnet-lite0 pooling=avg size=224x224 resample=nearest dimension=full",
}

_NAME = re.compile(r"\w[\w .,+-]{0,39}")
_SWITCH = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}


@dataclass(frozen=True)
class Recipe:
    """A named way to index and to search."""

    name: str
    index: Mapping[str, Value] = field(default_factory=dict)
    """Fields of :class:`~parecido.indexer.indexing.options.IndexOptions` that are not left at their
    defaults.
    """
    search: Mapping[str, bool] = field(default_factory=dict)
    """Settings of the ranking, by :data:`SEARCH_KEYS`."""

    def options(self, **more: Any) -> IndexOptions:
        """How to index for this recipe."""
        settings: dict[str, Any] = {**self.index, **more}
        return IndexOptions(**settings)

    @property
    def library_name(self) -> str:
        """The name of a folder for its library; recipes that index alike share it.

        The settings are in it, so that a library that was kept is never taken for another's, and
        the ending keeps it apart from a library that is somebody's own.
        """
        text = " ".join(f"{key}={value}" for key, value in sorted(self.index.items()))
        shown = re.sub(r"[^\w.=-]+", "-", text).strip("-.")[:60] or "default"
        return f"{shown}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.evaluation"


def index_keys() -> dict[str, type[Value]]:
    """The settings of indexing that a recipe may have, each with the type of its value."""
    keys: dict[str, type[Value]] = {}
    for name, hint in get_type_hints(IndexOptions).items():
        is_union = get_origin(hint) in (Union, UnionType)
        accepted = get_args(hint) if is_union else (hint,)
        kinds = [kind for kind in _READERS if kind in accepted]
        if kinds and name not in _NOT_OF_A_RECIPE:
            keys[name] = kinds[-1]
    return keys


def list_built_in() -> dict[str, Recipe]:
    """The recipes that need only be named."""
    known = {*index_keys(), *SEARCH_KEYS}
    recipes = {}
    for name, text in _BUILT_IN.items():
        if {pair.partition("=")[0] for pair in text.split()} <= known:
            recipes[name] = Recipe(name, *_settings(text, name))
    return recipes


def parse_recipe(text: str) -> Recipe:
    """The recipe that ``name: key=value key=value`` describes, or a built-in one by its name.

    Values with spaces stand in quotes.  Raises ``InvalidRequest`` for an unknown name or setting,
    naming the nearest known ones, and for a value that its setting cannot have.
    """
    name, colon, rest = text.partition(":")
    name = name.strip()
    if not colon:
        recipes = list_built_in()
        if name not in recipes:
            raise InvalidRequest(
                f"{name!r} is no recipe of this program.",
                f"Known are {', '.join(recipes)}; or write one: 'NAME: key=value key=value'.",
            )
        return recipes[name]
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"{name!r} cannot be the name of a recipe.",
            "Choose up to 40 letters, digits, spaces, dots, plus signs and hyphens, a letter or "
            "digit first.",
        )
    return Recipe(name, *_settings(rest, name))


def _settings(text: str, name: str) -> tuple[dict[str, Value], dict[str, bool]]:
    kinds: dict[str, type[Value]] = {**dict.fromkeys(SEARCH_KEYS, bool), **index_keys()}
    index: dict[str, Value] = {}
    search: dict[str, bool] = {}
    for word in _words(text, name):
        key, equals, value = word.partition("=")
        if key not in kinds:
            raise _unknown(key, name, kinds)
        if not equals or not value:
            raise InvalidRequest(
                f"The setting {key} of the recipe {name} has no value.", f"Write {key}=VALUE."
            )
        if key in index or key in search:
            raise InvalidRequest(
                f"The recipe {name} has the setting {key} twice.", "Keep one of them."
            )
        read = _READERS[kinds[key]](value)
        if read is None:
            raise InvalidRequest(
                f"The setting {key} of the recipe {name} should be {_WANTED[kinds[key]]}, got "
                f"{value!r}."
            )
        if key in SEARCH_KEYS and isinstance(read, bool):
            search[key] = read
        else:
            index[key] = read
    return index, search


def _words(text: str, name: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = lexer.escape = ""  # a path may hold # and \
    try:
        return list(lexer)
    except ValueError as error:
        raise InvalidRequest(
            f"A quotation mark of the recipe {name} is not closed.", "Close it."
        ) from error


def _unknown(key: str, name: str, known: Iterable[str]) -> InvalidRequest:
    near = difflib.get_close_matches(key, list(known), n=2)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    return InvalidRequest(
        f"The recipe {name} has the unknown setting {key!r}.",
        f"{hint}The settings are {', '.join(sorted(known))}.",
    )


def _number(kind: type[int] | type[float]) -> Callable[[str], Value | None]:
    def read(text: str) -> Value | None:
        try:
            return kind(text)
        except ValueError:
            return None

    return read


_READERS: dict[type[Value], Callable[[str], Value | None]] = {
    bool: lambda text: _SWITCH.get(text.lower()),
    int: _number(int),
    float: _number(float),
    str: lambda text: text,
}
_WANTED: dict[type[Value], str] = {
    bool: "on or off",
    int: "a whole number",
    float: "a number",
    str: "a text",
}
