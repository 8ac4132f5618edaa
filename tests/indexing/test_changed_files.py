"""Walk and catalogue side by side: nothing is missed, nothing is looked at twice."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from parecido import IndexOptions, IndexReport, Library, index, remove
from parecido.indexer.catalogue.changes import Add, Change, SkipFile
from parecido.indexer.catalogue.known import Known
from parecido.indexer.catalogue.sqlite.reading.descriptors import unpack
from parecido.indexer.encoders.encoder import Encoder
from parecido.indexer.errors import PictureUnreadable
from parecido.indexer.indexing.changed_files import ChangedFiles
from parecido.indexer.indexing.id_set import IdSet
from parecido.indexer.indexing.prepare import Prepared, prepare
from parecido.indexer.pictures.decode import decode
from parecido.indexer.pictures.decoding.versions import decoder_versions
from parecido.indexer.pictures.formats.changes import DECODING
from parecido.indexer.pictures.walking.walk import Walk
from parecido.indexer.records.pictures import Described, FileEntry
from parecido.indexer.system.files import content_hash
from tests.support.fakes import DIMENSION, fake_encoder, quadrants, save_picture, save_pictures
from tests.support.harness import check_sound, holdings

# these interleave: "/" sorts after "." and "-" and before "0"
PARTS = ("a", "a.", "a-", "a0", "a b", "b", "B", "é", "~", "\udcff")
PAGES = (1, 3, 4096)
LIMITS = IndexOptions().limits


@pytest.fixture(params=PAGES, ids=lambda rows: f"{rows} rows a page")
def page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The catalogue's answers come in pages of so many rows."""
    rows: int = request.param
    monkeypatch.setattr("parecido.indexer.catalogue.sqlite.queries._PAGE", rows)
    return rows


def known_as(path: Path, *, kind: str = "", older: bool = False) -> Change:
    """What the catalogue is told of a file: a picture, or a skip of some kind."""
    status = os.stat(path)
    size, mtime_ns = status.st_size, status.st_mtime_ns - older
    raw = os.fsencode(path)
    if kind:
        return SkipFile(raw, size, mtime_ns, kind, "a reason", decoder=decoder_versions())
    vector = bytes([0, 0x34] * DIMENSION)
    described = Described(1, 1, "PNG", (), vector, decoding=DECODING)
    return Add(FileEntry(raw, size, mtime_ns), content_hash(raw), described)


def hold(library: Library, changes: Iterable[Change]) -> dict[bytes, Known]:
    """Put these into the catalogue; what it knows then, by path."""
    with library.writer() as writing:
        writing.catalogue.write(list(changes), encoder=fake_encoder().spec)
    return {row[0]: Known(*row[1:]) for row in library.catalogue.known_below(b"/")}


class Sifted:
    """What a sift over some roots made of them."""

    def __init__(self, library: Library, roots: Iterable[Path], **options: object) -> None:
        self.report = IndexReport()
        self.seen = IdSet(library.catalogue.largest_id())
        self.seen_skips: set[bytes] = set()
        self.pulses = 0
        walk = Walk([str(root) for root in roots], **options)  # type: ignore[arg-type]
        self.changed = ChangedFiles(
            library.catalogue, self.report, self.seen, self._pulse, self.seen_skips
        )
        self.passed = {entry.path: known for entry, known in self.changed.walk(walk)}

    def _pulse(self) -> bool:
        self.pulses += 1
        return False


def plant(folder: Path, rng: random.Random, files: int) -> list[Path]:
    """A tree of that many files with names that sort awkwardly."""
    made: set[Path] = set()
    while len(made) < files:
        parts = [rng.choice(PARTS) for _ in range(rng.randint(1, 4))]
        path = folder.joinpath(*parts)
        taken = path.is_dir() or any(parent.is_file() for parent in path.parents)
        if not taken:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
            made.add(path)
    return sorted(made)


# -- byte order ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_the_walk_and_the_catalogue_come_in_the_same_order(
    seed: int, page: int, library: Library, tmp_path: Path
) -> None:
    files = plant(tmp_path / "p", random.Random(seed), 60)
    hold(library, map(known_as, files))
    walked = [entry.path for entry in Walk([str(tmp_path / "p")])]
    known = [row[0] for row in library.catalogue.known_below(os.fsencode(tmp_path / "p"))]
    assert walked == known == sorted(map(os.fsencode, files))


