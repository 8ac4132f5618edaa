"""Read the tensors of a legacy PyTorch checkpoint without PyTorch and without running its pickle.

The format (``torch.save`` before 1.6) is five pickles in a row: a magic number, a protocol version,
system information, the object itself, and the keys of its storages; then each storage as an
int64 element count followed by its raw little-endian elements.  A pickle may name any callable, so
the unpickler here resolves exactly four names and refuses every other.
"""

from __future__ import annotations

import math
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
import numpy.typing as npt

from parecido.indexer.errors import WeightsInvalid

__all__ = ["read_checkpoint"]

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


class _Storage:
    """A flat run of elements, filled in after the pickles have been read."""

    def __init__(self, dtype: str, size: int) -> None:
        self.dtype = np.dtype(dtype)
        self.size = size
        self.data: npt.NDArray[Any] | None = None


class _Tensor:
    """A strided view of a storage, resolved once the storage has its elements."""

    def __init__(
        self, storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
    ) -> None:
        self.storage, self.offset, self.shape, self.stride = storage, offset, shape, stride

    def resolve(self) -> npt.NDArray[Any]:
        data = self.storage.data
        if data is None:
            raise WeightsInvalid("A tensor's storage is missing from the checkpoint.")
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.stride, strict=True))
        if self.offset < 0 or min(self.stride, default=0) < 0 or last >= data.size:
            raise WeightsInvalid("A tensor reaches outside its storage in the checkpoint.")
        if math.prod(self.shape) > data.size:  # a stride of 0 would make terabytes of one element
            raise WeightsInvalid("A tensor has more elements than its storage in the checkpoint.")
        view = np.lib.stride_tricks.as_strided(
            data[self.offset :],
            self.shape,
            tuple(s * data.itemsize for s in self.stride),
            writeable=False,
        )
        return np.ascontiguousarray(view)


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> _Tensor:
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, stride)))


class _Unpickler(pickle.Unpickler):
    """Resolves four names; anything else in the stream is refused, never imported."""

    _ALLOWED: ClassVar[dict[tuple[str, str], Any]] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        ("torch", "FloatStorage"): "<f4",
        ("torch", "LongStorage"): "<i8",
    }

    def __init__(self, file: BinaryIO, storages: dict[str, _Storage]) -> None:
        super().__init__(file)
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._ALLOWED[module, name]
        except KeyError:
            raise WeightsInvalid(
                f"The checkpoint names {module}.{name}; only plain tensors are read."
            ) from None

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _location, size = pid[:5]
        if kind != "storage" or dtype not in ("<f4", "<i8"):
            raise WeightsInvalid(f"The checkpoint holds a {kind!r} of type {dtype!r}.")
        return self._storages.setdefault(str(key), _Storage(dtype, int(size)))


def read_checkpoint(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The tensors of a legacy PyTorch state dict, by name.

    Returns float32 and int64 arrays in the layout of the file (convolutions as
    ``(out, in, height, width)``).  Raises :class:`WeightsInvalid` for anything but plain tensors
    in that format.
    """
    storages: dict[str, _Storage] = {}
    try:
        with path.open("rb") as file:
            magic, protocol, _system = (_Unpickler(file, storages).load() for _ in range(3))
            if magic != _MAGIC or protocol != _PROTOCOL:
                raise WeightsInvalid(f"{path} is not a legacy PyTorch checkpoint.")
            state = _Unpickler(file, storages).load()
            for key in _Unpickler(file, storages).load():
                storage = storages[key]
                (count,) = struct.unpack("<q", file.read(8))
                if count != storage.size:
                    raise WeightsInvalid(f"{path}: expected {storage.size} elements, got {count}.")
                raw = file.read(count * storage.dtype.itemsize)
                storage.data = np.frombuffer(raw, dtype=storage.dtype, count=count)
        if not isinstance(state, dict) or not all(isinstance(t, _Tensor) for t in state.values()):
            raise WeightsInvalid(f"{path} holds something other than a table of tensors.")
        return {name: tensor.resolve() for name, tensor in state.items()}
    except WeightsInvalid:
        raise
    except Exception as error:  # a damaged pickle raises almost anything
        raise WeightsInvalid(f"{path} cannot be read as a checkpoint: {error}") from error
