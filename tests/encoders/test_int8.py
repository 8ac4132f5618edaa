"""int8: quantised once on the library's own pictures, and then a part of that library."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parecido import Library, verify
from parecido.indexer.encoders.building.quantised_model import quantised_model
from parecido.indexer.encoders.opening import load_encoder, open_encoder
from parecido.indexer.errors import EncoderMismatch, EncoderUnavailable, InvalidRequest
from parecido.indexer.indexing.options import IndexOptions
from parecido.indexer.indexing.pipeline import index
from parecido.indexer.library.contents import refuse_foreign
from parecido.search.engine import Engine
from tests.support.fakes import fake_encoder, fake_spec, save_pictures
from tests.support.harness import snapshot
from tests.support.places import PYTHONPATH
from tests.support.real import cosines, photographs

INT8 = IndexOptions(model="efficientnet-lite0", precision="int8", device="cpu")
COUNT = 126


def save_crops(folder: Path) -> Path:
    """126 different pictures: of each of seven photographs nine crops, upright and mirrored."""
    folder.mkdir()
    for path in photographs():
        whole = Image.open(path).convert("RGB")
        width, height = whole.size
        for i in range(9):
            left, top = i % 3 * width // 6, i // 3 * height // 6
            crop = whole.crop((left, top, left + width * 2 // 3, top + height * 2 // 3))
            crop.thumbnail((320, 320))
            crop.save(folder / f"{path.stem}-{i}.png")
            crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / f"{path.stem}-{i}m.png")
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, and a library that the command line made of them in int8.

    What else was written lies there too: a home, a current folder and one for temporary files.
    """
    if importlib.util.find_spec("nncf") is None:
        pytest.skip("NNCF is not installed")
    place = tmp_path_factory.mktemp("int8")
    save_crops(place / "pictures")
    for name in ("home", "here", "temporary"):
        (place / name).mkdir()
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "parecido.search.cli", "index", str(place / "pictures")),
            *("--library", str(place / "library"), "--model", "efficientnet-lite0"),
            *("--precision", "int8", "--device", "cpu", "--json"),
        ],
        cwd=place / "here",
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("XDG_")},
            "HOME": str(place / "home"),
            "TMPDIR": str(place / "temporary"),
            "PYTHONPATH": PYTHONPATH,
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["added"], report["skipped"]) == (COUNT, [])
    assert 0 < report["preparing_seconds"] < report["seconds"]
    return place


@pytest.fixture
def int8(place: Path) -> Iterator[Library]:
    with Library.open(place / "library") as library:
        yield library


@pytest.mark.network
def test_the_library_holds_the_model_and_nothing_lies_outside_library_and_cache(
    place: Path, int8: Library
) -> None:
    spec = int8.encoder
    assert spec is not None
    assert spec.precision == "int8"
    assert len(spec.calibration) == 64
    assert " · int8 · " in spec.title
    assert verify(int8) == []
    assert sorted(os.listdir(place / "library" / "encoder")) == ["model.bin", "model.xml"]
    assert [n for n in os.listdir(place / "library") if n.startswith("encoder.")] == []
    for name in ("home", "here", "temporary"):
        assert snapshot(place / name) == {}
    text = (place / "library" / "encoder" / "model.xml").read_text("utf-8")
    assert "FakeQuantize" in text
    assert str(place) not in text


@pytest.mark.network
def test_descriptors_are_near_float32s_and_a_picture_finds_itself(
    place: Path, int8: Library
) -> None:
    files = sorted((place / "pictures").iterdir())
    with Engine(int8) as engine:
        for path in files[::40]:
            hits = engine.search_bytes(path.read_bytes(), k=3).hits
            assert hits[0].path == str(path)
            assert hits[0].score > 0.999
        ours = engine.descriptors(files)
    plain = load_encoder("efficientnet-lite0", precision="float32", device="cpu")
    theirs = plain.encode_files(files).descriptors
    assert cosines(ours, theirs).mean() >= 0.95
    assert ours.shape == theirs.shape


@pytest.mark.network
def test_a_second_run_changes_nothing_and_another_precision_is_refused(
    place: Path, int8: Library
) -> None:
    before = snapshot(place / "library" / "encoder")
    for options in (IndexOptions(), INT8):
        report = index(int8, [place / "pictures"], options)
        assert (report.unchanged, report.added) == (COUNT, 0)
    for precision in ("float32", "half"):
        with pytest.raises(EncoderMismatch, match=precision):
            index(int8, [place / "pictures"], replace(INT8, precision=precision))
    assert snapshot(place / "library" / "encoder") == before