def test_names_around_the_separator_interleave_and_are_all_unchanged(
    page: int, library: Library, tmp_path: Path
) -> None:
    names = ["a.png", "a/x.png", "a0", "a-", "a/", "a.b/c", "a/0/1", "a0/x", "A", "aa", "a b"]
    files = [tmp_path / "p" / name for name in names if not name.endswith("/")]
    files.remove(tmp_path / "p" / "a0")  # a folder of that name holds another
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    hold(library, map(known_as, files))
    sifted = Sifted(library, [tmp_path / "p"])
    assert sifted.passed == {}
    assert (sifted.report.unchanged, sifted.changed.files) == (len(files), len(files))
    assert not sifted.changed.missed


@pytest.mark.parametrize("seed", range(16))
def test_what_is_new_changed_gone_or_skipped_is_told_apart_in_any_tree(
    seed: int, page: int, library: Library, tmp_path: Path
) -> None:
    rng = random.Random(1000 + seed)
    folder = tmp_path / "p"
    files = plant(folder, rng, 40)
    sorts = ("new", "same", "older", "damaged", "older damaged", "unreadable", "too-large", "gone")
    weights = (1, 6, 1, 1, 1, 1, 1, rng.choice((0, 1)))
    of = {path: rng.choices(sorts, weights)[0] for path in files}
    changes = []
    for path, sort in of.items():
        if sort != "new":
            kind = {"older damaged": "damaged", "unreadable": sort, "too-large": sort}.get(sort, "")
            kind = "damaged" if sort == "damaged" else kind
            changes.append(known_as(path, kind=kind, older=sort.startswith("older")))
        if sort == "gone":
            path.unlink()
    rng.shuffle(changes)
    known = hold(library, changes)
    sifted = Sifted(library, [folder])

    def paths(*wanted: str) -> set[bytes]:
        return {os.fsencode(path) for path, sort in of.items() if sort in wanted}

    looked_at = paths("new", "older", "older damaged", "unreadable", "too-large")
    assert sifted.passed == {path: known.get(path) for path in looked_at}
    assert sifted.report.unchanged == len(paths("same"))
    assert {os.fsencode(skip.path) for skip in sifted.report.skipped} == paths("damaged")
    assert sifted.seen_skips == paths("damaged")
    ids = {path: held.id for path, held in known.items() if held.id is not None}
    assert {path for path, i in ids.items() if i in sifted.seen} == paths("same")
    assert sifted.changed.files == len(files) - len(paths("gone"))
    assert sifted.changed.missed == bool(paths("gone"))


@pytest.mark.parametrize("seed", range(16))
def test_nothing_gone_is_overlooked_below_several_roots_links_and_exclusions(
    seed: int, page: int, library: Library, tmp_path: Path
) -> None:
    rng = random.Random(2000 + seed)
    folder = tmp_path / "p"
    files = plant(folder, rng, 40) + plant(tmp_path / "elsewhere", rng, 10)
    folders = sorted({path.parent for path in files} - {folder})
    for number in range(3):
        link = rng.choice(folders) / f"{rng.choice(PARTS)}{number}"
        link.symlink_to(rng.choice([*folders, tmp_path / "elsewhere", rng.choice(files)]))
    below = [path for path in files if path.is_relative_to(folder)]
    roots = [folder, *rng.sample(folders, 2), rng.choice(below)]
    rng.shuffle(roots)
    walked = {entry.path for entry in Walk(list(map(str, roots)))}
    hold(library, [known_as(Path(os.fsdecode(path))) for path in walked])
    first = Sifted(library, roots)
    assert (first.passed, first.report.unchanged, first.changed.files) == ({}, *[len(walked)] * 2)

    options = rng.choice(({}, {"exclude": ("a*",)}, {"exclude": ("b/",)}))
    for path in rng.sample(below, rng.choice((0, 1, 3))):
        if path not in roots:
            path.unlink()
    there = {entry.path for entry in Walk(list(map(str, roots)), **options)}  # type: ignore[arg-type]
    sifted = Sifted(library, roots, **options)
    # what is excluded at its own place may be reached by a link, under another path then
    assert sifted.passed == dict.fromkeys(there - walked)
    assert sifted.report.unchanged == len(there & walked)
    if walked - there:
        assert sifted.changed.missed


