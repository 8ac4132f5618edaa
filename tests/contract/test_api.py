"""What a program may rely on: the exported names, the errors, the layout of the packages."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import get_args, get_type_hints

import pytest

import parecido
import parecido.indexer.errors
import parecido.web
from tests.support.fakes import fake_encoder, save_pictures
from tests.support.places import REPOSITORY

PACKAGE = REPOSITORY / ".package" / "parecido" / "__init__.py"


def test_the_public_names_are_exactly_these() -> None:
    assert [name for name in parecido.__all__ if name not in parecido.indexer.errors.__all__] == [
        *("Ask", "Backup", "Collection", "Encoder", "Encoding", "Engine", "Evaluation"),
        *("EvaluationSetup", "EvaluationWatch", "Explanation", "Filter", "GivenPicture", "Hit"),
        *("IndexOptions", "IndexReport", "Label", "LeftOut", "Library", "Limits"),
        *(
            "Picture",
            "PictureCheck",
            "Problem",
            "Recipe",
            "Region",
            "Results",
            "Skip",
            "backup",
            "evaluate",
        ),
        *("explain", "index"),
        *("known_words", "label_filter", "load_collection", "load_encoder", "parse_recipe"),
        *("relocate", "remove", "repair", "restore", "search_labels", "verify", "verify_pictures"),
    ]
    assert set(parecido.indexer.errors.__all__) < set(parecido.__all__)
    assert parecido.web.__all__ == ["Settings", "create_app", "running"]


@pytest.mark.parametrize("package", [parecido, parecido.web])
def test_every_public_name_is_there_and_documented(package: ModuleType) -> None:
    for name in package.__all__:
        value = getattr(package, name)
        assert inspect.getdoc(value), f"{name} has no docstring"
        assert not inspect.ismodule(value)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        package.nonsense  # noqa: B018


def test_type_checkers_are_told_of_the_names_that_come_at_run_time() -> None:
    """The imports that only type checkers read, and the table that a first use reads, agree."""
    told = {
        name.name: node.module
        for node in ast.walk(ast.parse(PACKAGE.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("parecido.")
        for name in node.names
    }
    assert told == parecido._HOMES
    assert sorted(told) == sorted(parecido.__all__) == dir(parecido)


def classes_in(hint: object) -> Iterator[type]:
    """The classes of this program in a type hint, at any depth."""
    if isinstance(hint, type) and hint.__module__.startswith("parecido."):
        yield hint
    for part in hint if isinstance(hint, list) else get_args(hint):
        yield from classes_in(part)


@pytest.mark.parametrize(
    "name", ["evaluate", "explain", "load_collection", "parse_recipe", "search_labels"]
)
def test_what_a_public_function_takes_and_gives_is_public_too(name: str) -> None:
    hints = get_type_hints(getattr(parecido, name))
    classes = {found for hint in hints.values() for found in classes_in(hint)}
    assert classes
    assert {found.__name__ for found in classes} <= set(parecido.__all__)


def test_two_pictures_are_explained_with_public_names_alone(tmp_path: Path) -> None:
    one, other = map(str, save_pictures(tmp_path / "pictures", 2))
    encoder = fake_encoder()
    with parecido.Library.create(tmp_path / "library") as library:
        parecido.index(library, [tmp_path / "pictures"], encoder=encoder)
        with parecido.Engine(library, encoder=encoder) as engine:
            query = parecido.GivenPicture(one, parecido.Region.parse("0%,0%,50%,50%"))
            found = parecido.explain(engine, query, parecido.GivenPicture(other))
    assert isinstance(found, parecido.Explanation)
    assert found.why.hit.sum == pytest.approx(found.why.score, abs=1e-3)


def test_a_collection_is_evaluated_with_public_names_alone(tmp_path: Path) -> None:
    for group in ("a", "b"):
        save_pictures(tmp_path / "set" / group, 2)
    (found,) = parecido.evaluate(
        parecido.load_collection(tmp_path / "set"),
        [parecido.parse_recipe("default")],
        tmp_path / "kept",
        parecido.EvaluationSetup(k=1),
        encoder=fake_encoder(),
        watch=parecido.EvaluationWatch(),
    )
    assert isinstance(found, parecido.Evaluation)
    assert list(found.measures) == ["mAP", "R@1", "R@5", "R@10", "P@1"]


def test_a_server_is_imported_without_a_framework_for_networks_or_writing() -> None:
    script = (
        "import parecido.search.commands.serve, parecido.search.web.app, sys\n"
        "heavy = 'tensorflow keras jax nncf openvino faiss sqlalchemy alembic rich'\n"
        "print(sorted(set(heavy.split()) & set(sys.modules)))"
    )
    words = [sys.executable, "-P", "-c", script]
    found = subprocess.run(words, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert found.stdout == "[]\n", found.stdout


def test_importing_the_packages_costs_nothing() -> None:
    code = (
        "import parecido, parecido.indexer, parecido.search, sys\n"
        "print(sorted({'numpy', 'PIL', 'faiss', 'click'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_error_has_an_exit_code_a_status_and_a_code_of_its_own() -> None:
    errors = [getattr(parecido.indexer.errors, name) for name in parecido.indexer.errors.__all__]
    assert all(issubclass(error, parecido.indexer.errors.ParecidoError) for error in errors)
    assert all(error.exit_code == 1 and 400 <= error.http_status < 600 for error in errors)
    codes = [error.code for error in errors]
    assert len(set(codes)) == len(codes)


def test_library_code_neither_prints_nor_exits() -> None:
    def talks(path: Path) -> bool:
        return path.parent.name == "commands" or path == REPOSITORY / "search" / "cli.py"

    for package in ("indexer", "search"):
        for path in (REPOSITORY / package).rglob("*.py"):
            if not talks(path):
                text = path.read_text("utf-8")
                found = re.search(r"^[^#\n]*\b(print\(|sys\.exit|SystemExit|click)", text, re.M)
                assert not found, f"{path}: {found.group(0)}"  # type: ignore[union-attr]


@pytest.mark.network
@pytest.mark.parametrize("document", ["README.md", "docs/python.md"])
def test_the_python_examples_of_the_documents_run(document: str, tmp_path: Path) -> None:
    text = (REPOSITORY / document).read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    assert blocks
    save_pictures(tmp_path / "pictures", 12)
    save_pictures(tmp_path, 1)
    (tmp_path / "0000.png").rename(tmp_path / "photo.png")
    for block in blocks:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", block],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("\n") >= 1
        if "hit.path" in block:
            assert "0000.png" in done.stdout.splitlines()[1]
