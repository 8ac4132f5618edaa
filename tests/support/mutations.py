"""Picture files of every format that is read, and damage to them by a numbered recipe."""

from __future__ import annotations

import io
import random
import struct

import numpy as np
import numpy.typing as npt
from PIL import Image

from tests.support.layouts import DEFLATE, LZW, Tiff, psd, tiff

__all__ = ["mutate", "sample_files"]

_COMPRESSIONS = (None, "tiff_lzw", "jpeg", "packbits")
_LENGTHS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\xff\xff", b"\0\0\0\1")


def sample_files() -> dict[str, list[bytes]]:
    """A few small files of each format, by its name."""
    import pillow_heif
    import qoi

    pillow_heif.register_heif_opener()
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:72, :96]
    smooth = np.stack([x * 2, y * 3, x + y], axis=-1) % 256
    rgb = Image.fromarray((smooth + rng.integers(0, 20, smooth.shape)).clip(0, 255).astype("uint8"))
    rgba = rgb.convert("RGBA")
    rgba.putalpha(Image.fromarray((x * 2).astype("uint8")))
    grey, palette = rgb.convert("L"), rgb.convert("P")
    deep = Image.fromarray((x * 500).astype("uint16"))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0132] = 6, "Maker", "2024:05:01 12:30:00"
    made: dict[str, list[bytes]] = {
        "JPEG": [
            _save(rgb, "JPEG", exif=exif),
            _save(rgb, "JPEG", progressive=True, restart_marker_blocks=2),
            _save(rgb.convert("CMYK"), "JPEG"),
            _save(grey, "JPEG", quality=30),
        ],
        "MPO": [_save(rgb, "MPO", save_all=True, append_images=[rgb])],
        "PNG": [_save(rgb, "PNG", exif=exif), _save(palette, "PNG"), _save(deep, "PNG")],
        "WEBP": [_save(rgba, "WEBP"), _save(rgb, "WEBP", lossless=True, exif=exif)],
        "GIF": [_save(palette, "GIF"), _save(rgb, "GIF", save_all=True, append_images=[rgba])],
        "BMP": [_save(rgb, "BMP"), _save(palette, "BMP"), _save(rgb.convert("1"), "BMP")],
        "DIB": [_save(rgb, "DIB")],
        "TIFF": [
            *(
                _save(rgb, "TIFF", compression=one)
                for one in (None, "tiff_lzw", "jpeg", "packbits")
            ),
            _save(deep, "TIFF", compression="tiff_adobe_deflate"),
            _save(rgb.convert("1"), "TIFF", compression="group4"),
            *_lay_out(np.asarray(rgb)),
        ],
        "AVIF": [_save(rgb, "AVIF", exif=exif), _save(rgba, "AVIF")],
        "JPEG2000": [_save(rgb, "JPEG2000"), _save(grey, "JPEG2000", no_jp2=True)],
        "PPM": [_save(rgb, "PPM"), _save(grey, "PPM"), _text(grey)],
        "TGA": [_save(rgba, "TGA", compression="tga_rle"), _save(palette, "TGA")],
        "ICO": [_save(rgba, "ICO", sizes=[(32, 32)]), _save(rgba, "ICO", bitmap_format="bmp")],
        "PSD": [
            _photoshop(rgb),
            psd(np.moveaxis(np.asarray(rgb), 2, 0).astype("u2") * 257, 3, packs=True),
            psd(np.moveaxis(np.asarray(rgb), 2, 0) / np.float32(255), 3, large=True),
        ],
        "QOI": [qoi.encode(np.asarray(rgb)), qoi.encode(np.asarray(rgba))],
        "PCX": [_save(rgb, "PCX"), _save(palette, "PCX")],
        "SGI": [_save(rgb, "SGI")],
        "DDS": [_save(rgba, "DDS"), _save(rgb, "DDS", pixel_format="DXT1")],
        "HEIF": [_save(rgb, "HEIF", exif=exif), _save(rgba, "HEIF")],
    }
    return made


def mutate(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A file with some damage; ``other`` gives pieces of another."""
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        # most of what decides lies in front
        end = len(damaged) if rng.random() < 0.5 else min(len(damaged), 400)
        at = rng.randrange(max(1, end))
        match rng.randrange(8):
            case 0:
                damaged[at : at + 1] = (
                    bytes([damaged[at] ^ (1 << rng.randrange(8))]) if end else b""
                )
            case 1:
                damaged[at : at + 1] = bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF))])
            case 2:
                damaged[at : at + 4] = rng.choice(_LENGTHS)
            case 3:
                damaged[at : at + rng.randrange(1, 64)] = rng.randbytes(rng.randrange(1, 64))
            case 4:
                del damaged[at : at + rng.randrange(1, 2 + len(damaged) // 4)]
            case 5:
                piece = damaged[at : at + rng.randrange(1, 256)]
                damaged[at:at] = piece * rng.choice((1, 2, 50))
            case 6:
                start = rng.randrange(max(1, len(other)))
                damaged[at : at + 32] = other[start : start + rng.randrange(1, 256)]
            case 7:
                del damaged[rng.randrange(1, len(damaged) + 1) :]
        if not damaged:
            return b"\0"
    return bytes(damaged)


def _save(picture: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **{name: value for name, value in options.items() if value})
    return stream.getvalue()


def _text(grey: Image.Image) -> bytes:
    numbers = " ".join(str(value) for value in grey.tobytes())
    return f"P2\n# a comment\n{grey.width} {grey.height}\n255\n{numbers}\n".encode()


def _lay_out(rgb: npt.NDArray[np.uint8]) -> list[bytes]:
    """TIFFs that Pillow does not read."""
    deep = rgb.astype("u2") * 257
    return [
        tiff(deep, Tiff(planes=True, order=">")),
        tiff(deep, Tiff(planes=True, compression=LZW, tile=(32, 16))),
        tiff(deep >> 4, Tiff(bits=12)),
        tiff((rgb / 255).astype("f4"), Tiff(compression=DEFLATE)),
        tiff(deep, Tiff(compression=DEFLATE, predictor=2, planes=True)),
    ]


def _photoshop(rgb: Image.Image) -> bytes:
    """Header, no palette, no resources, no layers, and the picture packed line by line."""
    head = struct.pack(">4sH6sHIIHH", b"8BPS", 1, b"", 3, rgb.height, rgb.width, 8, 3)
    lines = [
        bytes([rgb.width - 1]) + band.tobytes()[y * rgb.width : (y + 1) * rgb.width]
        for band in rgb.split()
        for y in range(rgb.height)
    ]
    counts = b"".join(struct.pack(">H", len(line)) for line in lines)
    return head + b"\0" * 12 + b"\0\1" + counts + b"".join(lines)
