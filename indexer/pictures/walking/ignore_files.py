"""What people put into a folder to say which pictures in it are not to be found."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable

from parecido.indexer.pictures.walking.patterns import Patterns, find_fault
from parecido.indexer.records.rules import Pattern
from parecido.indexer.system.text import plural

__all__ = ["IGNORE_FILE", "MARKS", "is_rule", "read_ignore_file"]

IGNORE_FILE = b".parecidoignore"
MARKS = frozenset({b".nomedia", b".noimage"})
"""Android's and Nextcloud's marks, in lower case: FAT, on which phones keep pictures, knows none.

A folder that holds one is not to be shown in galleries, nor what lies below it.
"""
_LONGEST = 256 << 10
_MOST_LINES = 10_000
_LONGEST_LINE = 1024
_TOLD = 3


def is_rule(name: bytes) -> bool:
    """Whether a file of that name is a rule, and so no picture."""
    return name == IGNORE_FILE or name.lower() in MARKS


def read_ignore_file(path: bytes, tell: Callable[[str], None]) -> Patterns | None:
    """The patterns in a file, in UTF-8; None where it holds none.

    ``tell`` is called with what is not as it should be: a line that cannot be read is passed over,
    and so is what is no regular file.  Raises ``OSError`` where the file is there and cannot be
    read, or is longer than anybody writes.
    """
    shown = os.fsdecode(path)
    if not stat.S_ISREG(os.lstat(path).st_mode):
        tell(f"{shown} is no regular file and was passed over.")
        return None
    try:
        lines = _split(_read(path))
    except OSError as error:
        tell(f"{shown} cannot be read ({error.strerror or error}); its folder was left as it is.")
        raise
    good = list(_sift(shown, lines, tell))
    return Patterns(Pattern(line) for line in good) if good else None


def _read(path: bytes) -> bytes:
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
        data = file.read(_LONGEST + 1)
    if len(data) > _LONGEST or data.count(b"\n") > _MOST_LINES:
        raise OSError(f"it is longer than {_LONGEST >> 10} kB or {_MOST_LINES:,} lines")
    return data


def _split(data: bytes) -> list[str]:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):  # as Windows' editors wrote for long
        text = data.decode("utf-16", "replace")
    else:
        # names may be any bytes, and so may patterns
        text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    return text.replace("\r\n", "\n").split("\n")


def _sift(shown: str, lines: Iterable[str], tell: Callable[[str], None]) -> Iterable[str]:
    """The lines that are patterns."""
    odd = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        if fault := _find_oddity(line):
            odd.append(f"line {number}: {fault}")
        else:
            yield line
    if odd:
        more = f" and {len(odd) - _TOLD:,} more" if len(odd) > _TOLD else ""
        what = plural(len(odd), "line")
        tell(f"{what} of {shown} cannot be read: {'; '.join(odd[:_TOLD])}{more}.")


def _find_oddity(line: str) -> str:
    if len(line) > _LONGEST_LINE:
        return "it is too long"
    if "\0" in line:
        return "it holds a NUL"
    return find_fault([line])
