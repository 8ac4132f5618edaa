"""Words for ImageNet's classes: the committed table, what it says, and where it comes from."""

from __future__ import annotations

import runpy
import subprocess
import sys
from collections import Counter
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parecido.indexer.encoders.imagenet.classes import IMAGENET_CLASSES, class_lemmas, class_names
from parecido.indexer.encoders.imagenet.words import classes_of, key, known_words
from parecido.indexer.errors import InvalidRequest
from tests.support.places import REPOSITORY

WORDNET = Path("/usr/share/wordnet")  # where Debian's wordnet-base puts it
TEXT = files("parecido.indexer.encoders.imagenet").joinpath("words.tsv").read_text("utf-8")


def named(word: str) -> set[str]:
    """The names of a word's classes."""
    return {class_names()[index] for index in classes_of(word)}


# -- the table -------------------------------------------------------------------------------------


def test_every_word_stands_in_one_row_and_every_row_has_its_own_classes() -> None:
    rows = [line.split("\t") for line in TEXT.splitlines()]
    assert TEXT.endswith("\n")
    words = Counter(key(word) for _, words in rows for word in words.split(", "))
    assert set(words.values()) == {1}
    assert "" not in words
    assert len({classes for classes, _ in rows}) == len(rows)
    assert len(known_words()) == len(words)


def test_indices_are_of_classes_and_in_ascending_runs() -> None:
    for line in TEXT.splitlines():
        runs = [part.split("-") for part in line.partition("\t")[0].split(",")]
        ends = [(int(run[0]), int(run[-1])) for run in runs]
        assert all(first <= last for first, last in ends)
        assert all(one[1] + 1 < other[0] for one, other in pairwise(ends))
        assert ends[0][0] >= 0
        assert ends[-1][1] < IMAGENET_CLASSES


def test_every_name_and_every_lemma_of_a_class_stands_for_it() -> None:
    for index, (name, lemmas) in enumerate(zip(class_names(), class_lemmas(), strict=True)):
        for word in (name, *lemmas):
            assert index in classes_of(word), word


@pytest.mark.skipif(not (WORDNET / "data.noun").is_file(), reason="WordNet is not installed here")
def test_the_script_makes_the_very_same_table_of_wordnet() -> None:
    script = runpy.run_path(str(REPOSITORY / "data" / "make_words.py"))
    assert script["table"](WORDNET) == TEXT