@pytest.mark.network
def test_a_damaged_or_missing_model_is_told_and_refused_and_stored_descriptors_still_answer(
    place: Path, int8: Library
) -> None:
    path = place / "library" / "encoder" / "model.bin"
    picture = sorted((place / "pictures").iterdir())[0]
    whole = path.read_bytes()
    try:
        for damaged in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[:1000], None):
            if damaged is None:
                path.unlink()
            else:
                path.write_bytes(damaged)
            with Engine(int8) as engine:
                assert len(engine.search(picture, k=5).hits) == 5
                with pytest.raises(EncoderUnavailable, match="backup"):
                    engine.search_bytes(picture.read_bytes())
            (problem,) = verify(int8)
            assert not problem.repairable
            assert "quantised model" in problem.what
            assert "new library" in problem.what
    finally:
        path.write_bytes(whole)
    assert verify(int8) == []


@pytest.mark.network
def test_matches_are_explained_by_the_quantised_model_itself(
    int8: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    from parecido.search.explaining.explanation import GivenPicture, explain

    def residuals() -> list[float]:
        with Engine(int8) as engine:
            found = []
            for hit in engine.search(query, k=5).hits:
                why = explain(engine, GivenPicture(query), GivenPicture(hit.path)).why
                assert why.score == pytest.approx(hit.score, abs=1e-6)
                assert why.hit.sum + why.hit.residual == pytest.approx(why.score, abs=1e-9)
                found.append(abs(why.residual))
            return found

    query = int8.catalogue.pictures([1])[0].path
    assert max(residuals()) < 1e-4

    def not_shown(*_: object) -> None:
        raise LookupError("not here")

    # where the quantised graph does not show its map, float32's is near and the rest is told
    monkeypatch.setattr("parecido.indexer.encoders.runtimes.openvino.with_feature_map", not_shown)
    assert 1e-5 < max(residuals()) < 0.05


@pytest.mark.network
@pytest.mark.parametrize("pooling", ["avg", "max", "gem"])
def test_everything_behind_the_last_feature_map_stays_in_floating_point(
    place: Path, pooling: str
) -> None:
    from parecido.indexer.encoders.building.export import obtain_export
    from parecido.indexer.encoders.building.quantise_work import _tail
    from parecido.indexer.encoders.machine.imports import import_openvino

    spec = load_encoder("efficientnet-lite0", pooling=pooling, precision="float32").spec
    model = import_openvino().Core().read_model(obtain_export(spec) / "model.xml")
    kinds = {node.get_friendly_name(): node.get_type_name() for node in model.get_ops()}
    found = [kinds[name] for name in _tail(model, pooling)]
    assert {"ReduceMean", "ReduceSum", "Divide", "MatMul", "Softmax"} <= set(found)
    assert not {"Convolution", "GroupConvolution", "Clamp", "Result"} & set(found)
    reductions = {"avg": ["ReduceMean"], "max": ["ReduceMax", "ReduceMean"]}
    expected = reductions.get(pooling, ["ReduceMean", "ReduceMean"])
    assert sorted(k for k in found if k in ("ReduceMax", "ReduceMean")) == expected


def test_the_tail_of_a_network_without_a_head_starts_at_the_pooling_too() -> None:
    from parecido.indexer.encoders.building.quantise_work import _tail
    from parecido.indexer.encoders.machine.imports import import_openvino

    openvino = import_openvino()
    ops = openvino.opset13
    for pooling in ("avg", "max", "gem"):
        pixels = ops.parameter([-1, -1, -1, 3], np.float32)
        mean = ops.reduce_mean(pixels, np.array([1, 2]), True)  # as in squeeze and excitation
        features = ops.relu(ops.multiply(pixels, mean))
        features.set_friendly_name("features")
        behind = ops.transpose(features, np.array([0, 2, 3, 1]))
        if pooling == "gem":
            clipped = ops.maximum(behind, np.float32(1e-6))
            behind = ops.power(clipped, np.float32(3))
        reduce = ops.reduce_max if pooling == "max" else ops.reduce_mean
        pooled = reduce(behind, np.array([1, 2]), False)
        model = openvino.Model([ops.divide(pooled, np.float32(2))], [pixels])
        kinds = {node.get_friendly_name(): node.get_type_name() for node in model.get_ops()}
        found = [kinds[name] for name in _tail(model, pooling)]
        assert found == [
            "Transpose",
            *(["Maximum", "Power"] if pooling == "gem" else []),
            "ReduceMax" if pooling == "max" else "ReduceMean",
            "Divide",
        ]


@pytest.mark.network
def test_too_few_different_pictures_are_refused(library: Library, tmp_path: Path) -> None:
    if importlib.util.find_spec("nncf") is None:
        pytest.skip("NNCF is not installed")
    save_pictures(tmp_path / "pictures", 60)
    save_pictures(tmp_path / "pictures" / "copies", 60)
    (tmp_path / "pictures" / "note.txt").write_text("no picture")
    with pytest.raises(InvalidRequest, match="found 60") as caught:
        index(library, [tmp_path / "pictures"], INT8)
    assert "--precision half" in caught.value.remedy
    assert [name for name in os.listdir(library.folder) if name.startswith("encoder")] == []
    assert library.catalogue.counts() == (0, 0)


@pytest.mark.network
def test_an_interrupted_run_leaves_no_model_and_a_later_one_of_another_precision_removes_one(
    library: Library, tmp_path: Path
) -> None:
    if importlib.util.find_spec("nncf") is None:
        pytest.skip("NNCF is not installed")
    save_pictures(tmp_path / "pictures", 5)
    report = index(library, [tmp_path / "pictures"], INT8, stop=lambda: True)
    assert report.interrupted
    assert [name for name in os.listdir(library.folder) if name.startswith("encoder")] == []
    for name in ("encoder", "encoder.new-a_killed"):
        (library.folder / name).mkdir()
    index(library, [tmp_path / "pictures"], encoder=fake_encoder())
    assert [name for name in os.listdir(library.folder) if name.startswith("encoder")] == []


@pytest.mark.parametrize(
    ("package", "remedy"), [("nncf", r"parecido\[int8\]"), ("openvino", "pip install openvino")]
)
def test_a_missing_package_is_named_with_its_remedy(
    package: str,
    remedy: str,
    library: Library,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save_pictures(tmp_path / "pictures", 3)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EncoderUnavailable, match=remedy):
        index(library, [tmp_path / "pictures"], INT8)


def test_a_gpu_is_no_place_for_int8(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_pictures(tmp_path / "pictures", 3)
    monkeypatch.setattr("parecido.indexer.encoders.building.quantise.gpu_visible", lambda: True)
    for device in ("auto", "gpu"):
        with pytest.raises(EncoderUnavailable, match="--precision half"):
            index(library, [tmp_path / "pictures"], replace(INT8, device=device))
    with pytest.raises(EncoderUnavailable, match="CPU only"):
        open_encoder(fake_spec(precision="int8"), device="gpu", folder=library.folder)


def test_an_int8_encoder_belongs_to_its_library(library: Library, tmp_path: Path) -> None:
    save_pictures(tmp_path / "pictures", 3)
    with pytest.raises(InvalidRequest, match="--precision int8"):
        load_encoder("efficientnet-lite0", precision="int8")
    with pytest.raises(EncoderUnavailable, match="no library was named"):
        open_encoder(fake_spec(precision="int8"))
    given = fake_encoder(precision="int8", calibration="0" * 64)
    with pytest.raises(EncoderUnavailable, match="new library"):
        index(library, [tmp_path / "pictures"], encoder=given)


def test_the_calibration_decides_the_fingerprint_and_is_read_back() -> None:
    one, other = (fake_spec(precision="int8", calibration=c * 64) for c in "12")
    assert one.fingerprint != other.fingerprint
    assert type(one).from_json(one.to_json()) == one
    with pytest.raises(EncoderUnavailable):
        quantised_model(one, Path("nowhere"))


def test_only_a_models_own_files_pass_for_a_library_that_lost_its_catalogue(
    tmp_path: Path,
) -> None:
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "model.bin").touch()
    refuse_foreign(tmp_path)
    (tmp_path / "encoder" / "holiday.jpg").touch()
    with pytest.raises(InvalidRequest, match="encoder"):
        refuse_foreign(tmp_path)
