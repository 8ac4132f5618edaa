"""Evaluations of collections, against NumPy and scikit-learn."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from sklearn.metrics import average_precision_score

from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.errors import InvalidRequest
from parecido.indexer.library.library import Library
from parecido.indexer.library.upkeep import bring_up_to_date
from parecido.search.engine import Engine
from parecido.search.evaluating.evaluation import Evaluation, evaluate
from parecido.search.evaluating.labelled_pictures import Collection, load_collection
from parecido.search.evaluating.rankings import rank
from parecido.search.evaluating.recipe import Recipe, parse_recipe
from parecido.search.evaluating.setup import EvaluationSetup, EvaluationWatch
from tests.support.fakes import fake_encoder, fake_spec, quadrants, save_picture
from tests.support.harness import put, snapshot
from tests.support.real import photographs

DEFAULT = Recipe("default")


def save_colours(path: Path, colours: np.ndarray) -> None:
    """A picture of four quadrants ``(2, 2, 3)``, as large as the fake encoder takes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = colours.astype(np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    Image.fromarray(pixels).save(path)


def save_classes(folder: Path, sizes: dict[str, int], seed: int = 0, spread: int = 60) -> Path:
    """A folder for each class; its pictures vary around the class's own four colours."""
    generator = np.random.default_rng(seed)
    for name, size in sizes.items():
        middle = generator.integers(60, 196, (2, 2, 3))
        for number in range(size):
            noise = generator.integers(-spread, spread + 1, (2, 2, 3))
            save_colours(folder / name / f"{number}.png", np.clip(middle + noise, 0, 255))
    return folder


def evaluated(
    collection: Collection,
    folder: Path,
    *recipes: Recipe,
    encoder: Encoder | None = None,
    **setup: int,
) -> list[Evaluation]:
    encoder = encoder or fake_encoder()
    found = evaluate(
        collection, recipes or (DEFAULT,), folder, EvaluationSetup(**setup), encoder=encoder
    )
    return list(found)


def test_every_picture_queries_all_the_others(tmp_path: Path) -> None:
    sizes = {"a": 3, "b": 5, "c": 2, "d": 9}
    collection = load_collection(save_classes(tmp_path / "set", sizes, spread=100))
    (one,) = evaluated(collection, tmp_path / "kept", k=4)

    paths = list(collection.groups)
    vectors = quadrants(np.stack([np.asarray(Image.open(path)) for path in paths]))
    stored = vectors.astype(np.float16).astype(np.float64)
    stored /= np.linalg.norm(stored, axis=1, keepdims=True)
    cosines = stored @ stored.T
    groups = np.array(list(collection.groups.values()))
    precisions, recalls, shares = [], [], []
    for row, group in enumerate(groups):
        others = np.delete(np.arange(len(groups)), row)
        scores, truth = cosines[row, others], groups[others] == group
        precisions.append(average_precision_score(truth, scores))
        ranked = truth[np.argsort(-scores)]
        recalls.append([ranked[:k].any() for k in (1, 5, 10)])
        shares.append(ranked[:4].mean())
    assert 0.3 < np.mean(precisions) < 0.95  # a case that can go wrong
    values = {name: estimate.value for name, estimate in one.measures.items()}
    expected = dict(zip(("R@1", "R@5", "R@10"), np.mean(recalls, axis=0), strict=True))
    assert values == pytest.approx(
        {"mAP": np.mean(precisions), **expected, "P@4": np.mean(shares)}, abs=1e-9
    )
    for value, low, high in one.measures.values():
        assert low <= value <= high
    assert one.measures["mAP"].low < one.measures["mAP"].high
    assert (one.queries, one.group_sizes, one.dimension) == (19, (2, 3, 5, 9), 12)
    assert (one.encoder, one.indexed) == (fake_spec().title, 19)


def test_groups_of_four_get_their_own_score(tmp_path: Path) -> None:
    collection = load_collection(save_classes(tmp_path / "four", {"a": 4, "b": 4}, spread=1))
    (one,) = evaluated(collection, tmp_path / "kept")
    assert one.measures["N-S"] == (4, 4, 4)
    uneven = load_collection(save_classes(tmp_path / "uneven", {"a": 4, "b": 3}))
    (other,) = evaluated(uneven, tmp_path / "other")
    assert "N-S" not in other.measures


def test_the_figures_do_not_depend_on_how_many_queries_go_together(tmp_path: Path) -> None:
    collection = load_collection(save_classes(tmp_path / "set", {"a": 7, "b": 5, "c": 11}))
    results = [
        evaluated(collection, tmp_path / "kept", worst=5, shown=4, block=block)[0]
        for block in (1, 3, 23, 1000)
    ]
    for result in results[1:]:
        assert result.measures == results[0].measures
        assert result.worst == results[0].worst


def test_equal_scores_are_ordered_by_id(library: Library) -> None:
    x, y, z = np.eye(3, 12, dtype=np.float32)
    put(library, np.stack([x, y, x + y, y, x, z]))
    ids = library.catalogue.descriptors.ids()
    blocks = list(rank(library, {}, ids, block=4))
    assert [block.queries.tolist() for block in blocks] == [[1, 2, 3, 4], [5, 6]]
    assert [block.dimension for block in blocks] == [12, 12]
    assert blocks[0].ids.tolist() == [
        [5, 3, 2, 4, 6],
        [4, 3, 1, 5, 6],
        [1, 2, 4, 5, 6],
        [2, 3, 1, 5, 6],
    ]
    half = np.float32(0.5**0.5)
    np.testing.assert_allclose(blocks[0].scores[0], [1, half, 0, 0, 0], atol=1e-4)
    assert blocks[0].scores[0, 0] == 1


def test_only_the_given_pictures_are_ranked(library: Library) -> None:
    put(library, np.eye(6, 12, dtype=np.float32) + 1)
    (block,) = rank(library, {}, np.array([2, 3, 6]))
    assert block.queries.tolist() == [2, 3, 6]
    assert sorted(block.ids[0].tolist()) == [3, 6]


def test_no_table_of_all_pairs_is_made(library: Library) -> None:
    put(library, np.random.default_rng(0).standard_normal((3000, 12)).astype(np.float32))
    ids = library.catalogue.descriptors.ids()
    next(rank(library, {}, ids[:10]))  # what is imported on the way is no part of it
    tracemalloc.start()
    try:
        for block in rank(library, {}, ids, block=16):
            assert block.ids.shape == block.scores.shape == (len(block.queries), 2999)
            assert len(block.queries) <= 16
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 9e6  # all pairs are 36 MB in float32 alone


def orders(library: Library, terms: dict[str, bool]) -> list[list[int]]:
    (block,) = rank(library, terms, library.catalogue.descriptors.ids(), block=1000)
    return [row.tolist() for row in block.ids]


@pytest.mark.parametrize("terms", [{}, {"expand": True}, {"rerank": True}])
def test_a_second_thought_is_ranked_as_a_search_ranks_it(library: Library, terms: Any) -> None:
    vectors = np.random.default_rng(4).standard_normal((130, 12)).astype(np.float32)
    put(library, vectors)
    with library.writer() as writing:
        bring_up_to_date(writing)
    assert library.catalogue.settings.space() is not None
    ids = library.catalogue.descriptors.ids().tolist()
    found = orders(library, terms)
    with Engine(library, encoder=fake_encoder()) as engine:
        _, stored = library.catalogue.descriptors.of(ids)
        for row in (0, 7, 129):
            own = ids[row]
            hits = engine.search_vector(stored[row], leave_out=own, k=129, **terms)
            assert [hit.id for hit in hits] == found[row]
    assert found != orders(library, {"expand": True, "rerank": True})
    assert orders(library, terms) == found


def test_what_a_recipe_does_not_say_is_as_the_library_was_told(library: Library) -> None:
    put(library, np.random.default_rng(5).standard_normal((130, 12)).astype(np.float32))
    with library.writer() as writing:
        bring_up_to_date(writing)
        once, twice = orders(library, {}), orders(library, {"expand": True, "rerank": True})
        assert once != twice
        writing.catalogue.rerank_by_default(True)
    assert orders(library, {}) == twice
    assert orders(library, {"expand": False, "rerank": False}) == once


def test_distractors_are_in_the_gallery_and_neither_queries_nor_right(tmp_path: Path) -> None:
    sizes = {"a": 3, "b": 4, "c": 5}
    folder = save_classes(tmp_path / "set", sizes, spread=100)
    paths = [str(path) for path in sorted(folder.rglob("*.png"))]
    groups = {path: Path(path).parent.name for path in paths}
    own = [path for path in paths if groups[path] != "c"]
    collection = Collection("", {path: groups[path] if path in own else "" for path in paths})
    assert collection.sizes == {"a": 3, "b": 4}
    (one,) = evaluated(collection, tmp_path / "kept", worst=100, shown=100)
    assert (one.group_sizes, one.queries, one.indexed) == ((3, 4), 7, 12)
    assert {query.path for query in one.worst} == set(own)
    for query in one.worst:
        assert {found.path for found in query.found} == set(paths) - {query.path}
        for found in query.found:
            assert found.group == collection.groups[found.path]
            assert found.is_right == (found.group == query.group)
            assert not (found.is_right and found.group == "")

    # the figures, from NumPy and scikit-learn
    vectors = quadrants(np.stack([np.asarray(Image.open(path)) for path in paths]))
    stored = vectors.astype(np.float16).astype(np.float64)
    stored /= np.linalg.norm(stored, axis=1, keepdims=True)
    cosines, names = stored @ stored.T, np.array([collection.groups[path] for path in paths])
    precisions = []
    for row in np.flatnonzero(names != ""):
        others = np.delete(np.arange(len(names)), row)
        truth = names[others] == names[row]
        precisions.append(average_precision_score(truth, cosines[row, others]))
    assert one.measures["mAP"].value == pytest.approx(np.mean(precisions), abs=1e-9)
    # without them there is less to be mistaken for
    alone = Collection("", {path: groups[path] for path in own})
    (without,) = evaluated(alone, tmp_path / "alone")
    assert without.group_sizes == one.group_sizes
    assert without.measures["mAP"].value > one.measures["mAP"].value


def test_groups_of_four_get_their_own_score_beside_distractors_too(tmp_path: Path) -> None:
    folder = save_classes(tmp_path / "set", {"a": 4, "b": 4, "other": 3}, spread=1)
    groups = load_collection(folder).groups
    marked = {path: "" if name == "other" else name for path, name in groups.items()}
    (one,) = evaluated(Collection("", marked), tmp_path / "kept")
    assert one.measures["N-S"] == (4, 4, 4)


def test_the_worst_queries_come_first_with_what_they_found(tmp_path: Path) -> None:
    def save(name: str, *quadrant_reds: int) -> str:
        colours = np.zeros((2, 2, 3))
        colours[..., 0] = np.reshape(quadrant_reds, (2, 2))
        save_colours(tmp_path / "set" / name, colours)
        return str(tmp_path / "set" / name)

    # two alike in each group, and one of b that looks like a
    a1, a2 = save("a/1.png", 255, 0, 0, 0), save("a/2.png", 255, 20, 0, 0)
    b1, b2 = save("b/1.png", 0, 0, 255, 0), save("b/2.png", 0, 0, 255, 20)
    lost = save("b/lost.png", 255, 40, 0, 0)
    collection = load_collection(tmp_path / "set")
    (one,) = evaluated(collection, tmp_path / "kept", worst=2, shown=3)
    worst = one.worst[0]
    assert (worst.path, worst.group, worst.first_right) == (lost, "b", 3)
    assert worst.average_precision == pytest.approx((1 / 3 + 2 / 4) / 2)
    # b2 is a little brighter than b1, so it is a little nearer to another bright one
    assert [(f.path, f.group, f.is_right) for f in worst.found] == [
        (a2, "a", False),
        (a1, "a", False),
        (b2, "b", True),
    ]
    assert worst.found[0].score > worst.found[1].score > worst.found[2].score
    assert len(one.worst) == 2
    assert one.worst[1].average_precision >= worst.average_precision
    assert {b1, b2} >= {one.worst[1].path} or one.worst[1].path in (a1, a2)


def test_what_cannot_be_read_is_left_out_and_so_is_a_group_of_which_one_is_left(
    tmp_path: Path,
) -> None:
    folder = save_classes(tmp_path / "set", {"a": 3, "b": 2, "c": 4})
    (folder / "a" / "0.png").write_bytes(b"no picture")
    (folder / "b" / "1.png").write_bytes((folder / "b" / "1.png").read_bytes()[:60])
    (folder / "c" / "notes.txt").write_text("of the day")
    (one,) = evaluated(load_collection(folder), tmp_path / "kept")
    assert [(skip.path, skip.kind) for skip in one.unreadable] == [
        (str(folder / "a" / "0.png"), "not-a-picture"),
        (str(folder / "b" / "1.png"), "damaged"),
        (str(folder / "c" / "notes.txt"), "not-a-picture"),
    ]
    assert one.dropped_groups == ("b",)
    assert (one.group_sizes, one.queries) == ((2, 4), 6)
    shown = {found.path for query in one.worst for found in query.found}
    assert not any(path.startswith(str(folder / "b")) for path in shown)


def test_a_collection_of_which_too_little_can_be_read_is_refused(tmp_path: Path) -> None:
    folder = save_classes(tmp_path / "set", {"a": 3, "b": 2})
    (folder / "b" / "1.png").write_bytes(b"no picture")
    with pytest.raises(InvalidRequest) as caught:
        evaluated(load_collection(folder), tmp_path / "kept")
    assert "1 has two or more pictures that can be read" in str(caught.value)
    assert f"({folder}/b/1.png: " in str(caught.value)
    for path in folder.rglob("*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(InvalidRequest, match="0 have two or more pictures"):
        evaluated(load_collection(folder), tmp_path / "kept")


def test_a_kept_library_is_not_encoded_again(tmp_path: Path) -> None:
    collection = load_collection(save_classes(tmp_path / "set", {"a": 3, "b": 4}))
    encoder = fake_encoder()
    (first,) = evaluated(collection, tmp_path / "kept", encoder=encoder)
    (second,) = evaluated(collection, tmp_path / "kept", encoder=encoder)
    assert encoder._runtime.pictures == 7  # type: ignore[attr-defined]
    assert (first.indexed, second.indexed, second.pictures_per_second) == (7, 0, 0)
    assert first.measures == second.measures


def test_the_figures_do_not_depend_on_the_order_of_indexing(tmp_path: Path) -> None:
    folder = save_classes(tmp_path / "set", {"a": 5, "b": 6, "c": 4}, spread=100)
    collection = load_collection(folder)
    (one,) = evaluated(collection, tmp_path / "one", worst=15)
    last_first = dict(reversed(collection.groups.items()))
    for names in (("c", "b"), ("b", "a", "c")):  # ids rise with each evaluation
        part = {path: group for path, group in last_first.items() if group in names}
        evaluated(Collection(collection.source, part), tmp_path / "other")
    (other,) = evaluated(collection, tmp_path / "other", worst=15)
    assert other.indexed == 0
    assert other.measures == one.measures
    assert other.worst == one.worst


def test_recipes_that_index_alike_are_encoded_once_and_tell_the_same_speed(tmp_path: Path) -> None:
    collection = load_collection(save_classes(tmp_path / "set", {"a": 3, "b": 4}))
    encoder = fake_encoder()
    recipes = [DEFAULT, parse_recipe("twice: rerank=on"), parse_recipe("slow: workers=1")]
    one, two, three = evaluated(collection, tmp_path / "kept", *recipes, encoder=encoder)
    assert encoder._runtime.pictures == 14  # type: ignore[attr-defined]
    assert (one.indexed, two.indexed, three.indexed) == (7, 7, 7)
    assert one.pictures_per_second == two.pictures_per_second > 0
    assert [result.recipe.name for result in (one, two, three)] == ["default", "twice", "slow"]
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_a_kept_library_holds_exactly_the_collection(tmp_path: Path) -> None:
    folder = save_classes(tmp_path / "set", {"a": 3, "b": 4, "c": 2})
    (folder / "c" / "0.txt").write_text("no picture")
    evaluated(load_collection(folder), tmp_path / "kept")
    for path in (folder / "c").iterdir():
        path.rename(tmp_path / path.name)
    (folder / "b" / "3.png").unlink()
    save_picture(folder / "a" / "new.png", 99)
    collection = load_collection(folder)
    (one,) = evaluated(collection, tmp_path / "kept")
    assert (one.indexed, one.group_sizes, one.unreadable) == (1, (3, 4), ())
    with Library.open(tmp_path / "kept" / DEFAULT.library_name) as library:
        held = {
            p.path for p in library.catalogue.pictures(library.catalogue.descriptors.ids().tolist())
        }
        assert held == set(collection.groups)
        assert library.catalogue.list_skips() == []
        assert len(library.catalogue.roots()) == 7


def test_a_kept_library_of_another_encoder_is_refused(tmp_path: Path) -> None:
    collection = load_collection(save_classes(tmp_path / "set", {"a": 3, "b": 4}))
    evaluated(collection, tmp_path / "kept")
    with pytest.raises(InvalidRequest, match="was kept from another encoder") as caught:
        evaluated(collection, tmp_path / "kept", encoder=fake_encoder(pooling="max"))
    assert "remove this one" in caught.value.remedy


def test_no_picture_is_written_to(tmp_path: Path) -> None:
    folder = save_classes(tmp_path / "set", {"a": 3, "b": 4})
    before = snapshot(folder)
    evaluated(load_collection(folder), tmp_path / "kept")
    assert snapshot(folder) == before


def test_an_evaluation_that_is_told_to_stop_gives_what_is_finished(tmp_path: Path) -> None:
    collection = load_collection(save_classes(tmp_path / "set", {"a": 3, "b": 4}))
    asked = False
    found = evaluate(
        collection,
        [DEFAULT, parse_recipe("slow: workers=1")],
        tmp_path / "kept",
        encoder=fake_encoder(),
        stop=lambda: asked,
    )
    assert next(found).recipe == DEFAULT
    asked = True
    assert list(found) == []


def test_a_stop_is_heard_between_two_blocks(tmp_path: Path) -> None:
    collection = load_collection(save_classes(tmp_path / "set", {"a": 3, "b": 4}))
    seen: list[int] = []

    class Counting(EvaluationWatch):
        def ranking(self, recipe: Recipe, queries: int) -> Any:
            from contextlib import nullcontext

            assert queries == 7
            return nullcontext(seen.append)

    found = evaluate(
        collection,
        [DEFAULT],
        tmp_path / "kept",
        EvaluationSetup(block=2),
        encoder=fake_encoder(),
        watch=Counting(),
        stop=lambda: len(seen) == 2,
    )
    assert list(found) == []
    assert seen == [2, 2]


def test_a_setup_is_checked() -> None:
    for wrong in ({"k": 0}, {"block": 0}, {"worst": -1}, {"shown": -1}):
        with pytest.raises(InvalidRequest, match="k and block must be 1 or more"):
            EvaluationSetup(**wrong)


# -- real networks ---------------------------------------------------------------------------------


@pytest.mark.network
def test_altered_photographs_find_their_originals_with_the_default_encoder(tmp_path: Path) -> None:
    lines = ["path,group"]
    for path in photographs():
        picture = Image.open(path).convert("RGB")
        picture.thumbnail((320, 320))
        width, height = picture.size
        versions = {
            "same": picture,
            "mirrored": ImageOps.mirror(picture),
            "cropped": picture.crop((width // 8, height // 8, width, height)),
            "small": picture.resize((width // 2, height // 2)),
        }
        for name, version in versions.items():
            version.save(tmp_path / f"{path.stem}-{name}.jpg", quality=80)
            lines.append(f"{path.stem}-{name}.jpg,{path.stem}")
    (tmp_path / "groups.csv").write_text("\n".join(lines))
    recipes = [
        parse_recipe(f"{pooling}: model=efficientnet-lite0 pooling={pooling}")
        for pooling in ("avg", "gem")
    ]
    collection = load_collection(tmp_path / "groups.csv")
    for one in evaluate(collection, recipes, tmp_path / "kept"):
        assert f"efficientnet-lite0 · {one.recipe.name} · 1280-d" in one.encoder
        assert (one.group_sizes, one.unreadable, one.indexed) == ((4,) * 7, (), 28)
        assert one.pictures_per_second > 0
        assert one.measures["mAP"].value == pytest.approx(1, abs=0.01)
        assert one.measures["N-S"].value == pytest.approx(4, abs=0.05)


@pytest.mark.sets
@pytest.mark.network
@pytest.mark.parametrize(
    ("name", "measure", "least"), [("caltech101-mini", "mAP", 0.69), ("ukbench-mini", "N-S", 3.9)]
)
def test_the_shared_sets_come_out_as_they_were_measured(
    sets: Callable[[str], Path], tmp_path: Path, name: str, measure: str, least: float
) -> None:
    collection = load_collection(sets(name) / "groups.csv")
    recipe = parse_recipe("default: model=efficientnet-lite0")
    (one,) = evaluate(collection, [recipe], tmp_path)
    print(f"{measure} {one.measures[measure]}")
    assert one.unreadable == ()
    assert one.measures[measure].value >= least