def test_the_table_is_not_read_before_a_word_is_asked_for() -> None:
    code = (
        "import sys, parecido.search.asking.words, parecido.search.commands.filters\n"
        "import parecido.search.web.schemas.requests\n"
        "parecido.search.commands.filters.filter_of({'format': 'png'})\n"
        "assert 'parecido.indexer.encoders.imagenet.words' not in sys.modules\n"
        "from parecido.indexer.encoders.imagenet import words\n"
        "assert words._entries.cache_info().currsize == 0\n"
        "parecido.search.commands.filters.filter_of({'label': 'tiger'})\n"
        "assert words._entries.cache_info().currsize == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)


# -- what words mean -------------------------------------------------------------------------------


def test_broader_words_stand_for_all_kinds() -> None:
    assert classes_of("dog") == frozenset(range(151, 269))  # ILSVRC 2012's dogs
    assert classes_of("bird") == frozenset([*range(7, 25), *range(80, 101), *range(127, 147)])
    assert classes_of("snake") == frozenset(range(52, 69))
    assert named("shark") == {"great white shark", "tiger shark", "hammerhead"}
    assert named("guitar") == {"acoustic guitar", "electric guitar"}
    assert {"airliner", "jeep", "canoe", "tricycle"} <= named("vehicle") < named("conveyance")
    assert {"banana", "lemon", "fig", "acorn"} <= named("fruit")
    assert {"banana", "pizza", "ice cream", "broccoli"} <= named("food")
    assert {"cello", "flute", "grand piano", "drum"} <= named("musical instrument")
    assert {"desk", "wardrobe", "studio couch"} <= named("furniture")


def test_what_is_above_another_stands_for_more() -> None:
    chain = ("tiger", "big cat", "feline", "carnivore", "mammal", "vertebrate", "animal")
    sets = [classes_of(word) for word in chain]
    assert sets[0] == {292}
    assert all(one < other for one, other in pairwise(sets))
    assert len(classes_of("animal")) == 398  # ILSVRC 2012's animals
    assert len(classes_of("artifact")) == 522


def test_synonyms_stand_for_the_same() -> None:
    for one, other in (
        *(("giant panda", "panda bear"), ("sea lion", "seal"), ("cab", "taxi")),
        *(("cellular telephone", "cell phone"), ("dog", "Canis familiaris")),
        *(("ladybug", "ladybird"), ("car", "automobile"), ("plane", "airliner")),
    ):
        assert classes_of(one) & classes_of(other), (one, other)
    assert classes_of("tabby cat") == classes_of("tabby") == {281}


def test_a_word_of_several_things_stands_for_all_of_them() -> None:
    assert classes_of("crane") == {134, 517}
    assert classes_of("crane (machine)") == {517}
    assert classes_of("monitor") > classes_of("monitor lizard")
    assert {"amphibian", "bullfrog"} < named("amphibian")
    assert classes_of("instrument") > classes_of("musical instrument")


def test_a_further_name_that_nobody_uses_does_not_blur_a_word() -> None:
    assert classes_of("cat") == frozenset(range(281, 288))  # five cats, cougar, lynx; no lion
    assert not classes_of("toy") & classes_of("dog")
    assert not classes_of("machine") & classes_of("truck")
    assert not classes_of("blower") & classes_of("whale")


@pytest.mark.parametrize("word", ["entity", "object", "whole", "matter", "abstraction", "cause"])
def test_words_that_would_let_all_through_are_no_words(word: str) -> None:
    with pytest.raises(InvalidRequest):
        classes_of(word)
    assert max(len(classes_of(known)) for known in known_words()) <= 600


# -- how they may be written -----------------------------------------------------------------------


@given(st.sampled_from(known_words()), st.data())
def test_capitals_spaces_hyphens_and_underscores_do_not_matter(
    word: str, data: st.DataObject
) -> None:
    pieces = [
        data.draw(st.sampled_from((letter.upper(), letter.lower()))) if letter.isalnum() else letter
        for letter in word
    ]
    gaps = data.draw(st.lists(st.sampled_from(("", " ", "-", "_")), min_size=len(pieces)))
    written = "".join(gap + piece for gap, piece in zip(gaps, pieces, strict=False))
    assert classes_of(written) == classes_of(word)


def test_plurals_stand_for_their_singulars() -> None:
    for plural, singular in (
        *(("dogs", "dog"), ("foxes", "fox"), ("butterflies", "butterfly"), ("wolves", "wolf")),
        *(("knives", "knife"), ("geese", "goose"), ("mice", "mouse"), ("buses", "bus")),
        *(("Siamese cats", "Siamese cat"), ("volcanoes", "volcano"), ("frogmen", "frogman")),
        *(("musical-instruments", "musical instrument"), ("cow", "cows"), ("oxen", "ox")),
    ):
        assert classes_of(plural) == classes_of(singular)
    assert classes_of("sunglasses") != classes_of("glass")  # a word of its own comes first


@pytest.mark.parametrize(
    ("word", "near"),
    [("tigr", "tiger"), ("dalmation", "dalmatian"), ("gitar", "guitar"), ("elefant", "elephant")],
)
def test_a_word_that_no_class_has_is_told_with_the_nearest(word: str, near: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        classes_of(word)
    assert repr(word) in caught.value.message
    assert near in caught.value.remedy.removesuffix(".").split(": ")[1].split(", ")


@pytest.mark.parametrize("word", ["", "  ", "-_-", "日本", "x" * 100_000, "zzzzqqqq"])
def test_where_nothing_is_near_broader_words_are_proposed(word: str) -> None:
    with pytest.raises(InvalidRequest, match="Try a broader word") as caught:
        classes_of(word)
    assert len(str(caught.value)) < 200
    for proposed in caught.value.remedy.partition(": ")[2].removesuffix(".").split(", "):
        assert classes_of(proposed)


def test_the_words_that_an_error_names_are_known_and_mean_different_things() -> None:
    for word in ("tigr", "wal", "canine dog", "sheperd", "trukc"):
        with pytest.raises(InvalidRequest) as caught:
            classes_of(word)
        named = caught.value.remedy.removesuffix(".").split(": ")[1].split(", ")
        assert len({classes_of(one) for one in named}) == len(named) <= 4
        assert set(named) <= set(known_words())
