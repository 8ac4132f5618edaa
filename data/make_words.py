"""Makes the table of words for ImageNet's classes, synonyms and broader words, from WordNet.

    python data/make_words.py /usr/share/wordnet     # the folder with data.noun, of WordNet 3.0

Writes ``indexer/encoders/imagenet/words.tsv``: each row has class indices (``281-285,287``),
a tab, and the words that stand for just these, joined by ``", "``.  The same WordNet gives the same
bytes every time; Debian's package ``wordnet-base`` has it.

An ImageNet class is a synset of WordNet 3.0: its id, n02123045, is the byte offset of a line in
``data.noun`` (the format is described in WordNet's wndb(5WN)).  The words of that synset and of all
above it stand for the class, with two rules of taste:

- No words for what is too broad to ask for: synsets at most two steps below ``entity`` (object,
  matter, abstraction, causal agent …), and those above more than 60 % of the classes (whole).  The
  broadest words that stay are artifact (522 classes) and animal (398).
- A word with several senses stands for all of them (crane: the bird and the machine), except where
  it is a further name of something that WordNet's annotated texts never call so, while they met
  another of its senses: a cat is no big cat, a toy no toy dog, a machine no car.  A sense that is
  itself a class stays always; and so does the musical one of an instrument, the first that people
  think of.

Irregular plurals (mice, wolves, geese) come from WordNet's ``noun.exc``, and the one name that this
project gave to a class, "crane (machine)", is a word too.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from parecido.indexer.encoders.imagenet.classes import class_lemmas, class_names, class_wnids
from parecido.indexer.encoders.imagenet.words import key

TABLE = Path(__file__).resolve().parent.parent / "indexer" / "encoders" / "imagenet" / "words.tsv"
MOST = 0.6  # of the classes
TOP = 2  # steps below the root
STAYS = ("instrument", "musical_instrument")

Classes = frozenset[int]


class Synset(NamedTuple):
    """A line of ``data.noun``."""

    lemmas: tuple[str, ...]
    """With underscores for spaces, as in the file."""
    above: tuple[int, ...]
    """Offsets of its hypernyms, those of an instance included."""


class Senses(NamedTuple):
    """A line of ``index.noun``."""

    offsets: tuple[int, ...]
    """Of the synsets that a lemma is in, the most frequent first."""
    met: int
    """How many of them, from the first, were met in WordNet's annotated texts."""


def read_synsets(path: Path) -> dict[int, Synset]:
    """The nouns by the byte offset of their line."""
    synsets = {}
    offset = 0
    with path.open("rb") as lines:
        for line in lines:
            if not line.startswith(b"  "):  # the licence
                fields = line.split(b" | ")[0].decode("ascii").split()
                count = int(fields[3], 16)
                lemmas = tuple(fields[4 : 4 + 2 * count : 2])
                pointers = fields[5 + 2 * count :]
                above = tuple(
                    int(target)
                    for symbol, target in zip(pointers[::4], pointers[1::4], strict=True)
                    if symbol in ("@", "@i")
                )
                synsets[offset] = Synset(lemmas, above)
            offset += len(line)
    return synsets


def read_senses(path: Path) -> dict[str, Senses]:
    """The senses of each noun, by its lemma in small letters."""
    senses = {}
    for line in path.read_text("ascii").splitlines():
        if not line.startswith("  "):
            lemma, _, _, pointers, *fields = line.split()
            _, met, *offsets = fields[int(pointers) :]
            senses[lemma] = Senses(tuple(map(int, offsets)), int(met))
    return senses


def covered(synsets: dict[int, Synset]) -> dict[int, Classes]:
    """The classes that each synset is or is above of."""
    found = defaultdict(set)
    for index, wnid in enumerate(class_wnids()):
        ahead, seen = [int(wnid[1:])], set()
        while ahead:
            offset = ahead.pop()
            if offset not in seen:
                seen.add(offset)
                found[offset].add(index)
                ahead.extend(synsets[offset].above)
    return {offset: frozenset(classes) for offset, classes in found.items()}


def is_broad(offset: int, classes: Classes, synsets: dict[int, Synset]) -> bool:
    """Whether a synset is no use for asking."""
    if len(classes) > MOST * len(class_wnids()):
        return True
    level = [offset]
    for _ in range(TOP + 1):
        if any(not synsets[one].above for one in level):
            return True
        level = [above for one in level for above in synsets[one].above]
    return False


def meant(
    lemma: str, offsets: Sequence[int], synsets: dict[int, Synset], senses: Senses, own: set[int]
) -> set[int]:
    """Those of the synsets of a lemma (in small letters) that it stands for."""
    met = {offset for offset in offsets if senses.offsets.index(offset) < senses.met}
    first = {offset: synsets[offset].lemmas[0].lower() for offset in offsets}
    named = {offset for offset, name in first.items() if name == lemma or (lemma, name) == STAYS}
    return met | named | own.intersection(offsets) if met else set(offsets)


def table(wordnet: Path) -> str:
    """The whole table, from the folder of WordNet's files."""
    synsets = read_synsets(wordnet / "data.noun")
    senses = read_senses(wordnet / "index.noun")
    classes = {
        offset: found
        for offset, found in covered(synsets).items()
        if not is_broad(offset, found, synsets)
    }
    own = {int(wnid[1:]) for wnid in class_wnids()}

    spelled: dict[str, set[str]] = defaultdict(set)
    found: dict[str, set[int]] = defaultdict(set)

    def add(word: str, indices: Iterable[int]) -> None:
        word = word.replace("_", " ")
        spelled[key(word)].add(word)
        found[key(word)].update(indices)

    of_lemma = defaultdict(list)
    for offset in sorted(classes):
        for lemma in synsets[offset].lemmas:
            of_lemma[lemma.lower()].append((offset, lemma))
    for lower, places in of_lemma.items():
        stays = meant(lower, [offset for offset, _ in places], synsets, senses[lower], own)
        for offset, lemma in places:
            if offset in stays:
                add(lemma, classes[offset])
    for index, (name, lemmas) in enumerate(zip(class_names(), class_lemmas(), strict=True)):
        for word in (name, *lemmas):
            add(word, [index])
    for line in (wordnet / "noun.exc").read_text("ascii").splitlines():
        plural, *singulars = line.split()
        known = [key(one) for one in singulars if key(one) in found]
        if known and key(plural) not in found:
            add(plural, {index for one in known for index in found[one]})

    rows: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for its_key, indices in found.items():
        # of hotdog, Hot Dog and hot dog the last: apart, and small where both are written
        word = max(spelled[its_key], key=lambda one: (len(one), one))
        rows[tuple(sorted(indices))].append(word)
    lines = [
        f"{ranges(indices)}\t{', '.join(sorted(words, key=lambda one: (key(one), one)))}\n"
        for indices, words in sorted(rows.items())
    ]
    return "".join(lines)


def ranges(indices: Iterable[int]) -> str:
    """Ascending numbers with runs drawn together: ``281-285,287``."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in runs)


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("wordnet", type=Path, help="WordNet 3.0's folder: /usr/share/wordnet")
    text = table(parser.parse_args().wordnet)
    TABLE.write_text(text, "utf-8", newline="\n")
    words = sum(line.count(", ") + 1 for line in text.splitlines())
    print(f"{words} words for {text.count(chr(10))} sets of classes, {len(text)} bytes")


if __name__ == "__main__":
    main()
