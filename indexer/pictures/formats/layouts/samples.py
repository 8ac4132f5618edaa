"""Samples of any depth → eight bits, with NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from parecido.indexer.errors import PictureUnreadable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["FLOATING", "SIGNED", "UNSIGNED", "Samples", "find_range", "scale", "unpack"]

UNSIGNED, SIGNED, FLOATING = "u", "i", "f"
_BLOCK_BITS = 1 << 25  # unpacked at once, each into a byte
_INTEGER_RANGES = (255.0, 65535.0)
_FLOAT_RANGES = (1.0, 255.0, 65535.0)


class Samples(NamedTuple):
    """How one sample is stored."""

    bits: int
    kind: str = UNSIGNED
    order: str = ">"
    """``<`` or ``>``, where it takes several whole bytes."""
    depth: int = 0
    """The bits that are used of them, from the lowest; 0 for all."""
    most: int = 0
    """The value of full brightness, where the file tells one; 0 for that of the depth."""

    @property
    def is_narrow(self) -> bool:
        """Whether the depth alone tells the brightness: of whole numbers of up to 16 bits."""
        return self.kind == UNSIGNED and (self.depth or self.bits) <= 16

    @property
    def full(self) -> int:
        """The value of full brightness."""
        return self.most or (1 << (self.depth or self.bits)) - 1

    def count_bytes(self, many: int) -> int:
        """Bytes of a row of so many."""
        return (many * self.bits + 7) // 8


def unpack(data: memoryview, rows: int, many: int, samples: Samples) -> npt.NDArray[Any]:
    """``rows`` × ``many`` samples of rows that each begin with a whole byte; native byte order."""
    import numpy as np

    bits, kind = samples.bits, samples.kind
    width = samples.count_bytes(many)
    raw = np.frombuffer(data, np.uint8, rows * width).reshape(rows, width)
    if bits == 8 * _whole_bytes(bits):
        found = raw.view(np.dtype(f"{samples.order}{kind}{bits // 8}"))
        return found.astype(found.dtype.newbyteorder("="), copy=False)
    if kind == FLOATING:
        raise PictureUnreadable(f"floats of {bits} bits, which are not read", "unsupported")
    if bits % 8 == 0:
        return _join_bytes(raw.reshape(rows, many, bits // 8), samples)
    values = np.empty((rows, many), np.uint64 if bits > 16 else np.uint16)
    step = max(1, _BLOCK_BITS // (width * 8))
    for top in range(0, rows, step):
        split = np.unpackbits(raw[top : top + step], axis=1)[:, : many * bits]
        split = split.reshape(len(split), many, bits)
        block = np.zeros(split.shape[:2], values.dtype)
        for place in range(bits):
            block <<= block.dtype.type(1)
            block |= split[:, :, place]
        values[top : top + step] = block
    return _sign(values, bits) if kind == SIGNED else values


def _whole_bytes(bits: int) -> int:
    """1, 2, 4 or 8, where a sample of so many bits is a number of NumPy's."""
    return bits // 8 if bits in (8, 16, 32, 64) else 0


def _join_bytes(parts: npt.NDArray[np.uint8], samples: Samples) -> npt.NDArray[Any]:
    """Samples of 24, 40, 48 or 56 bits."""
    import numpy as np

    values = np.zeros(parts.shape[:2], np.uint64)
    count = parts.shape[2]
    for place in range(count):
        values = (values << np.uint64(8)) | parts[
            :, :, place if samples.order == ">" else count - 1 - place
        ]
    return _sign(values, samples.bits) if samples.kind == SIGNED else values


def _sign(values: npt.NDArray[Any], bits: int) -> npt.NDArray[np.int64]:
    import numpy as np

    signed = values.astype(np.int64)
    return np.where(signed >> (bits - 1) & 1, signed - (1 << bits), signed)


def scale(
    values: npt.NDArray[Any], low: float, high: float, *, rounds: bool = True
) -> npt.NDArray[np.uint8]:
    """Values from ``low`` to ``high`` as 0..255; those outside are cut, those that are none 0."""
    import numpy as np

    if low == 0 and values.dtype == np.uint8 and high == 255:
        return np.asarray(values, np.uint8)
    if low == 0 and values.dtype in (np.uint8, np.uint16) and rounds:
        # by a table: a look for each sample, whatever the depth
        steps = np.arange(1 << (8 * values.dtype.itemsize), dtype=np.float64)
        table = np.clip(np.rint(steps * (255 / high)), 0, 255).astype(np.uint8)
        return np.asarray(table[values])
    with np.errstate(over="ignore"):
        numbers: npt.NDArray[np.float32] = np.nan_to_num(values.astype(np.float32))
    shown = (np.clip(numbers, low, high) - low) * (255.0 / max(high - low, 1e-12))
    return np.asarray(shown, np.uint8)


def find_range(smallest: float, largest: float, floating: bool, full: float = 0) -> Any:
    """What is shown as black and as white, of values whose depth does not tell.

    From 0 to 1 for floats, 255, or 65535, the first that they fit; else from the smallest to the
    largest.  ``full`` is the largest of unsigned numbers, which counts where they come near it.
    """
    if full and largest > full / 2:
        return 0.0, full
    ranges = _FLOAT_RANGES if floating else _INTEGER_RANGES
    fitting = [limit for limit in ranges if largest <= limit]
    return (0.0, fitting[0]) if fitting and smallest >= 0 else (smallest, largest)
