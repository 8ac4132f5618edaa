"""Words for quality, sizes and filters: what they mean, and how existing libraries refuse them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parecido.indexer.encoders.presets import DEFAULT_QUALITY, PRESETS, find_quality, with_size
from parecido.indexer.encoders.resolve import MEASURED, resolve
from parecido.indexer.errors import EncoderMismatch, InvalidRequest
from parecido.indexer.indexing.options import IndexOptions, check_dimension
from parecido.indexer.indexing.pipeline import index
from parecido.indexer.library.library import Library
from parecido.indexer.records.encoder import EncoderChoice, SizePolicy
from tests.support.fakes import fake_encoder, save_pictures
from tests.support.harness import put

FREE = SizePolicy(224, 224)
FIXED = SizePolicy(180, 240, keep_aspect=False)


def test_each_quality_is_dearer_than_the_one_before() -> None:
    fast, balanced, best = PRESETS.values()
    assert list(PRESETS) == ["fast", "balanced", "best"]
    specs = [resolve(EncoderChoice(quality=name)) for name in PRESETS]
    pixels = [spec.size.width * spec.size.height for spec in specs]
    assert pixels[0] < pixels[1] <= pixels[2]
    assert [spec.model for spec in specs] == [fast.model, balanced.model, best.model]
    assert [quality.reranks_by_default for quality in (fast, balanced, best)] == [
        False,
        False,
        True,
    ]
    assert {spec.model for spec in specs} <= MEASURED
    assert len({spec.fingerprint for spec in specs}) == 3


def test_without_a_word_it_is_the_default() -> None:
    assert find_quality(None) is PRESETS[DEFAULT_QUALITY]
    assert resolve(EncoderChoice("efficientnet-lite0")) == resolve(
        EncoderChoice(quality=DEFAULT_QUALITY)
    )


@pytest.mark.parametrize("name", ["good", "Best", " fast", "balanced,best"])
def test_another_word_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        find_quality(name)
    assert caught.value.message == f"Expected a quality of fast, balanced, best, got {name!r}."
    assert caught.value.remedy == "balanced suits most libraries."


def test_what_is_said_beside_the_quality_stays() -> None:
    spec = resolve(EncoderChoice(quality="best", size="192", resample="lanczos", pooling="gem"))
    assert spec.model == PRESETS["best"].model
    assert (spec.size.height, spec.size.width, spec.size.keep_aspect) == (192, 192, True)
    assert (spec.resample, spec.pooling) == ("lanczos", "gem")
    named = resolve(EncoderChoice("efficientnet-lite0", quality="best"))
    assert (named.model, named.size.width) == ("efficientnet-lite0", 256)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("256", SizePolicy(256, 256)),
        ("224", FREE),
        (" 320 ", SizePolicy(320, 320)),
        ("64", SizePolicy(64, 64)),
        ("2048", SizePolicy(2048, 2048)),
        ("224x224", SizePolicy(224, 224, keep_aspect=False)),
        ("320X160", SizePolicy(160, 320, keep_aspect=False)),  # width first
    ],
)
def test_a_size_is_a_side_that_keeps_shapes_or_a_width_and_a_height(
    text: str, expected: SizePolicy
) -> None:
    assert with_size(FREE, text, "net") == expected


@pytest.mark.parametrize(
    "text",
    ["", "x", "63", "2049", "99999", "-224", "22.4", "224x", "x224", "224x63", "1x2x3", "٢٢٤"],
)
def test_what_is_no_size_is_refused(text: str) -> None:
    for native in (FREE, FIXED):
        with pytest.raises(InvalidRequest) as caught:
            with_size(native, text, "net")
        assert caught.value.message == f"Expected a size from 64 to 2048 pixels, got {text!r}."
        assert caught.value.remedy.startswith("Write 256 to keep")


def test_a_network_of_one_size_takes_that_one() -> None:
    assert with_size(FIXED, "240x180", "net") == FIXED
    for text in ("180x240", "256", "240x240"):
        with pytest.raises(InvalidRequest) as caught:
            with_size(FIXED, text, "net")
        assert caught.value.message == f"net takes pictures of 240x180 only, got {text}."
        assert caught.value.remedy == "Leave out --size."
    square = replace(FIXED, height=240)
    assert with_size(square, "240", "net") == with_size(square, "240x240", "net") == square


@given(side=st.integers(64, 2048), width=st.integers(1, 4000), height=st.integers(1, 4000))
def test_at_any_size_a_square_gets_the_side_and_others_about_the_area(
    side: int, width: int, height: int
) -> None:
    policy = with_size(FREE, str(side), "net")
    assert policy.target(height, height) == (side, side)
    across, down = policy.target(width, height)
    assert policy.target(height, width) == (down, across)
    assert min(across, down) > 0
    assert (across - side) % 32 == (down - side) % 32 == 0


@pytest.mark.parametrize("resample", ["best", "BICUBIC", ""])
def test_another_filter_is_refused(resample: str) -> None:
    with pytest.raises(InvalidRequest, match="Expected a filter of nearest, bilinear, bicubic"):
        resolve(EncoderChoice("efficientnet-lite0", resample=resample))


@pytest.mark.parametrize("dimension", [None, "auto", "full", 2, 4096, "128"])
def test_a_dimension_is_a_number_or_one_of_two_words(dimension: int | str | None) -> None:
    check_dimension(dimension)


@pytest.mark.parametrize("dimension", [1, 4097, 0, -1, "", "Auto", "12.0", "1e3", True, "٣٢"])
def test_what_is_no_dimension_is_refused(dimension: int | str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_dimension(dimension)
    assert repr(dimension) in caught.value.message
    assert "128" in caught.value.remedy


# -- libraries that are there ----------------------------------------------------------------------


@pytest.fixture
def balanced(library: Library) -> Library:
    """A library of the default quality with one picture."""
    spec = resolve(EncoderChoice(quality="balanced"))
    put(library, np.ones((1, spec.dimension)), spec=spec)
    return library


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (IndexOptions(quality="fast"), "the fast quality (efficientnet-lite0 · "),
        (IndexOptions(quality="best"), "the best quality (efficientnet-lite2 · "),
        (IndexOptions(size="224"), "efficientnet-lite0 at 224 pixels"),
        (IndexOptions(size="256x256"), "efficientnet-lite0 at 256x256 pixels"),
        (IndexOptions(resample="lanczos"), "efficientnet-lite0 with lanczos resampling"),
        (IndexOptions(pooling="gem"), "efficientnet-lite0 with gem pooling"),
    ],
)
def test_another_quality_or_size_is_refused_by_name(
    options: IndexOptions, asked: str, balanced: Library, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    before = balanced.encoder
    with pytest.raises(EncoderMismatch) as caught:
        index(balanced, [tmp_path / "empty"], options)
    assert f"and {asked}" in caught.value.message
    assert "was asked for." in caught.value.message
    assert "another --library" in caught.value.remedy
    assert balanced.encoder == before
    assert not balanced.catalogue.settings.reranks_by_default()


@pytest.mark.parametrize(
    "options",
    [
        IndexOptions(),
        IndexOptions(quality="balanced"),
        IndexOptions(size="256"),
        IndexOptions(quality="balanced", size="256", resample="bicubic", pooling="rgem"),
        IndexOptions(model="efficientnet-lite0"),
    ],
)
def test_what_a_library_is_already_is_taken(
    options: IndexOptions, balanced: Library, tmp_path: Path
) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "broken.png").write_bytes(b"no network is run for it")
    report = index(balanced, [tmp_path / "pictures"], options)
    assert (report.added, len(report.skipped), report.removed) == (0, 1, 0)


def test_a_word_that_is_none_is_refused_before_anything_changes(
    balanced: Library, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    generation = balanced.catalogue.generation()
    for options in (
        IndexOptions(quality="good"),
        IndexOptions(size="big"),
        IndexOptions(dimension="wide"),
    ):
        with pytest.raises(InvalidRequest):
            index(balanced, [tmp_path / "empty"], options)
    assert balanced.catalogue.generation() == generation


def test_thinking_twice_is_remembered_until_it_is_told_otherwise(
    library: Library, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    save_pictures(folder, 12)
    steps = [
        (IndexOptions(), False),
        (IndexOptions(think_twice=True), True),
        (IndexOptions(), True),
        (IndexOptions(think_twice=False), False),
        (IndexOptions(quality="best"), True),
        (IndexOptions(quality="best", think_twice=False), False),
        (IndexOptions(quality="fast", think_twice=True), True),
        (IndexOptions(quality="fast"), False),
    ]
    for options, expected in steps:
        index(library, [folder], options, encoder=fake_encoder())
        assert library.catalogue.settings.reranks_by_default() is expected
        if expected:
            assert len(list((library.folder / "neighbours").glob("*.npy"))) == 1
