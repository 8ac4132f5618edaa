"""What the search command reads and writes: standard input, and results as its options ask."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from parecido.indexer.commands.terminal import fail, print_json

if TYPE_CHECKING:
    from parecido.search.asking.ask import Ask
    from parecido.search.results import Results

__all__ = ["Show", "first_picture", "standard_input"]


class Show:
    """Prints results as the options ask for."""

    def __init__(self, as_json: bool, as_paths: bool, end: bytes) -> None:
        self._as_json, self._as_paths, self._end = as_json, as_paths, end

    def __call__(self, results: Results) -> None:
        from parecido.search.results import results_dict, results_text

        if results.note and not self._as_json:
            fail(results.note)
        if self._as_json:
            print_json(results_dict(results))
        elif self._as_paths:
            # the file system's own bytes, whatever the terminal's encoding
            sys.stdout.flush()
            for hit in results.hits:
                sys.stdout.buffer.write(os.fsencode(hit.path) + self._end)
            sys.stdout.buffer.flush()
        else:
            click.echo(results_text(results, os.getcwd()) + "\n")


def standard_input() -> bytes:
    """All of standard input, up to one byte more than is searched for."""
    from parecido.indexer.pictures.decode import Limits

    return b"" if sys.stdin is None else sys.stdin.buffer.read(Limits().bytes + 1)


def first_picture(ask: Ask) -> bytes | str:
    """The picture that stands for a query."""
    from parecido.search.asking.sources import name_of

    first = ask.like[0]
    return first if isinstance(first, bytes) else name_of(first)
