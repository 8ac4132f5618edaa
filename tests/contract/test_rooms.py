"""The plan of the house: how many doors a room has, how long a class, how wide a function.

Which way imports run is in pyproject.toml, where import-linter reads it.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.places import REPOSITORY

MODULES = 10  # in a room, beside its __init__ and the rooms inside it
CLASS_LINES = 300
PARAMETERS = 6
LONG_CLASSES: dict[str, str] = {
    "indexer/vectors/local/index.py VectorIndex": "one file and what was changed since: its parts "
    "are modules already, and what is left shares all of its state",
}
WIDE_FUNCTIONS = {
    # words of an encoder that people give by name
    "indexer/encoders/opening.py load_encoder",
    "search/evaluating/evaluation.py evaluate",
}


PARTICIPLES = {
    *("built", "chosen", "done", "drawn", "found", "given", "gone", "grown", "held", "hidden"),
    *("kept", "left", "lost", "made", "meant", "seen", "sent", "shown", "taken", "thought"),
    *("told", "written"),
}
"""The common irregular ones; the regular ones end in -ed.

``read``, ``put``, ``set`` and ``cut`` are verbs as well, and ``known`` is what a catalogue knows.
"""
PARTICIPLE_NAMES = {
    "search/web/routes/pictures.py listed": "the OpenAPI document names handlers",
    **{
        f"search/web/callers/connections.py {name}": "asyncio tells a protocol what happened"
        for name in ("connection_made", "connection_lost", "data_received")
    },
}


def folders() -> Iterator[Path]:
    for side in ("indexer", "search", "benchmarks"):
        for path in [REPOSITORY / side, *sorted((REPOSITORY / side).rglob("*"))]:
            if path.is_dir() and any(path.glob("*.py")):
                yield path


def modules() -> Iterator[tuple[str, ast.Module]]:
    for side in ("indexer", "search"):
        for path in sorted((REPOSITORY / side).rglob("*.py")):
            name = path.relative_to(REPOSITORY).as_posix()
            yield name, ast.parse(path.read_text("utf-8"))


def test_a_room_has_at_most_ten_modules() -> None:
    doors = {
        folder.relative_to(REPOSITORY).as_posix(): sorted(
            path.name for path in folder.glob("*.py") if path.name != "__init__.py"
        )
        for folder in folders()
        if folder.name != "versions"
    }
    assert {room: own for room, own in doors.items() if len(own) > MODULES} == {}


@pytest.mark.parametrize(("side", "most"), [("indexer", 15), ("search", 12)])
def test_a_floor_has_few_rooms(side: str, most: int) -> None:
    found = [
        path
        for path in (REPOSITORY / side).iterdir()
        if (path.is_dir() and (path / "__init__.py").exists()) or path.suffix == ".py"
    ]
    assert len([path for path in found if path.name != "__init__.py"]) <= most


def test_every_room_says_what_it_is_for() -> None:
    assert [
        folder.name
        for folder in folders()
        if not ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8")))
        and folder.name not in ("migrations", "versions")
    ] == []


def test_a_long_class_has_a_reason() -> None:
    long = {
        f"{name} {node.name}"
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and (node.end_lineno or 0) - node.lineno + 1 > CLASS_LINES
    }
    assert long == set(LONG_CLASSES)


def test_no_function_takes_more_than_six_parameters() -> None:
    """Commands have a parameter for each option; everything else takes a record instead."""
    wide = {
        f"{name} {node.name}"
        for name, tree in modules()
        if "commands" not in name
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and _parameters(node) > PARAMETERS
    }
    assert wide == WIDE_FUNCTIONS


def test_functions_are_named_by_verbs() -> None:
    """What they do, not what was done: a participle is the name of a value, or of a question."""
    named = {
        f"{name} {node.name}"
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and not any(ast.unparse(one).endswith("property") for one in node.decorator_list)
        and _is_participle(node.name)
    }
    assert named == set(PARTICIPLE_NAMES)


def _is_participle(name: str) -> bool:
    words = name.strip("_").split("_")
    if name.startswith("__") or words[0] in ("is", "has", "keeps"):
        return False
    return words[-1] in PARTICIPLES or words[-1].endswith("ed")


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    given = function.args
    names = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    extra = (given.vararg is not None) + (given.kwarg is not None)
    return len(names) - (names[:1] in (["self"], ["cls"])) + extra


def test_every_room_stands_on_a_floor() -> None:
    """Import-linter fails for a module that is in no layer only where a contract asks it to."""
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["tool"]
    contracts = settings["importlinter"]["contracts"]
    exhaustive = {
        container
        for contract in contracts
        if contract["type"] == "layers" and contract.get("exhaustive")
        for container in contract["containers"]
    }
    assert exhaustive == {
        *("parecido.indexer", "parecido.indexer.encoders"),
        *("parecido.search", "parecido.search.web"),
    }
    assert {
        "name": "no circles in any room",
        "type": "acyclic_siblings",
        "ancestors": ["parecido"],
    } in contracts
