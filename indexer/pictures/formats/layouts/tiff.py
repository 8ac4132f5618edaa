"""Pictures of a TIFF that Pillow reads wrongly, or not at all (TIFF 6, and its supplements)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from parecido.indexer.errors import PictureUnreadable
from parecido.indexer.pictures.formats.cut import Loaded
from parecido.indexer.pictures.formats.layouts.directory import Directory
from parecido.indexer.pictures.formats.layouts.packed import COMPRESSIONS, NONE, unpack_bytes
from parecido.indexer.pictures.formats.layouts.plain import (
    Channels,
    PlainPicture,
    compose,
    read_tags,
)
from parecido.indexer.pictures.formats.layouts.samples import (
    FLOATING,
    SIGNED,
    UNSIGNED,
    Samples,
    find_range,
    scale,
    unpack,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["fails_in_pillow", "is_misread", "open_layout"]

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLOURS, _FILL = 256, 257, 258, 259, 262, 266
_STRIPS, _CHANNELS, _ROWS, _STRIP_BYTES, _MOST, _PLANES = 273, 277, 278, 279, 281, 284
_ORIENTATION, _PREDICTOR, _PALETTE = 274, 317, 320
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 322, 323, 324, 325
_EXTRA, _FORMAT, _SUBSAMPLING, _PROFILE = 338, 339, 530, 34675
_WHITE_IS_0, _BLACK_IS_0, _RGB, _INDICES, _CMYK, _YCBCR, _LAB, _ICC_LAB = 0, 1, 2, 3, 5, 6, 8, 9
# As what the colours of a kind are shown, and how many channels they take
_MODES = {
    _WHITE_IS_0: ("L", 1),
    _BLACK_IS_0: ("L", 1),
    _RGB: ("RGB", 3),
    _INDICES: ("RGB", 1),
    _CMYK: ("CMYK", 4),
    _YCBCR: ("YCbCr", 3),
    _LAB: ("LAB", 3),
    _ICC_LAB: ("LAB", 3),
}
_KINDS = {1: UNSIGNED, 2: SIGNED, 3: FLOATING, 4: UNSIGNED}
_NOT_READ = {
    2: "CCITT run lengths",
    3: "CCITT group 3",
    4: "CCITT group 4",
    6: "old JPEG",
    7: "JPEG",
    9: "JBIG",
    10: "JBIG",
    34661: "JBIG",
    34676: "SGILog",
    34677: "SGILog",
    34712: "JPEG 2000",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG",
    34933: "PNG",
    34934: "JPEG XR",
    22610: "JPEG XR",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
    32809: "ThunderScan",
}
# Of these, what Pillow reads in common layouts
_BY_PILLOW = (2, 3, 4, 6, 7)
_COLOURS_NOT_READ = {4: "a mask", 32844: "LogL", 32845: "LogLuv", 51177: "depths"}
_MOST_BYTES_A_PIXEL = 64  # of a packed piece when it is unpacked; and as many megabytes besides
_SMALL_PIECE = 64 << 20
_MOST_PIECES = 4 << 20  # strips or tiles: 200 megapixels in tiles of 8 × 8
_BLOCK = 1 << 22  # samples that are scaled at once


class _Piece(NamedTuple):
    """A strip or tile of one plane, or of all."""

    top: int
    left: int
    plane: int
    offset: int
    length: int


@dataclass(frozen=True)
class _Layout:
    """Where the samples of a picture lie, and what they are."""

    width: int
    height: int
    channels: int
    samples: Samples
    colours: int
    extra: tuple[int, ...]
    in_planes: bool
    compression: int
    predictor: int
    reverses_bits: bool
    piece: tuple[int, int]
    """Width and height of a strip or tile."""
    is_tiled: bool

    @property
    def mode(self) -> str:
        return _MODES[self.colours][0]

    @property
    def colour_channels(self) -> int:
        return _MODES[self.colours][1]

    @property
    def alpha(self) -> str:
        """``A`` for opacity, ``a`` where the colours have been multiplied by it, or nothing."""
        return {1: "a", 2: "A"}.get(self.extra[0], "") if self.extra else ""

    @property
    def shown(self) -> int:
        """Channels that are looked at: those of the colours, and of opacity."""
        return self.colour_channels + bool(self.alpha)


def is_misread(directory: Directory) -> bool:
    """Whether Pillow gives another picture of this one than it should, without an error."""
    if directory.number(_COMPRESSION, NONE) not in COMPRESSIONS:
        return False
    bits, channels = directory.number(_BITS, 1), directory.number(_CHANNELS, 1)
    most = directory.number(_MOST)
    kind = directory.number(_FORMAT, 1)
    is_grey = directory.number(_COLOURS, -1) in (_WHITE_IS_0, _BLACK_IS_0)
    is_turned = directory.order == ">" and directory.number(_COMPRESSION, NONE) != NONE
    return (
        (directory.number(_PLANES) == 2 and channels > 1 and (bits != 8 or is_grey))
        or (is_turned and bits > 8 and kind != 1)
        or bits not in (1, 2, 4, 8, 16, 32)
        or (bits == 16 and kind == 1 and 255 < most < 65535)
        or (bits == 32 and kind == 1)
        or (bits >= 16 and directory.number(_COLOURS, -1) == _WHITE_IS_0)
    )


def fails_in_pillow(directory: Directory) -> bool:
    """Whether a picture that Pillow failed on is packed in a way that it reads elsewhere."""
    return directory.number(_COMPRESSION, NONE) in _BY_PILLOW


def open_layout(file: IO[bytes], directory: Directory) -> PlainPicture:
    """A picture of a TIFF, which is decoded when it is loaded.

    Raises :class:`~parecido.PictureUnreadable`: ``unsupported`` for one that is not read here, and
    ``damaged`` where the directory makes no sense.
    """
    layout = _plan(directory)
    file.seek(0)
    data = file.read()
    orientation = directory.number(_ORIENTATION, 1)
    picture = PlainPicture(
        "TIFF",
        (layout.width, layout.height),
        lambda: _read(memoryview(data), layout, directory),
        read_tags(data, orientation if orientation in range(1, 9) else 1),
    )
    profile = directory.raw(_PROFILE)
    if profile:
        picture.info["icc_profile"] = profile
    return picture


# -- plan ----------------------------------------------------------------------------------------


def _plan(directory: Directory) -> _Layout:
    compression = directory.number(_COMPRESSION, NONE)
    if compression not in COMPRESSIONS:
        if compression in _NOT_READ:
            raise _refuse(f"compressed with {_NOT_READ[compression]}")
        raise _damage("its compression is unknown")
    width, height = directory.number(_WIDTH), directory.number(_HEIGHT)
    bits = directory.numbers(_BITS) or (1,)
    channels = directory.number(_CHANNELS) or len(bits)
    kinds = set(directory.numbers(_FORMAT)[:channels]) or {1}
    if width < 1 or height < 1 or channels < 1 or channels > 65535:
        raise _damage("its size is missing")
    if len(set(bits[:channels])) > 1 or len(kinds) > 1:
        raise _refuse("whose channels differ in depth")
    kind = _KINDS.get(kinds.pop())
    if kind is None:
        raise _refuse("of complex numbers")
    if not 1 <= bits[0] <= 128:
        raise _damage("its depth makes no sense")
    if bits[0] > 64 or (kind == FLOATING and bits[0] not in (16, 32, 64)):
        raise _refuse(f"of {bits[0]}-bit {'floats' if kind == FLOATING else 'integers'}")
    colours, extra = _find_colours(directory, channels)
    most = directory.number(_MOST)
    deepest = (1 << bits[0]) - 1
    samples = Samples(bits[0], kind, directory.order, most=most if 255 < most < deepest else 0)
    is_tiled = _TILES in directory
    piece = (
        (directory.number(_TILE_WIDTH), directory.number(_TILE_HEIGHT))
        if is_tiled
        else (width, min(height, directory.number(_ROWS) or height))
    )
    if min(piece) < 1:
        raise _damage("its tiles have no size")
    return _Layout(
        width,
        height,
        channels,
        samples,
        colours,
        extra,
        directory.number(_PLANES, 1) == 2 and channels > 1,
        compression,
        directory.number(_PREDICTOR, 1),
        directory.number(_FILL, 1) == 2,
        piece,
        is_tiled,
    )


def _find_colours(directory: Directory, channels: int) -> tuple[int, tuple[int, ...]]:
    """The kind of colours, and of each channel behind them what it is."""
    colours = directory.number(_COLOURS, _RGB if channels >= 3 else _BLACK_IS_0)
    extra = directory.numbers(_EXTRA)
    if colours not in _MODES:
        if colours in _COLOURS_NOT_READ:
            raise _refuse(f"of {_COLOURS_NOT_READ[colours]}")
        raise _damage("its kind of colours is unknown")
    if colours == _BLACK_IS_0 and channels >= 3 and not any(extra):
        colours = _RGB  # bands of a satellite, say, whose writer knew no colours
    own = _MODES[colours][1]
    if channels < own:
        raise _damage("it has fewer channels than its colours take")
    if colours == _YCBCR and set(directory.numbers(_SUBSAMPLING) or (2, 2)) != {1}:
        raise _refuse("with subsampled colours")
    behind = channels - own
    if not extra and colours == _RGB and behind == 1:
        extra = (2,)  # as Pillow and libtiff take it
    return colours, (*extra[-behind:], *[0] * behind)[:behind] if behind else ()


def _refuse(what: str) -> PictureUnreadable:
    return PictureUnreadable(f"a TIFF {what}, which is not read", "unsupported")


def _damage(what: str) -> PictureUnreadable:
    return PictureUnreadable(f"damaged: {what}", "damaged")


# -- read ----------------------------------------------------------------------------------------


def _read(data: memoryview, layout: _Layout, directory: Directory) -> Loaded:
    found = _read_channels(data, layout, directory)
    if layout.colours == _INDICES:
        found = _look_up(found, directory, layout)
    elif layout.colours == _LAB:
        found.pixels[:, :, 1:3] ^= 128  # a and b are signed
    return compose(found, layout.mode, layout.alpha)


def _read_channels(data: memoryview, layout: _Layout, directory: Directory) -> Channels:
    """Eight bits of each channel that is shown; of indices all that are there."""
    import numpy as np

    narrow = layout.samples.is_narrow
    shape = (layout.height, layout.width, layout.shown)
    kept = np.uint16 if layout.colours == _INDICES else np.uint8
    values = np.zeros(shape, kept if narrow else np.float32)
    missing = np.ones((layout.shown if layout.in_planes else 1, layout.height), bool)
    for piece in _list_pieces(layout, directory):
        if layout.in_planes and piece.plane >= layout.shown:
            break
        rows = min(layout.piece[1], layout.height - piece.top)
        columns = min(layout.piece[0], layout.width - piece.left)
        part = values[piece.top : piece.top + rows, piece.left : piece.left + columns]
        if layout.in_planes:
            part = part[:, :, piece.plane : piece.plane + 1]
        filled = _fill(part, data, piece, layout)
        if piece.left == 0:
            missing[piece.plane, piece.top : piece.top + filled] = False
        else:
            missing[piece.plane, piece.top + filled : piece.top + rows] = True
    if not narrow:
        values = _scale_all(values, layout)
    if layout.colours == _WHITE_IS_0:
        np.invert(values[:, :, 0], out=values[:, :, 0])
    there: npt.NDArray[np.bool_] = np.logical_not(missing.any(axis=0))
    return Channels(values, there)


def _list_pieces(layout: _Layout, directory: Directory) -> Iterator[_Piece]:
    offsets = directory.numbers(_TILES if layout.is_tiled else _STRIPS, _MOST_PIECES)
    lengths = directory.numbers(_TILE_BYTES if layout.is_tiled else _STRIP_BYTES, _MOST_PIECES)
    across, down = layout.piece
    number = 0
    for plane in range(layout.channels if layout.in_planes else 1):
        for top in range(0, layout.height, down):
            for left in range(0, layout.width, across):
                if number >= len(offsets):
                    return
                length = lengths[number] if number < len(lengths) else 1 << 62
                yield _Piece(top, left, plane, offsets[number], length)
                number += 1


def _fill(part: npt.NDArray[Any], data: memoryview, piece: _Piece, layout: _Layout) -> int:
    """Write the samples of a strip or tile; how many of its rows are there."""
    import numpy as np

    across, down = layout.piece
    each = 1 if layout.in_planes else layout.channels
    height = down if layout.is_tiled else len(part)
    samples = layout.samples
    packed = data[piece.offset : piece.offset + piece.length]
    is_cut = piece.offset + piece.length > len(data)
    if samples.kind != FLOATING and samples.bits % 8 and samples.bits > 8:
        samples = _find_container(samples, packed, layout, (across * each, height))
    width = samples.count_bytes(across * each)
    if layout.compression != NONE:
        most = _SMALL_PIECE + _MOST_BYTES_A_PIXEL * across * min(height, len(part))
        if width * height > most:
            raise PictureUnreadable("too costly to decode: its channels are many", "too-large")
    try:
        raw = unpack_bytes(packed, layout.compression, width, height)
    except (OSError, ValueError, zlib.error) as error:
        if is_cut or not packed:
            return 0
        raise _damage("a strip of it cannot be unpacked") from error
    there = min(len(raw) // width, len(part))
    if there < len(part) and not is_cut and layout.compression != NONE:
        raise _damage("a strip of it ends too early")
    if layout.reverses_bits and layout.compression == NONE and samples.bits < 8:
        raw = memoryview(bytes(raw).translate(_REVERSED))
    step = max(1, _BLOCK // (across * each))
    for top in range(0, there, step):
        rows = min(step, there - top)
        block = raw[top * width : (top + rows) * width]
        found = _undo_predictor(block, (rows, across, each), samples, layout.predictor)
        shown = found[:, : part.shape[1], : part.shape[2]]
        if samples.is_narrow:
            if layout.colours != _INDICES:
                shown = scale(shown, 0, samples.full)
            part[top : top + rows] = shown
        else:
            with np.errstate(over="ignore"):
                part[top : top + rows] = shown
    return there


def _find_container(
    samples: Samples, packed: memoryview, layout: _Layout, shape: tuple[int, int]
) -> Samples:
    """The samples as they lie there: those of 10 to 14 bits may take 16 each."""
    many, height = shape
    whole = 16 if samples.bits < 16 else 32 if samples.bits < 32 else 64
    wide = samples._replace(bits=whole, depth=samples.bits)
    expected = wide.count_bytes(many) * height
    if layout.compression == NONE:
        return wide if len(packed) >= expected else samples
    try:
        found = len(unpack_bytes(packed, layout.compression, wide.count_bytes(many), height))
    except (OSError, ValueError, zlib.error):
        return samples
    return wide if found >= expected else samples


def _undo_predictor(
    block: memoryview, shape: tuple[int, int, int], samples: Samples, predictor: int
) -> npt.NDArray[Any]:
    """The samples of some rows, ``(rows, across, channels)``."""
    import numpy as np

    rows, across, each = shape
    if predictor == 3 and samples.kind == FLOATING:
        size = samples.bits // 8
        raw = np.frombuffer(block, np.uint8).reshape(rows, across * size, each)
        bands = np.cumsum(raw, axis=1, dtype=np.uint8).reshape(rows, size, across * each)
        joined = np.ascontiguousarray(bands.transpose(0, 2, 1))
        return joined.view(f">f{size}")[:, :, 0].reshape(shape).astype(f"f{size}")
    if predictor == 2 and samples.bits in (8, 16, 32, 64):
        whole = unpack(block, rows, across * each, samples._replace(kind=UNSIGNED)).reshape(shape)
        summed = np.cumsum(whole, axis=1, dtype=whole.dtype)
        return summed.view(f"{samples.kind}{samples.bits // 8}")
    if predictor not in (0, 1):
        raise _refuse("whose predictor is of another kind")
    return unpack(block, rows, across * each, samples).reshape(shape)


def _scale_all(values: npt.NDArray[np.float32], layout: _Layout) -> npt.NDArray[np.uint8]:
    """Eight bits of wide numbers: of the colours by one range, of opacity by its own."""
    import numpy as np

    floating = layout.samples.kind == FLOATING
    full = float((1 << layout.samples.bits) - 1) if layout.samples.kind == UNSIGNED else 0.0
    scaled = np.empty(values.shape, np.uint8)
    groups = [slice(0, layout.colour_channels)]
    if layout.alpha:
        groups.append(slice(layout.colour_channels, layout.shown))
    for group in groups:
        part = values[:, :, group]
        finite = np.isfinite(part)
        smallest = float(part.min(where=finite, initial=np.inf))
        largest = float(part.max(where=finite, initial=-np.inf))
        if smallest > largest:
            smallest = largest = 0.0
        low, high = find_range(smallest, largest, floating, full)
        step = max(1, _BLOCK // (values.shape[1] * part.shape[2]))
        for top in range(0, len(part), step):
            scaled[top : top + step, :, group] = scale(part[top : top + step], low, high)
    return scaled


def _look_up(found: Channels, directory: Directory, layout: _Layout) -> Channels:
    import numpy as np

    palette = directory.numbers(_PALETTE)
    many = len(palette) // 3
    if not many:
        raise _damage("its palette is missing")
    table = (np.array(palette[: 3 * many]).reshape(3, many).T >> 8).astype(np.uint8)
    indices = np.minimum(found.pixels[:, :, 0], many - 1)
    return Channels(table[indices], found.rows)


_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
