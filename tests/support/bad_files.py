"""Files that bring a decoder down; see ``bad_decoder/pillow_heif.py``."""

from __future__ import annotations

from pathlib import Path

__all__ = ["BAD_DECODER", "bad_file"]

BAD_DECODER = Path(__file__).with_name("bad_decoder")
"""Before all others on the import path, it takes the place of the decoder of HEIF."""
_HEAD = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def bad_file(path: Path, word: str) -> Path:
    """A file that does what the word says when it is decoded.

    Behind the word, and a space, may stand a file in which each try is counted.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_HEAD + word.encode())
    return path
