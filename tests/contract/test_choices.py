"""The words that people choose with are what the code can do, and every command offers them."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from itertools import chain

import click
import numpy as np
import pytest

from parecido.indexer.encoders.building.feature_map import _WAY
from parecido.indexer.encoders.networks import saved_file
from parecido.indexer.encoders.networks.efficientnet_lite import LITE_NETWORKS
from parecido.indexer.encoders.opening import open_encoder
from parecido.indexer.encoders.presets import DEFAULT_QUALITY, PRESETS, with_size
from parecido.indexer.encoders.registry import model_table
from parecido.indexer.encoders.resolve import resolve
from parecido.indexer.errors import EncoderUnavailable, InvalidRequest
from parecido.indexer.indexing.options import check_dimension
from parecido.indexer.pictures.decode import RESAMPLE
from parecido.indexer.records import choices
from parecido.indexer.records.encoder import EncoderChoice, EncoderSpec, SizePolicy
from parecido.search.asking.ask import Ask
from parecido.search.cli import COMMANDS
from parecido.search.evaluating.recipe import list_built_in
from parecido.search.explaining.contributions import parts_of
from parecido.search.web.routes import pictures
from tests.support.fakes import fake_spec

# what an option of that name offers, in whatever command it is
OFFERED = {
    "device": choices.DEVICES,
    "pooling": choices.POOLINGS,
    "precision": choices.PRECISIONS,
    "preprocessing": choices.PREPROCESSINGS,
    "quality": choices.QUALITIES,
    "resample": choices.FILTERS,
    "together": choices.TOGETHER,
}


def test_importing_the_words_imports_nothing_that_they_choose_between() -> None:
    code = (
        "import parecido.indexer.records.choices, sys\n"
        "print([m for m in sys.modules if m.startswith('parecido.')],\n"
        "      sorted({'numpy', 'PIL', 'click', 'dataclasses'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rooms = ["parecido.indexer", "parecido.indexer.records", "parecido.indexer.records.choices"]
    assert done.stdout == f"{rooms} []\n"


def test_every_command_offers_a_list_that_is_written_here() -> None:
    found = []
    for place, _ in COMMANDS.values():
        module, _, name = place.partition(":")
        for parameter in getattr(import_module(module), name).params:
            if isinstance(parameter.type, click.Choice) and parameter.name != "shell":
                assert parameter.name is not None
                assert tuple(parameter.type.choices) == OFFERED[parameter.name]
                found.append(parameter.name)
    assert set(found) == set(OFFERED)
    assert found.count("device") >= 4


def test_qualities_are_the_presets() -> None:
    assert tuple(PRESETS) == choices.QUALITIES
    assert DEFAULT_QUALITY in choices.QUALITIES


def test_filters_are_those_that_a_picture_is_brought_to_size_with() -> None:
    assert tuple(RESAMPLE) == choices.FILTERS
    assert EncoderSpec.resample in choices.FILTERS


def test_poolings_are_those_that_some_network_offers() -> None:
    offered = set(chain.from_iterable(info.poolings for info in model_table()))
    assert offered | {choices.NO_POOLING} == set(choices.POOLINGS)
    assert all(set(info.poolings) >= set(choices.MAP_POOLINGS) for info in model_table())
    assert {network.pooling for network in LITE_NETWORKS} <= set(choices.MAP_POOLINGS)
    for has_map, expected in ((True, choices.MAP_POOLINGS), (False, (choices.NO_POOLING,))):
        facts = {"input": [8, 8], "dimension": 3, "map": has_map}
        assert saved_file.CustomNetwork(saved_file.Path("x"), "none", facts).poolings == expected


def test_every_pooling_of_a_map_is_found_in_a_graph_and_explained_by_places() -> None:
    assert set(_WAY) == set(choices.MAP_POOLINGS)
    features = np.arange(1, 13, dtype=np.float32).reshape(2, 2, 3)
    for pooling in choices.POOLINGS:
        if pooling in choices.MAP_POOLINGS:
            assert np.linalg.norm(parts_of(features, pooling, 1).sum(axis=(0, 1))) > 0.99
        else:
            with pytest.raises(InvalidRequest, match=pooling):
                parts_of(features, pooling, 1)


def test_both_spellings_of_a_size_are_read() -> None:
    policies = [with_size(SizePolicy(192, 192), size, "net") for size in choices.SIZES]
    assert [policy.keep_aspect for policy in policies] == [True, False]


def test_every_precision_but_the_calibrated_one_is_resolved_without_a_library() -> None:
    for precision in choices.UNCALIBRATED:
        spec = resolve(EncoderChoice("efficientnet-lite0", precision=precision))
        assert precision in ("auto", spec.precision)
        assert spec.precision in choices.PRECISIONS
    (calibrated,) = set(choices.PRECISIONS) - set(choices.UNCALIBRATED)
    with pytest.raises(InvalidRequest, match="calibrated on a library's pictures"):
        resolve(EncoderChoice("efficientnet-lite0", precision=calibrated))


def test_every_device_is_known() -> None:
    for device in choices.DEVICES:
        with pytest.raises(EncoderUnavailable):  # not refused as a word: it is no library's model
            open_encoder(fake_spec(precision="int8"), device=device)
    with pytest.raises(InvalidRequest, match=", ".join(choices.DEVICES)):
        open_encoder(fake_spec(precision="int8"), device="tpu")


def test_every_preprocessing_is_known_and_checked() -> None:
    for name in choices.PREPROCESSINGS:
        assert saved_file.check_preprocessing(name) == name
    with pytest.raises(InvalidRequest, match=", ".join(choices.PREPROCESSINGS)):
        saved_file.check_preprocessing("minmax")


@pytest.mark.network
@pytest.mark.filterwarnings("ignore")  # Keras's own code warns of its future
def test_every_preprocessing_is_one_that_keras_has() -> None:
    pixels = np.full((1, 2, 2, 3), 255, np.float32)
    steps = [saved_file._preprocess(name) for name in choices.PREPROCESSINGS]
    made = [np.asarray(step(pixels.copy())) for step in steps]
    assert all(one.shape == pixels.shape for one in made)
    assert len({one.tobytes() for one in made}) == len(choices.PREPROCESSINGS)


def test_both_words_for_a_dimension_and_for_several_pictures_are_taken() -> None:
    for word in choices.DIMENSIONS:
        check_dimension(word)
    for word in choices.TOGETHER:
        Ask(("one.jpg", "other.jpg"), together=word).check()


def test_what_a_browser_is_shown_is_a_format_that_is_read() -> None:
    assert set(pictures._SHOWN) <= set(choices.FORMATS)


def test_recipes_that_need_only_be_named_speak_in_these_words() -> None:
    words = {**OFFERED, "size": choices.SIZES}
    told = [
        (key, value) for recipe in list_built_in().values() for key, value in recipe.index.items()
    ]
    checked = [(key, value) for key, value in told if key in words]
    assert {key for key, _ in checked} == {"pooling", "size", "resample"}
    assert all(value in words[key] for key, value in checked)
