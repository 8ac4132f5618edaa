"""Indexing: what is added, changed, moved, gone; and what is left alone."""

from __future__ import annotations

from pathlib import Path

from indexer.encoders import Encoder
from indexer.library import Library
from indexer.pipeline import index
from tests.fakes import save_pictures


def test_a_second_run_encodes_nothing_and_writes_nothing(
    library: Library, tmp_path: Path, encoder: Encoder
) -> None:
    save_pictures(tmp_path / "p", 5)
    first = index(library, [tmp_path / "p"], encoder=encoder)
    generation = library.catalogue.generation()
    second = index(library, [tmp_path / "p"], encoder=encoder)
    assert (first.added, first.encoded) == (5, 5)
    assert (second.added, second.unchanged, second.encoded) == (0, 5, 0)
    assert library.catalogue.generation() == generation
