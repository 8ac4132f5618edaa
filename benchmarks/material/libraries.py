"""Libraries filled without indexing anything."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt

from parecido import Library
from parecido.indexer.catalogue.changes import Add
from parecido.indexer.catalogue.sqlite.reading.descriptors import pack
from parecido.indexer.library.upkeep import bring_up_to_date
from parecido.indexer.records.encoder import EncoderSpec
from parecido.indexer.records.pictures import Described, FileEntry, Label

__all__ = ["LABELS", "fill_library"]

LABELS = tuple(Label(f"class number {i}", 0.5 / (i + 1), i) for i in range(5))


def fill_library(
    folder: Path,
    pieces: Iterable[npt.NDArray[np.float32]],
    spec: EncoderSpec,
    *,
    index: bool = True,
) -> int:
    """Make a library of unit descriptors, in pieces ``(n, dimension)``; how many there were.

    Rows as a run leaves them, with five labels and a digest each, of pictures that lie nowhere.
    With ``index`` the space is learned and the vector index written, as a run does at its end.
    """
    count = 0
    with Library.create(folder) as library, library.writer() as writing:
        for vectors in pieces:
            adds = [
                Add(
                    FileEntry(
                        b"/nowhere/%04d/%08d.jpg" % (i // 1000, i),
                        1_000_000 + i,
                        1_700_000_000_000_000_000 + i,
                    ),
                    blake2b(b"%d" % i, digest_size=16).digest(),
                    Described(
                        width=4000, height=3000, format="JPEG", labels=LABELS, vector=pack(vector)
                    ),
                )
                for i, vector in enumerate(vectors, count)
            ]
            writing.catalogue.write(adds, encoder=spec if count == 0 else None)
            count += len(vectors)
        if index:
            bring_up_to_date(writing)
    return count
