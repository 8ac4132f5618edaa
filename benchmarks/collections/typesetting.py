"""A page to draw on: its style, its words, and boxes of text set into columns.

Lengths are pixels on pages of about 900 × 1200.  Words and numbers come from the page's own
generator, everything that a template fixes from its style.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.collections.alterations import package_file

__all__ = ["Colour", "Page", "Style"]

Colour = tuple[int, int, int]

_FAMILIES = (  # plain and bold
    ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf"),
    ("DejaVuSerif.ttf", "DejaVuSerif-Bold.ttf"),
    ("STIXGeneral.ttf", "STIXGeneralBol.ttf"),
    ("DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf"),
    ("STIXGeneralItalic.ttf", "STIXGeneralBolIta.ttf"),
)
_ACCENTS: tuple[Colour, ...] = (
    (28, 62, 120),
    (150, 28, 36),
    (20, 100, 70),
    (200, 110, 10),
    (90, 40, 120),
    (40, 40, 44),
    (0, 130, 150),
)
_PAPERS: tuple[Colour, ...] = (
    (255, 255, 255),
    (252, 249, 238),
    (244, 246, 250),
    (255, 255, 255),
    (250, 250, 248),
)
_VOCABULARY = """
account action address agreement amount annual answer autumn balance basis board branch
budget building carrier case centre change charge city claim clause client common company
condition contract copy cost council course credit current customer data date degree
delivery demand design detail direct district division draft early effect energy engine
estimate evening event field figure final first following form forward front garden general
goods ground group growth harbour history house income increase index inner interest issue
journey just kind labour lamp large later letter level limit line local machine major market
matter measure member method middle model month morning motion nature north notice number
office open order other outer paper part payment people period place plain plan point policy
power present price problem process product project public quality quarter question rate
reason record reference region report result return river room rule sample season second
section series service share sheet signal small source south special spring state station
street structure study subject summer supply surface system table term theory time total
trade train transfer unit value volume water week weight west window winter work year
"""
_WORDS = tuple(_VOCABULARY.split())


@dataclass(frozen=True)
class Style:
    """What a template fixes."""

    plain: str
    bold: str
    accent: Colour
    second: Colour
    paper: Colour
    margin: int
    size: int
    """Of running text."""
    name: str
    """Of the house that the pages come from."""
    mark: int
    """Which of five shapes its mark has."""
    look: int
    """0 to 4; layouts choose between their variants by it."""
    columns: tuple[float, ...]
    """Six shares that add up to 1, for tables."""

    @classmethod
    def drawn(cls, rng: np.random.Generator, number: int) -> Style:
        """A style; consecutive numbers have different fonts, colours and looks."""
        plain, bold = _FAMILIES[(number + int(rng.integers(2))) % len(_FAMILIES)]
        first = int(rng.integers(len(_ACCENTS)))
        step = int(rng.integers(1, len(_ACCENTS)))
        shares = rng.uniform(1, 2.4, 6)
        return cls(
            plain,
            bold,
            _ACCENTS[first],
            _ACCENTS[(first + step) % len(_ACCENTS)],
            _PAPERS[int(rng.integers(len(_PAPERS)))],
            int(rng.integers(50, 120)),
            int(rng.integers(17, 24)),
            " ".join(str(word).capitalize() for word in rng.choice(_WORDS, 2, replace=False)),
            int(rng.integers(5)),
            number % 5,
            tuple(float(share) for share in shares / shares.sum()),
        )


@dataclass(frozen=True)
class Page:
    """A page under work."""

    picture: Image.Image
    draw: ImageDraw.ImageDraw
    style: Style
    rng: np.random.Generator

    @classmethod
    def blank(cls, size: tuple[int, int], style: Style, rng: np.random.Generator) -> Page:
        """An empty page ``(width, height)``."""
        picture = Image.new("RGB", size, style.paper)
        return cls(picture, ImageDraw.Draw(picture), style, rng)

    @property
    def width(self) -> int:
        """In pixels."""
        return self.picture.width

    @property
    def height(self) -> int:
        """In pixels."""
        return self.picture.height

    def between(self, low: int, high: int) -> int:
        """A whole number from low to high, both possible."""
        return int(self.rng.integers(low, high + 1))

    def words(self, count: int) -> str:
        """So many words, the first with a capital."""
        return " ".join(str(word) for word in self.rng.choice(_WORDS, count)).capitalize()

    def money(self, most: int = 2000) -> str:
        """An amount with two decimals."""
        return f"{self.rng.uniform(1, most):,.2f}"

    def date(self) -> str:
        """A day of this century."""
        return f"{self.between(1, 28):02}.{self.between(1, 12):02}.20{self.between(10, 29)}"

    def text(
        self,
        at: tuple[float, float],
        text: str,
        size: float,
        *,
        bold: bool = False,
        fill: Colour = (25, 25, 28),
        anchor: str = "la",
    ) -> None:
        """One line; the anchor as Pillow names them."""
        font = _font(self.style.bold if bold else self.style.plain, round(size))
        self.draw.text(at, text, fill, font, anchor)

    def paragraph(
        self, box: tuple[float, float, float], words: int, size: float, leading: float = 1.4
    ) -> float:
        """Words set between ``left`` and ``right`` from ``top`` down; where the next line begins.

        ``box`` is ``(left, top, right)``.
        """
        left, top, right = box
        font = _font(self.style.plain, round(size))
        line = ""
        for word in [*self.words(words).split(), ""]:
            longer = f"{line} {word}".strip()
            if not word or font.getlength(longer) > right - left:
                self.draw.text((left, top), line, (35, 35, 38), font)
                top += size * leading
                line = word
            else:
                line = longer
        return top

    def mark(self, x: float, y: float, side: float) -> None:
        """The house's mark, its upper left corner there."""
        box = (x, y, x + side, y + side)
        inner = (x + side * 0.28, y + side * 0.28, x + side * 0.72, y + side * 0.72)
        accent, second = self.style.accent, self.style.second
        if self.style.mark == 0:
            self.draw.ellipse(box, accent)
            self.draw.rectangle(inner, second)
        elif self.style.mark == 1:
            self.draw.rectangle(box, accent)
            self.draw.ellipse(inner, self.style.paper)
        elif self.style.mark == 2:
            self.draw.polygon([(x, y + side), (x + side / 2, y), (x + side, y + side)], accent)
        elif self.style.mark == 3:
            self.draw.pieslice(box, 30, 330, accent)
            self.draw.ellipse(inner, second)
        else:
            for i in range(3):
                at = x + i * side * 0.36
                self.draw.rectangle((at, y + i * side / 4, at + side * 0.25, y + side), accent)

    def letterhead(self) -> float:
        """The house's name and mark above a rule, in one of five ways; where the page goes on."""
        style, m = self.style, self.style.margin
        if style.look == 0:
            self.mark(m, 50, 70)
            self.text((m + 90, 62), style.name, 40, bold=True, fill=style.accent)
            self.draw.line((m, 140, self.width - m, 140), style.accent, 3)
        elif style.look == 1:
            self.draw.rectangle((0, 0, self.width, 120), style.accent)
            self.text((m, 60), style.name, 44, bold=True, fill=(255, 255, 255), anchor="lm")
        elif style.look == 2:
            self.mark(self.width / 2 - 40, 36, 80)
            self.text((self.width / 2, 128), style.name, 32, bold=True, anchor="ma")
        elif style.look == 3:
            self.draw.rectangle((0, 0, 26, self.height), style.accent)
            self.text((self.width - m, 60), style.name, 34, fill=style.second, anchor="ra")
            self.mark(m, 48, 60)
        else:
            self.text((m, 54), style.name.upper(), 30, bold=True, fill=style.second)
            self.draw.line((m, 104, self.width - m, 104), style.second, 8)
            self.draw.line((m, 116, self.width - m, 116), style.accent, 2)
        return 190


@cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    path = package_file("matplotlib", "mpl-data", "fonts", "ttf", name)
    return ImageFont.truetype(str(path), size)
