"""Up to which picture files were read: a small file of the library's, outside its catalogue.

A row in the catalogue would make every check a writer, which waits for an indexing run, or lets one
wait, for as long as reading all pictures takes.  What is lost with this file is only that pictures
are read once more; so it takes no lock, and of two checks the one that writes last is followed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

from parecido.indexer.errors import ParecidoError
from parecido.indexer.library.layout import SCRUB
from parecido.indexer.system import kinds
from parecido.indexer.system.disk import writing_folder
from parecido.indexer.system.files import content_hash
from parecido.indexer.system.own_files import is_own, read_file, remove_own, replacing

__all__ = ["Place", "ScrubPlace"]


class Place(NamedTuple):
    """Where a check of the pictures' files ended."""

    last_id: int
    """Of the last picture that was come to."""
    share: float
    """Percent of the library that were asked for."""
    pictures: int
    """In the library, at most, since the first of them was read."""


class ScrubPlace:
    """The file of a library that holds a :class:`Place`; none lies there before the first picture.

    A library that cannot be written has none.
    """

    def __init__(self, folder: Path) -> None:
        # named once: a file is replaced only in a folder that is none behind a link
        self._path = Path(os.path.realpath(folder)) / SCRUB
        self.not_kept = ""
        """Why the last place was not kept."""

    def read(self) -> Place | None:
        """The place that was kept, if it is what was written."""
        if not os.access(self._path.parent, os.W_OK):
            return None  # every check would begin there again
        try:
            data = read_file(self._path) if is_own(self._path, kinds.SCRUB.is_made) else None
            kept = json.loads(data or b"{}")
            place = Place(kept["last_id"], kept["share"], kept["pictures"])
            return place if kept["seal"] == _seal(place) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, place: Place) -> None:
        """Write a place, synced; where that fails, ``not_kept`` says why."""
        data = json.dumps({**place._asdict(), "seal": _seal(place)}).encode()
        self.not_kept = ""
        try:
            with (
                writing_folder(self._path.parent),
                replacing(self._path, kinds.SCRUB.is_made) as file,
            ):
                file.write(data)
        except ParecidoError as error:
            self.not_kept = error.message.partition(";")[0].rstrip(".")
        except OSError as error:
            self.not_kept = f"{SCRUB} cannot be written ({error.strerror or error})"

    def forget(self) -> None:
        """Let the next check begin with the first picture."""
        self.not_kept = ""
        remove_own(self._path.parent, kinds.SCRUB)


def _seal(place: Place) -> str:
    return content_hash(json.dumps(place).encode()).hex()
