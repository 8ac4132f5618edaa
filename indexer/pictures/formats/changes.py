"""What became of the rules by which files are decoded: which pictures have other pixels since."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["DECODING", "may_have_changed_since"]


class _Step(NamedTuple):
    """What one version of the rules changed."""

    version: int
    formats: frozenset[str]
    """Whose pixels, size or name may be others since."""


_STEPS = (
    # Light pictures on transparent ground lie over black; of an animation the first frame that
    # shows something; planes and depths of TIFFs; a full page behind a reduced one.  Formats that
    # have none of these are as they were, JPEG before all.
    _Step(
        2,
        frozenset(
            (
                *("PNG", "WEBP", "GIF", "TIFF", "AVIF", "HEIF", "JPEG2000", "BMP", "DIB"),
                *("TGA", "ICO", "PSD", "QOI", "SGI", "DDS"),
            )
        ),
    ),
)
DECODING = _STEPS[-1].version
"""The version of the rules, kept with each picture."""


def may_have_changed_since(version: int, form: str) -> bool:
    """Whether a picture in that format may look otherwise than by that version of the rules."""
    return any(step.version > version and form in step.formats for step in _STEPS)
