"""Retrieval and classification quality on the shared picture sets, through the public names."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexer import IndexOptions, Library, index, load_encoder
from search import Engine

pytestmark = [pytest.mark.sets, pytest.mark.network]

Sets = Callable[[str], Path]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_default_encoder_classifies_as_it_should(sets: Sets) -> None:
    folder = sets("imagenet-mini")
    encoder = load_encoder("efficientnet-lite0")
    rows = rows_of(folder / "classes.csv")
    crops = []
    for row in rows:
        picture = Image.open(folder / row["path"]).convert("RGB")
        scale = 256 / min(picture.size)
        size = (round(picture.width * scale), round(picture.height * scale))
        picture = picture.resize(size, Image.Resampling.BICUBIC)
        left, top = (size[0] - 224) // 2, (size[1] - 224) // 2
        crops.append(np.asarray(picture.crop((left, top, left + 224, top + 224))))
    labels = encoder.encode(crops).labels
    truth = [int(row["class_index"]) for row in rows]
    first = np.mean([t == found[0].class_index for t, found in zip(truth, labels, strict=True)])
    five = np.mean([t in [x.class_index for x in f] for t, f in zip(truth, labels, strict=True)])
    print(f"top-1 {first:.3f}, top-5 {five:.3f}")
    assert len(rows) == 200
    assert first >= 0.87
    assert five >= 0.97


def ranks(folder: Path, library_folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Relevance of every hit of every picture ``(n, n - 1)``, and the groups' sizes ``(n,)``.

    Indexed with the default recipe and searched for all others, each picture as a query.
    """
    rows = rows_of(folder / "groups.csv")
    group = {str(folder / row["path"]): row["group"] for row in rows}
    with Library.create(library_folder) as library:
        # the default model on a machine without a GPU, named so that a GPU changes nothing here
        report = index(library, [folder / "images"], IndexOptions(model="efficientnet-lite0"))
        assert (report.added, report.skipped) == (len(rows), [])
        with Engine(library) as engine:
            descriptors = engine.descriptors(list(group))
    scores = descriptors @ descriptors.T
    np.fill_diagonal(scores, -np.inf)  # the query itself, last and cut off
    order = np.argsort(-scores, axis=1, kind="stable")[:, :-1]
    names = np.array(list(group.values()))
    relevant = names[order] == names[:, None]
    assert relevant.shape == (len(rows), len(rows) - 1)
    return relevant, relevant.sum(axis=1)


def test_the_default_recipe_finds_categories(sets: Sets, tmp_path: Path) -> None:
    relevant, size = ranks(sets("caltech101-mini"), tmp_path / "library")
    precision = np.cumsum(relevant, axis=1) / np.arange(1, relevant.shape[1] + 1)
    mean_average_precision = 100 * ((precision * relevant).sum(axis=1) / size).mean()
    print(f"mAP {mean_average_precision:.2f}, recall@1 {100 * relevant[:, 0].mean():.2f}")
    assert mean_average_precision >= 69.0


def test_the_default_recipe_finds_the_same_object(sets: Sets, tmp_path: Path) -> None:
    relevant, size = ranks(sets("ukbench-mini"), tmp_path / "library")
    assert set(size) == {3}
    score = 1 + relevant[:, :3].sum(axis=1).mean()
    print(f"N-S {score:.3f}")
    assert score >= 3.9
