"""The benchmarks' own parts: pictures, reports, results files.  Nothing here depends on time."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from benchmarks import report
from benchmarks.baselines import bare
from benchmarks.baselines.scan import scan
from benchmarks.figures import Comparison, Figure, median
from benchmarks.material.libraries import fill_library
from benchmarks.material.pictures import SETS, copies, own_set
from benchmarks.material.synthetic import descriptors
from benchmarks.plan import ROOT, Plan, alternate
from benchmarks.speed.stages import GLUE, NETWORK, watched
from parecido import Engine, IndexOptions, Library, index
from tests.support.fakes import DIMENSION, fake_encoder, fake_spec, save_pictures

SMALL = SETS[0]


def figure(name: str, value: float = 3.0, benchmark: str = "speed") -> Figure:
    reference = Comparison.of("plain", [value], [1.0], 2.5)
    return Figure(
        benchmark, name, value, "pictures/s", reference, note="a note that is too long for the row"
    )


def test_pictures_are_different_and_have_as_many_bytes_as_a_camera_gives(tmp_path: Path) -> None:
    paths = SMALL.files(tmp_path, 24)
    contents = [path.read_bytes() for path in paths]
    assert len(set(contents)) == len(paths)
    sizes = []
    for content in contents:
        with Image.open(io.BytesIO(content)) as picture:
            assert picture.format == "JPEG"
            assert max(picture.size) == 320
            assert 0.25 < len(content) / (picture.width * picture.height) < 0.5
            sizes.append(picture.size)
    assert len({width / height for width, height in sizes}) >= 7
    shapes = Counter(np.sign(width - height) for width, height in sizes)
    assert shapes[1] > shapes[-1] > 0


def test_large_pictures_have_the_size_and_the_bytes_of_their_set() -> None:
    content = SETS[1].picture(1)
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.width * picture.height == pytest.approx(2e6, rel=0.01)
    assert 0.25 < len(content) / 2e6 < 0.45


def test_pictures_come_out_the_same_and_are_made_once(tmp_path: Path) -> None:
    (path,) = SMALL.files(tmp_path, 1)
    assert path.read_bytes() == SMALL.picture(0)
    before = path.stat()
    assert SMALL.files(tmp_path, 2)[0] == path
    assert path.stat() == before


def test_copies_differ_in_bytes_and_show_the_same(tmp_path: Path) -> None:
    originals = SMALL.files(tmp_path, 2)
    folders = copies(originals, 3, tmp_path / "copies")
    files = sorted(path for folder in folders for path in folder.iterdir())
    assert len({path.read_bytes() for path in files}) == 6
    shown = [np.asarray(Image.open(path)) for path in (originals[1], folders[2] / "00001.jpg")]
    assert np.array_equal(*shown)


def test_own_pictures_are_the_jpegs_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no JPEG"):
        own_set(tmp_path, 64)
    save_pictures(tmp_path / "below", 40, ".jpg")
    save_pictures(tmp_path, 2, ".png")
    assert len(own_set(tmp_path, 64)) == 32  # whole batches where there are enough
    assert len(own_set(tmp_path, 7)) == 7


def test_the_bare_decoder_gives_the_encoders_size() -> None:
    size = fake_spec().size
    pixels = bare.decode(SMALL.picture(0), size)
    assert pixels.shape == (*reversed(size.target(*SMALL.size(0))), 3)


def test_ratios_are_taken_round_by_round() -> None:
    comparison = Comparison.of("plain", [10.0, 40.0, 30.0], [5.0, 10.0, 10.0], 3.0)
    assert comparison.value == 10.0
    assert comparison.ratio == 3.0
    assert comparison.met is True
    assert Comparison.of("plain", [3.1], [1.0], 3.0, at_least=False).met is False
    assert Comparison.of("plain", [3.1], [1.0]).met is None
    assert median([4.0, 1.0, 2.0, 3.0]) == 2.5


def test_a_figure_meets_its_targets_when_all_are_met() -> None:
    limit = Comparison.of("limit", [3.0], [4.0], 0.9)
    assert figure("a").met is True
    assert Figure("b", "b", 3.0, "s", figure("a").reference, limit).met is False
    assert Figure("b", "b", 3.0, "s").met is None


def test_things_are_measured_in_turn(capsys: pytest.CaptureFixture[str]) -> None:
    order: list[str] = []
    measures = {name: lambda name=name: float(order.append(name) or 1) for name in "ABC"}
    assert alternate("x", measures, 2) == {name: [1.0, 1.0] for name in "ABC"}
    assert "".join(order) == "ABCABC"
    assert "round 2 of 2" in capsys.readouterr().err


def test_the_plan_takes_the_cases_that_were_asked_for() -> None:
    assert Plan().wants("resnet50, 12 MP")
    assert Plan(parts=("12 MP", "lite")).wants("resnet50, 12 MP")
    assert not Plan(parts=("lite",)).wants("resnet50, 12 MP")


def test_partial_results_are_merged_into_the_file(tmp_path: Path) -> None:
    path = tmp_path / "results" / "host.json"
    report.write([figure("a", 1.0), figure("b", 1.0), figure("a", 9.0, "other")], path, "day 1")
    report.write([figure("a", 3.0)], path, "day 2")
    data = json.loads(path.read_text("utf-8"))
    found = {(f["benchmark"], f["name"]): (f["value"], f["run"], f["met"]) for f in data["figures"]}
    assert found == {
        ("speed", "a"): (3.0, "day 2", True),
        ("speed", "b"): (1.0, "day 1", False),
        ("other", "a"): (9.0, "day 1", True),
    }
    assert set(data["runs"]) == {"day 1", "day 2"}
    assert data["runs"]["day 1"]["machine"]["cores"] >= 1
    assert {"numpy", "openvino", "faiss", "pillow"} <= set(data["runs"]["day 1"]["versions"])
    report.write([figure("b"), figure("a", 9.0, "other")], path, "day 3")
    assert set(json.loads(path.read_text("utf-8"))["runs"]) == {"day 2", "day 3"}


def test_a_figure_whose_run_the_file_does_not_tell_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "host.json"
    report.write([figure("a", 1.0)], path, "day 1")
    data = json.loads(path.read_text("utf-8"))
    data["runs"].clear()
    path.write_text(json.dumps(data))
    report.write([figure("b", 2.0)], path, "day 2")
    data = json.loads(path.read_text("utf-8"))
    assert {(f["name"], f["run"]) for f in data["figures"]} == {("a", "day 1"), ("b", "day 2")}
    assert set(data["runs"]) == {"day 2"}


def test_what_is_no_results_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "host.json"
    path.write_text("notes")
    with pytest.raises(ValueError, match="Expecting value"):
        report.write([figure("a")], path, "day 1")
    assert path.read_text() == "notes"


def test_the_table_tells_value_ratio_and_verdict() -> None:
    out = io.StringIO()
    report.print_table([figure("a"), figure("b", 2.0)], Console(file=out, width=100))
    text = out.getvalue()
    assert "3.00 × 1 ✓ ≥ 2.5" in text
    assert "2.00 × 1 ✗ ≥ 2.5" in text
    assert "reference: plain" in text
    assert "a: a note that" in text
    assert "1 of 2 figures meet" in text
    assert [report.number(x) for x in (0.0123456, 5.0, 12345.6)] == ["0.0123", "5", "12,346"]


def test_a_filled_library_can_be_searched(tmp_path: Path) -> None:
    vectors = descriptors(30, DIMENSION, seed=1)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(30), abs=1e-5)
    fill_library(tmp_path / "library", [vectors[:20], vectors[20:]], fake_spec())
    with Library.open(tmp_path / "library") as library, Engine(library) as engine:
        best = engine.search_vector(vectors[7], k=1)[0]
        assert best.path.endswith("00000007.jpg")
        assert best.score == pytest.approx(1, abs=1e-3)


def test_a_watched_run_accounts_for_all_its_time(library: Library, tmp_path: Path) -> None:
    save_pictures(tmp_path / "pictures", 20)
    with watched() as watch:
        began = time.process_time()
        here = IndexOptions(isolate=False)
        assert index(library, [tmp_path / "pictures"], here, encoder=fake_encoder()).added == 20
        process = time.process_time() - began
        seconds = watch.seconds(process)
    assert sum(seconds.values()) == pytest.approx(process, abs=1e-6)
    assert {"walk", "read", "hash", "decode", "SQLite", GLUE, NETWORK} <= set(seconds)
    assert seconds["decode"] > 0


def test_the_scan_counts_files(tmp_path: Path) -> None:
    save_pictures(tmp_path / "a" / "b", 3)
    save_pictures(tmp_path, 2)
    assert scan(str(tmp_path)) == 5


def test_the_command_explains_itself_without_importing_a_framework() -> None:
    words = [sys.executable, "-X", "importtime", "-m", "benchmarks", "--help"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    assert "--only" in done.stdout
    assert "tensorflow" not in done.stderr
