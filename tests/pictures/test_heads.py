"""What the first bytes of a file tell of how it is decoded by now."""

from __future__ import annotations

import io

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from parecido.indexer.pictures.formats.heads import HEAD_BYTES, has_changed_pixels

FRAMES = [Image.new("RGB", (40, 30), (number * 80, 90, 200)) for number in range(3)]


def saved(form: str, mode: str = "RGB", **options: object) -> bytes:
    """A picture as a file's first bytes."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    stream = io.BytesIO()
    Image.new(mode, (40, 30)).save(stream, form, **options)  # type: ignore[arg-type]
    return stream.getvalue()[:HEAD_BYTES]


@pytest.mark.parametrize(
    ("form", "mode", "options"),
    [
        ("PNG", "RGB", {}),
        ("PNG", "L", {}),
        ("PNG", "P", {}),
        ("WEBP", "RGB", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("WEBP", "RGB", {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}),
        ("HEIF", "RGB", {}),
        ("AVIF", "RGB", {}),
        ("BMP", "RGB", {}),
    ],
)
def test_without_transparency_or_frames_pixels_are_as_they_were(
    form: str, mode: str, options: dict[str, object]
) -> None:
    assert not has_changed_pixels(saved(form, mode, **options), form)


@pytest.mark.parametrize(
    ("form", "mode", "options"),
    [
        ("PNG", "RGBA", {}),
        ("PNG", "LA", {}),
        ("PNG", "P", {"transparency": 0}),
        ("PNG", "RGB", {"transparency": (0, 0, 0)}),
        ("PNG", "RGB", {"save_all": True, "append_images": FRAMES}),
        ("WEBP", "RGBA", {}),
        ("WEBP", "RGBA", {"lossless": True}),
        ("WEBP", "RGB", {"save_all": True, "append_images": FRAMES}),
        ("HEIF", "RGBA", {}),
        ("AVIF", "RGBA", {}),
        ("AVIF", "RGB", {"save_all": True, "append_images": FRAMES}),
        ("BMP", "RGBA", {}),
        ("GIF", "P", {}),
        ("TIFF", "RGB", {}),
    ],
)
def test_what_has_some_of_it_may_have_others(
    form: str, mode: str, options: dict[str, object]
) -> None:
    assert has_changed_pixels(saved(form, mode, **options), form)


def test_where_it_cannot_be_told_pixels_may_be_others() -> None:
    text = PngInfo()
    text.add_text("long", "x" * HEAD_BYTES)
    assert has_changed_pixels(saved("PNG", pnginfo=text), "PNG")
    for form in ("PNG", "WEBP", "HEIF", "AVIF", "BMP"):
        for length in range(0, 30, 3):
            head = saved(form)[:length]
            assert isinstance(has_changed_pixels(head, form), bool)
        assert has_changed_pixels(b"", form)
