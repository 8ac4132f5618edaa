"""Documents that no classifier was trained on: 60 templates, six scanned pages of each.

Five templates of each of twelve kinds of page.  A template fixes the fonts, colours, paper,
letterhead, margins and rules; members differ in words and numbers, and in what a scanner does: a
turn of up to 2°, a cut edge, blur, noise, light, JPEG.  The fonts are those that matplotlib brings.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageFilter

from benchmarks.collections.alterations import chance, jpeg, light
from benchmarks.collections.layouts import LAYOUTS
from benchmarks.collections.typesetting import Page, Style

__all__ = ["GROUPS", "documents", "members"]

MEMBERS = 6
_STYLES = 5  # templates of each kind of page
_LONGEST = 640  # pixels of a scanned page
GROUPS = tuple(f"{kind}-{number}" for kind in LAYOUTS for number in range(1, _STYLES + 1))


def documents(seed: int) -> Iterator[tuple[str, list[bytes]]]:
    """Every group with the JPEG files of its members.

    Raises ``FileNotFoundError`` where matplotlib, whose fonts the pages need, is missing.
    """
    for group in GROUPS:
        yield group, members(group, seed)


def members(group: str, seed: int, count: int = MEMBERS) -> list[bytes]:
    """The JPEG files of one group."""
    kind, _, number = group.rpartition("-")
    size, layout = LAYOUTS[kind]
    # the number picks the fonts and colours, so that a kind's five templates all differ in them
    style = Style.drawn(chance(seed, "template", group), int(number))
    found = []
    for member in range(count):
        rng = chance(seed, "page", group, member)
        page = Page.blank(size, style, rng)
        layout(page)
        found.append(_scanned(page.picture, rng))
    return found


def _scanned(page: Image.Image, rng: np.random.Generator) -> bytes:
    """The page as it comes from a scanner."""
    turned = page.rotate(
        rng.uniform(-2, 2), Image.Resampling.BICUBIC, fillcolor=tuple(rng.integers(195, 245, 3))
    )
    left, top, right, bottom = rng.uniform(0, 0.03, 4)
    width, height = page.size
    part = turned.crop(
        (
            round(left * width),
            round(top * height),
            round((1 - right) * width),
            round((1 - bottom) * height),
        )
    )
    part.thumbnail((_LONGEST, _LONGEST), Image.Resampling.LANCZOS)
    part = light(part.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.8))), rng, 0.5)
    noise = rng.normal(0, rng.uniform(0, 7), (part.height, part.width, 1))
    grained = np.clip(np.asarray(part) + noise, 0, 255).astype(np.uint8)
    return jpeg(Image.fromarray(grained), int(rng.integers(45, 93)))
