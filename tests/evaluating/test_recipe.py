"""Recipes as the command line writes them."""

from __future__ import annotations

import dataclasses

import pytest

from parecido.indexer.errors import InvalidRequest
from parecido.indexer.indexing.options import IndexOptions
from parecido.search.evaluating.recipe import (
    SEARCH_KEYS,
    Recipe,
    index_keys,
    list_built_in,
    parse_recipe,
)


def refused(text: str) -> str:
    with pytest.raises(InvalidRequest) as caught:
        parse_recipe(text)
    return str(caught.value)


def test_a_recipe_has_a_name_and_settings_for_indexing_and_searching() -> None:
    recipe = parse_recipe(" my best 2: model=vgg16 workers=3 pooling=gem expand=on rerank=Off")
    assert recipe == Recipe(
        "my best 2",
        {"model": "vgg16", "workers": 3, "pooling": "gem"},
        {"expand": True, "rerank": False},
    )
    assert recipe.options(hidden=True) == IndexOptions(
        model="vgg16", workers=3, pooling="gem", hidden=True
    )


def test_a_recipe_without_settings_is_the_default() -> None:
    assert parse_recipe("x:") == Recipe("x")
    assert parse_recipe("default") == Recipe("default")
    assert Recipe("x").options() == IndexOptions()


def test_a_value_with_spaces_stands_in_quotes() -> None:
    recipe = parse_recipe(r"""x: weights="/a b/#c\d.h5" model='my net.keras' """)
    assert recipe.index == {"weights": r"/a b/#c\d.h5", "model": "my net.keras"}


def test_settings_of_indexing_are_the_fields_of_its_options() -> None:
    fields = {field.name for field in dataclasses.fields(IndexOptions)}
    keys = index_keys()
    assert set(keys) <= fields
    assert {name: keys[name] for name in ("model", "pooling", "weights", "precision")} == {
        "model": str,
        "pooling": str,
        "weights": str,
        "precision": str,
    }
    assert keys["workers"] is int
    assert keys["think_twice"] is keys["within"] is bool
    assert keys["dimension"] is str  # a number, too: the option takes either
    # which files, and how to behave, is not a recipe's business
    assert not set(keys) & {"exclude", "hidden", "limits", "wait", "show_output", "exact"}


def test_a_built_in_recipe_is_offered_when_all_its_settings_are_known() -> None:
    recipes = list_built_in()
    assert recipes["default"] == Recipe("default")
    assert recipes["plain"].index == {
        "model": "efficientnet-lite0",
        "pooling": "avg",
        "size": "224x224",
        "resample": "nearest",
        "dimension": "full",
    }
    for name, recipe in recipes.items():
        assert recipe.name == name
        assert set(recipe.search) <= set(SEARCH_KEYS)
        recipe.options()


def test_an_unknown_recipe_is_refused_with_the_known_ones() -> None:
    said = refused("defualt")
    assert "'defualt' is no recipe of this program. Known are default" in said
    assert "NAME: key=value" in said


def test_the_encoders_own_space_is_a_dimension_and_not_a_setting_of_its_own() -> None:
    assert parse_recipe("x: dimension=full").options() == IndexOptions(dimension="full")
    assert parse_recipe("x: dimension=64").options() == IndexOptions(dimension="64")
    assert "the unknown setting 'space'" in refused("x: space=off")


def test_an_unknown_setting_is_refused_with_the_nearest() -> None:
    said = refused("x: pooling=avg poling=max")
    assert "The recipe x has the unknown setting 'poling'. Did you mean pooling?" in said
    assert f"The settings are {', '.join(sorted({*index_keys(), *SEARCH_KEYS}))}." in said
    assert "Did you mean" not in refused("x: zzz=1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x: expand=maybe", "The setting expand of the recipe x should be on or off, got 'maybe'."),
        ("x: workers=two", "The setting workers of the recipe x should be a whole number"),
        ("x: model=", "The setting model of the recipe x has no value. Write model=VALUE."),
        ("x: model", "The setting model of the recipe x has no value."),
        ("x: model=a model=b", "The recipe x has the setting model twice."),
        ("x: expand=on expand=on", "The recipe x has the setting expand twice."),
        ("x: model='a", "A quotation mark of the recipe x is not closed."),
        (": model=a", "'' cannot be the name of a recipe."),
        ("../x: model=a", "'../x' cannot be the name of a recipe."),
        (f"{'x' * 41}:", "cannot be the name of a recipe. Choose up to 40"),
    ],
)
def test_what_a_recipe_cannot_be_is_told(text: str, said: str) -> None:
    assert said in refused(text)


def test_recipes_that_index_alike_share_a_library() -> None:
    one = parse_recipe("one: model=vgg16 pooling=max").library_name
    assert one == parse_recipe("other: pooling=max model=vgg16 rerank=on").library_name
    assert one.startswith("model=vgg16-pooling=max-")
    others = ["x: model=vgg16", "x:", "x: model=vgg16 pooling=max workers=1", "x: model=a/b"]
    names = {parse_recipe(text).library_name for text in others} | {one}
    assert len(names) == 5
    for name in names:
        assert name.endswith(".evaluation")
        assert "/" not in name
        assert len(name) < 90
