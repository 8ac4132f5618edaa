"""Thumbnails for pictures that were indexed before such were kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from parecido.indexer.catalogue.changes import AddLook
from parecido.indexer.indexing.plan import Plan
from parecido.indexer.indexing.prepare import read_pixels
from parecido.indexer.library.writing import Writing
from parecido.indexer.pictures.looks.drawing import draw_look
from parecido.indexer.system.paths import below_any

__all__ = ["add_looks"]

_TOGETHER = 64  # files that are read between two commits, and two looks at whether to stop


def add_looks(writing: Writing, plan: Plan, stop: Callable[[], bool]) -> int:
    """Read the files of pictures below the run's roots that have no thumbnail; how many have now.

    They are decoded, and not encoded.  What changed since it was indexed, or cannot be read, is
    left as it is.
    """
    roots = [os.fsencode(root) for root in plan.roots.present]

    def draw(row: tuple[int, bytes, bytes]) -> AddLook | None:
        picture_id, path, content_hash = row
        found = None if stop() else read_pixels(plan, Path(os.fsdecode(path)))
        if found is None or found[0] != content_hash:
            return None
        return AddLook(picture_id, content_hash, draw_look(found[1]))

    count = 0
    with ThreadPoolExecutor(plan.workers, thread_name_prefix="look") as pool:
        for page in writing.catalogue.looks.find_missing():
            rows = [row for row in page if below_any(row[1], roots)]
            for start in range(0, len(rows), _TOGETHER):
                drawn = pool.map(draw, rows[start : start + _TOGETHER])
                changes = [one for one in drawn if one is not None]
                if changes:
                    writing.catalogue.write(changes)
                count += len(changes)
                if stop():
                    return count
    return count