# -- whole runs ------------------------------------------------------------------------------------


def held(library: Library) -> dict[str, int]:
    """Path and id of every picture."""
    return {os.fsdecode(path): i for i, path in library.catalogue.under(b"/")}


def encoded(encoder: Encoder) -> int:
    """How many pictures went through the fake network so far."""
    return encoder._runtime.pictures  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("commit_seconds", [0.0, 1e9], ids=["commits often", "commits once"])
@pytest.mark.parametrize(
    ("old", "new"),
    [("b.png", "z/later.png"), ("y.png", "a/earlier.png"), ("m/m.png", "m.png")],
    ids=["later", "earlier", "beside"],
)
def test_a_picture_that_moves_in_the_order_of_the_walk_keeps_its_id(
    old: str,
    new: str,
    commit_seconds: float,
    page: int,
    library: Library,
    tmp_path: Path,
    encoder: Encoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("parecido.indexer.indexing.run.COMMIT_SECONDS", commit_seconds)
    folder = tmp_path / "p"
    save_pictures(folder, 6)
    for seed, name in enumerate(("b.png", "m/m.png", "y.png"), 50):
        save_picture(folder / name, seed)
    index(library, [folder], encoder=encoder)
    before = held(library)
    (folder / new).parent.mkdir(exist_ok=True)
    (folder / old).rename(folder / new)
    save_pictures(folder, 3, first=60)  # so that there is something to commit before and after
    report = index(library, [folder], encoder=encoder)
    assert (report.moved, report.added, report.removed, report.unchanged) == (1, 3, 0, 8)
    assert encoded(encoder) == 9 + 3
    expected = {path: i for path, i in before.items() if path != str(folder / old)}
    expected[str(folder / new)] = before[str(folder / old)]
    assert {path: held(library)[path] for path in expected} == expected
    assert str(folder / old) not in held(library)
    check_sound(library.folder)


@pytest.mark.parametrize("commit_seconds", [0.0, 1e9], ids=["commits often", "commits once"])
def test_names_that_change_hands_in_a_circle_keep_one_picture_each(
    commit_seconds: float,
    page: int,
    library: Library,
    tmp_path: Path,
    encoder: Encoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("parecido.indexer.indexing.run.COMMIT_SECONDS", commit_seconds)
    folder = tmp_path / "p"
    files = save_pictures(folder, 5)
    index(library, [folder], encoder=encoder)
    data = [path.read_bytes() for path in files]
    for number, path in enumerate(files):
        path.write_bytes(data[(number + 1) % 5])
        os.utime(path, ns=(number, number))
    report = index(library, [folder], encoder=encoder)
    assert report.added + report.removed + report.moved == 0
    assert len(held(library)) == 5
    for number, path in enumerate(files):
        picture = library.catalogue.picture_at(str(path))
        assert picture is not None
        assert picture.content_hash == content_hash(data[(number + 1) % 5])
    assert index(library, [folder], encoder=encoder).unchanged == 5
    check_sound(library.folder)


def test_folders_behind_links_stay_unchanged_and_leave_with_their_link(
    page: int, library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    save_pictures(tmp_path / "elsewhere", 4)
    save_pictures(tmp_path / "p" / "b", 3, first=10)
    (tmp_path / "p" / "b.link").symlink_to(tmp_path / "elsewhere")  # between "b" and "b/…"
    (tmp_path / "p" / "c").symlink_to(tmp_path / "p" / "b")  # by its own place only
    (tmp_path / "p" / "b" / "up").symlink_to(tmp_path / "p")
    assert index(library, [tmp_path / "p"], encoder=encoder).added == 7
    before = held(library)
    for _ in range(2):
        report = index(library, [tmp_path / "p"], encoder=encoder)
        assert (report.unchanged, report.removed, report.added, report.moved) == (7, 0, 0, 0)
    assert held(library) == before
    (tmp_path / "p" / "b.link").unlink()
    report = index(library, [tmp_path / "p"], encoder=encoder)
    assert (report.unchanged, report.removed) == (3, 4)
    assert encoded(encoder) == 7
    check_sound(library.folder)


def test_a_link_that_becomes_a_folder_keeps_the_ids_of_what_lies_in_it(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    save_pictures(tmp_path / "elsewhere", 4)
    save_pictures(tmp_path / "p", 1, first=10)
    (tmp_path / "p" / "x").symlink_to(tmp_path / "elsewhere")
    index(library, [tmp_path / "p"], encoder=encoder)
    before = held(library)
    (tmp_path / "p" / "x").unlink()
    shutil.copytree(tmp_path / "elsewhere", tmp_path / "p" / "x")  # with their times
    report = index(library, [tmp_path / "p"], encoder=encoder)
    assert (report.unchanged, report.removed, report.added) == (5, 0, 0)
    assert held(library) == before


@pytest.mark.parametrize("inner_first", [False, True])
def test_one_root_inside_another_counts_every_file_once(
    inner_first: bool, page: int, library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    outer, inner = tmp_path / "p", tmp_path / "p" / "b"
    save_pictures(outer, 2)
    save_pictures(inner, 3, first=10)
    save_pictures(outer / "b.c", 2, first=20)
    roots = [inner, outer] if inner_first else [outer, inner]
    assert index(library, roots, encoder=encoder).added == 7
    report = index(library, roots, encoder=encoder)
    assert (report.unchanged, report.removed, report.added) == (7, 0, 0)
    (inner / "0010.png").unlink()
    (outer / "0001.png").unlink()
    report = index(library, roots, encoder=encoder)
    assert (report.unchanged, report.removed, report.added) == (5, 2, 0)
    for root, count in ((inner, 2), (outer, 5)):
        assert index(library, [root], encoder=encoder).unchanged == count
    assert encoded(encoder) == 7


def test_what_is_excluded_leaves_and_its_skips_are_forgotten(
    page: int, library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    folder = tmp_path / "p"
    save_pictures(folder / "raw", 3)
    kept = save_pictures(folder, 2, first=10)
    (folder / "raw" / "broken.png").write_bytes(b"\x89PNG no more")
    (folder / "notes.txt").write_text("no picture")
    index(library, [folder], encoder=encoder)
    assert library.catalogue.counts() == (5, 2)
    for exclude, removed, counts in ((("raw/",), 3, (2, 1)), (("*.txt", "raw"), 0, (2, 0))):
        options = IndexOptions(exclude=exclude)
        report = index(library, [folder], options, encoder=encoder)
        assert (report.removed, report.unchanged) == (removed, 2)
        assert library.catalogue.counts() == counts
    assert set(held(library)) == set(map(str, kept))
    report = index(library, [folder], encoder=encoder)
    assert (report.added, len(report.skipped)) == (0, 0)
    options = IndexOptions(include=("raw", "*.txt"))
    report = index(library, [folder], options, encoder=encoder)
    assert (report.added, len(report.skipped)) == (3, 2)
    check_sound(library.folder)


@pytest.mark.parametrize("as_a_root", [False, True], ids=["below a root", "a root itself"])
def test_a_folder_whose_name_a_picture_takes_leaves_and_the_other_way_round(
    as_a_root: bool, page: int, library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    place = tmp_path / "p" / "name"
    root = place if as_a_root else tmp_path / "p"
    save_picture(tmp_path / "p" / "other.png", 9)
    save_pictures(place, 3)
    index(library, [root], encoder=encoder)
    shutil.rmtree(place)
    save_picture(tmp_path / "new.png", 4).rename(place)
    report = index(library, [root], encoder=encoder)
    assert (report.added, report.removed) == (1, 3)
    assert str(place) in held(library)
    place.unlink()
    save_pictures(place, 2, first=20)
    report = index(library, [root], encoder=encoder)
    assert (report.added, report.removed) == (2, 1)
    found = {path for path in map(Path, held(library)) if path.is_relative_to(place)}
    assert found == set(place.iterdir())
    check_sound(library.folder)


def test_a_changed_picture_that_vanishes_before_it_is_read_leaves_the_library(
    library: Library, tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = save_pictures(tmp_path / "p", 2)
    index(library, [tmp_path / "p"], encoder=encoder)
    save_picture(first, 7)

    def vanishing(entry: object, *rest: object) -> Prepared:
        first.unlink(missing_ok=True)
        return prepare(entry, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("parecido.indexer.indexing.workers.prepare", vanishing)
    report = index(library, [tmp_path / "p"], encoder=encoder)
    assert (report.removed, report.unchanged) == (1, 1)
    assert [(skip.path, skip.kind) for skip in report.skipped] == [(str(first), "vanished")]
    assert held(library).keys() == {str(second)}


class Changing:
    """Files that come, change, move, are copied and go; some of them are no pictures."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self._folder = folder
        self._rng = rng
        self._seeds = itertools.count()
        self._clock = itertools.count(10**9)

    def files(self) -> list[Path]:
        """What is there; every file at its own place."""
        found = [path for path in self._folder.rglob("*") if path.is_file()]
        return sorted(path for path in found if path.resolve() == path)

    def change(self, times: int) -> None:
        """So many changes; every file that is written gets a time that none had before."""
        for _ in range(times):
            does = [self._add, self._add, self._overwrite, self._move, self._copy, self._remove]
            self._rng.choice([*does, self._touch, self._spoil, self._move_folder])()

    def _new_path(self) -> Path:
        while True:
            path = self._folder.joinpath(*self._rng.choices(PARTS, k=self._rng.randint(1, 3)))
            path = path.with_name(f"{path.name}{self._rng.randint(0, 99)}.png")
            if not path.exists() and not any(parent.is_file() for parent in path.parents):
                path.parent.mkdir(parents=True, exist_ok=True)
                return path

    def _any(self) -> Path | None:
        files = [path for path in self.files() if path.stem != "kept"]
        return self._rng.choice(files) if files else None

    def _stamp(self, path: Path) -> None:
        os.utime(path, ns=(0, next(self._clock)))

    def _add(self) -> None:
        size = self._rng.choice([(48, 40), (40, 48), (48, 48)])
        self._stamp(save_picture(self._new_path(), next(self._seeds), size))

    def _overwrite(self) -> None:
        if path := self._any():
            self._stamp(save_picture(path, next(self._seeds)))

    def _move(self) -> None:
        if path := self._any():
            path.rename(self._new_path())
            self._remove_empty(path.parent)

    def _copy(self) -> None:
        if path := self._any():
            target = self._new_path()
            shutil.copy(path, target)
            self._stamp(target)

    def _remove(self) -> None:
        if path := self._any():
            path.unlink()
            self._remove_empty(path.parent)

    def _remove_empty(self, folder: Path) -> None:
        """As people do who delete pictures; one that stays may be a drive's mount point."""
        while folder != self._folder and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent

    def _touch(self) -> None:
        if path := self._any():
            self._stamp(path)

    def _spoil(self) -> None:
        if path := self._any():
            path.write_bytes(self._rng.choice([b"", b"\x89PNG no more", path.read_bytes()[:50]]))
            self._stamp(path)

    def _move_folder(self) -> None:
        if (path := self._any()) and path.parent not in (self._folder, self._folder / "a"):
            target = self._new_path()
            if not target.is_relative_to(path.parent):
                path.parent.rename(target)


def _is_over(left: Iterator[int]) -> bool:
    return next(left) <= 0


@pytest.mark.parametrize("seed", range(6))
def test_whatever_becomes_of_the_files_a_run_makes_the_library_what_they_are(
    seed: int, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(3000 + seed)
    monkeypatch.setattr("parecido.indexer.catalogue.sqlite.queries._PAGE", rng.choice((1, 3, 4096)))
    monkeypatch.setattr("parecido.indexer.indexing.changed_files._PULSE", rng.choice((1, 5, 1024)))
    monkeypatch.setattr("parecido.indexer.indexing.workers.AHEAD", rng.choice((1, 4, 16)))
    folder = tmp_path / "p"
    changing = Changing(folder, rng)
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "kept.txt").write_text("no picture")
    changing.change(30)
    encoder = fake_encoder()
    for _ in range(8):
        monkeypatch.setattr("parecido.indexer.indexing.run.COMMIT_SECONDS", rng.choice((0.0, 1e9)))
        monkeypatch.setattr("parecido.indexer.indexing.run.COMMIT_CHANGES", rng.choice((1, 7, 512)))
        roots = rng.choice(([folder], [folder, folder / "a"], [folder / "a", folder]))
        options = IndexOptions(workers=rng.randint(1, 5))
        if rng.random() < 0.5:  # a run that is stopped anywhere, before the one that ends
            left = itertools.count(rng.randint(0, 20), -1)
            index(library, roots, options, encoder=encoder, stop=partial(_is_over, left))
            check_sound(library.folder)
        before = {path: (i, row.content_hash) for path, (i, row) in holdings(library).items()}
        report = index(library, roots, options, encoder=encoder)
        after = holdings(library)
        pictures = {}
        for path in changing.files():
            data = path.read_bytes()
            with suppress(PictureUnreadable):
                decoded = decode(data, encoder.spec, LIMITS)
                pictures[os.fsencode(path)] = (content_hash(data), decoded.pixels)
        assert after.keys() == pictures.keys()
        for path, (picture_id, row) in after.items():
            digest, pixels = pictures[path]
            assert row.content_hash == digest
            vector = unpack(row.descriptor)
            assert vector == pytest.approx(quadrants(pixels[None])[0], abs=1e-3)
            if path in before:
                assert before[path][0] == picture_id
        counted = report.added + report.updated + report.unchanged + report.moved
        assert counted == len(after)
        skipped = {os.fsencode(skip.path) for skip in report.skipped}
        assert skipped == {os.fsencode(path) for path in changing.files()} - after.keys()
        # whose only file went while another one came with the same bytes has moved
        there = {digest for path, (_, digest) in before.items() if os.path.lexists(path)}
        gone = Counter(d for path, (_, d) in before.items() if not os.path.lexists(path))
        came = Counter(row.content_hash for path, (_, row) in after.items() if path not in before)
        for path, (picture_id, row) in after.items():
            digest = row.content_hash
            if path not in before and gone[digest] == came[digest] == 1 and digest not in there:
                assert [picture_id] == [i for i, other in before.values() if other == digest]
        check_sound(library.folder)
        again = index(library, roots, options, encoder=encoder)
        assert (again.unchanged, again.encoded, again.removed) == (len(after), 0, 0)
        changing.change(rng.randint(1, 12))
    assert not any(p.name.startswith("worker") for p in threading.enumerate())


# -- many files ------------------------------------------------------------------------------------

MANY = 2500


@pytest.fixture
def many(library: Library, tmp_path: Path) -> list[Path]:
    """Thousands of files that the library knows as they are."""
    folder = tmp_path / "many"
    files = []
    for number in range(MANY):
        path = folder / f"{number % 7}" / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        files.append(path)
    hold(library, map(known_as, files))
    return sorted(files)


def test_a_run_over_thousands_of_unchanged_files_can_be_stopped_and_removes_nothing(
    many: list[Path], library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    gone = [many[3], many[-3]]
    for path in gone:
        path.unlink()
    told: list[int] = []
    report = index(
        library,
        [tmp_path / "many"],
        encoder=encoder,
        progress=lambda report: told.append(report.unchanged),
        stop=lambda: bool(told),
    )
    assert report.interrupted
    assert 0 < report.unchanged < MANY - 2
    assert (report.removed, report.added, report.moved) == (0, 0, 0)
    assert library.catalogue.counts() == (MANY, 0)
    report = index(library, [tmp_path / "many"], encoder=encoder)
    assert (report.unchanged, report.removed, report.interrupted) == (MANY - 2, 2, False)
    assert encoded(encoder) == 0


def test_a_run_over_thousands_of_unchanged_files_tells_how_far_it_is(
    many: list[Path], library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    told: list[int] = []
    report = index(
        library,
        [tmp_path / "many"],
        encoder=encoder,
        progress=lambda report: told.append(report.unchanged),
    )
    assert report.unchanged == MANY
    assert any(0 < count < MANY for count in told)
    assert told == sorted(told)
    assert told[-1] == MANY


def test_a_few_changes_among_thousands_of_unchanged_files_are_all_found(
    many: list[Path], library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    for seed, path in enumerate((many[0], many[1024], many[-1])):
        save_picture(path, seed)
    many[1500].unlink()
    save_picture(tmp_path / "many" / "3.png", 77)
    report = index(library, [tmp_path / "many"], encoder=encoder)
    groups = (report.added, report.updated, report.removed, report.unchanged, report.skipped)
    assert groups == (1, 3, 1, MANY - 4, [])
    assert remove(library, [tmp_path / "many" / "3"]) == len(
        [p for p in many if p.parent.name == "3"]
    )
