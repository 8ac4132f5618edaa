"""Files from public image libraries' own test folders: each ends as indexed or as skipped.

The inventory beside them tells what Pillow alone, without the HEIF plug-in, made of each.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parecido.indexer.indexing.workers
from parecido import Library, index
from parecido.indexer.indexing.prepare import Prepared
from parecido.indexer.records.pictures import FileEntry
from parecido.indexer.records.runs import IndexReport
from tests.pictures.test_decode import KINDS
from tests.support.fakes import fake_encoder, save_picture
from tests.support.places import REPOSITORY

FILES = 527
# Pillow warns about much of what is in these files
pytestmark = [pytest.mark.sets, pytest.mark.filterwarnings("ignore")]

# what parecido.indexer.pictures.decode reads, HEIF aside, which the inventory does not know
FORMATS = {
    *("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000"),
    *("PPM", "TGA", "ICO", "PSD", "QOI", "PCX", "SGI", "DDS"),
}
SUITE = "metadata-extractor-images__png__ImageTestSuite__"
# The inventory has them as loaded with fault "exif": looking for EXIF loads a PNG, which failed
# there as it does here, and the second attempt found nothing left to load.
LOADED_AT_THE_SECOND_ATTEMPT = {
    f"{SUITE}{name}.png"
    for name in (
        "9032e447e32e09aef5b7de2fab42494d",
        "c-m1-80e163ebface8b0d2fbf9823bca02936",
        "c-m1-aded9dc1dc9361363ad0b426c2ff1846",
        "c-m2-272ae9468b7883e5cf61873a17271fb4",
        "m1-814fcedc62fe4e43923c042ff1d6747f",
        "m1-9eb5b67f01da30f0e16062004c343e4a",
        "m3-593d4b1a0b5d13b539c6c098dc5797ca",
    )
}
# The picture is whole; one of the layers behind it, which nobody shows, is not.
DAMAGED_LAYERS = {
    f"Pillow__Tests__images__{name}.psd"
    for name in ("five_channels", "hopper_merged", "negative_top_left_layer", "psd-oob-write-y")
}
# Pillow refuses or misreads these: a JPEG cut short, floats, 16 bits of inks, an odd layout
READ_HERE = {
    "image-rs__tests__images__tiff__testsuite__rgb32f_color.tiff",
    "metadata-extractor-images__jpg__ImageTestSuite__fd44dc63fa7bdd12ee34fc602231ef02.jpg",
    "metadata-extractor-images__psd__10x12x16bit-CMYK.psd",
    "metadata-extractor-images__tif__ImageTestSuite__c16f4894de3142b98e8f3d8fc6b3d23e.tif",
}
HEIF = {
    f"pillow_heif__tests__images__heif{name}"
    for name in (
        *("__LA_8__128x128.heif", "__L_8__128x128.heif", "__L_xmp.heif"),
        *("_other__L_exif_xmp_iptc.heic", "_other__RGB_8_chroma444.heif"),
        *("_other__invalid_id.heic", "_truncated__truncated.heic"),
    )
}


@dataclass
class Outcome:
    """One run over all files with the fake encoder."""

    folder: Path
    inventory: dict[str, dict[str, str]]
    report: IndexReport
    files_indexed: set[str]
    seconds: dict[str, float] = field(default_factory=dict)
    prepared: dict[str, Prepared] = field(default_factory=dict)


@pytest.fixture(scope="module")
def outcome(
    sets: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Outcome]:
    folder = sets("messy")
    with (folder / "inventory.csv").open(newline="") as file:
        inventory = {row["path"]: row for row in csv.DictReader(file)}
    seconds: dict[str, float] = {}
    prepared: dict[str, Prepared] = {}
    prepare = parecido.indexer.indexing.workers.prepare

    def timed(entry: FileEntry, *arguments: Any) -> Prepared:
        name = os.fsdecode(os.path.basename(entry.path))
        started = time.thread_time()  # to which no load on the machine adds
        prepared[name] = prepare(entry, *arguments)
        seconds[name] = time.thread_time() - started
        return prepared[name]

    with (
        pytest.MonkeyPatch.context() as patch,
        Library.create(tmp_path_factory.mktemp("messy") / "library") as library,
    ):
        patch.setattr(parecido.indexer.indexing.workers, "prepare", timed)
        report = index(library, [folder], encoder=fake_encoder())
        paths = {os.fsdecode(path) for _, path in library.catalogue.under(os.fsencode(folder))}
        indexed = {str(Path(path).relative_to(folder)) for path in paths}
        yield Outcome(folder, inventory, report, indexed, seconds, prepared)


def test_every_file_ends_as_indexed_or_as_skipped(outcome: Outcome) -> None:
    skipped = {str(Path(skip.path).relative_to(outcome.folder)) for skip in outcome.report.skipped}
    everything = set(outcome.inventory) | {"inventory.csv"}
    assert len(outcome.inventory) == FILES
    assert outcome.files_indexed | skipped == everything
    assert outcome.files_indexed & skipped == set()
    assert outcome.report.added == len(outcome.files_indexed)
    assert outcome.report.added + len(outcome.report.skipped) == FILES + 1
    assert "inventory.csv" in skipped


def test_every_skip_has_a_kind_and_a_reason_of_one_line(outcome: Outcome) -> None:
    faulty = [
        skip
        for skip in outcome.report.skipped
        if skip.kind not in KINDS or not skip.reason.strip() or len(skip.reason.splitlines()) > 1
    ]
    assert outcome.report.skipped
    assert faulty == []


def test_no_file_takes_ten_seconds_of_a_processor(outcome: Outcome) -> None:
    assert len(outcome.seconds) == FILES + 1
    slowest = max(outcome.seconds, key=lambda name: outcome.seconds[name])
    print(f"slowest: {slowest}, {outcome.seconds[slowest]:.2f} s")
    assert outcome.seconds[slowest] < 10


def test_what_pillow_loads_is_indexed_and_nothing_else_but_for_named_exceptions(
    outcome: Outcome,
) -> None:
    loads = {
        name
        for name, row in outcome.inventory.items()
        if row["loads"] == "1" and row["format"] in FORMATS
    }
    assert loads - outcome.files_indexed == LOADED_AT_THE_SECOND_ATTEMPT
    assert outcome.files_indexed - loads == DAMAGED_LAYERS | HEIF | READ_HERE


def test_format_and_size_are_those_of_the_inventory(outcome: Outcome) -> None:
    told, expected = {}, {}
    for name in outcome.files_indexed - HEIF - READ_HERE:
        row, picture = outcome.inventory[name], outcome.prepared[name].decoded
        if picture is None:  # the same bytes as another file's
            continue
        told[name] = (picture.format, picture.width, picture.height)
        size = (int(row["w"]), int(row["h"]))
        # Pillow tells the size of a TIFF upright, and of the others as it is stored
        swapped = row["orientation"] in ("5", "6", "7", "8") and row["format"] != "TIFF"
        form = {"MPO": "JPEG"}.get(row["format"], row["format"])
        expected[name] = (form, *(reversed(size) if swapped else size))
    assert len(told) > 300
    assert told == expected


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Pillow__Tests__images__bmp__b__reallybig.bmp", "too-large"),
        ("Pillow__Tests__images__bmp__b__badwidth.bmp", "too-large"),
        ("metadata-extractor-images__mp4__with-gps.mp4", "not-a-picture"),
        ("metadata-extractor-images__mov__xmp480qt.mov", "not-a-picture"),
        ("metadata-extractor-images__eps__knightstour.eps", "not-a-picture"),
        ("metadata-extractor-images__xmp__exiftool-9.74-example.xmp", "not-a-picture"),
        ("Pillow__Tests__images__bad_palette_file.gpl", "not-a-picture"),
        ("inventory.csv", "not-a-picture"),
        (f"{SUITE}m1-3625f98e00148cdc136c53bdcd2d2e1e.png", "damaged"),
        ("Pillow__Tests__images__broken.png", "damaged"),
        ("Pillow__Tests__images__crash-2020-10-test.tif", "damaged"),
    ],
)
def test_a_skip_is_told_as_what_it_is(outcome: Outcome, name: str, kind: str) -> None:
    refused = outcome.prepared[name].refused
    assert refused is not None
    assert refused.kind == kind


SCENES = {
    "hopper": [
        *(f"Pillow__Tests__images__hopper_orientation_{n}.webp" for n in (4, 5, 8)),
        *(f"Pillow__Tests__images__hopper_orientation_{n}.jpg" for n in (6, 7)),
    ],
    "fax": [f"Pillow__Tests__images__g4_orientation_{n}.tif" for n in (1, 2, 3, 4, 7)],
    "landscape": [f"sharp__test__fixtures__Landscape_{n}.jpg" for n in (1, 4)],
    "portrait": [f"exif-orientation-examples__Portrait_{n}.jpg" for n in (0, 2)],
    "small portrait": [f"exif-samples__jpg__orientation__portrait_{n}.jpg" for n in (2, 8)],
}


@pytest.mark.parametrize("names", SCENES.values(), ids=SCENES)
def test_the_same_scene_stored_in_several_orientations_decodes_alike(
    outcome: Outcome, names: list[str]
) -> None:
    decoded = [outcome.prepared[name].decoded for name in names]
    pixels = [picture.pixels.astype(int) for picture in decoded if picture is not None]
    assert len(pixels) == len(names)
    distances = [float(np.abs(other - pixels[0]).mean()) for other in pixels[1:]]
    assert max(distances) < 10
    # and it is no matter of course: turned, they look different
    assert np.abs(pixels[0][::-1, ::-1] - pixels[0]).mean() > 20


@pytest.mark.network
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_indexing_all_of_them_with_the_real_encoder_stays_below_one_and_a_half_gigabytes(
    sets: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = sets("messy")
    save_picture(tmp_path / "one" / "a.png", 1)
    # the encoder is built once, in a process that is not measured
    measured_index(tmp_path / "first", tmp_path / "one")
    report, peak = measured_index(tmp_path / "library", folder)
    print(f"{report['added']} added in {report['seconds']} s, at most {peak / 1e6:.0f} MB")
    assert report["added"] + len(report["skipped"]) == FILES + 1
    assert report["added"] > 300
    assert peak < 1_500_000_000


# VmHWM and not ru_maxrss: a child inherits the latter from the process that starts it
MEASURED = """
import atexit, re, sys
from parecido.search.cli import main

def tell():
    with open("/proc/self/status") as file:
        print(re.search(r"VmHWM:\\s+(\\d+) kB", file.read())[1], file=sys.stderr)

atexit.register(tell)
main()
"""


def measured_index(library: Path, folder: Path) -> tuple[dict[str, Any], int]:
    """The report of ``parecido index --json``, and the most bytes that it held in memory."""
    options = ["--model", "efficientnet-lite0", "--device", "cpu", "--library", str(library)]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, "index", str(folder), "--json", *options],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1]), 1024 * int(done.stderr.splitlines()[-1])
