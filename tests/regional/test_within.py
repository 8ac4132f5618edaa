"""Regional descriptors in a library: kept with each picture, and found by a part of it."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from parecido import Engine, IndexOptions, Library, index, verify
from parecido.indexer.arithmetic import cosines
from parecido.indexer.checkup.repair import repair
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.errors import InvalidRequest, LibraryDamaged
from parecido.indexer.indexing.pipeline import remove
from parecido.indexer.library.layout import CATALOGUE
from parecido.indexer.library.layout import REGIONS as FOLDER
from parecido.indexer.records.regions import Box
from parecido.indexer.records.runs import IndexReport
from parecido.indexer.regional.codes import box, describe, pack, unpack
from parecido.indexer.regional.source import ROWS, STRIDE
from parecido.search.ranking.parts import Within, views
from tests.support.fakes import (
    DIMENSION,
    FakeRuntime,
    fake_encoder,
    fake_spec,
    save_picture,
    save_pictures,
)
from tests.support.harness import CHILDREN, check_sound, seal_anew

Vectors = npt.NDArray[np.float32]
WITHIN = IndexOptions(within=True)
FINGERPRINT = fake_spec().fingerprint


def run(library: Library, folder: Path, within: bool | None = None) -> IndexReport:
    return index(library, [folder], IndexOptions(within=within), encoder=fake_encoder())


def within(library: Library) -> Within:
    return Within(library)


def stored(library: Library) -> dict[str, bytes]:
    """The regional descriptors of every picture, by its path."""
    catalogue = library.catalogue
    paths = {i: os.fsdecode(path) for i, path in catalogue.under(b"/")}
    return {paths[i]: one.vectors for i, one in catalogue.regional.of(list(paths)).items()}


def expected(files: list[Path]) -> dict[str, bytes]:
    """What the encoder gives of each file, apart from any library."""
    from parecido.indexer.pictures.decode import Limits
    from parecido.indexer.pictures.read import decode_file

    encoder = fake_encoder()
    found = {}
    for path in files:
        (maps,) = encoder.maps([decode_file(path, encoder.spec, Limits()).pixels])
        found[str(path)] = pack(describe(maps.features))
    return found


def check_regions(library: Library, files: list[Path]) -> None:
    """Assert that a library is sound, holds these files and nothing waits."""
    assert verify(library) == []
    assert library.catalogue.regional.find_waiting() == []
    assert stored(library) == expected(files)
    ids = library.regions().ids()
    assert len(ids) == len(files) * ROWS
    assert np.array_equal(np.unique(ids // STRIDE), library.catalogue.descriptors.ids())


def ids_by_name(library: Library) -> dict[str, int]:
    """Which id each file got: workers end in any order."""
    return {Path(os.fsdecode(path)).name: i for i, path in library.catalogue.under(b"/")}


def exhaustive(library: Library, queries: Vectors, allowed: list[int]) -> list[tuple[float, int]]:
    """Every picture with its best cosine, the best first: read from SQLite, without an index."""
    gallery = library.regions().gallery
    prepared = gallery.project(queries)
    ranked = []
    for picture in allowed:
        _, whole = library.catalogue.descriptors.of([picture])
        own = library.catalogue.regional.of([picture])[picture]
        rows = np.concatenate([whole, unpack(own.vectors, whole.shape[1])])
        rows = gallery.project(rows)
        best = max(float(cosines(query, rows).max()) for query in prepared)
        ranked.append((-best, picture))
    return sorted(ranked)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """20 pictures."""
    save_pictures(tmp_path / "pictures", 20)
    return tmp_path / "pictures"


@pytest.fixture
def kept(library: Library, folder: Path) -> Library:
    """A library of them with regional descriptors."""
    run(library, folder, within=True)
    return library


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """A library of 150 pictures, which has learned the space of its regions."""
    home = tmp_path_factory.mktemp("large")
    save_pictures(home / "pictures", 150)
    with Library.create(home / "library") as library:
        run(library, home / "pictures", within=True)
        yield library


# -- searching -------------------------------------------------------------------------------------


def test_a_colour_is_found_in_the_quarter_where_it_is(kept: Library) -> None:
    (picture,) = kept.catalogue.pictures([7])
    _, vectors = kept.catalogue.descriptors.of([7])
    # the fake's map has a cell for each quarter, in which only this quarter's three numbers are set
    for quarter, place in enumerate([(0, 0), (0.5, 0), (0, 0.5), (0.5, 0.5)]):
        query = np.where(np.arange(DIMENSION) // 3 == quarter, vectors[0], 0)[None]
        query /= np.linalg.norm(query)
        found = within(kept).nearest(query.astype(np.float32), 3, FINGERPRINT)
        assert found.ids[0] == picture.id
        assert found.scores[0] > 0.995  # four bits
        assert found.boxes[0] == Box(*place, 0.5, 0.5)


def test_a_whole_picture_is_found_as_a_whole_and_has_no_box(kept: Library) -> None:
    _, vectors = kept.catalogue.descriptors.of([5])
    found = within(kept).nearest(vectors, 2, FINGERPRINT)
    assert (found.ids[0], found.boxes[0]) == (5, None)
    assert found.scores[0] == pytest.approx(1, abs=2e-7)


@pytest.mark.parametrize("k", [1, 10, 150])
@pytest.mark.parametrize("allowed", [None, [3, 7, 100], list(range(20, 140))])
def test_the_answers_are_those_of_looking_at_every_region(
    large: Library, k: int, allowed: list[int] | None
) -> None:
    assert large.catalogue.settings.space("regional_space") is not None
    queries = np.abs(np.random.default_rng(k).standard_normal((3, DIMENSION)))
    queries = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
    truth = exhaustive(large, queries, allowed or large.catalogue.descriptors.ids().tolist())[:k]
    passing = None if allowed is None else np.array(allowed, np.int64)
    found = within(large).nearest(queries, k, FINGERPRINT, allowed=passing)
    assert [(-float(s), i) for s, i in zip(found.scores, found.ids, strict=True)] == truth
    assert len(found.boxes) == len(truth)
    exact = within(large).nearest(queries, k, FINGERPRINT, allowed=passing, exact=True)
    assert exact.ids.tolist() == found.ids.tolist()


def test_a_compressed_index_of_regions_gives_exact_scores_and_as_many_hits_as_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parecido.indexer.vectors.local.index._FLAT_BYTES", 1000)
    save_pictures(tmp_path / "pictures", 150)
    with Library.create(tmp_path / "library") as library:
        run(library, tmp_path / "pictures", within=True)
        assert library.regions().kind == "compressed"
        assert verify(library) == []
        queries = fake_encoder().encode([np.full((32, 32, 3), 90, np.uint8)]).descriptors
        ids = library.catalogue.descriptors.ids()
        truth = exhaustive(library, queries, ids.tolist())
        for allowed in (None, ids[40:45]):
            found = within(library).nearest(queries, 150, FINGERPRINT, allowed=allowed)
            wanted = [row for row in truth if allowed is None or row[1] in allowed]
            assert [(-float(s), i) for s, i in zip(found.scores, found.ids, strict=True)] == wanted
        exact = within(library).nearest(queries, 10, FINGERPRINT, exact=True)
        assert exact.ids.tolist() == [i for _, i in truth[:10]]


def test_copies_score_equally_and_are_ordered_by_id(kept: Library, folder: Path) -> None:
    for number in range(15):
        shutil.copy(folder / "0003.png", folder / f"copy{number:02d}.png")
    run(kept, folder)
    original = ids_by_name(kept)["0003.png"]
    _, vectors = kept.catalogue.descriptors.of([original])
    found = within(kept).nearest(vectors, 16, FINGERPRINT)
    assert found.ids.tolist() == [original, *range(21, 36)]
    (score,) = set(found.scores.tolist())
    assert score == pytest.approx(1, abs=2e-7)


def test_a_picture_can_be_left_out_and_a_filter_that_nothing_passes_gives_nothing(
    kept: Library,
) -> None:
    _, vectors = kept.catalogue.descriptors.of([5])
    found = within(kept).nearest(vectors, 20, FINGERPRINT, leave_out=5)
    assert len(found.ids) == 19
    assert 5 not in found.ids
    nothing = within(kept).nearest(vectors, 3, FINGERPRINT, allowed=np.empty(0, np.int64))
    assert (len(nothing.ids), nothing.boxes) == (0, ())


def test_a_library_without_regions_says_how_to_get_them(indexed: Library) -> None:
    with pytest.raises(InvalidRequest, match="keeps no regional descriptors") as caught:
        within(indexed).nearest(np.eye(1, DIMENSION, dtype=np.float32), 1, FINGERPRINT)
    assert "--within" in caught.value.remedy


def test_a_searcher_that_stays_open_sees_what_came_changed_and_went(
    kept: Library, folder: Path
) -> None:
    searcher, ids = within(kept), ids_by_name(kept)
    standing = sorted({*range(1, 22)} - {ids["0001.png"]})
    _, vectors = kept.catalogue.descriptors.of([ids["0000.png"]])
    assert searcher.nearest(vectors, 1, FINGERPRINT).ids.tolist() == [ids["0000.png"]]
    save_picture(folder / "0000.png", 500)
    save_picture(folder / "new.png", 501)
    (folder / "0001.png").unlink()
    run(kept, folder)
    found = searcher.nearest(vectors, 20, FINGERPRINT)
    assert sorted(found.ids.tolist()) == standing
    assert [(-float(s), i) for s, i in zip(found.scores, found.ids, strict=True)] == exhaustive(
        kept, vectors, kept.catalogue.descriptors.ids().tolist()
    )
    # off and on again, with a picture that waits: it is found as a whole
    run(kept, folder, within=False)
    with pytest.raises(InvalidRequest):
        searcher.nearest(vectors, 1, FINGERPRINT)
    with kept.writer() as writing:
        writing.catalogue.keep_regions(True)
    found = searcher.nearest(vectors, 20, FINGERPRINT)
    assert sorted(found.ids.tolist()) == standing
    assert set(found.boxes) == {None}


def test_the_views_of_a_query_are_its_own_and_those_of_its_place_in_grey() -> None:
    class Watching(FakeRuntime):
        """Remembers what passed, and has a map of 4 × 4 cells with each cell's mean colour."""

        def run_with_maps(
            self, batch: npt.NDArray[np.uint8]
        ) -> tuple[Vectors, Vectors | None, Vectors]:
            self.batch = batch
            cells = batch.reshape(len(batch), 4, 8, 4, 8, 3).mean(axis=(2, 4)) / 255
            features = np.concatenate([cells] * 4, axis=3).astype(np.float32)
            return *self.run(batch), features

    runtime = Watching()
    pixels = np.full((32, 32, 3), (200, 0, 100), np.uint8)
    found = views(Encoder(fake_spec(), runtime), pixels)
    assert found.shape == (3, DIMENSION)
    np.testing.assert_array_equal(runtime.batch[0], pixels)
    for picture, (start, end) in zip(runtime.batch[1:], [(0, 24), (8, 24)], strict=True):
        grey = (picture == 127).all(axis=2)
        assert not grey[start:end, start:end].any()
        assert grey.sum() == 32 * 32 - (end - start) ** 2
    colour = np.tile([200, 0, 100], 4) / np.linalg.norm(np.tile([200, 0, 100], 4))
    np.testing.assert_allclose(found[1:], [colour, colour], atol=1e-4)


