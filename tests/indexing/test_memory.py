"""Memory does not depend on the size of the collection."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from PIL import Image

PICTURES = 20_000

# The child indexes with the fake encoder: what is measured is everything around the network.  At
# 80 × 56 pixels the decoded pictures are 270 MB together, so that keeping them would be seen.
CHILD = """
import json, sys
import psutil
from parecido import Library, index
from parecido.indexer.records.encoder import SizePolicy
from tests.support.fakes import fake_encoder

process = psutil.Process()
resident = []

def watch(report):
    if report.added >= 1000 * (len(resident) + 1):
        resident.append(process.memory_info().rss)

encoder = fake_encoder(16, size=SizePolicy(64, 64, step=8))
with Library.create(sys.argv[2]) as library:
    report = index(library, [sys.argv[1]], encoder=encoder, progress=watch)
    resident.append(process.memory_info().rss)
print(json.dumps([report.added, resident]))
"""


def test_twenty_thousand_pictures_take_no_more_memory_than_the_first_thousand(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(PICTURES):
        colour = (number & 255, number >> 8, number * 7 & 255)
        # BMP: 1.2 KB, and written without compressing anything
        Image.new("RGB", (24, 16), colour).save(folder / f"{number:05d}.bmp")
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder), str(tmp_path / "library")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    added, resident = json.loads(done.stdout)
    assert (added, len(resident)) == (PICTURES, 21)
    first, peak, end = (size / 1e6 for size in (resident[0], max(resident), resident[-1]))
    print(f"{first:.0f} MB after a thousand, {peak:.0f} MB at the peak, {end:.0f} MB at the end")
    assert peak - first < 100
