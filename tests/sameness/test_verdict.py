"""The same picture or another: copies of drawn scenes, and scenes that were written on."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from parecido.indexer.pictures.looks.drawing import FINE, cut_frame, draw_look, draw_thumbnail
from parecido.indexer.records.pictures import LOOK_SIDE as SIDE
from parecido.search.sameness.verdict import compare, is_same

Thumbnail = npt.NDArray[np.float32]


def scene(seed: int, size: tuple[int, int] = (300, 220)) -> Image.Image:
    """Soft light and things with hard edges, as in a photograph."""
    rng = np.random.default_rng(seed)
    light = Image.fromarray(rng.integers(40, 216, (5, 6, 3), np.uint8))
    picture = light.resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for _ in range(14):
        left, top = int(rng.integers(size[0])), int(rng.integers(size[1]))
        across, down = rng.integers(12, 90, 2).tolist()
        colour = tuple(rng.integers(0, 256, 3).tolist())
        box = (left, top, left + across, top + down)
        (draw.ellipse if rng.random() < 0.5 else draw.rectangle)(box, fill=colour)
    return picture.filter(ImageFilter.GaussianBlur(1))


def kept(picture: Image.Image) -> Thumbnail:
    look = draw_look(np.asarray(picture.convert("RGB")))
    return np.frombuffer(look.thumbnail, np.uint8).reshape(SIDE, SIDE).astype(np.float32)


def asked(picture: Image.Image) -> Thumbnail:
    return draw_thumbnail(np.asarray(picture.convert("RGB")), min(picture.size))


def compress(picture: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=70)
    return Image.open(stream)


def shrunk(picture: Image.Image, times: int) -> Image.Image:
    return picture.resize((picture.width // times, picture.height // times))


def cropped(picture: Image.Image, share: float) -> Image.Image:
    across, down = int(picture.width * share), int(picture.height * share)
    return picture.crop((across, down, picture.width - across, picture.height - down))


def captioned(picture: Image.Image, words: str, place: float) -> Image.Image:
    written = picture.copy()
    draw, at = ImageDraw.Draw(written), (picture.width / 2, picture.height * place)
    draw.text(at, words, "white", None, "mm", stroke_width=2, stroke_fill="black", font_size=24)
    return written


COPIES = {
    "compressed": lambda one: one,
    "half": lambda one: shrunk(one, 2),
    "quarter": lambda one: shrunk(one, 4),
    "grey": ImageOps.grayscale,
    "in a white frame": lambda one: ImageOps.expand(one, 16, "white"),
    "in a black frame": lambda one: ImageOps.expand(one, 16, "black"),
    "cropped": lambda one: cropped(one, 0.05),
    "cropped by a tenth": lambda one: cropped(one, 0.1),
    "mirrored": ImageOps.mirror,
    "turned": lambda one: one.transpose(Image.Transpose.ROTATE_90),
    "duller": lambda one: one.point(lambda level: level * 0.7 + 30),
    "squeezed": lambda one: one.resize((one.width, int(one.height * 0.8))),
}


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_the_same_picture_whichever_of_both_is_asked_about(kind: str) -> None:
    for seed in range(6):
        original = scene(seed)
        copy = compress(COPIES[kind](original).convert("RGB"))
        assert is_same(asked(copy), kept(original)[None]).all(), seed
        assert is_same(asked(original), kept(copy)[None]).all(), seed


def test_another_picture_is_not_the_same() -> None:
    others = np.stack([kept(scene(seed)) for seed in range(20)])
    for seed in range(20):
        assert np.flatnonzero(is_same(asked(scene(seed)), others)).tolist() == [seed]


def test_two_captions_on_one_photograph_are_not_the_same_picture() -> None:
    words = ("WHEN YOU SEE IT", "NOT AGAIN", "BRACE YOURSELF", "IT WORKS HERE", "MONDAY")
    for seed in range(4):
        memes = [captioned(scene(seed), one, 0.1) for one in words]
        memes.append(captioned(scene(seed), words[0], 0.9))
        memes.append(scene(seed))
        others = np.stack([kept(compress(meme)) for meme in memes])
        found = np.stack([is_same(asked(compress(meme)), others) for meme in memes])
        assert (found == np.eye(len(memes), dtype=bool)).all(), seed


def test_what_was_compared_does_not_depend_on_what_stands_beside_it() -> None:
    others = np.stack([kept(scene(seed)) for seed in range(5)])
    together = compare(asked(scene(3)), others)
    alone = [compare(asked(scene(3)), one[None]) for one in others]
    for number, one in enumerate(together):
        np.testing.assert_allclose(one, [pair[number][0] for pair in alone], rtol=1e-3)


def test_plain_pictures_are_alike_and_never_called_the_same() -> None:
    white, grey = (Image.new("RGB", (90, 60), colour) for colour in ("white", "grey"))
    assert not is_same(asked(white), np.stack([kept(white), kept(grey), kept(scene(1))])).any()


def test_there_may_be_nothing_to_compare_with() -> None:
    assert is_same(asked(scene(1)), np.empty((0, SIDE, SIDE), np.float32)).shape == (0,)


def test_what_lies_in_a_frame_is_found_without_it_and_plain_pictures_have_none() -> None:
    inner = np.asarray(scene(1).convert("RGB"))
    height, width, _ = inner.shape
    framed = np.full((height + 40, width + 24, 3), 250, np.uint8)
    framed[20:-20, 12:-12] = inner
    found = cut_frame(framed)
    assert found is not None
    assert np.array_equal(found, inner)
    bars = np.zeros((height + 40, width, 3), np.uint8)
    bars[20:-20] = np.maximum(inner, 40)
    found = cut_frame(bars)
    assert found is not None
    assert found.shape == inner.shape
    assert cut_frame(np.maximum(inner, 1)) is None
    assert cut_frame(np.full((64, 64, 3), 9, np.uint8)) is None
    # what is left of it would be less than two thirds
    assert cut_frame(np.pad(inner, ((height, 0), (0, 0), (0, 0)))) is None


def test_a_tiny_picture_has_coarse_cells() -> None:
    pixels = np.asarray(scene(1).convert("RGB"))
    assert draw_thumbnail(pixels, 39).shape == (SIDE, SIDE)
    assert draw_thumbnail(pixels, 40).shape == (FINE, FINE)