# -- keeping ---------------------------------------------------------------------------------------


def test_regions_are_written_with_their_pictures(kept: Library, folder: Path) -> None:
    check_regions(kept, sorted(folder.iterdir()))


def test_a_library_keeps_no_regions_unless_it_is_told(indexed: Library) -> None:
    assert stored(indexed) == {}
    assert not (indexed.folder / FOLDER).exists()


def test_what_a_library_was_told_holds_for_later_runs(kept: Library, folder: Path) -> None:
    save_pictures(folder, 5, first=20)
    assert run(kept, folder).added == 5
    check_regions(kept, sorted(folder.iterdir()))


def test_switching_on_describes_what_is_there_again_and_once(
    indexed: Library, tmp_path: Path
) -> None:
    pictures = tmp_path / "pictures"
    generations = indexed.catalogue.descriptors.ids()
    report = run(indexed, pictures, within=True)
    assert (report.updated, report.unchanged, report.encoded) == (20, 0, 20)
    check_regions(indexed, sorted(pictures.iterdir()))
    assert np.array_equal(indexed.catalogue.descriptors.ids(), generations)
    report = run(indexed, pictures)
    assert (report.updated, report.unchanged, report.encoded) == (0, 20, 0)


def test_switching_on_reaches_other_folders_when_they_are_indexed_again(
    library: Library, tmp_path: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    save_pictures(one, 4)
    save_pictures(two, 3, first=10)
    index(library, [one, two], encoder=fake_encoder())
    run(library, one, within=True)
    assert len(library.catalogue.regional.find_waiting()) == 3
    assert verify(library) == []
    # what waits is found as a whole
    _, vectors = library.catalogue.descriptors.of([7])
    found = within(library).nearest(vectors, 1, FINGERPRINT)
    assert (found.ids.tolist(), found.boxes) == ([7], (None,))
    assert run(library, two).updated == 3
    check_regions(library, [*sorted(one.iterdir()), *sorted(two.iterdir())])


def test_switching_off_removes_regions_and_their_index(kept: Library, folder: Path) -> None:
    report = run(kept, folder, within=False)
    assert (report.unchanged, report.encoded) == (20, 0)
    assert stored(kept) == {}
    assert list((kept.folder / FOLDER).glob("*")) == []
    assert verify(kept) == []
    assert run(kept, folder, within=True).updated == 20
    check_regions(kept, sorted(folder.iterdir()))


def test_copied_moved_replaced_and_removed_pictures_keep_or_lose_theirs(
    kept: Library, folder: Path
) -> None:
    shutil.copy(folder / "0000.png", folder / "copy.png")
    (folder / "0001.png").rename(folder / "moved.png")
    save_picture(folder / "0002.png", 600)
    (folder / "0003.png").unlink()
    os.utime(folder / "0004.png")
    report = run(kept, folder)
    counts = (report.added, report.moved, report.updated, report.removed, report.encoded)
    assert counts == (1, 1, 1, 1, 1)
    check_regions(kept, sorted(folder.iterdir()))
    remove(kept, [folder / "0005.png"])
    check_regions(kept, [path for path in sorted(folder.iterdir()) if path.name != "0005.png"])


def test_pictures_that_are_copied_or_moved_while_they_wait_keep_their_ids(
    indexed: Library, tmp_path: Path
) -> None:
    pictures = tmp_path / "pictures"
    ids = ids_by_name(indexed)
    shutil.copy(pictures / "0000.png", pictures / "copy.png")
    shutil.copy(pictures / "0001.png", pictures / "again.png")
    (pictures / "0001.png").rename(pictures / "1001.png")
    (pictures / "0002.png").rename(pictures / "moved.png")
    run(indexed, pictures, within=True)
    check_regions(indexed, sorted(pictures.iterdir()))
    now = ids_by_name(indexed)
    for name in ("0000.png", "0003.png"):
        assert now[name] == ids[name]
    assert now["moved.png"] == ids["0002.png"]
    assert ids["0001.png"] in (now["again.png"], now["1001.png"])


def test_an_encoder_without_a_map_is_refused_before_anything_is_written(
    library: Library, folder: Path
) -> None:
    flat = fake_encoder(pooling="fc1")
    with pytest.raises(InvalidRequest, match="feature map") as caught:
        index(library, [folder], WITHIN, encoder=flat)
    assert "--within" in caught.value.remedy
    assert not library.catalogue.settings.keeps_regions()
    assert library.catalogue.counts() == (0, 0)


def test_another_encoder_in_an_emptied_library_brings_a_space_of_its_own(
    tmp_path: Path,
) -> None:
    pictures = tmp_path / "pictures"
    save_pictures(pictures, 80)
    with Library.create(tmp_path / "library") as library:
        run(library, pictures, within=True)
        before = library.catalogue.settings.regional_space_fingerprint()
        assert before
        remove(library, [pictures])
        index(library, [pictures], encoder=fake_encoder(dimension=24))
        assert library.catalogue.settings.regional_space_fingerprint() not in ("", before)
        assert verify(library) == []
        _, vectors = library.catalogue.descriptors.of([100])
        found = within(library).nearest(vectors, 1, fake_spec(dimension=24).fingerprint)
        assert found.ids.tolist() == [100]


# -- faults ----------------------------------------------------------------------------------------


def _index_and_die(folder: Path, pictures: Path, commits: int, within: bool | None) -> None:
    """A run that is killed after so many commits, without a chance to do anything more."""
    import parecido.indexer.indexing.run
    import parecido.indexer.indexing.workers
    from parecido.indexer.catalogue.sqlite.writing.writer import CatalogueWriter

    parecido.indexer.indexing.run.COMMIT_SECONDS = 0.0
    parecido.indexer.indexing.workers.AHEAD = 4  # so that there are many commits
    write, left = CatalogueWriter.write, [commits]

    def counting(self: CatalogueWriter, *arguments: object, **named: object) -> None:
        if not left[0]:
            os._exit(9)
        left[0] -= 1
        write(self, *arguments, **named)  # type: ignore[arg-type]

    CatalogueWriter.write = counting  # type: ignore[method-assign]
    with Library.create(folder) as library:
        run(library, pictures, within)


@pytest.mark.parametrize("commits", [0, 1, 3])
@pytest.mark.parametrize("fresh", [True, False], ids=["new library", "switched on"])
def test_a_run_that_is_killed_leaves_a_sound_library_and_the_next_goes_on(
    fresh: bool, commits: int, tmp_path: Path
) -> None:
    pictures, home = tmp_path / "pictures", tmp_path / "library"
    save_pictures(pictures, 60)
    if not fresh:
        with Library.create(home) as library:
            run(library, pictures)
    child = CHILDREN.Process(target=_index_and_die, args=(home, pictures, commits, True))
    child.start()
    child.join()
    assert child.exitcode == 9
    check_sound(home)
    with Library.create(home) as library:
        done = len(stored(library))
        assert done < 60
        assert done > 0 or commits < 3  # the first commit may hold the roots alone
        catalogue = library.catalogue
        assert done + len(catalogue.regional.find_waiting()) == catalogue.counts()[0]
        assert run(library, pictures).encoded == 60 - done
        check_regions(library, sorted(pictures.iterdir()))


def _set(library: Library, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(library.folder / CATALOGUE)) as connection, connection:
        connection.execute(statement, values)
    seal_anew(library.folder)  # as a version before seals may have left it


@pytest.mark.parametrize(
    ("statement", "value", "said"),
    [
        ("UPDATE regions SET vectors = ?", b"\xf0", "damaged"),
        ("UPDATE regions SET vectors = ?", bytes(54), "damaged"),
        ("UPDATE regions SET vectors = ?", b"\xff" * 55, "damaged"),
        ("UPDATE regions SET map_rows = ?", -1, "damaged"),
        ("UPDATE regions SET map_columns = ?", 0, "damaged"),
        ("DELETE FROM regions", None, "1 pictures have no regional descriptors"),
    ],
    ids=["short", "zero", "long", "rows", "columns", "missing"],
)
def test_damaged_regions_are_found_and_made_again_by_the_next_run(
    statement: str, value: object, said: str, kept: Library, folder: Path
) -> None:
    values = (4,) if value is None else (value, 4)
    _set(kept, f"{statement} WHERE picture_id = ?", *values)
    (problem,) = verify(kept)
    assert said in problem.what
    assert problem.repairable
    assert repair(kept.folder) == [
        "1 picture will get regional descriptors with the next indexing run"
    ]
    assert verify(kept) == []
    assert kept.catalogue.regional.find_waiting() == [4]
    report = run(kept, folder)
    assert (report.updated, report.unchanged) == (1, 19)
    check_regions(kept, sorted(folder.iterdir()))


def test_a_damaged_space_of_regions_is_told_and_learned_again(large: Library) -> None:
    _, vectors = large.catalogue.descriptors.of([9])
    wanted = within(large).nearest(vectors, 5, FINGERPRINT)
    _set(
        large,
        "UPDATE spaces SET mean = zeroblob(length(mean)) WHERE fingerprint = ?",
        large.catalogue.settings.regional_space_fingerprint(),
    )
    with pytest.raises(LibraryDamaged):
        within(large).nearest(vectors, 5, FINGERPRINT)
    assert [p.what for p in verify(large)] == ["the space of regions is damaged"]
    assert repair(large.folder) == ["learned the space of regions again"]
    assert verify(large) == []
    again = within(large).nearest(vectors, 5, FINGERPRINT)
    assert again.ids.tolist() == wanted.ids.tolist()


def test_a_damaged_index_of_regions_is_found_and_built_again(kept: Library) -> None:
    (path,) = (kept.folder / FOLDER).glob("*.faiss")
    _, vectors = kept.catalogue.descriptors.of([9])
    wanted = within(kept).nearest(vectors, 20, FINGERPRINT)
    other = np.roll(vectors, 1)
    _set(kept, "UPDATE descriptors SET vector = ? WHERE picture_id = 3", other.astype("<f2"))
    problems = [p.what for p in verify(kept)]
    assert "the index of regions differs from the catalogue" in problems
    assert "built the index of regions again" in repair(kept.folder)
    assert verify(kept) == []
    path.write_bytes(b"no index")
    found = within(kept).nearest(vectors, 20, FINGERPRINT)
    assert sorted(found.ids.tolist()) == sorted(wanted.ids.tolist())


def test_searches_of_whole_pictures_do_not_change(tmp_path: Path) -> None:
    save_pictures(tmp_path / "pictures", 80)
    answers = []
    for name, kept in (("with", True), ("without", False)):
        with Library.create(tmp_path / name) as library:
            run(library, tmp_path / "pictures", within=kept)
            with Engine(library, encoder=fake_encoder()) as engine:
                results = engine.search(tmp_path / "pictures" / "0007.png", k=20)
            answers.append([(hit.path, round(hit.score, 3)) for hit in results.hits])
    assert answers[0] == answers[1]


def test_boxes_are_those_of_the_stored_map(large: Library) -> None:
    queries = np.eye(3, DIMENSION, dtype=np.float32)
    found = within(large).nearest(queries, 20, FINGERPRINT)
    quarters = {box(region, 2, 2) for region in range(9)}
    assert {b for b in found.boxes if b is not None} <= quarters
    assert any(b is not None for b in found.boxes)
