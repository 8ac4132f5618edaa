"""Animations: the first frame that shows something."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from parecido.indexer.pictures.decode import Limits, Rendered, render
from parecido.indexer.pictures.formats import frames
from tests.pictures.test_cut import blobs


def animation(form: str, pictures: list[Image.Image]) -> bytes:
    file = io.BytesIO()
    options = {"lossless": True} if form == "WEBP" else {"quality": 100} if form == "AVIF" else {}
    first, *others = pictures
    first.save(file, form, save_all=True, append_images=others, duration=40, **options)
    return file.getvalue()


def shown(data: bytes) -> Rendered:
    return render(data, lambda width, height: (width, height), Limits())


def blank(colour: str | tuple[int, ...], mode: str = "RGB") -> Image.Image:
    return Image.new(mode, blobs().size, colour)


FORMS = ["GIF", "PNG", "WEBP", "AVIF"]


@pytest.mark.parametrize("form", FORMS)
def test_blank_frames_in_front_are_passed_over(form: str) -> None:
    data = animation(form, [blank("black"), blank("white"), blobs(), blank("red")])
    found = shown(data)
    assert np.abs(np.asarray(found.image).astype(int) - np.asarray(blobs())).mean() < 12
    assert (found.width, found.height, found.format) == (*blobs().size, form)


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_a_frame_of_which_nothing_is_seen_is_blank(form: str) -> None:
    hidden = blobs().convert("RGBA")
    hidden.putalpha(0)
    data = animation(form, [hidden, blobs().convert("RGBA")])
    assert np.abs(np.asarray(shown(data).image).astype(int) - np.asarray(blobs())).mean() < 12


@pytest.mark.parametrize("form", FORMS)
def test_the_first_frame_that_shows_something_stays(form: str) -> None:
    turned = blobs().transpose(Image.Transpose.ROTATE_180)
    found = shown(animation(form, [blobs(), turned]))
    assert np.abs(np.asarray(found.image).astype(int) - np.asarray(blobs())).mean() < 12


@pytest.mark.parametrize("form", FORMS)
def test_where_all_frames_are_blank_it_is_the_first(form: str) -> None:
    found = shown(animation(form, [blank("red"), blank("blue"), blank("lime")]))
    np.testing.assert_allclose(np.asarray(found.image)[5, 5], (255, 0, 0), atol=4)


def test_damage_behind_a_blank_frame_leaves_that_frame() -> None:
    data = animation("GIF", [blank("red"), blobs()])
    found = shown(data[: len(data) // 2])
    np.testing.assert_allclose(np.asarray(found.image)[5, 5], (255, 0, 0), atol=4)


def test_a_frame_over_the_edge_does_not_make_the_picture_larger() -> None:
    found = shown(animation("GIF", [Image.new("RGB", (40, 30), "red"), blobs()]))
    assert (found.width, found.height) == (40, 30)


def test_no_more_frames_are_looked_at_than_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frames, "_MOST_FRAMES", 1)
    found = shown(animation("GIF", [blank("red"), blank("blue"), blobs()]))
    np.testing.assert_allclose(np.asarray(found.image)[5, 5], (255, 0, 0), atol=4)


def test_what_is_no_animation_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A glance at all pixels would cost each ordinary PNG time."""
    looked: list[str] = []
    is_blank: Callable[[Image.Image], bool] = frames._is_blank
    monkeypatch.setattr(
        frames, "_is_blank", lambda image: looked.append(str(image.format)) or is_blank(image)
    )
    for form in ("PNG", "WEBP", "JPEG", "GIF"):
        file = io.BytesIO()
        blobs().save(file, form)
        shown(file.getvalue())
    assert looked == ["GIF"]  # which tells by its second frame
