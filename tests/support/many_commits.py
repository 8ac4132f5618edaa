"""A program that commits eighty times to a library, on a mount where every lock is to be had."""

from __future__ import annotations

import os
import sys

import numpy as np

from parecido import Library
from parecido.indexer.catalogue.changes import Add
from parecido.indexer.catalogue.sqlite.reading.descriptors import pack
from parecido.indexer.records.pictures import Described, FileEntry
from tests.support.fake_cli import use_mount
from tests.support.fakes import DIMENSION, fake_spec

COMMITS, EACH = 80, 4


def main(folder: str) -> None:
    random = np.random.default_rng()
    with Library.open(folder) as library, library.writer(wait=True) as writing:
        for _ in range(COMMITS):
            vectors = random.normal(size=(EACH, DIMENSION)).astype(np.float32)
            writing.catalogue.write([_add(pack(v / np.linalg.norm(v))) for v in vectors])


def _add(vector: bytes) -> Add:
    path = b"/v/" + os.urandom(8).hex().encode()
    described = Described(width=1, height=1, format="PNG", labels=(), vector=vector)
    return Add(FileEntry(path, 1, 1), os.urandom(16), described)


def keep_encoder(library: Library) -> None:
    """Say of what encoder the descriptors are."""
    with library.writer() as writing:
        writing.catalogue.write([], encoder=fake_spec())


if __name__ == "__main__":
    use_mount(os.environ["FAKE_MOUNT"])
    main(sys.argv[1])
