"""What SQLite's errors mean, in this project's words; the one seam."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from parecido.indexer.errors import (
    LibraryBusy,
    LibraryDamaged,
    LibraryNotFound,
    LibraryReadOnly,
    NoSpace,
    ParecidoError,
)

__all__ = ["BUSY_SECONDS", "QUESTION_SECONDS", "UNREADABLE", "translate_errors"]

# Python does not come to tell SQLite's own error where its words quote damaged bytes
UNREADABLE = (sqlite3.Error, UnicodeDecodeError)


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Map SQLite's errors to the project's, at this one seam."""
    try:
        yield
    except UNREADABLE as error:
        raise _translate(path, error) from error
    except Exception as error:
        # SQLAlchemy wraps the driver's error and keeps it as this attribute
        if isinstance(getattr(error, "orig", None), sqlite3.Error):
            raise _translate(path, error.orig) from error  # type: ignore[attr-defined]
        raise


def _translate(path: Path, error: Any) -> ParecidoError:
    said = str(error)
    folder = path.parent
    if "full" in said:
        return NoSpace(
            f"The disk that holds the library {folder} is full; everything committed is kept.",
            "Free some space and run the command again.",
        )
    if "readonly" in said or "read-only" in said:
        return LibraryReadOnly(
            f"The library {folder} cannot be written; nothing was changed.",
            "Check its permissions, or choose another with --library.",
        )
    if "locked" in said:
        return LibraryBusy(
            f"The catalogue {path} stayed locked for {BUSY_SECONDS} seconds.",
            "Another program holds it: wait for it, or end it.",
        )
    if "interrupted" in said:
        return LibraryDamaged(
            f"A question to the catalogue {path} took more than {QUESTION_SECONDS} seconds and was "
            "ended.",
            "Check the disk, and the library: parecido verify.",
        )
    if "unable to open" in said:
        if not path.exists():
            return LibraryNotFound(
                f"There is no library at {folder}.", "Make one: parecido index FOLDER."
            )
        return LibraryReadOnly(
            f"The catalogue {path} cannot be opened.",
            "Check the permissions of the file and its folder.",
        )
    if "disk I/O error" in said:
        return NoSpace(
            f"The disk under {folder} refused a read or a write; everything committed is kept.",
            "Check the disk and its free space.",
        )
    return LibraryDamaged(
        f"The catalogue {path} is damaged ({said}).",
        "Save what can be read: parecido verify --repair.",
    )


BUSY_SECONDS = 30
QUESTION_SECONDS = 600
"""How long a question to the catalogue may run; of a million pictures the longest take seconds."""
