"""Transparency: over a ground on which what is visible can be seen."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw

from parecido.indexer.pictures.decode import Limits, render


def sign(
    draw: Callable[[ImageDraw.ImageDraw], None], form: str = "PNG", mode: str = "RGBA"
) -> bytes:
    image = Image.new("RGBA", (64, 64), (255, 255, 255, 0))
    draw(ImageDraw.Draw(image))
    file = io.BytesIO()
    options = {"lossless": True} if form in ("WEBP", "AVIF") else {}
    image.convert(mode).save(file, form, **options)
    return file.getvalue()


def shown(data: bytes) -> Image.Image:
    return render(data, lambda width, height: (width, height), Limits()).image


def ring(colour: str | tuple[int, ...]) -> Callable[[ImageDraw.ImageDraw], None]:
    return lambda draw: draw.ellipse((8, 8, 56, 56), outline=colour, width=10)


def bar(colour: str | tuple[int, ...]) -> Callable[[ImageDraw.ImageDraw], None]:
    return lambda draw: draw.rectangle((8, 24, 56, 40), fill=colour)


@pytest.mark.parametrize(
    ("form", "mode"),
    [
        *(("PNG", "RGBA"), ("PNG", "LA"), ("WEBP", "RGBA"), ("TIFF", "RGBA"), ("GIF", "RGBA")),
        *(("ICO", "RGBA"), ("TGA", "RGBA"), ("QOI", "RGBA"), ("JPEG2000", "RGBA")),
    ],
)
def test_white_signs_are_told_apart_in_every_format(form: str, mode: str) -> None:
    one, other = (shown(sign(draw("white"), form, mode)) for draw in (ring, bar))
    assert one.getpixel((1, 1)) == other.getpixel((1, 1)) == (0, 0, 0)
    assert other.getpixel((32, 32)) == (255, 255, 255)
    assert np.abs(np.asarray(one).astype(int) - np.asarray(other)).mean() > 20


@pytest.mark.parametrize(
    ("colour", "ground"),
    [
        *(("white", 0), ("#fafafa", 0), ("#ffffb0", 0), ("#c8e6ff", 0), ("#e0e0e0", 0)),
        *(((255, 255, 255, 90), 0), ("black", 255), ("#804020", 255), ("red", 255)),
        *(("#00c030", 255), ("#909090", 255), ("#3060ff", 255)),
    ],
)
def test_the_ground_contrasts_with_what_is_visible(
    colour: str | tuple[int, ...], ground: int
) -> None:
    assert shown(sign(ring(colour))).getpixel((1, 1)) == (ground,) * 3


def test_a_white_sign_with_a_black_outline_lies_over_white() -> None:
    def draw(canvas: ImageDraw.ImageDraw) -> None:
        canvas.ellipse((8, 8, 56, 56), fill="white", outline="black", width=2)

    assert shown(sign(draw)).getpixel((1, 1)) == (255, 255, 255)


def test_a_faint_shadow_around_a_white_sign_does_not_count() -> None:
    def draw(canvas: ImageDraw.ImageDraw) -> None:
        canvas.rectangle((4, 4, 60, 60), fill=(0, 0, 0, 30))
        canvas.rectangle((16, 16, 48, 48), fill="white")

    assert shown(sign(draw)).getpixel((1, 1)) == (0, 0, 0)


def test_a_light_picture_without_transparency_stays_as_it_is() -> None:
    file = io.BytesIO()
    Image.new("RGBA", (20, 20), (250, 250, 240, 255)).save(file, "PNG")
    assert shown(file.getvalue()).getpixel((1, 1)) == (250, 250, 240)
